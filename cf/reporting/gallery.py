"""Which figures a report has: from the frames of the results to figures under names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from cf.core.names import models_of
from cf.core.ratings import SUBSET_LABELS, Provenance
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
    dataset, unit = results.provenance.dataset, results.provenance.unit
    scale = RatingScale.of(results.ratings["rating"], results.provenance.rating_range, unit)
    rated, styles = SUBSET_LABELS[results.part], results.styles

    users, items = (results.ratings[key].value_counts() for key in ("user_id", "item_id"))
    yield "activity", figures.activity(users, items, f"Activity of users and items: {dataset}")
    table = top_crosstab(results.ratings, N_TOP)
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


def top_crosstab(ratings: pd.DataFrame, n_top: int) -> pd.DataFrame:
    """The ratings of the `n_top` most active users by the `n_top` most rated items.

    Both are counted over all ratings; of ids with equal counts the lower one comes first. Where
    most of their cells would be blank, items and users are chosen that have ratings together: the
    users with most ratings of the items, then the items with most ratings by these users, and so
    on. A cell holds the sum of the user's ratings of the item, NaN where there are none.

    Source: the notebook, `pd.crosstab(top_r.userId, top_r.movieId, top_r.rating, aggfunc=np.sum)`.
    """
    users, items = (_most_frequent(ratings[key], n_top) for key in ("user_id", "item_id"))
    top = ratings[ratings["user_id"].isin(users) & ratings["item_id"].isin(items)]
    if 2 * len(top) < len(users) * len(items):
        for _ in range(MAX_ROUNDS):
            before, by_users = items, ratings[ratings["item_id"].isin(items)]
            users = _most_frequent(by_users["user_id"], n_top)
            of_items = ratings[ratings["user_id"].isin(users)]
            items = _most_frequent(of_items["item_id"], n_top)
            top = of_items[of_items["item_id"].isin(items)]
            if items.equals(before):
                break
        users, items = (ids[ids.isin(top[ids.name])] for ids in (users, items))
    table = pd.crosstab(top["user_id"], top["item_id"], top["rating"], aggfunc="sum")
    return table.reindex(index=users, columns=items)


def _most_frequent(ids: pd.Series, n: int) -> pd.Index:
    """The `n` values that occur most often, ascending; of equal ones the lower."""
    counts = ids.value_counts()
    if isinstance(ids.dtype, pd.CategoricalDtype):
        counts.index = counts.index.astype(ids.cat.categories.dtype)
    counts = counts.sort_index()
    return counts[counts > 0].nlargest(n).index.sort_values()


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
