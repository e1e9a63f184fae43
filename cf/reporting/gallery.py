"""Which figures a report has: from the frames of the results to figures under names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from cf.core.names import models_of
from cf.core.provenance import SUBSET_LABELS, Provenance
from cf.reporting import figures, heatmap
from cf.reporting.small_multiples import Panel, small_multiples
from cf.reporting.style import Style, model_styles

N_TOP = 15
N_LEFT_OUT = 2
MAX_MONTHS = 36
PANELS = {
    "item_popularity": ("training ratings of the item", True),
    "user_activity": ("training ratings of the user", True),
    "rating": ("observed rating (stars)", True),
    "warm_cold": ("seen in training", False),
    "genre": ("genre (an item may have several)", False),
    "month": ("month of the rating", True),
    "year": ("year of the rating", True),
}
"""Title of each panel and whether its groups are ordered, in the order of the figure."""


@dataclass(frozen=True)
class Results:
    """The frames that the figures are drawn from.

    Attributes:
        provenance: of the ratings.
        ratings: user_id, item_id and rating in stars: all ratings.
        items: item_id and title; a title may be missing.
        part: the split's part that the models are evaluated on: valid or test.
        predictions: user, item, observed stars, and the stars that each model and baseline
            predicts.
        histories: epoch, train_loss, valid_loss and learning_rate (gradient descent) or
            noise_precision (sampling), by model.
        burn_in: sweeps before the first sample, by sampled model.
        strata: as reports/strata.csv.
        ranking: as reports/ranking.csv; it may have no rows.
        coverage: model, level in percent and coverage in [0, 1].
        deciles: model, decile, predicted_sd, rmse, rmse_low and rmse_high in stars.
    """

    provenance: Provenance
    ratings: pd.DataFrame
    items: pd.DataFrame
    part: str
    predictions: pd.DataFrame
    histories: Mapping[str, pd.DataFrame]
    strata: pd.DataFrame
    ranking: pd.DataFrame
    coverage: pd.DataFrame
    deciles: pd.DataFrame
    burn_in: Mapping[str, int] = field(default_factory=dict)

    @property
    def rmse(self) -> "pd.Series[float]":
        """RMSE in stars of each model and baseline, the lowest first."""
        errors = self.predictions[models_of(self.predictions)].sub(
            self.predictions["observed"], axis=0
        )
        return errors.astype("float64").pow(2).mean().pow(0.5).sort_values(kind="stable")

    @property
    def styles(self) -> dict[str, Style]:
        """The style of each model that a figure may show."""
        trained = list(self.histories)
        names = dict.fromkeys([*models_of(self.predictions), *self.ranking["model"]])
        return model_styles(trained, [name for name in names if name not in trained])


def draw(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that the results allow, each with the name of its file."""
    yield "activity", activity(results)
    yield "crosstab", crosstab(results)
    yield "loss_curves", loss_curves(results)
    yield "strata_rmse", strata_rmse(results)
    yield "strata_to_best", strata_to_best(results)
    if len(results.coverage):
        yield "calibration", calibration(results)
    for name in results.histories:
        yield f"predicted_{name}", predicted(results, name)
    if len(results.ranking):
        yield "ranking", ranking(results)


def activity(results: Results) -> Figure:
    """Ratings of each user and of each item against its rank."""
    users, items = (results.ratings[key].value_counts() for key in ("user_id", "item_id"))
    title = f"Activity of users and items: {results.provenance.dataset}"
    return figures.activity(users, items, title)


def crosstab(results: Results) -> Figure:
    """The ratings that the most active users gave to the most rated items."""
    table = top_crosstab(results.ratings, N_TOP)
    title = (
        f"Ratings by the {len(table)} most active users of the {len(table.columns)} most rated "
        f"items: {results.provenance.dataset}"
    )
    titles = results.items.set_index("item_id")["title"]
    return heatmap.crosstab_heatmap(table, titles, results.provenance.rating_range, title)


def top_crosstab(ratings: pd.DataFrame, n_top: int) -> pd.DataFrame:
    """The ratings of the `n_top` most active users by the `n_top` most rated items.

    Both are counted over all ratings; of ids with equal counts the lower one comes first. A cell
    holds the sum of the user's ratings of the item, NaN where there are none.

    Args:
        ratings: user_id, item_id and rating in stars.

    Source: the notebook, `pd.crosstab(top_r.userId, top_r.movieId, top_r.rating, aggfunc=np.sum)`.
    """
    users, items = (
        ratings[key].value_counts().sort_index().nlargest(n_top).index.sort_values()
        for key in ("user_id", "item_id")
    )
    top = ratings[ratings["user_id"].isin(users) & ratings["item_id"].isin(items)]
    table = pd.crosstab(top["user_id"], top["item_id"], top["rating"], aggfunc="sum")
    return table.reindex(index=users, columns=items)


