"""Items similar to those that a user has rated."""

from typing import Self

import numpy as np
from scipy import sparse

from cf.baselines.base import Baseline, Scores, interaction_matrix
from cf.baselines.top_k import MEMORY, chunks, top_k
from cf.core.ratings import Indices, Ratings


class ItemKNN(Baseline):
    """The sum of an item's similarities to the items that the user has rated.

    s(u, i) = sum of sim(i, j) over the j that u has rated among the nearest neighbors of i, with
    sim(i, j) = n_ij / (sqrt(n_i · n_j) + shrinkage), where n_i users have rated i, and n_ij both.
    That is the cosine of the two items' columns, lower for items with few ratings. The stars are
    not used, and an item that nobody has rated scores 0.

    Args:
        n_neighbors: of each item; of equally similar ones those of the lower index.
        shrinkage: >= 0, in users.
        memory: bytes for the similarities in one chunk.

    Source:
        Sarwar, Karypis, Konstan and Riedl 2001, "Item-Based Collaborative Filtering
        Recommendation Algorithms", sections 3.1.1 and 3.2.1; the shrinkage as in Ferrari Dacrema,
        Cremonesi and Jannach 2019, "Are We Really Making Much Progress?".
    """

    def __init__(self, n_neighbors: int, shrinkage: float, memory: int = MEMORY) -> None:
        self.n_neighbors, self.shrinkage, self.memory = n_neighbors, shrinkage, memory

    def fit(self, train: Ratings, n_users: int, n_items: int) -> Self:
        """Itself, with the similarities of the training ratings."""
        self.rated = interaction_matrix(train, n_users, n_items)
        raters = self.rated.T.tocsr()
        norm = np.sqrt(np.diff(raters.indptr)).astype(np.float32)
        k = min(self.n_neighbors, n_items)
        neighbors = np.empty((n_items, k), dtype=np.int64)
        similarities = np.empty((n_items, k), dtype=np.float32)
        for rows in chunks(n_items, n_items, self.memory):
            cosine = (raters[rows] @ self.rated).toarray()
            cosine /= np.maximum(norm[rows, None] * norm + np.float32(self.shrinkage), 1e-9)
            cosine[np.arange(rows.stop - rows.start), np.arange(rows.start, rows.stop)] = 0
            cosine[cosine == 0] = -np.inf
            neighbors[rows] = top_k(cosine, k)
            similarities[rows] = np.take_along_axis(cosine, neighbors[rows], axis=1)
        items, ranks = np.nonzero(neighbors >= 0)
        self.weights = sparse.csr_array(
            (similarities[items, ranks], (neighbors[items, ranks], items)),
            shape=(n_items, n_items),
        )
        return self

    def score(self, users: Indices) -> Scores:
        """s(u, i), (B, n_items)."""
        scores: Scores = (self.rated[users] @ self.weights).toarray()
        return scores
