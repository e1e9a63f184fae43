import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cf.data.splitting import cold, random_split
from cf.errors import InputError
from cf.ratings import Ratings


def ratings(pairs: list[tuple[int, int]]) -> Ratings:
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Ratings(users, items, np.ones(len(pairs), np.float32), None, np.arange(len(pairs)))


def test_the_notebooks_own_validation_rows() -> None:
    train, valid = random_split(100_836, 0.2, 42).values()
    assert len(valid) == 20_167
    assert valid[:3].tolist() == [67037, 42175, 93850]
    assert valid[-3:].tolist() == [67290, 33423, 98552]
    assert len(train) == 80_669


@given(st.integers(2, 500), st.floats(0.001, 0.999), st.integers(0, 2**32 - 1))
def test_sides_are_disjoint_and_complete(n: int, fraction: float, seed: int) -> None:
    assume(0 < int(fraction * n) < n)
    train, valid = random_split(n, fraction, seed).values()
    assert sorted([*train, *valid]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert len(valid) == int(fraction * n)


def test_the_seed_decides() -> None:
    assert (
        random_split(100, 0.2, 1)["valid"].tolist() == random_split(100, 0.2, 1)["valid"].tolist()
    )
    assert (
        random_split(100, 0.2, 1)["valid"].tolist() != random_split(100, 0.2, 2)["valid"].tolist()
    )


@pytest.mark.parametrize(("n", "fraction"), [(4, 0.2), (1, 0.5), (0, 0.5)])
def test_an_empty_side_is_refused(n: int, fraction: float) -> None:
    with pytest.raises(
        InputError, match=r"split.fraction: .* of . ratings leaves . for training, 0 for valid"
    ):
        random_split(n, fraction, 42)


def test_cold_is_a_user_or_an_item_that_train_never_met() -> None:
    train = ratings([(0, 0), (1, 2)])
    asked = ratings([(0, 0), (0, 1), (0, 2), (2, 0), (1, 9)])
    assert cold(train, asked).tolist() == [False, True, False, True, True]
