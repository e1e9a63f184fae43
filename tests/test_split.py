from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from cf.core.config import Split
from cf.core.errors import InputError
from cf.core.ratings import Indices
from cf.data.split import (
    Subsets,
    by_time,
    from_file,
    k_fold,
    leave_last,
    per_user,
    random_split,
    split,
)

seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0.01, 0.49)
few = st.lists(st.integers(0, 5), min_size=13, max_size=60)


def indices(numbers: list[int]) -> Indices:
    return np.array(numbers, dtype=np.int64)


def lists(parts: Subsets) -> dict[str, list[int]]:
    return {part: rows.tolist() for part, rows in parts.items()}


def check(n: int, make: Callable[[], Subsets], test: bool) -> Subsets:
    """The split, if it is one: disjoint, complete, nowhere empty, the same again."""
    try:
        parts = make()
    except InputError:
        reject()
    assert list(parts) == ["train", "valid", "test"][: 2 + test]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(n))
    assert all(map(len, parts.values()))
    assert (np.diff(parts["train"]) > 0).all()
    assert lists(parts) == lists(make())
    return parts


def test_the_notebooks_own_validation_rows() -> None:
    train, valid = random_split(100_836, 0.2, 42).values()
    assert len(valid) == 20_167
    assert valid[:3].tolist() == [67037, 42175, 93850]
    assert valid[-3:].tolist() == [67290, 33423, 98552]
    assert len(train) == 80_669


@given(st.integers(2, 500), fractions, seeds, st.booleans())
def test_random_rows(n: int, fraction: float, seed: int, test: bool) -> None:
    parts = check(n, lambda: random_split(n, fraction, seed, test), test)
    assert {len(rows) for part, rows in parts.items() if part != "train"} == {int(fraction * n)}
    alone = random_split(n, fraction, seed)["valid"]
    assert parts["valid"].tolist() == alone.tolist(), "a test part leaves valid as it is"


def test_the_seed_decides() -> None:
    users = np.arange(100) % 10
    for make in (
        lambda seed: random_split(100, 0.2, seed),
        lambda seed: per_user(users, 0.2, seed),
        lambda seed: k_fold(100, 5, 0, seed),
    ):
        assert lists(make(1)) != lists(make(2))


LEAVES = ". Each subset needs at least one: choose "


def refused(make: Callable[[], Subsets]) -> str:
    """The message with which a split is refused, without its beginning."""
    with pytest.raises(InputError) as caught:
        make()
    return str(caught.value).removeprefix("params.yaml: split.")


@pytest.mark.parametrize(("n", "fraction"), [(4, 0.2), (1, 0.5), (0, 0.5)])
def test_an_empty_side_is_refused(n: int, fraction: float) -> None:
    assert refused(lambda: random_split(n, fraction, 42)) == (
        f"fraction: {fraction} of {n} ratings leaves {n} for training, 0 for validation{LEAVES}"
        "another fraction."
    )
    with pytest.raises(InputError, match=r"^params\.yaml: split\.fraction: "):
        random_split(n, fraction, 42)


def test_an_empty_test_part_is_refused() -> None:
    assert refused(lambda: random_split(2, 0.5, 42, test=True)) == (
        f"fraction: 0.5 of 2 ratings leaves 0 for training, 1 for validation, 1 for test{LEAVES}"
        "another fraction."
    )
    users = indices([0, 0])
    assert refused(lambda: per_user(users, 0.5, 42, test=True)) == (
        "fraction: 0.5 of each user's ratings leaves 1 for training, 1 for validation, 0 for test"
        f"{LEAVES}data whose users have more ratings, or another method."
    )


