"""Baselines of ranking, which take who rated what and leave the stars aside."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, Self

import numpy as np
from scipy import linalg, sparse

from cf.baselines.base import FewWeights, Scorer, Scores, chunks, interaction_matrix, top_k
from cf.core.config import Rank
from cf.core.ratings import Indices, Ratings

ITEMS_PER_BLOCK = 500
N_NEIGHBORS = 10  # with weights for an item that is not among EASE's `max_items`
MANY_PAIRS = 1e8  # of a user's items: from here on compiled loops are worth importing numba


class Popularity:
    """The number of training ratings of each item, whoever the user is.

    Source:
        Cremonesi, Koren and Turrin 2010, "Performance of Recommender Algorithms on Top-N
        Recommendation Tasks": TopPop.
    """

    def fit(self, train: Ratings, n_users: int, n_items: int) -> Self:
        """Itself, with the counts of the training ratings."""
        self.counts = np.bincount(train.items, minlength=n_items).astype(np.float32)
        return self

    def score(self, users: Indices) -> Scores:
        """The counts, (B, n_items)."""
        return np.tile(self.counts, (len(users), 1))


class ItemKNN:
    """The sum of an item's similarities to the items that the user has rated.

    s(u, i) = sum of sim(i, j) over the j that u has rated among the n_neighbors nearest of i (of
    equally near ones those of the lower index), with sim(i, j) = n_ij / (sqrt(n_i · n_j) +
    shrinkage), where n_i users have rated i, and n_ij both. That is the cosine of the two items'
    columns, lower for items with few ratings. An item that nobody has rated scores 0.

    Source:
        Sarwar, Karypis, Konstan and Riedl 2001, "Item-Based Collaborative Filtering
        Recommendation Algorithms", sections 3.1.1 and 3.2.1; the shrinkage as in Ferrari Dacrema,
        Cremonesi and Jannach 2019, "Are We Really Making Much Progress?".
    """

    def __init__(self, n_neighbors: int, shrinkage: float) -> None:
        self.n_neighbors, self.shrinkage = n_neighbors, shrinkage

    def fit(self, train: Ratings, n_users: int, n_items: int) -> Self:
        """Itself, with the similarities of the training ratings."""
        self.rated = interaction_matrix(train, n_users, n_items)
        counts = PairCounts(self.rated, self.rated)
        norm = np.sqrt(np.bincount(self.rated.indices, minlength=n_items)).astype(np.float32)
        k = min(self.n_neighbors, n_items)
        neighbors = np.empty((n_items, k), np.int64)
        similarities = np.empty((n_items, k), np.float32)
        for rows in chunks(n_items, n_items):
            for item, of_item in zip(range(rows.start, rows.stop), counts.of(rows), strict=True):
                lengths = norm[item] * norm + np.float32(self.shrinkage)
                similarity = of_item / np.maximum(lengths, np.float32(1e-9))
                similarity[item] = 0
                (best,) = top_k(similarity[None], k)
                neighbors[item], similarities[item] = best, similarity[best]
        items, ranks = np.nonzero(similarities)
        entries = similarities[items, ranks], (neighbors[items, ranks], items)
        self.weights = sparse.csr_array(entries, shape=(n_items, n_items))
        return self

    def score(self, users: Indices) -> Scores:
        """s(u, i), (B, n_items)."""
        scores: Scores = (self.rated[users] @ self.weights).toarray()
        return scores


class EASE:
    """Scores X·B, where B best reconstructs X from itself with a diagonal of zeros.

    B_ij = -P_ij / P_jj off the diagonal, with P the inverse of Xᵀ·X + l2·I and X the matrix of
    ones where a user has rated an item. B is dense, so that only the `max_items` most rated items
    add to scores, of equally rated ones those of the lower index. Each of the others is scored by a
    ridge regression on the `N_NEIGHBORS` of these that are nearest to it, by the cosine of the two
    columns: that is the same problem with most weights 0. Items that nobody has rated are never
    recommended. The memory grows with the square of `max_items`, by 12 bytes; the time with its
    cube.

    Source:
        Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", equation 8; for few
        weights, Ning and Karypis 2011, "SLIM: Sparse Linear Methods for Top-N Recommender Systems":
        fsSLIM, without its L1 penalty and bounds.
    """

    def __init__(self, l2: float, max_items: int) -> None:
        self.l2, self.max_items = l2, max_items

    def fit(self, train: Ratings, n_users: int, n_items: int) -> Self:
        """Itself, with the weights of the training ratings."""
        rated = interaction_matrix(train, n_users, n_items)
        self.items = self.choose(rated)
        self.rated = rated[:, self.items].tocsr()
        gram = co_ratings(self.rated)
        self.weights = self.solve(gram)
        self.others = self.solve_others(rated, self.items, gram)
        self._of_others = self.others.matrix(len(self.items), n_items)
        listed = np.concatenate([self.items, self.others.items])
        self._unrated = np.setdiff1d(np.arange(n_items), listed)
        return self

    def choose(self, rated: Any) -> Indices:
        """The items that add to scores, ascending, of who rated what, sparse (n_users, n_items)."""
        counts = np.bincount(rated.indices)
        items = np.sort(np.argsort(-counts, kind="stable")[: self.max_items])
        return items[counts[items] > 0]

    def solve(self, gram: Scores) -> Scores:
        """B of Xᵀ·X, (m, m) both."""
        system = gram.astype(np.float64).T  # symmetric, in LAPACK's order: to invert it in place
        system[np.diag_indices(len(system))] += self.l2
        inverse = linalg.inv(system, overwrite_a=True, check_finite=False, assume_a="pos")
        weights = np.empty(gram.shape, dtype=np.float32)
        np.divide(inverse.T, -inverse.diagonal(), out=weights)
        np.fill_diagonal(weights, 0)
        return weights

    def solve_others(self, rated: Any, items: Indices, gram: Scores) -> FewWeights:
        """The weights of all other rated items, of who rated what, and Xᵀ·X of the (m,) `items`."""
        others = np.setdiff1d(np.unique(rated.indices), items)
        k = min(N_NEIGHBORS, len(items))
        found = FewWeights(
            others, np.empty((len(others), k), np.int32), np.empty((len(others), k), np.float32)
        )
        if not len(others):
            return found
        counts = PairCounts(rated[:, others].tocsr(), rated[:, items].tocsr())
        norm: Scores = np.sqrt(gram.diagonal())
        for start in range(0, len(others), ITEMS_PER_BLOCK):
            rows = slice(start, start + ITEMS_PER_BLOCK)
            of_items = counts.of(rows)
            near = top_k(of_items / norm, k)
            systems = gram[near[:, :, None], near[:, None, :]].astype(np.float64)
            systems[:, np.arange(k), np.arange(k)] += self.l2
            right = np.take_along_axis(of_items, near, axis=1)
            found.neighbors[rows] = near
            found.weights[rows] = np.linalg.solve(systems, right[..., None])[..., 0]
        return found

    def score(self, users: Indices) -> Scores:
        """X·B, (B, n_items)."""
        rated = self.rated[users]
        scores: Scores = (rated @ self._of_others).toarray()
        scores[:, self.items] = rated @ self.weights
        scores[:, self._unrated] = -np.inf
        return scores


class PairCounts:
    """How many users rated both of two items.

    Args:
        rated: who rated what, sparse (n_users, m).
        others: the same for the columns of the table, sparse (n_users, n).
    """

    def __init__(self, rated: Any, others: Any) -> None:
        self.raters, self.others = rated.T.tocsr(), others
        others.sort_indices()
        n_pairs = np.diff(rated.indptr).astype(np.float64) @ np.diff(others.indptr)
        self.kernel = _kernel() if n_pairs > MANY_PAIRS else None

    def of(self, items: slice, first: int = 0) -> Scores:
        """(b, n - first): of some items with the others from `first` on."""
        n_rows, n = self.raters.shape[0], self.others.shape[1]
        rows = np.arange(n_rows)[items]
        if self.kernel is None:
            found: Scores = (self.raters[rows] @ self.others[:, first:]).toarray()
            return found
        count_pairs = self.kernel.count_pairs
        counts = np.zeros((len(rows), n - first), np.float32)
        given = self.raters.indices, self.raters.indptr, self.others.indices, self.others.indptr
        step = -(-len(rows) // (os.cpu_count() or 1))
        parts = (slice(start, start + step) for start in range(0, len(rows), max(1, step)))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda part: count_pairs(*given, rows[part], first, counts[part]), parts))
        return counts


def _kernel() -> ModuleType | None:
    """The compiled loop; None without numba, which takes a second to import: only if needed."""
    try:
        from cf.baselines import compiled
    except ImportError:
        return None
    return compiled


def co_ratings(rated: Any) -> Scores:
    """How many users rated both of two items, (m, m), of who rated what, sparse (n_users, m)."""
    of_pairs, m = PairCounts(rated, rated), rated.shape[1]
    counts = np.empty((m, m), dtype=np.float32)
    for start in range(0, m, ITEMS_PER_BLOCK):  # each pair once: half of the work
        rows = slice(start, start + ITEMS_PER_BLOCK)
        counts[rows, start:] = of_pairs.of(rows, start)
        counts[start:, rows] = counts[rows, start:].T
    return counts


def interaction_scorers(data: tuple[Ratings, int, int], rank: Rank) -> Iterator[tuple[str, Scorer]]:
    """Each baseline's scorer, by name, fitted when its turn comes, so that few are in memory.

    `data` are the training ratings, the number of users and the number of items.
    """
    yield "popularity", Popularity().fit(*data).score
    yield "itemknn", ItemKNN(rank.knn.n_neighbors, rank.knn.shrinkage).fit(*data).score
    yield "ease", EASE(rank.ease.l2, rank.ease.max_items).fit(*data).score
