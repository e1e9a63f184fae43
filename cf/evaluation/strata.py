"""Where a model wins: its error in groups of rows.

A way to group rows, a stratum, is a categorical series: its name is what rows are grouped by, its
index their positions, its values their groups, of which none is empty.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.ratings import Indices, Ratings, Stars
from cf.evaluation import rating_scale
from cf.evaluation.bootstrap import MIN_USERS

MAX_GENRES = 30  # that are groups of their own

Floats = NDArray[np.float64]


def stratify(
    held_out: Ratings,
    user_counts: Indices,
    item_counts: Indices,
    genres: "pd.Series[str]",
    rating_range: tuple[float, float],
) -> list[pd.Series]:
    """The held-out rows grouped by all that may matter to a model.

    By item_popularity and user_activity (training ratings of the item and of the user), warm_cold,
    genre (where there are genres; a row is in several), rating, and month and year of the rating,
    in UTC (where there are timestamps).

    Args:
        user_counts, item_counts: (n_users,) and (n_items,), of the training ratings.
        genres: (n_items,) of each item, joined by "|", or "".
    """
    item_counts, user_counts = item_counts[held_out.items], user_counts[held_out.users]
    labels = ["warm", "cold user", "cold item", "cold both"]
    strata = [
        deciles(item_counts).rename("item_popularity"),
        deciles(user_counts).rename("user_activity"),
        _categorical((user_counts == 0) + 2 * (item_counts == 0), labels).rename("warm_cold"),
    ]
    if genres.any():
        strata.append(by_genre(held_out.items, genres))
    strata.append(by_rating(held_out.values, rating_range))
    if held_out.timestamps is not None:
        times = pd.Series(held_out.timestamps.astype("datetime64[s]"))
        for name, frequency in (("month", "M"), ("year", "Y")):
            periods = times.dt.to_period(frequency).astype("category")
            strata.append(periods.cat.rename_categories(str).rename(name))
    return strata


def deciles(counts: Indices) -> pd.Series:
    """Rows in up to ten groups of about equal size, by their counts, named "3 to 7".

    Zeros are a group apart. Rows with the same count stay together, in the decile of the middle one
    of them, so that groups are fewer and of unequal size where many rows have the same count.
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
    """Rows by their items' genres: in each of them, or in "none"; arguments as for `stratify`.

    Of more than `MAX_GENRES`, those of the fewest items are "other".
    """
    names = genres.reset_index(drop=True).str.split("|").explode().replace("", "none")
    frequent = names[names != "none"].value_counts().index[:MAX_GENRES]
    names = names.where(names.isin([*frequent, "none"]), "other")
    names = names[~names.reset_index().duplicated().to_numpy()]  # an item may have several others
    last = {"other": 1, "none": 2}
    labels = sorted(set(names), key=lambda name: (last.get(name, 0), name))
    of_items = names.astype(pd.CategoricalDtype(labels)).rename("genre")
    rows = pd.Series(np.arange(len(items)), index=items)
    joined = rows.to_frame("row").join(of_items)
    return joined.set_index("row")["genre"].cat.remove_unused_categories()


def by_rating(values: Stars, rating_range: tuple[float, float]) -> pd.Series:
    """Rows by the observed rating, or by ranges of ratings where many differ."""
    return _categorical(*rating_scale.group(values, rating_range)).rename("rating")


def _categorical(codes: Indices, labels: Sequence[str]) -> pd.Series:
    """The label of each code; codes with equal labels are one group."""
    categories = pd.Index(labels).unique()
    groups = pd.Categorical.from_codes(categories.get_indexer(pd.Index(labels))[codes], categories)
    return pd.Series(groups.remove_unused_categories())


def score(
    strata: Iterable[pd.Series], predictions: Mapping[str, Stars], observed: Stars, users: Indices
) -> pd.DataFrame:
    """The error of each model in each group, one row each, in the data's unit.

    bias is the mean of predicted minus observed, to_best the RMSE minus the RMSE of the model that
    is best over all rows; _low and _high are the ends of 95% intervals, missing in groups of few
    users. They are those of the bootstrap over users to first order: the RMSE of a group is
    linearized in its users, and the sum of squares of their influences is its variance.

    Source:
        Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6 (the
        infinitesimal jackknife).
    """
    errors = {name: values.astype(np.float64) - observed for name, values in predictions.items()}
    best = min(errors, key=lambda name: float(np.mean(errors[name] ** 2)))
    found = [_score_groups(groups, errors, best, users) for groups in strata]
    return pd.concat(found, ignore_index=True)


def _score_groups(
    groups: pd.Series, errors: Mapping[str, Floats], best: str, users: Indices
) -> pd.DataFrame:
    """The rows of `score` of one stratum. A cell is the rows of one user in one group."""
    rows, group_of_row = groups.index.to_numpy(), groups.cat.codes.to_numpy()
    n_groups = len(groups.cat.categories)
    cells = users[rows] * n_groups + group_of_row
    cells, cell_of_row, cell_sizes = np.unique(cells, return_inverse=True, return_counts=True)
    group_of_cell = cells % n_groups
    n, n_users = np.bincount(group_of_row), np.bincount(group_of_cell)
    enough = np.where(n_users < MIN_USERS, np.nan, n_users)

    def half_width(influence: Floats) -> Floats:
        """Half of the 95% interval, (n_groups,)."""
        variance = np.bincount(group_of_cell, influence**2) * enough / (enough - 1)
        half: Floats = 1.96 * np.sqrt(variance)
        return half

    rmse, influence = {}, {}  # (n_groups,) and (n_cells,): of each user on the RMSE
    for name, error in errors.items():
        squares = np.bincount(cell_of_row, error[rows] ** 2)
        mse = np.bincount(group_of_cell, squares) / n
        rmse[name] = np.sqrt(mse)
        scale = (2 * rmse[name] * n)[group_of_cell]
        excess = squares - mse[group_of_cell] * cell_sizes
        influence[name] = excess / np.where(scale > 0, scale, 1)
    found = []
    for name, error in errors.items():
        half, to_best = half_width(influence[name]), rmse[name] - rmse[best]
        to_best_half = half_width(influence[name] - influence[best])
        columns = {
            "stratum": groups.name,
            "label": groups.cat.categories,
            "model": name,
            "n": n,
            "n_users": n_users,
            "rmse": rmse[name],
            "rmse_low": np.maximum(rmse[name] - half, 0),
            "rmse_high": rmse[name] + half,
            "bias": np.bincount(group_of_row, error[rows]) / n,
            "to_best": to_best,
            "to_best_low": to_best - to_best_half,
            "to_best_high": to_best + to_best_half,
        }
        found.append(pd.DataFrame(columns))
    return pd.concat(found)