@pytest.mark.parametrize("test", [False, True])
def test_each_method_is_given_its_own_settings(test: bool) -> None:
    ratings = pd.DataFrame({"user": np.arange(60) % 6, "timestamp": np.arange(60)[::-1] * 9})
    users, times = ratings["user"].to_numpy(), ratings["timestamp"].to_numpy()
    common = {"fraction": 0.3, "seed": 7, "n_last": 3, "n_folds": 4, "fold": 1, "file": None}
    common |= {"test": test}
    for method, expected in (
        ("random", random_split(60, 0.3, 7, test)),
        ("per_user", per_user(users, 0.3, 7, test)),
        ("time", by_time(times, 0.3, test)),
        ("leave_last", leave_last(users, times, 3, test)),
        ("k_fold", k_fold(60, 4, 1, 7, test)),
    ):
        assert lists(split(ratings, Split(**common, method=method))) == lists(expected), method
    without = ratings[["user"]]
    with pytest.raises(InputError, match="needs timestamps"):
        split(without, Split(**common, method="time"))


def test_the_file_that_is_stated_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "row,part\n1,test\n2,valid\n")
    stated = {"fraction": 0.3, "seed": 7, "n_last": 3, "n_folds": 4, "fold": 1, "test": True}
    settings = Split(method="file", file=str(path), **stated)
    found = split(pd.DataFrame({"user": [0] * 4}), settings)
    assert lists(found) == {"train": [0, 3], "valid": [2], "test": [1]}


def test_by_default_there_is_no_test_part(tmp_path: Path) -> None:
    users = times = np.arange(12) // 3
    path = written(tmp_path, "row,part\n1,valid\n")
    for parts in (
        random_split(12, 0.3, 1),
        per_user(users, 0.3, 1),
        by_time(times, 0.3),
        leave_last(users, times, 1),
        k_fold(12, 3, 0, 1),
        from_file(path, 12),
    ):
        assert list(parts) == ["train", "valid"]


@given(few, fractions, seeds, st.booleans())
def test_each_user_gives_a_share(
    numbers: list[int], fraction: float, seed: int, test: bool
) -> None:
    users = indices(numbers)
    parts = check(len(users), lambda: per_user(users, fraction, seed, test), test)
    sizes = {part: np.bincount(users[rows], minlength=6) for part, rows in parts.items()}
    m = np.bincount(users, minlength=6)
    rounded = np.floor(fraction * m + 0.5)
    assert (sizes["train"] >= np.minimum(m, 1)).all()
    expected = np.where(m > 1, np.clip(rounded, 1, np.maximum(m - 1, 1)), 0)
    assert sizes["valid"].tolist() == expected.tolist()
    if test:
        remaining = np.maximum(m - 1 - expected, 0)
        assert sizes["test"].tolist() == np.minimum(expected, remaining).tolist()


@given(few, fractions, st.booleans())
def test_train_is_before_valid_is_before_test(
    numbers: list[int], fraction: float, test: bool
) -> None:
    times = indices(numbers)
    parts = check(len(times), lambda: by_time(times, fraction, test), test)
    for before, after in pairwise(parts.values()):
        assert times[before].max() < times[after].min()
    n_held_out = len(times) - len(parts["train"])
    others = [int((times >= time).sum()) for time in np.unique(times)[1:]]
    if not test:
        wanted = int(fraction * len(times))
        assert abs(n_held_out - wanted) == min(abs(other - wanted) for other in others)


def test_a_cut_in_time_by_hand() -> None:
    times = indices([50, 10, 20, 20, 20, 20, 30, 40, 40, 60])
    assert lists(by_time(times, 0.2)) == {"train": [1, 2, 3, 4, 5, 6, 7, 8], "valid": [0, 9]}
    assert lists(by_time(times, 0.3))["valid"] == [0, 7, 8, 9], "as near as two: the earlier"
    assert lists(by_time(times, 0.2, test=True)) == {
        "train": [1, 2, 3, 4, 5, 6],
        "valid": [7, 8],
        "test": [0, 9],
    }
    few = indices([1, *[2] * 4, *[3] * 5])  # the cut nearest to both shares is the same
    assert lists(by_time(few, 0.3, test=True)) == {
        "train": [0],
        "valid": [1, 2, 3, 4],
        "test": [5, 6, 7, 8, 9],
    }


