"""Where a model wins: its error in groups of rows."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.ratings import Indices, Ratings, Stars

MIN_USERS = 10
"""Groups of fewer users have no intervals: so few say nothing about other users."""

MAX_VALUES = 20
"""More distinct ratings than these are put into ten ranges of equal width."""

DTYPES = {
    **dict.fromkeys(("stratum", "label", "model"), str),
    **dict.fromkeys(("n", "n_users"), int),
    **dict.fromkeys(("rmse", "rmse_low", "rmse_high", "bias"), float),
    **dict.fromkeys(("to_best", "to_best_low", "to_best_high"), float),
}
"""The columns of reports/strata.csv. In stars: bias is the mean of predicted minus observed,
to_best the RMSE minus the RMSE of the model that is best over all rows; _low and _high are the ends
of 95% intervals, missing in groups of few users.
"""


def stratify(train: Ratings, held_out: Ratings, genres: "pd.Series[str]") -> list[pd.Series]:
    """The held-out rows grouped by all that may matter to a model.

    Args:
        genres: of each item by its index, names joined by "|", "" where there are none.

    Returns:
        For each way to group, a categorical series: its name is what rows are grouped by, its
        index their positions, its values their groups, of which none is empty. They are
        item_popularity and user_activity (training ratings of the item and of the user),
        warm_cold, genre (where there are genres; a row is in several), rating, and month and year
        of the rating, in UTC (where there are timestamps).
    """
    item_counts = training_counts(train.items, held_out.items)
    user_counts = training_counts(train.users, held_out.users)
    labels = ["warm", "cold user", "cold item", "cold both"]
    strata = [
        deciles(item_counts).rename("item_popularity"),
        deciles(user_counts).rename("user_activity"),
        _categorical((user_counts == 0) + 2 * (item_counts == 0), labels).rename("warm_cold"),
    ]
    if genres.any():
        strata.append(by_genre(held_out.items, genres))
    strata.append(by_rating(held_out.values))
    if held_out.timestamps is not None:
        times = pd.Series(held_out.timestamps.astype("datetime64[s]"))
        for name, frequency in (("month", "M"), ("year", "Y")):
            periods = times.dt.to_period(frequency).astype("category")
            strata.append(periods.cat.rename_categories(str).rename(name))
    return strata


def training_counts(train: Indices, held_out: Indices) -> Indices:
    """How often each held-out index occurs in train, (len(held_out),)."""
    counts: Indices = np.bincount(train, minlength=1 + held_out.max(initial=-1))[held_out]
    return counts


def deciles(counts: Indices) -> pd.Series:
    """Rows in up to ten groups of about equal size, by their counts; zeros are a group apart.

    Rows with the same count stay together, in the decile of the middle one of them, so that there
    are fewer groups, of unequal size, where many rows have the same count.

    Args:
        counts: (n,) of each row, >= 0.

    Returns:
        (n,) categorical: the lowest and the highest count of the group, "3 to 7".
    """
    distinct, position, sizes = np.unique(counts, return_inverse=True, return_counts=True)
    sizes[distinct == 0] = 0
    middles = np.cumsum(sizes) - sizes / 2
    decile = np.where(distinct == 0, 0, 1 + np.floor(10 * middles / max(1, sizes.sum())))
    ends = pd.Series(distinct).groupby(decile).agg(["min", "max"])
    labels = [f"{low}" if low == high else f"{low} to {high}" for low, high in ends.to_numpy()]
    codes = np.searchsorted(ends.index, decile)[position]
    return _categorical(codes, labels)


def by_genre(items: Indices, genres: "pd.Series[str]") -> pd.Series:
    """Rows by their items' genres: in each of them, or in "none" where the item has none.

    Args:
        items: (n,) of each row.
        genres: of each item by its index, names joined by "|".
    """
    names = genres.reset_index(drop=True).str.split("|").explode().replace("", "none")
    labels = sorted(set(names), key=lambda name: (name == "none", name))
    of_items = names.astype(pd.CategoricalDtype(labels)).rename("genre")
    rows = pd.Series(np.arange(len(items)), index=items)
    joined = rows.to_frame("row").join(of_items)
    return joined.set_index("row")["genre"].cat.remove_unused_categories()


def by_rating(values: Stars) -> pd.Series:
    """Rows by the observed rating, or by ten ranges of it where many ratings differ."""
    distinct = np.unique(values)
    if len(distinct) <= MAX_VALUES:
        labels = [f"{value:g}" for value in distinct]
        return _categorical(np.searchsorted(distinct, values), labels).rename("rating")
    edges = np.linspace(distinct[0], distinct[-1], 11)
    labels = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    bins = [-np.inf, *edges[1:-1], np.inf]  # so that the highest rating is in the last range
    return _categorical(pd.cut(values, bins, right=False, labels=False), labels).rename("rating")


def _categorical(codes: Indices, labels: Sequence[str]) -> pd.Series:
    """The label of each code; codes with equal labels are one group."""
    categories = pd.Index(labels).unique()
    groups = pd.Categorical.from_codes(categories.get_indexer(pd.Index(labels))[codes], categories)
    return pd.Series(groups.remove_unused_categories())


def score(
    strata: Iterable[pd.Series],
    predictions: Mapping[str, Stars],
    observed: Stars,
    users: Indices,
) -> pd.DataFrame:
    """The error of each model in each group, one row each, with the columns of `DTYPES`.

    Intervals are those of the bootstrap over users to first order: the RMSE of a group is
    linearized in its users, and the sum of squares of their influences is its variance. That costs
    one pass over the rows.

    Args:
        strata: as `stratify` gives them.
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
    for groups in strata:
        sums = UserGroupSums(groups, users)
        scored = {name: sums.rmse(error) for name, error in errors.items()}
        for name, (rmse, influence) in scored.items():
            best_rmse, best_influence = scored[best]
            half, to_best = sums.half_width(influence), rmse - best_rmse
            to_best_half = sums.half_width(influence - best_influence)
            columns = {
                "stratum": groups.name,
                "label": groups.cat.categories,
                "model": name,
                "n": sums.n,
                "n_users": sums.n_users,
                "rmse": rmse,
                "rmse_low": np.maximum(rmse - half, 0),
                "rmse_high": rmse + half,
                "bias": sums.mean(errors[name]),
                "to_best": to_best,
                "to_best_low": to_best - to_best_half,
                "to_best_high": to_best + to_best_half,
            }
            found.append(pd.DataFrame(columns))
    return pd.concat(found, ignore_index=True)


