"""Which rows are held out: one function a method."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cf.core.errors import InputError
from cf.core.ratings import Indices, Ratings

Parts = dict[str, Indices]
"""The places of the rows of train, of valid and, where it was asked for, of test."""

TRAIN, VALID, TEST = 0, 1, 2
PARTS = {"train": "training", "valid": "validation", "test": "test"}
"""The names of the parts, and what they are for, in words."""

Labels = NDArray[np.int8]
"""(n,) TRAIN, VALID or TEST for each row."""


def random_split(n: int, fraction: float, seed: int, test: bool = False) -> Parts:
    """Rows drawn from all alike.

    Args:
        n: number of rows.
        fraction: of the rows to hold out in each held-out part, in (0, 1); the count is rounded
            down.
        seed: of the permutation.
        test: whether to hold out a test part as well; the rows of valid are the same.

    Returns:
        Train rows in ascending order, held-out rows in the permutation's order; together they are
        every row once.

    Raises:
        InputError: a part would be empty.

    Source:
        The notebook's `get_cv_idx` (fastai 0.7): the first rows of a seeded permutation.
    """
    permutation = np.random.RandomState(seed).permutation(n).astype(np.int64)
    size = int(fraction * n)
    labels = np.full(n, TRAIN, np.int8)
    labels[permutation[:size]] = VALID
    if test:
        labels[permutation[size : 2 * size]] = TEST
    in_order = labels[permutation]
    parts = {"train": np.flatnonzero(labels == TRAIN), "valid": permutation[in_order == VALID]}
    if test:
        parts["test"] = permutation[in_order == TEST]
    return _without_empty(parts, f"split.fraction: {fraction} of {n} ratings", "another fraction")


def per_user(users: Indices, fraction: float, seed: int, test: bool = False) -> Parts:
    """Rows drawn from each user's alike, so that every user with two ratings is in train and valid.

    Of a user's m ratings, `fraction` of m rounded to the nearest (halves up) are held out, but at
    least one and at most m - 1; a single rating stays in train. As many are for test, as far as
    one is left for train.

    Args:
        users: (n,) indices.
        fraction: of a user's rows to hold out in each held-out part, in (0, 1).
        seed: of the draw.

    Returns:
        Rows in ascending order; together they are every row once.

    Raises:
        InputError: a part would be empty.
    """
    permutation = np.random.RandomState(seed).permutation(len(users))
    order = permutation[np.argsort(users[permutation], kind="stable")]
    from_first, size = _places_in_group(users[order])
    n_valid = np.clip((fraction * size + 0.5).astype(np.int64), 1, np.maximum(size - 1, 0))
    n_test = np.minimum(n_valid, np.maximum(size - 1 - n_valid, 0)) * test
    labels = np.full(len(users), TRAIN, np.int8)
    labels[order[from_first < n_valid + n_test]] = TEST
    labels[order[from_first < n_valid]] = VALID
    why = f"split.fraction: {fraction} of each user's ratings"
    return _by_label(labels, test, why, "data whose users have more ratings, or another method")


def by_time(timestamps: Indices | None, fraction: float, test: bool = False) -> Parts:
    """The latest rows held out: all before one moment is train, all from then on is not.

    The moment lies between two different timestamps, so that ratings of the same second are on
    the same side; of all such moments it is the one that holds out nearest to `fraction` of the
    rows, the earlier of two as near. With test, the latest `fraction` is test, and from the ratings
    before it valid is cut in the same way, to end with nearest to twice the fraction held out.

    Args:
        timestamps: (n,) in seconds, or None where the data has none.
        fraction: of all rows to hold out in each held-out part, in (0, 1).

    Returns:
        Rows in ascending order; together they are every row once.

    Raises:
        InputError: no timestamps, or too few different ones to leave no part empty.
    """
    timestamps = _needed(timestamps, "time")
    n, n_parts = len(timestamps), 2 + test
    ordered = np.sort(timestamps)
    cuts = 1 + np.flatnonzero(ordered[1:] != ordered[:-1])  # how many rows are before each moment
    if len(cuts) + 1 < n_parts:
        raise InputError(
            f"params.yaml: split.method: time needs {n_parts} different timestamps for {n_parts} "
            f"parts, got {len(cuts) + (n > 0)} in {n} ratings. Choose another method."
        )
    labels = np.full(n, TRAIN, np.int8)
    last = _nearest(cuts[test:], n - int(fraction * n))
    if test:
        first = _nearest(cuts[cuts < last], n - int(2 * fraction * n))
        labels[timestamps >= ordered[first]] = VALID
        labels[timestamps >= ordered[last]] = TEST
    else:
        labels[timestamps >= ordered[last]] = VALID
    return _by_label(labels, test, f"split.fraction: {fraction} of {n} ratings", "another fraction")


def leave_last(
    users: Indices, timestamps: Indices | None, n_last: int, test: bool = False
) -> Parts:
    """Each user's last rows held out; with test, the last are test and those before them valid.

    Users who would have no row left for train stay in train entirely. Of ratings in the same
    second, the one that stands later in the file is the later.

    Args:
        users: (n,) indices.
        timestamps: (n,) in seconds, or None where the data has none.
        n_last: ratings of each user in each held-out part.

    Returns:
        Rows in ascending order; together they are every row once.

    Raises:
        InputError: no timestamps, or a part would be empty.
    """
    order = np.lexsort((_needed(timestamps, "leave_last"), users))
    from_first, size = _places_in_group(users[order])
    from_last = size - 1 - from_first
    enough = size > n_last * (1 + test)
    labels = np.full(len(users), TRAIN, np.int8)
    labels[order[enough & (from_last < n_last * (1 + test))]] = VALID
    if test:
        labels[order[enough & (from_last < n_last)]] = TEST
    return _by_label(labels, test, f"split.n_last: {n_last} a user", "a smaller number")


def k_fold(n: int, n_folds: int, fold: int, seed: int, test: bool = False) -> Parts:
    """One of `n_folds` parts, drawn from all rows alike and as even as can be, held out.

    Args:
        n: number of rows.
        n_folds: how many parts; with test three at least.
        fold: which is valid, from 0; the next one, after the last the first, is test.
        seed: of the permutation that is cut into folds; the same for all of them.

    Returns:
        Rows in ascending order; together they are every row once, and over all folds every row is
        in valid once.

    Raises:
        InputError: a part would be empty.

    Source:
        Stone 1974, "Cross-Validatory Choice and Assessment of Statistical Predictions".
    """
    folds = np.empty(n, np.int64)
    folds[np.random.RandomState(seed).permutation(n)] = np.arange(n) * n_folds // max(n, 1)
    labels = np.full(n, TRAIN, np.int8)
    labels[folds == fold] = VALID
    if test:
        labels[folds == (fold + 1) % n_folds] = TEST
    why = f"split.n_folds: fold {fold} of {n_folds} of {n} ratings"
    return _by_label(labels, test, why, "fewer folds")


def named(labels: Labels, test: bool, file: str) -> Parts:
    """The parts that the user's own file says.

    Args:
        labels: as `splitfile.read` gives them.
        file: its name, for the message.

    Returns:
        Rows in ascending order; together they are every row once.

    Raises:
        InputError: a part would be empty.
    """
    return _by_label(labels, test, f"split.file: {file}", "rows for each part in that file")


def cold(train: Ratings, ratings: Ratings) -> NDArray[np.bool_]:
    """Whether each rating's user or item never occurs in `train`.

    Returns:
        (len(ratings),) True where cold, False where warm.
    """
    return unseen(train.users, ratings.users) | unseen(train.items, ratings.items)


def unseen(known: Indices, asked: Indices) -> NDArray[np.bool_]:
    """Whether each of the (n,) indices asked for is none of those known, (n,)."""
    seen = np.zeros(1 + max(known.max(initial=-1), asked.max(initial=-1)), dtype=bool)
    seen[known] = True
    return ~seen[asked]


def _needed(timestamps: Indices | None, method: str) -> Indices:
    if timestamps is None:
        raise InputError(
            f"params.yaml: split.method: {method} needs timestamps, which these ratings do not "
            "have. Name their column in ingest.columns.timestamp, or choose another method."
        )
    return timestamps


def _places_in_group(groups: Indices) -> tuple[Indices, Indices]:
    """Each row's place in its group, from 0, and the group's size; equal groups are adjacent."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    sizes = np.diff(starts, append=len(groups))
    return np.arange(len(groups)) - np.repeat(starts, sizes), np.repeat(sizes, sizes)


def _nearest(cuts: Indices, wanted: int) -> int:
    return int(cuts[np.argmin(np.abs(cuts - wanted))])


def _by_label(labels: Labels, test: bool, why: str, remedy: str) -> Parts:
    names = list(PARTS) if test else list(PARTS)[:2]
    parts = {name: np.flatnonzero(labels == label) for label, name in enumerate(names)}
    return _without_empty(parts, why, remedy)


def _without_empty(parts: Mapping[str, Indices], why: str, remedy: str) -> Parts:
    if not all(map(len, parts.values())):
        counts = [f"{len(parts[part])} for {PARTS[part]}" for part in parts]
        raise InputError(
            f"params.yaml: {why} leaves {', '.join(counts)}. Each part needs at least one: choose "
            f"{remedy}."
        )
    return dict(parts)
