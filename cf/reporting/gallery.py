"""Which figures a report has: from the frames of the results to figures under names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cf.core.names import models_of
from cf.core.ratings import SUBSET_LABELS, Indices, Provenance, RatingStats
from cf.evaluation.rating_scale import RatingScale
from cf.reporting import figures
from cf.reporting.small_multiples import Panel, small_multiples
from cf.reporting.style import Style, model_styles

N_TOP = 15
N_LEFT_OUT = 2
MAX_MONTHS = 36
MAX_ROUNDS = 10
PANELS = {  # title and whether its groups are ordered, in the order of the figure
    "item_popularity": ("training ratings of the item", True),
    "user_activity": ("training ratings of the user", True),
    "rating": ("observed rating ({unit})", True),
    "warm_cold": ("seen in training", False),
    "genre": ("genre (an item may have several)", False),
    "month": ("month of the rating", True),
    "year": ("year of the rating", True),
}


@dataclass(frozen=True)
class Results:
    """What the figures are drawn from, mostly as files of reports/; in the data's unit."""

    provenance: Provenance
    ratings: RatingStats  # all ratings
    users: pd.DataFrame  # user_id, by index
    items: pd.DataFrame  # item_id and title, by index; a title may be missing
    part: str  # the held-out rows that the models are evaluated on: valid or test
    predictions: pd.DataFrame
    histories: Mapping[str, pd.DataFrame]  # by model, as reports/history/<model>.csv
    burn_in: Mapping[str, int]  # sweeps before the first sample, by sampled model
    leaderboard: pd.DataFrame
    strata: pd.DataFrame
    ranking: pd.DataFrame  # this one and the next two may be empty
    coverage: pd.DataFrame
    deciles: pd.DataFrame

    @property
    def styles(self) -> dict[str, Style]:
        """The style of each model that a figure may show."""
        names = dict.fromkeys([*models_of(self.predictions), *self.ranking["model"]])
        return model_styles(self.histories, [name for name in names if name not in self.histories])


