"""Scores of all items for users, and the k best of them, in chunks that fit in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices, Ratings, Stars

MEMORY = 2**28  # bytes for the scores in a chunk, and for all that is made of them
BYTES_PER_SCORE = 32  # 4 are the score, 8 find the best, and the rest is the scorer's work

N_BLOCKS_PER_ITEM = 6  # of a list, to find a bound: with more, fewer scores reach it

Scores = NDArray[np.float32]

Scorer = Callable[[Indices], Scores]
"""Users, (B,), to a new array of scores, (B, n_items): the higher, the better.

They compare within a user only. An item with the score -inf is never recommended; NaN is an error.
"""


@dataclass(frozen=True)
class FewWeights:
    """What a few rated items add to the scores of each of many others.

    Attributes:
        items: (r,) indices of those that are scored, ascending.
        neighbors: (r, k) the rated ones, as positions in a list of m items.
        weights: (r, k) what each adds.
    """

    items: Indices
    neighbors: NDArray[np.int32]
    weights: Scores

    def matrix(self, m: int, n_items: int) -> Any:
        """The same as sparse (m, n_items)."""
        from scipy import sparse  # late: not every user of this module ranks

        columns = np.repeat(self.items, self.weights.shape[1])
        entries = self.weights.ravel(), (self.neighbors.ravel(), columns)
        return sparse.csr_array(entries, shape=(m, n_items))


def rating_scorer(predict: Callable[[Indices, Indices], Stars], n_items: int) -> Scorer:
    """A scorer that ranks items by their predicted ratings."""

    def score(users: Indices) -> Scores:
        predicted = predict(np.repeat(users, n_items), np.tile(np.arange(n_items), len(users)))
        return predicted.reshape(len(users), n_items)

    return score


def interaction_matrix(ratings: Ratings, n_users: int, n_items: int) -> Any:
    """Who rated what: sparse (n_users, n_items) float32 ones in CSR form, once for each pair."""
    from scipy import sparse  # late: not every user of this module ranks

    ones = np.ones(len(ratings), dtype=np.float32)
    pairs = ratings.users.astype(np.int32), ratings.items.astype(np.int32)
    matrix = sparse.csr_array((ones, pairs), shape=(n_users, n_items))
    matrix.data[:] = 1  # repeated pairs were summed
    return matrix


def chunks(n: int, n_items: int) -> Iterator[slice]:
    """Slices of [0, n), each with so few rows that their scores of all items fit in `MEMORY`."""
    rows = max(1, MEMORY // (BYTES_PER_SCORE * max(1, n_items)))
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))


def top_k(scores: Scores, k: int) -> Indices:
    """The items with the `k` highest of the scores, (B, n_items), the best first: (B, k).

    Of equal scores the lower index comes first. A row with fewer than `k` scores above -inf ends
    in -1.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores.max(initial=-np.inf)):
        raise ValueError("a score is NaN, which has no rank")
    n_rows, n_items = scores.shape
    k_here = min(k, n_items)
    items = np.full((n_rows, k), -1, dtype=np.int64)
    for row, of_row in enumerate(scores if k_here else ()):
        candidates = _candidates(of_row, k_here)
        values = of_row[candidates]
        lowest = np.partition(values, -k_here)[-k_here]
        above = np.flatnonzero(values > lowest)
        equal = np.flatnonzero(values == lowest)[: k_here - len(above)]
        top = np.concatenate([above, equal])
        top = top[np.lexsort((candidates[top], -values[top]))]
        top = top[values[top] > -np.inf]
        items[row, : len(top)] = candidates[top]
    return items


def _candidates(scores: Scores, k: int) -> Indices:
    """Ascending items, among which are all whose scores are at least the `k`-th highest.

    `N_BLOCKS_PER_ITEM * k` or more blocks of scores have a highest one each, of which the k-th is a
    bound: so many scores reach it.
    """
    n_per_block = len(scores) // (N_BLOCKS_PER_ITEM * k)
    if n_per_block < 2:
        return np.arange(len(scores))
    n_blocks = len(scores) // n_per_block
    blocks = scores[: n_blocks * n_per_block].reshape(n_per_block, n_blocks)
    bound = np.partition(blocks.max(0), -k)[-k]
    return np.flatnonzero(scores >= bound)
