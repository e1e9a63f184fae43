"""What ranks items for users: a function from users to a score for each item."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cf.core.ratings import Indices, Ratings, Stars

Scores = NDArray[np.float32]

Scorer = Callable[[Indices], Scores]
"""Users, (B,), to a new array of scores, (B, n_items), of which higher is better.

Scores of one user compare with each other and with nothing else. An item with the score -inf is
never recommended; NaN is an error.
"""

MEMORY = 2**28
"""Bytes that a chunk of scores may take with all that is made of it."""

BYTES_A_SCORE = 32
"""What that is for one score: 4 bytes itself, 8 while the best are found, and the scorer's work."""


def chunks(n: int, n_items: int, memory: int = MEMORY) -> Iterator[slice]:
    """Slices of [0, n), each with so few rows that their scores of all items fit in `memory`."""
    rows = max(1, memory // (BYTES_A_SCORE * max(1, n_items)))
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))


def best(scores: Scores, k: int) -> Indices:
    """The items with the `k` highest scores of each row, the best first.

    Of equal scores that of the lower index comes first; -inf is left out.

    Args:
        scores: (B, n_items).
        k: > 0.

    Returns:
        (B, k) items; -1 at the end of a row with fewer than `k` scores above -inf.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN, which has no rank")
    n_rows, n_items = scores.shape
    # One integer has the score above and, below it, the index, so that no two are equal: the
    # bits of floats order as integers do, once those of negative ones are inverted.
    bits = (scores + np.float32(0)).view(np.int32)  # makes -0.0 what it equals
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    keys = bits.astype(np.int64)
    del bits
    keys <<= 32
    keys |= np.arange(n_items, dtype=np.int64)[::-1]
    k_here = min(k, n_items)
    keys.partition(n_items - k_here, axis=1)
    top = np.sort(keys[:, n_items - k_here :], axis=1)[:, ::-1]
    items = np.full((n_rows, k), -1, dtype=np.int64)
    items[:, :k_here] = n_items - 1 - (top & 0xFFFFFFFF)
    items[:, :k_here][top >> 32 <= LOWEST] = -1
    return items


LOWEST = int(np.array(-np.inf, dtype=np.float32).view(np.int32)) ^ 0x7FFFFFFF


def rated(ratings: Ratings, n_users: int, n_items: int) -> Any:
    """Who rated what: a sparse (n_users, n_items) of float32 ones in CSR form, whatever the stars.

    A pair that occurs twice counts once.
    """
    ones = np.ones(len(ratings), dtype=np.float32)
    pairs = ratings.users.astype(np.int32), ratings.items.astype(np.int32)
    matrix = sparse.csr_array((ones, pairs), shape=(n_users, n_items))
    matrix.data[:] = 1  # what occurred twice was added up
    return matrix


def by_stars(predict: Callable[[Indices, Indices], Stars], n_items: int) -> Scorer:
    """A scorer that ranks items by the stars predicted for them.

    Args:
        predict: users and items, (n,) each, to stars, (n,).
    """
    items = np.arange(n_items, dtype=np.int64)

    def scores(users: Indices) -> Scores:
        predicted = predict(np.repeat(users, n_items), np.tile(items, len(users)))
        return predicted.reshape(len(users), n_items)

    return scores
