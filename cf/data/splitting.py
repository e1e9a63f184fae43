"""Which rows are held out."""

import numpy as np
from numpy.typing import NDArray

from cf.errors import InputError
from cf.ratings import Indices, Ratings


def random_split(n: int, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """The rows to train on and the rows held out.

    Args:
        n: number of rows.
        fraction: of the rows to hold out, in (0, 1); the count is rounded down.
        seed: of the permutation.

    Returns:
        Train rows in ascending order, and validation rows in the permutation's order; together
        they are every row once.

    Raises:
        InputError: one of the two would be empty.

    Source:
        The notebook's `get_cv_idx` (fastai 0.7): the first rows of a seeded permutation.
    """
    n_valid = int(fraction * n)
    if not 0 < n_valid < n:
        raise InputError(
            f"params.yaml: split.fraction: {fraction} of {n} ratings leaves "
            f"{n_valid} for validation and {n - n_valid} for training. Choose a fraction that "
            "leaves at least one on each side."
        )
    permutation = np.random.RandomState(seed).permutation(n)
    valid = permutation[:n_valid].astype(np.int64)
    held_out = np.zeros(n, dtype=bool)
    held_out[valid] = True
    return np.flatnonzero(~held_out), valid


def cold(train: Ratings, ratings: Ratings) -> NDArray[np.bool_]:
    """Whether each rating's user or item never occurs in `train`.

    Returns:
        (len(ratings),) True where cold, False where warm.
    """
    return _unseen(train.users, ratings.users) | _unseen(train.items, ratings.items)


def _unseen(known: Indices, asked: Indices) -> NDArray[np.bool_]:
    seen = np.zeros(1 + max(known.max(initial=-1), asked.max(initial=-1)), dtype=bool)
    seen[known] = True
    return ~seen[asked]
