"""Which figures a report has: from results to figures under names and titles."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cf.core.provenance import SUBSET_LABELS, Provenance
from cf.evaluation import calibration, rankings
from cf.evaluation.crosstab import top_crosstab
from cf.evaluation.predictions import COLUMNS, SD
from cf.evaluation.rows import Row
from cf.reporting import figures
from cf.reporting.small_multiples import Panel, multiples
from cf.reporting.style import Style, model_styles

N_TOP = 15

MANY_MONTHS = 36
PANELS = {
    "item_popularity": ("training ratings of the item", True),
    "user_activity": ("training ratings of the user", True),
    "rating": ("observed rating (stars)", True),
    "warm_cold": ("seen in training", False),
    "genre": ("genre of the item: a row counts in each", False),
    "month": ("month of the rating", True),
    "year": ("year of the rating", True),
}
"""Title of each panel, and whether its groups follow each other, in the order of the figure."""
NOTE = "in brackets: ratings; bar: 95%; hollow: too few users for one; arrow: beyond the axis"

Columns = Mapping[str, NDArray[Any]]


def data_figures(
    facts: Provenance, ratings: Columns, items: Columns
) -> Iterator[tuple[str, Figure]]:
    """The figures of the data, each with the name of its file.

    Args:
        ratings: user_id, item_id and rating in stars, (n,) each.
        items: item_id and title, (n_items,) each; a title may be None.
    """
    user_ids, item_ids = ratings["user_id"], ratings["item_id"]
    user_counts, item_counts = (
        np.unique(ids, return_counts=True)[1] for ids in (user_ids, item_ids)
    )
    title = f"Activity of users and items: {facts.dataset}"
    yield "activity", figures.activity(user_counts, item_counts, title)

    table = top_crosstab(user_ids, item_ids, ratings["rating"], N_TOP)
    titles = dict(zip(items["item_id"].tolist(), items["title"].tolist(), strict=True))
    title = (
        f"Ratings by the {len(table.user_ids)} most active users of the {len(table.item_ids)} "
        f"most rated items: {facts.dataset}"
    )
    yield "crosstab", figures.crosstab_heatmap(table, titles, facts.rating_range, title)


def model_figures(
    facts: Provenance,
    predictions: Columns,
    strata: Sequence[Row],
    histories: Mapping[str, Columns],
    part: str = "valid",
) -> Iterator[tuple[str, Figure]]:
    """The figures of the models, each with the name of its file.

    Args:
        predictions: users, items and observed stars, the stars that each model and baseline
            predicts, and the standard deviations of models that have some, (n,) each.
        strata: as `evaluation.strata.score` gives them, for the same models.
        histories: epoch, train_loss and valid_loss of each trained model, (n_epochs,) each.
        part: of which the predictions are: valid or test.
    """
    rated, observed = SUBSET_LABELS[part], predictions["observed"]
    models = [name for name in predictions if name not in COLUMNS and not name.endswith(SD)]
    trained = [name for name in models if name in histories]
    baselines = [name for name in models if name not in histories]
    styles = model_styles(trained, baselines)

    title = f"Loss by epoch: {facts.dataset}, all models"
    yield "loss_curves", figures.loss_curves(histories, styles, title)

    rmse = {name: float(np.sqrt(np.mean((predictions[name] - observed) ** 2))) for name in models}
    of = f"by group of {rated} ratings: {facts.dataset}, all models"
    yield from strata_figures(strata, rmse, styles, of)
    yield from calibration_figures(facts, predictions, styles, rated)

    for name in trained:
        title = f"Predicted against observed {rated} ratings: {facts.dataset}, {name}"
        figure = figures.predicted_against_observed(
            predictions[name], observed, facts.rating_range, title
        )
        yield f"predicted_{name}", figure


def strata_figures(
    strata: Sequence[Row], rmse: Mapping[str, float], styles: Mapping[str, Style], of: str
) -> Iterator[tuple[str, Figure]]:
    """RMSE in groups of rows, and what each model's is above that of the best over all rows.

    Months are drawn up to `MANY_MONTHS`, then years. The scale of differences is for the models
    that come near the best, within a tenth of its RMSE.

    Args:
        rmse: of each model over all rows, in stars.
        styles: of the same models.
        of: the end of the titles: of which ratings and models.
    """
    best = min(rmse, key=lambda name: rmse[name])
    title = f"RMSE {of}"
    panels = list(_panels(strata, "rmse"))
    lowest = min((panel.values[best][0].min() for panel in panels), default=0.0)
    limits = (max(0.0, lowest - 0.1 * rmse[best]), 2 * rmse[best] or 1.0)
    yield "strata_rmse", multiples(panels, styles, limits, "RMSE (stars)", NOTE, title)

    others = {name: style for name, style in styles.items() if name != best}
    near = {name for name in others if rmse[name] <= 1.1 * rmse[best]} or set(others)
    panels = list(_panels(strata, "to_best"))
    far = [np.abs(panel.values[name][0]) for panel in panels for name in near]
    end = 1.3 * float(np.quantile(np.concatenate(far), 0.95)) if far else 0.0
    title = f"RMSE less that of {best} {of}"
    limits = (-(end or 1.0), end or 1.0)
    ylabel, note = f"RMSE less {best}'s (stars)", f"below 0: better than {best}; {NOTE}"
    yield "strata_to_best", multiples(panels, others, limits, ylabel, note, title)


def _panels(strata: Sequence[Row], figure: str) -> Iterator[Panel]:
    """A panel of a figure for each stratum there is."""
    months = {row["label"] for row in strata if row["stratum"] == "month"}
    left_out = "month" if len(months) > MANY_MONTHS else "year"
    for name, (title, ordered) in PANELS.items():
        rows = [row for row in strata if row["stratum"] == name]
        if not rows or name == left_out:
            continue
        labels = list(dict.fromkeys(row["label"] for row in rows))
        models = list(dict.fromkeys(row["model"] for row in rows))
        values = {
            model: np.array(
                [
                    [row[key] for row in rows if row["model"] == model]
                    for key in (figure, f"{figure}_low", f"{figure}_high")
                ],
                dtype=np.float64,
            )
            for model in models
        }
        n = np.array([row["n"] for row in rows if row["model"] == models[0]])
        yield Panel(title, ordered, labels, n, values)


def calibration_figures(
    facts: Provenance, predictions: Columns, styles: Mapping[str, Style], rated: str
) -> Iterator[tuple[str, Figure]]:
    """The figure of what error bars are worth, with the name of its file; none without any.

    Args:
        predictions: as for `model_figures`.
        styles: of all models.
        rated: what the ratings are called.
    """
    levels = range(1, 100)
    coverage, tenths = {}, {}
    for name in styles:
        sd = predictions.get(f"{name}{SD}")
        if sd is not None:
            told = predictions[name], sd, predictions["observed"]
            coverage[name] = calibration.coverage(*told, [level / 100 for level in levels])
            tenths[name] = calibration.by_tenth(*told, predictions["user"])
    if coverage:
        title = f"What error bars are worth on the {rated} ratings: {facts.dataset}, all models"
        yield (
            "calibration",
            figures.calibration(levels, calibration.LEVELS, coverage, tenths, styles, title),
        )


def ranking_figures(
    facts: Provenance, ranked: Sequence[Row], trained: Sequence[str]
) -> Iterator[tuple[str, Figure]]:
    """The figure of how models rank items, with the name of its file; none without rows.

    Args:
        ranked: as `evaluation.rankings.read` gives them.
        trained: the models that are no baselines.
    """
    if not ranked:
        return
    metrics = {
        row["model"]: {_heading(key): figure for key, figure in rankings.figures(row).items()}
        for row in ranked
    }
    styles = model_styles(trained, [name for name in metrics if name not in trained])
    rows = SUBSET_LABELS[ranked[0]["part"]]
    title = f"Lists of recommended items, on the {rows} ratings: {facts.dataset}, all models"
    yield "ranking", figures.ranking(metrics, styles, title)


def _heading(key: str) -> str:
    name, _, k = key.partition("_at_")
    words = {"ndcg": "NDCG", "map": "MAP"}.get(name, name)
    return f"{words} at {k}{' (bits)' if name == 'novelty' else ''}"
