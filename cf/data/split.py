"""Which rows are held out: one function a method of split.method.

Each returns `Subsets` that together have every row once: by number, from 0, in ascending order.
Each raises InputError where a subset would be empty, or what the method needs is not there.

Arguments that several take:
    n: number of rows.
    users: (n,) indices.
    timestamps: (n,) in seconds, or None where the data has none.
    fraction: of the rows to hold out in each held-out subset, in (0, 1).
    seed: of the permutation that rows are drawn with.
    test: whether to hold out a test subset as well, as large as valid.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.config import Split, TextLayout
from cf.core.errors import InputError
from cf.core.ratings import SUBSET_LABELS, Indices
from cf.data import table_file
from cf.data.values import Ids

Subsets = dict[str, Indices]
"""The rows of train, of valid and, where it was asked for, of test."""

TRAIN, VALID, TEST = range(3)

FILE_NEEDS = (
    "It needs the columns row, a rating's number in the ingested file from 0, and part: train, "
    "valid or test."
)


def split(ratings: pd.DataFrame, settings: Split) -> Subsets:
    """The rows of each subset of ratings with the columns user and perhaps timestamp."""
    n, users = len(ratings), ratings["user"].to_numpy()
    timestamps = ratings["timestamp"].to_numpy() if "timestamp" in ratings else None
    fraction, seed, test = settings.fraction, settings.seed, settings.test
    match settings.method:
        case "random":
            return random_split(n, fraction, seed, test)
        case "per_user":
            return per_user(users, fraction, seed, test)
        case "time":
            return by_time(timestamps, fraction, test)
        case "leave_last":
            return leave_last(users, timestamps, settings.n_last, test)
        case "k_fold":
            return k_fold(n, settings.n_folds, settings.fold, seed, test)
        case "file":
            return from_file(Path(settings.file or ""), n, test)


def random_split(n: int, fraction: float, seed: int, test: bool = False) -> Subsets:
    """Rows drawn from all alike; the held-out ones are in the order they were drawn in.

    The count is rounded down. With and without test, the rows of valid are the same.

    Source:
        The notebook's `get_cv_idx` (fastai 0.7): the first rows of a seeded permutation.
    """
    permutation = np.random.RandomState(seed).permutation(n)
    size = int(fraction * n)
    subsets = {"train": np.sort(permutation[size * (1 + test) :]), "valid": permutation[:size]}
    if test:
        subsets["test"] = permutation[size : 2 * size]
    return _check_sizes(subsets, f"split.fraction: {fraction} of {n} ratings", "another fraction")


def per_user(users: Indices, fraction: float, seed: int, test: bool = False) -> Subsets:
    """Rows drawn from each user's alike, so that every user with two ratings is in train and valid.

    Of a user's m ratings, `fraction` of m rounded to the nearest (halves up) are held out, but at
    least one and at most m - 1; a single rating stays in train. As many are for test, as far as
    one is left for train.
    """
    order = np.random.RandomState(seed).permutation(len(users))
    rank, size = _rank_in_group(users[order])
    n_valid = np.clip((fraction * size + 0.5).astype(np.int64), 1, np.maximum(size - 1, 0))
    n_test = np.minimum(n_valid, np.maximum(size - 1 - n_valid, 0)) * test
    codes = np.empty(len(users), np.int8)
    codes[order] = np.select([rank < n_valid, rank < n_valid + n_test], [VALID, TEST], TRAIN)
    why = f"split.fraction: {fraction} of each user's ratings"
    return _from_codes(codes, test, why, "data whose users have more ratings, or another method")


def by_time(timestamps: Indices | None, fraction: float, test: bool = False) -> Subsets:
    """The latest rows held out: all before one moment is train, all from then on is not.

    The moment lies between two different timestamps, so that ratings of the same second are on
    the same side; of all such moments it is the one that holds out nearest to `fraction` of the
    rows, the earlier of two as near. With test, the latest `fraction` is test, and from the ratings
    before it valid is cut in the same way, to end with nearest to twice the fraction held out.
    """
    timestamps = _require_timestamps(timestamps, "time")
    n, n_subsets = len(timestamps), 2 + test
    ordered = np.sort(timestamps)
    cuts = 1 + np.flatnonzero(ordered[1:] != ordered[:-1])  # how many rows are before each moment
    if len(cuts) + 1 < n_subsets:
        raise InputError(
            f"params.yaml: split.method: time needs {n_subsets} different timestamps for "
            f"{n_subsets} subsets, got {len(cuts) + (n > 0)} in {n} ratings. Choose another method."
        )
    chosen = [_nearest(cuts[test:], n - int(fraction * n))]
    if test:
        chosen.insert(0, _nearest(cuts[cuts < chosen[0]], n - int(2 * fraction * n)))
    return _rows_of(np.searchsorted(ordered[chosen], timestamps, side="right"), test)


def leave_last(
    users: Indices, timestamps: Indices | None, n_last: int, test: bool = False
) -> Subsets:
    """Each user's last `n_last` rows held out; with test, those before them are valid.

    Users who would have no row left for train stay in train entirely. Of ratings in the same
    second, the one that stands later in the file is the later.
    """
    order = np.argsort(_require_timestamps(timestamps, "leave_last"), kind="stable")[::-1]
    rank, size = _rank_in_group(users[order])
    enough = size > n_last * (1 + test)
    codes = np.empty(len(users), np.int8)  # the last are in the last subset, then one by one down
    codes[order] = np.where(enough, np.maximum(1 + test - rank // n_last, TRAIN), TRAIN)
    return _from_codes(codes, test, f"split.n_last: {n_last} a user", "a smaller number")


def k_fold(n: int, n_folds: int, fold: int, seed: int, test: bool = False) -> Subsets:
    """One of `n_folds` folds, drawn from all rows alike and as even as can be, held out.

    The fold numbered `fold`, from 0, is valid, and the next, after the last the first, is test.
    With one seed, every row is in valid in one fold.

    Source:
        Stone 1974, "Cross-Validatory Choice and Assessment of Statistical Predictions".
    """
    codes = np.empty(n, np.int8)
    folds = np.arange(n) * n_folds // max(n, 1)
    held_out = [folds == fold, test & (folds == (fold + 1) % n_folds)]
    codes[np.random.RandomState(seed).permutation(n)] = np.select(held_out, [VALID, TEST], TRAIN)
    why = f"split.n_folds: fold {fold} of {n_folds} of {n} ratings"
    return _from_codes(codes, test, why, "fewer folds")


def from_file(path: Path, n: int, test: bool = False) -> Subsets:
    """The subsets that the user's own file names; `FILE_NEEDS` says how.

    Rows that it does not name are for train.
    """
    if not path.is_file():
        raise InputError(f"params.yaml: split.file: {path}: no such file. {FILE_NEEDS}")
    table = table_file.open_table(path, TextLayout())
    for name in ("row", "part"):
        if name not in table.names:
            got = str(table.names)[:300]
            raise InputError(f"{path}: no column {name!r}, got {got}. {FILE_NEEDS}")
    collectors = {"row": Ids(None), "part": Ids(None)}
    columns = {name: name for name in collectors}
    frame, _ = table_file.read_columns([table], columns, collectors, dict.fromkeys(columns, ""))

    def raise_if_any(column: str, wrong: pd.Series, expected: str) -> None:
        if wrong.any():
            row = int(wrong.to_numpy(bool).argmax())
            got = frame[column].astype(object).iloc[row]  # 5, not np.int64(5)
            raise InputError(
                f"{path}, {table.locate(row)}, column {column}: expected {expected}, got {got!r}."
            )

    names = list(SUBSET_LABELS)[: 2 + test]
    hint = "" if test else " (or test, with split.test: true in params.yaml)"
    rows = pd.to_numeric(frame["row"].astype(str), errors="coerce")
    in_range = rows.between(0, n - 1) & (rows % 1 == 0)
    raise_if_any("row", ~in_range, f"a row from 0 to {n - 1}, as there are {n} ratings")
    raise_if_any("row", rows.duplicated(), "each row once")
    raise_if_any("part", ~frame["part"].isin(names), f"the part {' or '.join(names)}{hint}")
    codes = np.full(n, TRAIN, np.int8)
    codes[rows.to_numpy(np.int64)] = pd.Categorical(frame["part"], names).codes
    return _from_codes(codes, test, f"split.file: {path}", "rows for each subset in that file")


def _require_timestamps(timestamps: Indices | None, method: str) -> Indices:
    if timestamps is None:
        raise InputError(
            f"params.yaml: split.method: {method} needs timestamps, which these ratings do not "
            "have. Name their column in ingest.columns.timestamp, or choose another method."
        )
    return timestamps


def _rank_in_group(groups: Indices) -> tuple[Indices, Indices]:
    """Each row's position among the rows of its group, from 0, and the group's size."""
    by_group = pd.Series(groups).groupby(groups, sort=False)
    rank, size = by_group.cumcount(), by_group.transform("size")
    return np.asarray(rank, np.int64), np.asarray(size, np.int64)


def _nearest(cuts: Indices, wanted: int) -> int:
    return int(cuts[np.argmin(np.abs(cuts - wanted))])


def _from_codes(codes: NDArray[np.integer], test: bool, why: str, hint: str) -> Subsets:
    return _check_sizes(_rows_of(codes, test), why, hint)


def _rows_of(codes: NDArray[np.integer], test: bool) -> Subsets:
    names = list(SUBSET_LABELS)[: 2 + test]
    return {name: np.flatnonzero(codes == code) for code, name in enumerate(names)}


def _check_sizes(subsets: Subsets, why: str, hint: str) -> Subsets:
    if not all(map(len, subsets.values())):
        counts = [f"{len(rows)} for {SUBSET_LABELS[name]}" for name, rows in subsets.items()]
        raise InputError(
            f"params.yaml: {why} leaves {', '.join(counts)}. Each subset needs at least one: "
            f"choose {hint}."
        )
    return subsets
