from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf.evaluation.rating_scale import RatingScale, grid_step, group, round_ticks

Range = tuple[float, float]

HALVES = (np.arange(1, 11) / 2, (0.5, 5.0))
PERCENT = (np.arange(101.0), (0.0, 100.0))
JESTER = (np.round(np.linspace(-9.95, 9.9, 1500), 2), (-9.95, 9.9))
LIKES = (np.array([0.0, 1.0]), (0.0, 1.0))


@pytest.mark.parametrize(
    ("values", "rating_range", "step"),
    [
        (*HALVES, 0.5),
        (*PERCENT, 1.0),
        (*LIKES, 1.0),
        (*JESTER, None),  # hundredths, but 1,985 of them
        ([1, 5], (1, 5), 1.0),
        ([0, 33], (0, 100), 1.0),
        ([0, 35], (0, 100), 5.0),
        ([1.25, 2], (1, 5), 0.25),
        ([1, 10 / 3], (1, 5), None),
        ([0.07], (0, 1), 0.01),
        ([7], (0, 5000), 1.0),
        ([1 / 3], (0, 1), None),
        ([4999.99], (4999, 5000), 0.01),  # the nearest float32 is 4999.990234
    ],
)
def test_grid_step(values: list[float], rating_range: Range, step: float | None) -> None:
    assert grid_step(np.array(values, dtype=np.float32), rating_range) == step


@pytest.mark.parametrize(
    ("values", "rating_range", "labels"),
    [
        (*HALVES, ["0.5", "1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5"]),
        (*LIKES, ["0", "1"]),
        (np.arange(1.0, 13), (1.0, 12.0), [str(rating) for rating in range(1, 13)]),
        (
            0.3 * np.arange(14),  # a grid whose step parts no round width
            (0.0, 3.9),
            [
                *("0 to 0.5", "0.5 to 1", "1 to 1.5", "1.5 to 2"),
                *("2 to 2.5", "2.5 to 3", "3 to 3.5", "3.5 to 4"),
            ],
        ),
        (
            *PERCENT,
            [
                *("0 to 10", "11 to 20", "21 to 30", "31 to 40", "41 to 50"),
                *("51 to 60", "61 to 70", "71 to 80", "81 to 90", "91 to 100"),
            ],
        ),
        (
            *JESTER,
            [
                *("-10 to -8", "-8 to -6", "-6 to -4", "-4 to -2", "-2 to 0"),
                *("0 to 2", "2 to 4", "4 to 6", "6 to 8", "8 to 10"),
            ],
        ),
        (
            np.arange(1.0, 14),
            (1.0, 13.0),
            ["1 to 2", "3 to 4", "5 to 6", "7 to 8", "9 to 10", "11 to 12", "13"],
        ),
        (
            np.arange(0, 105, 5.0),
            (0.0, 100.0),
            [
                *("0 to 10", "15 to 20", "25 to 30", "35 to 40", "45 to 50"),
                *("55 to 60", "65 to 70", "75 to 80", "85 to 90", "95 to 100"),
            ],
        ),
        (
            np.random.default_rng(0).uniform(1, 5, 99),
            (1.0, 5.0),
            [
                *("1 to 1.5", "1.5 to 2", "2 to 2.5", "2.5 to 3"),
                *("3 to 3.5", "3.5 to 4", "4 to 4.5", "4.5 to 5"),
            ],
        ),
    ],
)
def test_groups_have_clean_labels(
    values: np.ndarray, rating_range: Range, labels: list[str]
) -> None:
    assert group(values.astype(np.float32), rating_range)[1] == labels


def ends(label: str) -> tuple[float, float]:
    low, *high = map(float, label.split(" to "))
    return low, *(high or [low])


@given(
    st.lists(st.integers(-20, 120), min_size=13, unique=True),
    st.sampled_from([1.0, 0.5, 0.1]),
)
def test_on_a_grid_each_rating_is_within_the_ends_of_its_group(
    numbers: list[int], step: float
) -> None:
    values = np.array(numbers, dtype=np.float32) * np.float32(step)
    rating_range = float(values.min()), float(values.max())
    codes, labels = group(values, rating_range)
    assert len(labels) <= 13
    assert all(before[1] < after[0] for before, after in pairwise(map(ends, labels)))
    for value, code in zip(values, codes, strict=True):
        low, high = ends(labels[code])
        assert low - 1e-4 <= value <= high + 1e-4


def test_the_ends_of_the_range_are_in_the_first_and_the_last_group() -> None:
    values = np.array([*np.linspace(-10, 10, 999), 2.0], dtype=np.float32)
    codes, labels = group(values, (-10.0, 10.0))
    assert codes[[0, -2]].tolist() == [0, len(labels) - 1]
    assert labels[codes[-1]] == "2 to 4", "the lower end belongs to a group"


@pytest.mark.parametrize(
    ("given", "step", "ticks"),
    [
        (HALVES, 0.5, np.arange(1, 11) / 2),
        (PERCENT, 5.0, np.arange(0, 101, 10)),
        (JESTER, 1.0, [-9.95, *range(-8, 9, 2), 9.9]),
        (LIKES, 1.0, [0, 1]),
        ((np.arange(1.0, 101), (1.0, 100.0)), 5.0, [1, *range(10, 101, 10)]),
        (([3.3], (3.0, 9.0)), 0.3, np.arange(6, 19) / 2),  # twenty steps are the grid's
        (([3.3], (3.0, 9.3)), 0.5, range(3, 10)),
    ],
)
def test_scale(given: tuple[np.ndarray, Range], step: float, ticks: list[float]) -> None:
    values, rating_range = given
    values = np.asarray(values)
    scale = RatingScale.of([values], rating_range, "points")
    for n_blocks in (2, 5, 999):  # the last of which are empty
        blocks = np.array_split(values, n_blocks)
        assert RatingScale.of(iter(blocks), rating_range, "points") == scale
    assert (scale.step, scale.unit) == (step, "points")
    assert scale.ticks == pytest.approx(list(ticks))
    low, high = rating_range
    assert abs(scale.levels[0] - low) <= step / 2 >= abs(scale.levels[-1] - high)


def test_round_ticks_of_a_narrow_range() -> None:
    assert round_ticks(0, 1) == pytest.approx(np.arange(11) / 10)
    assert round_ticks(0.25, 0.26)[1] == pytest.approx(0.251)


@pytest.mark.parametrize("unit", [0.1, 10.0])
def test_the_ends_are_ticks_where_they_are_far_from_the_others(unit: float) -> None:
    between = [unit * number for number in range(1, 10)]
    far, near = (0.3 * unit, 9.7 * unit), (0.5 * unit, 9.5 * unit)
    assert round_ticks(*far) == pytest.approx([far[0], *between, far[1]])
    assert round_ticks(*near) == pytest.approx(between)