@pytest.mark.parametrize(
    ("times", "test"), [([7, 7, 7], False), ([7, 7, 8], True), ([7], False), ([], False)]
)
def test_no_cut_leaves_every_part_a_row(times: list[int], test: bool) -> None:
    n_different, n = len(set(times)), 2 + test
    assert refused(lambda: by_time(indices(times), 0.2, test)) == (
        f"method: time needs {n} different timestamps for {n} subsets, got {n_different} in "
        f"{len(times)} ratings. Choose another method."
    )


def test_even_one_late_rating_makes_a_cut() -> None:
    assert lists(by_time(indices([7, 7, 7, 7, 8]), 0.9)) == {"train": [0, 1, 2, 3], "valid": [4]}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=20, max_size=60),
    st.booleans(),
)
def test_each_users_last_are_held_out(pairs: list[tuple[int, int]], test: bool) -> None:
    users, times = indices([u for u, _ in pairs]), indices([t for _, t in pairs])
    parts = check(len(users), lambda: leave_last(users, times, 2, test), test)
    for user in range(6):
        mine = sorted(np.flatnonzero(users == user).tolist(), key=lambda row: (times[row], row))
        enough = len(mine) > 2 * (1 + test)
        for part in reversed(list(parts)[1:]):
            expected = [mine.pop() for _ in range(2)] if enough else []
            assert [row for row in parts[part] if users[row] == user] == sorted(expected)
        assert [row for row in parts["train"] if users[row] == user] == sorted(mine)


@pytest.mark.parametrize("method", ["time", "leave_last"])
def test_without_timestamps_time_says_nothing(method: str) -> None:
    users = indices([0, 0])
    make = (
        (lambda: by_time(None, 0.2)) if method == "time" else (lambda: leave_last(users, None, 1))
    )
    assert refused(make) == (
        f"method: {method} needs timestamps, which these ratings do not have. Name their column in "
        "ingest.columns.timestamp, or choose another method."
    )


def test_users_with_too_few_ratings_are_no_reason_for_an_empty_part() -> None:
    assert refused(lambda: leave_last(indices([0, 0]), indices([1, 2]), 2)) == (
        f"n_last: 2 a user leaves 2 for training, 0 for validation{LEAVES}a smaller number."
    )


@given(st.integers(2, 100), st.integers(2, 9), seeds, st.booleans())
def test_every_row_is_valid_in_one_fold(n: int, n_folds: int, seed: int, test: bool) -> None:
    assume(n_folds <= n and n_folds >= 2 + test)
    folds = [
        check(n, lambda fold=fold: k_fold(n, n_folds, fold, seed, test), test)  # type: ignore[misc]
        for fold in range(n_folds)
    ]
    valid = [fold["valid"].tolist() for fold in folds]
    assert sorted(row for rows in valid for row in rows) == list(range(n))
    assert max(map(len, valid)) - min(map(len, valid)) <= 1
    if test:
        assert [fold["test"].tolist() for fold in folds] == [*valid[1:], valid[0]]


def test_more_folds_than_ratings_are_refused() -> None:
    assert refused(lambda: k_fold(3, 5, 2, 42)) == (
        "n_folds: fold 2 of 5 of 3 ratings leaves 3 for training, 0 for validation"
        f"{LEAVES}fewer folds."
    )
    assert refused(lambda: k_fold(0, 5, 2, 42)).startswith("n_folds: fold 2 of 5 of 0 ratings")


def test_the_users_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("row,part\n1,test\n2,valid\n")
    assert lists(from_file(path, 4, test=True)) == {"train": [0, 3], "valid": [2], "test": [1]}
    path.write_text("row,part\n1,valid\n")
    assert refused(lambda: from_file(path, 4, test=True)) == (
        f"file: {path} leaves 3 for training, 1 for validation, 0 for test{LEAVES}rows for each "
        "subset in that file."
    )