class UserGroupSums:
    """Sums over the rows of each user in each group (a cell), and over each group.

    Attributes:
        n: (n_groups,) rows.
        n_users: (n_groups,).
    """

    def __init__(self, groups: pd.Series, users: Indices) -> None:
        self.rows, self.group_of_row = groups.index.to_numpy(), groups.cat.codes.to_numpy(np.int64)
        n_groups = len(groups.cat.categories)
        cells, self.cell_of_row, self.cell_sizes = np.unique(
            users[self.rows] * n_groups + self.group_of_row, return_inverse=True, return_counts=True
        )
        self.group_of_cell = cells % n_groups
        self.n = np.bincount(self.group_of_row, minlength=n_groups)
        self.n_users = np.bincount(self.group_of_cell, minlength=n_groups)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean in each group, (n_groups,), of a value per row."""
        means: NDArray[np.float64] = np.bincount(self.group_of_row, values[self.rows]) / self.n
        return means

    def rmse(self, errors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The RMSE of each group, (n_groups,), and each user's influence on it, (n_cells,)."""
        squares = np.bincount(self.cell_of_row, errors[self.rows] ** 2)
        mse = np.bincount(self.group_of_cell, squares) / self.n
        rmse = np.sqrt(mse)
        scale = (2 * rmse * self.n)[self.group_of_cell]
        excess = squares - mse[self.group_of_cell] * self.cell_sizes
        influence = np.divide(excess, scale, out=np.zeros_like(excess), where=scale > 0)
        return rmse, influence

    def half_width(self, influence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half of the 95% interval of each group, (n_groups,); NaN where there are few users."""
        variance = np.bincount(self.group_of_cell, influence**2)
        users = np.where(self.n_users < MIN_USERS, np.nan, self.n_users)
        half: NDArray[np.float64] = 1.96 * np.sqrt(variance * users / (users - 1))
        return half
