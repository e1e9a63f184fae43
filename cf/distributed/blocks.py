"""Which row of a table a user or an item has, and which worker has the row.

Each worker has a block of rows, one after the other. Encode numbers users in order of first
appearance, and early ones often have more ratings; so users are spread over rows, and all blocks
have about as much to do.
"""

from functools import cache
from math import gcd
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cf.distributed.stream import N_LANES

Indices = TypeVar("Indices", Tensor, NDArray[np.int64])
GOLDEN_RATIO = (5**0.5 - 1) / 2


def n_rows_held(n_indices: int) -> int:
    """Rows of a table for so many users or items: enough for each worker to have a block."""
    return max(n_indices, N_LANES**2)


def n_rows_of_worker(n_rows: int, n_workers: int) -> int:
    """Rows of each worker's block but the last one's, of a table of `n_rows`, as TorchRec does."""
    return -(-n_rows // n_workers)


def rows_of(indices: Indices, n_rows: int) -> Indices:
    """The row of each user or item, in 64 bits, in a table of `n_rows`: each has its own."""
    return indices * _stride(n_rows) % n_rows


@cache
def _stride(n_rows: int) -> int:
    """Multiples of it, modulo `n_rows`, lie evenly (Knuth's multiplicative hashing)."""
    stride = int(GOLDEN_RATIO * n_rows)
    while gcd(stride, n_rows) > 1:
        stride -= 1
    return stride