def written(tmp_path: Path, text: str, name: str = "parts.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


NEEDS = (
    "It needs the columns row, a rating's number in the ingested file from 0, and part: train, "
    "valid or test."
)
MANY = [f"column{n}" for n in range(40)]
NO_ROW = "column row: expected a row from 0 to 4, as there are 5 ratings, got "
NO_PART = (
    "column part: expected the part train or valid (or test, with split.test: true in "
    "params.yaml), got "
)


def test_rows_that_are_not_named_are_for_train(tmp_path: Path) -> None:
    text = "part,why,row\nvalid,a,3\ntrain,b,0\ntest,c,1\n"
    parts = from_file(written(tmp_path, text), 5, test=True)
    assert lists(parts) == {"train": [0, 2, 4], "valid": [3], "test": [1]}
    tabbed = written(tmp_path, "row\tpart\n2\tvalid\n", "parts.tsv")
    assert lists(from_file(tabbed, 3)) == {"train": [0, 1], "valid": [2]}


def test_parquet_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "parts.parquet"
    pq.write_table(pa.table({"row": [3, 1], "part": ["valid", "train"]}), path)
    assert lists(from_file(path, 5)) == {"train": [0, 1, 2, 4], "valid": [3]}
    pq.write_table(pa.table({"row": [3, 9], "part": ["valid", "train"]}), path)
    with pytest.raises(InputError, match=r"parts.parquet, row 2, column row: expected a row from"):
        from_file(path, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,part\n1,valid\n\n5,train\n", f", line 4, {NO_ROW}5."),
        ("row,part\n-1,valid\n", f", line 2, {NO_ROW}-1."),
        ("row,part\n1.5,valid\n", f", line 2, {NO_ROW}'1.5'."),
        ("row,part\n1,valid\nx,valid\n", f", line 3, {NO_ROW}'x'."),
        (
            f"row,{','.join(MANY)}\n1{',2' * len(MANY)}\n",
            f": no column 'part', got {str(['row', *MANY])[:300]}. {NEEDS}",
        ),
        (
            "row,part\n1,valid\n,valid\n",
            ", line 3, column row: expected a value, got ''. Correct or remove the line.",
        ),
        (
            "row,part\n99999999999999999999,valid\n",
            f", line 2, {NO_ROW}'99999999999999999999'.",
        ),
        (
            "row,part\n1,valid\n2,valid\n01,train\n",
            ", line 4, column row: expected each row once, got '01'.",
        ),
        (
            "row,part\n1,valid\n2,Test\n",
            f", line 3, {NO_PART}'Test'.",
        ),
        ("row,part\n1,test\n", f", line 2, {NO_PART}'test'."),
        (
            "row,part\n1,valid\n2\n",
            ", line 3: expected 2 fields as in other lines, got 1. Correct or remove the line.",
        ),
        ("row,portion\n1,valid\n", f": no column 'part', got ['row', 'portion']. {NEEDS}"),
        ("rows,part\n1,valid\n", f": no column 'row', got ['rows', 'part']. {NEEDS}"),
        ("row,part,row\n1,valid,1\n", ": more than one column is called 'row'. Rename one."),
        ("", ": is empty. Expected a first line with column names, then rows."),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        from_file(path, 5)
    assert str(caught.value) == f"{path}{message}"


def test_with_a_test_part_its_rows_may_be_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r": expected the part train or valid or test, got 'Test'.$"
    ):
        from_file(written(tmp_path, "row,part\n1,Test\n"), 5, test=True)


def test_the_first_and_the_last_row_may_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "row,part\n0,valid\n4,valid\n")
    assert lists(from_file(path, 5)) == {"train": [1, 2, 3], "valid": [0, 4]}


def test_a_file_that_is_not_there_or_not_readable(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    assert refused(lambda: from_file(path, 5)) == f"file: {path}: no such file. {NEEDS}"
    with pytest.raises(InputError, match=r"parts.txt: is empty"):
        from_file(written(tmp_path, "", "parts.txt"), 5)
