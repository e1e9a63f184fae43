"""Where a model wins: its error apart for groups of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices, Ratings, Stars, is_new
from cf.evaluation.rows import Row

FEW_USERS = 10
"""Groups of fewer users have no intervals: what so few tell of others cannot be told."""

MANY_VALUES = 20
"""More distinct ratings than these are put into ten ranges of equal width."""

COLUMNS = {
    "stratum": str,
    "label": str,
    "model": str,
    "n": int,
    "n_users": int,
    "rmse": float,
    "rmse_low": float,
    "rmse_high": float,
    "bias": float,
    "to_best": float,
    "to_best_low": float,
    "to_best_high": float,
}
"""In stars: bias is the mean of predicted minus observed, to_best the RMSE less that of the model
that is best over all rows; _low and _high are the ends of 95% intervals.
"""


@dataclass(frozen=True)
class Strata:
    """Groups of rows; a row may be in several of them, or in none.

    Attributes:
        name: of what the rows are told apart by.
        labels: of the groups, in order.
        rows: (k,) places of rows.
        groups: (k,) the group that each is in, in [0, number of labels).
    """

    name: str
    labels: list[str]
    rows: Indices
    groups: Indices


def stratify(train: Ratings, held_out: Ratings, genres: NDArray[np.object_]) -> list[Strata]:
    """The held-out rows by all that may matter to a model, a row or more in every group.

    Args:
        genres: (n_items,) names joined by "|", "" where there are none, by the item's index.

    Returns:
        item_popularity and user_activity (training ratings of the item and of the user),
        warm_cold, genre (where there are genres), rating, and month and year of the rating, in
        UTC (where there are timestamps).
    """
    no_user, no_item = is_new(train.users, held_out.users), is_new(train.items, held_out.items)
    warm_or_cold = ["warm", "cold user", "cold item", "cold both"]
    found = [
        tenths("item_popularity", _counts(train.items, held_out.items)),
        tenths("user_activity", _counts(train.users, held_out.users)),
        _present("warm_cold", warm_or_cold, no_user + 2 * no_item),
    ]
    if any(genres):
        found.append(by_genre(held_out.items, genres))
    found.append(by_rating(held_out.values))
    if held_out.timestamps is not None:
        times = held_out.timestamps.astype("datetime64[s]")
        for name, unit in (("month", "M"), ("year", "Y")):
            periods, groups = np.unique(times.astype(f"datetime64[{unit}]"), return_inverse=True)
            found.append(_present(name, periods.astype(str).tolist(), groups))
    return found


def tenths(name: str, counts: Indices) -> Strata:
    """Rows in up to ten groups of about as many, by their counts; those of 0 are a group apart.

    Rows with the same count stay together: they go into the tenth that the middle one of them is
    in, so that there are fewer groups, of unequal size, where many rows have the same count.

    Args:
        counts: (n,) of each row, >= 0.
    """
    distinct, places, sizes = np.unique(counts, return_inverse=True, return_counts=True)
    sizes[distinct == 0] = 0
    middles = np.cumsum(sizes) - sizes / 2
    tenth = 1 + np.floor(10 * middles / max(1, sizes.sum())).astype(np.int64)
    tenth[distinct == 0] = 0
    labels = []
    for group in range(11):
        inside = distinct[tenth == group]
        ends = dict.fromkeys([*inside[:1].tolist(), *inside[-1:].tolist()])
        labels.append(" to ".join(map(str, ends)))
    return _present(name, labels, tenth[places])


def by_genre(items: Indices, genres: NDArray[np.object_]) -> Strata:
    """Rows by their items' genres; a row counts in each, or as "none" where its item has none.

    Args:
        items: (n,) of each row.
        genres: (n_items,) names joined by "|".
    """
    of_items = [sorted({name or "none" for name in joined.split("|")}) for joined in genres]
    labels = sorted({name for names in of_items for name in names}, key=lambda g: (g == "none", g))
    numbers = {label: number for number, label in enumerate(labels)}
    # Items' genres end to end, and where each item's begin: rows take theirs from there.
    flat = np.array([numbers[name] for names in of_items for name in names], dtype=np.int64)
    sizes = np.array([len(names) for names in of_items], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    many = sizes[items]
    rows = np.repeat(np.arange(len(items)), many)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(many) - many, many)
    return _present("genre", labels, flat[starts[items[rows]] + within], rows)


def by_rating(values: Stars) -> Strata:
    """Rows by the observed rating, or by ten ranges of it where many ratings differ."""
    distinct, groups = np.unique(values, return_inverse=True)
    if len(distinct) <= MANY_VALUES:
        return _present("rating", [f"{value:g}" for value in distinct], groups)
    edges = np.linspace(distinct[0], distinct[-1], 11)
    labels = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return _present("rating", labels, np.searchsorted(edges[1:-1], values, side="right"))


def score(
    strata: Sequence[Strata], predictions: Mapping[str, Stars], observed: Stars, users: Indices
) -> list[Row]:
    """The error of each model in each group, one row each, with the keys `COLUMNS`.

    Intervals are those of the bootstrap over users to first order: a user's part in the RMSE of a
    group is linear, and the parts' squares make the variance. They cost one pass over the rows.

    Args:
        predictions: of each model, (n,) in stars.
        observed: (n,) in stars.
        users: (n,) indices.

    Source:
        Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6 (the
        infinitesimal jackknife).
    """
    errors = {name: values.astype(np.float64) - observed for name, values in predictions.items()}
    best = min(errors, key=lambda name: float(np.mean(errors[name] ** 2)))
    found = []
    for one in strata:
        cells = _Cells(one, users)
        parts = {name: cells.rmse(error) for name, error in errors.items()}
        reference, reference_parts = parts[best]
        for name, (rmse, influence) in parts.items():
            half = cells.half_width(influence)
            behind, behind_half = rmse - reference, cells.half_width(influence - reference_parts)
            figures = {
                "n": cells.n,
                "n_users": cells.n_users,
                "rmse": rmse,
                "rmse_low": np.maximum(rmse - half, 0),
                "rmse_high": rmse + half,
                "bias": cells.mean(errors[name]),
                "to_best": behind,
                "to_best_low": behind - behind_half,
                "to_best_high": behind + behind_half,
            }
            columns = {key: values.tolist() for key, values in figures.items()}
            for group, label in enumerate(one.labels):
                row: Row = {"stratum": one.name, "label": label, "model": name}
                for key, values in columns.items():
                    row[key] = None if np.isnan(values[group]) else values[group]
                found.append(row)
    return found


class _Cells:
    """Sums over the rows of each user in each group, and over each group.

    Attributes:
        n: (n_groups,) rows.
        n_users: (n_groups,).
    """

    def __init__(self, strata: Strata, users: Indices) -> None:
        self.strata, n_groups = strata, len(strata.labels)
        cells, self.cell, sizes = np.unique(
            users[strata.rows] * n_groups + strata.groups, return_inverse=True, return_counts=True
        )
        self.group, self.size = cells % n_groups, sizes
        self.n = np.bincount(strata.groups, minlength=n_groups)
        self.n_users = np.bincount(self.group, minlength=n_groups)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean in each group, (n_groups,), of a value a row."""
        sums = np.bincount(self.strata.groups, values[self.strata.rows], len(self.n))
        means: NDArray[np.float64] = sums / self.n
        return means

    def rmse(self, errors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The RMSE of each group, (n_groups,), and each user's part in it, (n_cells,)."""
        squares = np.bincount(self.cell, errors[self.strata.rows] ** 2, len(self.size))
        mse = np.bincount(self.group, squares, len(self.n)) / self.n
        rmse = np.sqrt(mse)
        scale = 2 * rmse * self.n
        parts = squares - mse[self.group] * self.size
        influence = np.zeros_like(parts)
        np.divide(parts, scale[self.group], out=influence, where=scale[self.group] > 0)
        return rmse, influence

    def half_width(self, influence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half of the 95% interval of each group, (n_groups,); NaN where there are few users."""
        squares = np.bincount(self.group, influence**2, len(self.n))
        users = np.where(self.n_users < FEW_USERS, np.nan, self.n_users)
        half: NDArray[np.float64] = 1.96 * np.sqrt(squares * users / (users - 1))
        return half


def _counts(train: Indices, asked: Indices) -> Indices:
    """How often each of the indices asked for occurs in train."""
    counts: Indices = np.bincount(train, minlength=1 + asked.max(initial=-1))[asked]
    return counts


def _present(
    name: str, labels: Sequence[str], groups: Indices, rows: Indices | None = None
) -> Strata:
    """Strata without the groups that no row is in; `rows` are all where they are not given."""
    present, groups = np.unique(groups, return_inverse=True)
    rows = np.arange(len(groups)) if rows is None else rows
    return Strata(name, [labels[number] for number in present], rows, groups)
