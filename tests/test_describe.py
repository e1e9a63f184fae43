"""What the subsets of a split hold, counted by hand."""

from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

from cf.core.config import Split
from cf.data.describe import Train, count, count_held_out, describe, is_leaked

Pairs = tuple[list[int], list[int]]


def subset(users: list[int], items: list[int], times: list[int] | None = None) -> pd.DataFrame:
    table = pd.DataFrame({"user": users, "item": items, "row": np.arange(len(users)) + 10})
    return table if times is None else table.assign(timestamp=times)


TRAIN = subset([0, 0, 1, 2], [0, 1, 1, 0], [5, 3, 9, 4])
HELD_OUT = subset([0, 3, 3, 1, 4, 0], [1, 0, 5, 6, 7, 0], [1, 2, 3, 4, 5, 6])
COUNTS = {
    **{"n": 6, "n_users": 4, "n_items": 5, "earliest": 1, "latest": 6},
    **{"n_cold_users": 2, "n_cold_items": 3, "n_cold_user_only": 1, "n_cold_item_only": 1},
    **{"n_cold_both": 2, "n_cold": 4, "n_leaked": 2},
}


def test_counts() -> None:
    assert count(TRAIN) == {"n": 4, "n_users": 3, "n_items": 2, "earliest": 3, "latest": 9}
    assert count(subset([0, 0], [0, 1])) == {"n": 2, "n_users": 1, "n_items": 2}


def test_cold_and_leaked_rows_are_counted() -> None:
    n_leaked = int(is_leaked(TRAIN, HELD_OUT).sum())
    assert count_held_out(Train.of(TRAIN), HELD_OUT) | {"n_leaked": n_leaked} == COUNTS


@pytest.mark.parametrize(
    ("train", "held_out", "expected"),
    [
        (([0, 1], [1, 0]), ([1, 0, 0, 1], [1, 0, 1, 0]), [False, False, True, True]),
        (([0, 1], [1, 0]), ([0], [9]), [False]),
        (([0, 1], [9, 0]), ([1, 0], [0, 2]), [True, False]),
        (([0], [1]), ([0, 0], [1, 1]), [True, True]),
        (([0], [3]), ([1, 1], [0, 1]), [False, False]),
        (([0], [1]), ([2], [0]), [False]),
    ],
)
def test_a_rating_is_leaked_if_train_has_its_user_and_item(
    train: Pairs, held_out: Pairs, expected: list[bool]
) -> None:
    leaked = is_leaked(subset(*train), subset(*held_out))
    assert leaked.dtype == bool
    assert leaked.tolist() == expected


def test_the_facts_of_a_split() -> None:
    common = {"fraction": 0.2, "seed": 7, "n_last": 1, "n_folds": 5, "fold": 0, "file": None}
    settings = Split(method="random", test=True, **common)
    facts = describe({"train": TRAIN, "valid": HELD_OUT, "test": HELD_OUT[:1]}, settings)
    assert (facts.fraction, facts.seed, facts.method) == (0.2, 7, "random")
    assert facts.settings == settings.used
    assert list(facts.parts) == ["train", "valid", "test"]
    assert facts.parts["train"] == count(TRAIN)
    assert facts.parts["valid"] == COUNTS
    assert facts.parts["test"]["n"] == 1
    rows = np.arange(10, 16, dtype="<i8").tobytes()
    assert facts.sha256 == sha256(rows + b"test" + rows[:8]).hexdigest()
    without = describe({"train": TRAIN, "valid": HELD_OUT}, settings)
    assert without.sha256 == sha256(rows).hexdigest()
    narrow = describe({"train": TRAIN, "valid": HELD_OUT.astype({"row": "int32"})}, settings)
    assert narrow.sha256 == without.sha256
