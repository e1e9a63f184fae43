"""The scale that ratings lie on: its grid, groups of ratings, and ticks of an axis."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.ratings import Indices, Stars

MAX_GROUPS = 12
MAX_STEPS = 20  # that a figure shows one by one
FINE = 200  # steps in the range: a finer grid counts as none, unless it is of whole numbers
PER_UNIT = 100  # grids are of hundredths, or coarser


@dataclass(frozen=True)
class RatingScale:
    """What figures need to know about ratings.

    Attributes:
        low: lowest rating allowed; `high` the highest.
        step: between two ratings that are told apart: the grid, or a round number.
        unit: what a rating counts, as a plural.
    """

    low: float
    high: float
    step: float
    unit: str

    @classmethod
    def of(
        cls, blocks: Iterable[Stars], rating_range: tuple[float, float], unit: str
    ) -> "RatingScale":
        """The scale of ratings, which are within the range and come in blocks."""
        low, high = rating_range
        # Ratings are on a grid if those of each block are; its step divides the blocks' steps.
        steps = [grid_step(pd.unique(values), rating_range) for values in blocks]
        step = None if None in steps else grid_step(np.array(steps), rating_range)
        if step is None or (high - low) / step > MAX_STEPS + 1e-6:
            step = round_width(high - low, MAX_STEPS)
        return cls(low, high, step, unit)

    @property
    def levels(self) -> NDArray[np.float64]:
        """The ratings that are told apart, ascending: multiples of the step."""
        first, last = round(self.low / self.step), round(self.high / self.step)
        return self.step * np.arange(first, last + 1, dtype=np.float64)

    @property
    def ticks(self) -> list[float]:
        """Up to about a dozen round ratings within the range, for an axis."""
        if len(self.levels) <= MAX_GROUPS:
            return [min(max(level, self.low), self.high) for level in self.levels.tolist()]
        return round_ticks(self.low, self.high)


def grid_step(values: Stars, rating_range: tuple[float, float]) -> float | None:
    """The widest step of which all ratings and the ends of the range are multiples.

    None where there is none of at least a hundredth, or the range has very many.
    """
    scaled = PER_UNIT * np.append(values, rating_range)
    whole = scaled.round()
    if (np.abs(scaled - whole) > 1e-3 + 2e-7 * np.abs(whole)).any():
        return None
    divisor = int(np.gcd.reduce(whole.astype(np.int64)))
    step = divisor / PER_UNIT
    low, high = rating_range
    if not step or ((high - low) / step > FINE and divisor % PER_UNIT):
        return None
    return step


def round_width(width: float, n_groups: int, step: float = 0.0) -> float:
    """The least of 1, 2, 5, 10, ... (or 0.1, ...), above `step`, that parts a width into so few."""
    powers = count(math.floor(math.log10(width / n_groups)))
    candidates = (float(f"{factor}e{power}") for power in powers for factor in (1, 2, 5))
    return next(w for w in candidates if w > step and width / w <= n_groups + 1e-6)


def round_ticks(low: float, high: float) -> list[float]:
    """Up to about a dozen round numbers from `low` to `high`, and these, if far from the others."""
    width = round_width(high - low, MAX_GROUPS)
    first, last = math.ceil(low / width), math.floor(high / width)
    ticks = [width * number for number in range(first, last + 1)]
    before = [low] * (ticks[0] - low > 0.6 * width)
    return before + ticks + [high] * (high - ticks[-1] > 0.6 * width)


def group(values: Stars, rating_range: tuple[float, float]) -> tuple[Indices, Sequence[str]]:
    """Ratings in at most a dozen groups or so: the group of each, (n,), and the groups' labels.

    Each rating is a group where they are few. Else groups are ranges of a round width: on a grid
    "0 to 10" and "11 to 20", off one "-10 to -8" and "-8 to -6", the lower end included.
    """
    distinct = np.unique(values)
    if len(distinct) <= MAX_GROUPS:
        return np.searchsorted(distinct, values), [_label(value) for value in distinct.tolist()]
    low, high = rating_range
    step = grid_step(distinct, rating_range)
    width = round_width(high - low, MAX_GROUPS, step or 0.0)
    if step and round(width / step, 6) % 1:
        step = None
    first = math.floor(low / width + 1e-6)
    position = values.astype(np.float64) / width
    last = math.ceil(high / width - 1e-6) - 1
    if step:
        codes = np.ceil(position - 1e-6).astype(np.int64) - 1
        lower = [low, *(width * number + step for number in range(first + 1, last + 1))]
        upper = [*(width * (number + 1) for number in range(first, last)), high]
    else:
        codes = np.floor(position).astype(np.int64)
        lower = [width * number for number in range(first, last + 1)]
        upper = [width * (number + 1) for number in range(first, last + 1)]
    ends = (tuple(map(_label, pair)) for pair in zip(lower, upper, strict=True))
    labels = [start if start == end else f"{start} to {end}" for start, end in ends]
    return codes.clip(first, last) - first, labels


def _label(value: float) -> str:
    """A rating as people write it."""
    return f"{value:.0f}" if value == round(value) else f"{value:g}"
