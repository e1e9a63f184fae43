"""Which figures a report has: from the frames of the results to figures under names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from cf.core.names import models_of
from cf.core.ratings import SUBSET_LABELS, Provenance
from cf.reporting import figures
from cf.reporting.small_multiples import Panel, small_multiples
from cf.reporting.style import Style, model_styles

N_TOP = 15
N_LEFT_OUT = 2
MAX_MONTHS = 36
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
    ratings: pd.DataFrame  # user_id, item_id and rating: all ratings
    items: pd.DataFrame  # item_id and title; a title may be missing
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
    provenance = results.provenance
    dataset, rating_range, unit = provenance.dataset, provenance.rating_range, provenance.unit
    rated, styles = SUBSET_LABELS[results.part], results.styles

    users, items = (results.ratings[key].value_counts() for key in ("user_id", "item_id"))
    yield "activity", figures.activity(users, items, f"Activity of users and items: {dataset}")
    table = top_crosstab(results.ratings, N_TOP)
    titles = results.items.set_index("item_id")["title"]
    title = f"Ratings of the most rated items by the most active users: {dataset}"
    yield "crosstab", figures.crosstab_heatmap(table, titles, rating_range, unit, title)

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
        drawn = figures.predicted_against_observed(*pairs, rating_range, unit, title)
        yield f"predicted_{name}", drawn
    if len(results.ranking):
        metrics = results.ranking.set_index("model").filter(like="_at_").rename(columns=_heading)
        title = f"Ranking metrics on the {rated} ratings: {dataset}"
        yield "ranking", figures.ranking(metrics, styles, title)


def top_crosstab(ratings: pd.DataFrame, n_top: int) -> pd.DataFrame:
    """The ratings of the `n_top` most active users by the `n_top` most rated items.

    Both are counted over all ratings; of ids with equal counts the lower one comes first. A cell
    holds the sum of the user's ratings of the item, NaN where there are none.

    Source: the notebook, `pd.crosstab(top_r.userId, top_r.movieId, top_r.rating, aggfunc=np.sum)`.
    """
    users, items = (
        ratings[key].value_counts().sort_index().nlargest(n_top).index.sort_values()
        for key in ("user_id", "item_id")
    )
    top = ratings[ratings["user_id"].isin(users) & ratings["item_id"].isin(items)]
    table = pd.crosstab(top["user_id"], top["item_id"], top["rating"], aggfunc="sum")
    return table.reindex(index=users, columns=items)


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