def draw(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that the results allow, each with the name of its file."""
    dataset, unit, ratings = results.provenance.dataset, results.provenance.unit, results.ratings
    values = (values for _, _, values in ratings.blocks())
    scale = RatingScale.of(values, results.provenance.rating_range, unit)
    rated, styles = SUBSET_LABELS[results.part], results.styles

    user_ids, item_ids = results.users["user_id"], results.items["item_id"]
    users = pd.Series(ratings.user_counts(len(user_ids)), user_ids)
    items = pd.Series(ratings.item_counts(len(item_ids)), item_ids)
    by_rank = users.sort_values(ascending=False), items.sort_values(ascending=False)
    yield "activity", figures.activity(*by_rank, f"Activity of users and items: {dataset}")
    table = top_crosstab(ratings, users, items, N_TOP)
    titles = results.items.set_index("item_id")["title"]
    title = f"Ratings of often rated items by active users: {dataset}"
    yield "crosstab", figures.crosstab_heatmap(table, titles, scale, title)

    title = f"Training and validation loss: {dataset}"
    losses = results.histories, styles, unit, title, results.burn_in
    yield "loss_curves", figures.loss_curves(*losses)
    yield from strata_figures(results)
    if len(results.coverage):
        tables = results.coverage, results.deciles
        title = f"Calibration on the {rated} ratings: {dataset}"
        yield "calibration", figures.calibration(*tables, styles, unit, title)
    for name in results.histories:
        title = f"Predicted against observed {rated} ratings: {dataset}, {name}"
        pairs = results.predictions[name], results.predictions["observed"]
        yield f"predicted_{name}", figures.predicted_against_observed(*pairs, scale, title)
    if len(results.ranking):
        metrics = results.ranking.set_index("model").filter(like="_at_").rename(columns=_heading)
        title = f"Ranking metrics on the {rated} ratings: {dataset}"
        yield "ranking", figures.ranking(metrics, styles, title)


def top_crosstab(
    ratings: RatingStats, user_counts: "pd.Series[int]", item_counts: "pd.Series[int]", n_top: int
) -> pd.DataFrame:
    """The ratings of the `n_top` most active users by the `n_top` most rated items.

    `user_counts` and `item_counts` are of all ratings, by index, labeled by id; the table has these
    labels in ascending order. Of ids with equal counts the lower one is taken. Where most cells
    would be blank, items and users are chosen that have ratings together: the users with most
    ratings of the items, then the items with most ratings by these users, and so on. A cell holds
    the sum of the user's ratings of the item, NaN where there are none.

    The ratings are read once, or 2 + 2 * `MAX_ROUNDS` times at most.

    Source: the notebook, `pd.crosstab(top_r.userId, top_r.movieId, top_r.rating, aggfunc=np.sum)`.
    """
    user_ids, item_ids = user_counts.index, item_counts.index
    users = _most_frequent(user_counts.to_numpy(), user_ids, n_top)
    items = _most_frequent(item_counts.to_numpy(), item_ids, n_top)
    top = _ratings_of(ratings, users, items)
    if 2 * len(top) < len(users) * len(items):
        for _ in range(MAX_ROUNDS):
            before = items
            users = _most_frequent(ratings.user_counts(len(user_ids), items), user_ids, n_top)
            items = _most_frequent(ratings.item_counts(len(item_ids), users), item_ids, n_top)
            if np.array_equal(items, before):
                break
        top = _ratings_of(ratings, users, items)
        users, items = users[np.isin(users, top["user"])], items[np.isin(items, top["item"])]
    table = pd.crosstab(top["user"], top["item"], top["rating"], aggfunc="sum")
    table = table.reindex(index=users, columns=items)
    return table.set_axis(user_ids[users]).set_axis(item_ids[items], axis="columns")


def _most_frequent(counts: NDArray[Any], ids: pd.Index, n: int) -> Indices:
    """The indices of the `n` highest counts > 0, in order of id; of equal ones the lower ids."""
    table = pd.DataFrame({"id": ids, "count": counts})
    table = table[table["count"] > 0].nlargest(n, "count", keep="all")  # so that few are sorted
    return table.sort_values("id").nlargest(n, "count").sort_values("id").index.to_numpy()


def _ratings_of(ratings: RatingStats, users: Indices, items: Indices) -> pd.DataFrame:
    """The ratings of these items by these users: user, item and rating."""
    found = []
    for block in ratings.blocks():
        rows = np.isin(block[0], users) & np.isin(block[1], items)
        columns = zip(("user", "item", "rating"), block, strict=True)
        found.append(pd.DataFrame({name: column[rows] for name, column in columns}))
    return pd.concat(found, ignore_index=True)


def strata_figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """RMSE in groups of ratings, and its difference to the best model's.

    The `N_LEFT_OUT` models with the highest RMSE are left out of more than twice as many.
    """
    rmse = results.leaderboard.set_index("model")["rmse"]
    n_shown = len(rmse) - N_LEFT_OUT if len(rmse) > 2 * N_LEFT_OUT else len(rmse)
    best, lowest = str(rmse.index[0]), float(rmse.iloc[0])
    styles = {str(name): results.styles[str(name)] for name in rmse.index[:n_shown]}
    note = "In brackets: number of ratings. Bar: 95% interval; hollow: under 10 users."
    left_out = [f"{name} (RMSE {value:.3f})" for name, value in rmse[n_shown:].items()]
    if left_out:
        note += f" Left out, highest RMSE: {' and '.join(left_out)}."
    of = f"by group of {SUBSET_LABELS[results.part]} ratings: {results.provenance.dataset}"
    panels = _panels(results.strata, results.provenance.unit)

    def draw(metric: str, what: str, limits: tuple[float, float], note: str) -> tuple[str, Figure]:
        labels = f"{what} ({results.provenance.unit})", limits, note, f"{what} {of}"
        return f"strata_{metric}", small_multiples(panels, metric, styles, *labels)

    yield draw("rmse", "RMSE", (0, 4 * lowest), note)
    del styles[best]
    difference = f"RMSE \N{MINUS SIGN} RMSE of {best}"
    note = f"Below 0: better than {best}. {note}"
    yield draw("to_best", difference, (-lowest, lowest), note)


def _panels(strata: pd.DataFrame, unit: str) -> list[Panel]:
    """A panel for each stratum: of the months if they are few, else of the years."""
    groups = dict(list(strata.groupby("stratum", sort=False)))
    many = "month" in groups and groups["month"]["label"].nunique() > MAX_MONTHS
    groups.pop("month" if many else "year", None)
    return [
        Panel(title.replace("{unit}", unit), ordered, groups[name])
        for name, (title, ordered) in PANELS.items()
        if name in groups
    ]


def _heading(column: str) -> str:
    name, _, k = column.partition("_at_")
    words = {"ndcg": "NDCG", "map": "MAP"}.get(name, name)
    return f"{words} at {k}{' (bits)' if name == 'novelty' else ''}"