def loss_curves(results: Results) -> Figure:
    """Training and validation loss of all models."""
    title = f"Training and validation loss: {results.provenance.dataset}"
    return figures.loss_curves(results.histories, results.styles, title, results.burn_in)


def strata_rmse(results: Results, n_left_out: int = N_LEFT_OUT) -> Figure:
    """RMSE of each model in groups of ratings.

    Args:
        n_left_out: how many of the models with the highest RMSE are left out, of more than
            twice as many.
    """
    rmse, shown, note = _shown(results, n_left_out)
    title = f"RMSE by group of {SUBSET_LABELS[results.part]} ratings: {results.provenance.dataset}"
    styles = {name: results.styles[name] for name in shown}
    return small_multiples(
        _panels(results.strata), "rmse", styles, "RMSE (stars)", (0, 4 * rmse.iloc[0]), note, title
    )


def strata_to_best(results: Results, n_left_out: int = N_LEFT_OUT) -> Figure:
    """The difference in RMSE between each model and the best one, in groups of ratings.

    Args:
        n_left_out: as for `strata_rmse`.
    """
    rmse, shown, note = _shown(results, n_left_out)
    best, *others = shown
    difference = f"RMSE \N{MINUS SIGN} RMSE of {best}"
    of = f"by group of {SUBSET_LABELS[results.part]} ratings: {results.provenance.dataset}"
    styles = {name: results.styles[name] for name in others}
    limits = (-rmse.iloc[0], rmse.iloc[0])
    note = f"Below 0: better than {best}. {note}"
    return small_multiples(
        _panels(results.strata),
        "to_best",
        styles,
        f"{difference} (stars)",
        limits,
        note,
        f"{difference} {of}",
    )


def _shown(results: Results, n_left_out: int) -> tuple["pd.Series[float]", list[str], str]:
    """The RMSE of all models, those that a figure of strata shows, and its note."""
    rmse = results.rmse
    n_shown = len(rmse) - n_left_out if len(rmse) > 2 * n_left_out else len(rmse)
    shown, rest = rmse.index[:n_shown], rmse[n_shown:]
    words = [f"{name} (RMSE {value:.3f})" for name, value in rest.items()]
    note = f" Left out, highest RMSE: {' and '.join(words)}." if words else ""
    note = f"In brackets: number of ratings. Bar: 95% interval; hollow: under 10 users.{note}"
    return rmse, list(shown), note


def _panels(strata: pd.DataFrame) -> list[Panel]:
    """A panel for each stratum: of the months if they are few, else of the years."""
    groups = dict(list(strata.groupby("stratum", sort=False)))
    many = "month" in groups and groups["month"]["label"].nunique() > MAX_MONTHS
    groups.pop("month" if many else "year", None)
    return [Panel(*PANELS[name], groups[name]) for name in PANELS if name in groups]


def calibration(results: Results) -> Figure:
    """Coverage of the prediction intervals, and RMSE by predicted standard deviation."""
    title = (
        f"Calibration on the {SUBSET_LABELS[results.part]} ratings: {results.provenance.dataset}"
    )
    return figures.calibration(results.coverage, results.deciles, results.styles, title)


def predicted(results: Results, model: str) -> Figure:
    """Predicted against observed ratings of one model."""
    rated, dataset = SUBSET_LABELS[results.part], results.provenance.dataset
    return figures.predicted_against_observed(
        results.predictions[model],
        results.predictions["observed"],
        results.provenance.rating_range,
        f"Predicted against observed {rated} ratings: {dataset}, {model}",
    )


def ranking(results: Results) -> Figure:
    """The ranking metrics of each model."""
    metrics = results.ranking.set_index("model").filter(like="_at_").rename(columns=_heading)
    rated, dataset = SUBSET_LABELS[results.part], results.provenance.dataset
    title = f"Ranking metrics on the {rated} ratings: {dataset}"
    return figures.ranking(metrics, results.styles, title)


def _heading(column: str) -> str:
    name, _, k = column.partition("_at_")
    words = {"ndcg": "NDCG", "map": "MAP"}.get(name, name)
    return f"{words} at {k}{' (bits)' if name == 'novelty' else ''}"
