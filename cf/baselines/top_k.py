"""The k best of many scores, in chunks that fit in memory."""

from collections.abc import Iterator

import numpy as np

from cf.baselines.base import Scores
from cf.core.ratings import Indices

MEMORY = 2**28
"""Bytes for the scores in a chunk, and for all that is made of them."""

BYTES_PER_SCORE = 32
"""Of these, 4 are the score, 8 find the best, and the rest is the scorer's work."""

LOWEST = int(np.array(-np.inf, dtype=np.float32).view(np.int32)) ^ 0x7FFFFFFF
"""The upper half of the key of -inf in `top_k`."""


def chunks(n: int, n_items: int, memory: int) -> Iterator[slice]:
    """Slices of [0, n), each with so few rows that their scores of all items fit in `memory`."""
    rows = max(1, memory // (BYTES_PER_SCORE * max(1, n_items)))
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))


def top_k(scores: Scores, k: int) -> Indices:
    """The items with the `k` highest of the scores, (B, n_items), the best first: (B, k).

    Of equal scores the lower index comes first. A row with fewer than `k` scores above -inf ends
    in -1.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN, which has no rank")
    n_rows, n_items = scores.shape
    # One integer has the score in its upper half and the index in its lower half, so that no two
    # are equal: the bits of floats order as integers do, once those of negative ones are inverted.
    bits = (scores + np.float32(0)).view(np.int32)  # 0 for -0
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
