"""Which figures a report has: from results to figures under names and titles."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cf.data.splitting import PARTS
from cf.data.tables import Provenance
from cf.evaluation import rankings
from cf.evaluation.crosstab import top_crosstab
from cf.evaluation.predictions import COLUMNS
from cf.ratings import Indices
from cf.reporting import figures
from cf.reporting.style import model_styles

N_TOP = 15

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
    train_items: Indices,
    histories: Mapping[str, Columns],
    part: str = "valid",
) -> Iterator[tuple[str, Figure]]:
    """The figures of the models, each with the name of its file.

    Args:
        predictions: users, items and observed stars, and the stars that each model and baseline
            predicts, (n,) each.
        train_items: (n_train,) indices of the training ratings' items.
        histories: epoch, train_loss and valid_loss of each trained model, (n_epochs,) each.
        part: of which the predictions are: valid or test.
    """
    rows = PARTS[part]
    items, observed = predictions["items"], predictions["observed"]
    models = [name for name in predictions if name not in COLUMNS]
    trained = [name for name in models if name in histories]
    baselines = [name for name in models if name not in histories]
    styles = model_styles(trained, baselines)

    title = f"Loss by epoch: {facts.dataset}, all models"
    yield "loss_curves", figures.loss_curves(histories, styles, title)

    errors = {name: predictions[name] - observed for name in models}
    counts = np.bincount(train_items, minlength=1 + items.max(initial=-1))[items]
    title = f"{rows.capitalize()} error by the item's popularity: {facts.dataset}, all models"
    yield "error_by_popularity", figures.error_by_popularity(errors, counts, styles, title, rows)

    for name in trained:
        title = f"Predicted against observed {rows} ratings: {facts.dataset}, {name}"
        figure = figures.predicted_against_observed(
            predictions[name], observed, facts.rating_range, title
        )
        yield f"predicted_{name}", figure


def ranking_figures(
    facts: Provenance, ranked: Sequence[Mapping[str, str]], trained: Sequence[str]
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
    rows = PARTS[ranked[0]["part"]]
    title = f"Lists of recommended items, on the {rows} ratings: {facts.dataset}, all models"
    yield "ranking", figures.ranking(metrics, styles, title)


def _heading(key: str) -> str:
    name, _, k = key.partition("_at_")
    words = {"ndcg": "NDCG", "map": "MAP"}.get(name, name)
    return f"{words} at {k}{' (bits)' if name == 'novelty' else ''}"
