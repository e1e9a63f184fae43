"""Results to figures: reports/, and the data behind it, to reports/figures."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cf import params, tracking
from cf.data import tables
from cf.errors import InputError
from cf.evaluation.crosstab import top_crosstab
from cf.reporting import figures
from cf.reporting.save import save
from cf.reporting.style import model_styles
from stages import paths, runs
from stages.stage import stage

N_TOP = 15


@stage
def main() -> None:
    """Draw every figure of the report, and add them to the models' runs."""
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    with tracking.recorder(settings) as recorder:
        drawn = []
        for model, name, figure in (*data_figures(), *model_figures()):
            png = paths.FIGURES / f"{name}.png"
            save(figure, png)
            save(figure, paths.VECTOR_FIGURES / f"{name}.svg")
            drawn.append((model, png))
        for name, run_id in runs.read().items():
            recorder.add(run_id, {}, [png for model, png in drawn if model in (None, name)])


def data_figures() -> Iterator[tuple[None, str, Figure]]:
    """The figures of the data: no model, a file name and the figure."""
    facts = tables.read_facts(paths.PROVENANCE, tables.Provenance)
    ratings = tables.read_columns(paths.RATINGS)
    user_ids, item_ids = ratings["user_id"], ratings["item_id"]
    user_counts, item_counts = (
        np.unique(ids, return_counts=True)[1] for ids in (user_ids, item_ids)
    )
    title = f"Activity of users and items: {facts.dataset}"
    yield None, "activity", figures.activity(user_counts, item_counts, title)

    table = top_crosstab(user_ids, item_ids, ratings["rating"], N_TOP)
    items = tables.read_columns(paths.ITEMS)
    titles = dict(zip(items["item_id"].tolist(), items["title"].tolist(), strict=True))
    title = (
        f"Ratings by the {len(table.user_ids)} most active users of the {len(table.item_ids)} "
        f"most rated items: {facts.dataset}"
    )
    yield None, "crosstab", figures.crosstab_heatmap(table, titles, facts.rating_range, title)


def model_figures() -> Iterator[tuple[str | None, str, Figure]]:
    """The figures of the models: the model or None for all, a file name and the figure."""
    facts = tables.read_facts(paths.PROVENANCE, tables.Provenance)
    predictions = tables.read_columns(paths.PREDICTIONS)
    items, observed = predictions["items"], predictions["observed"]
    models = [name for name in predictions if name not in ("rows", "users", "items", "observed")]
    trained = [name for name in models if (paths.HISTORY / f"{name}.csv").exists()]
    baselines = [name for name in models if name not in trained]
    styles = model_styles(trained, baselines)

    histories = {name: read_history(paths.HISTORY / f"{name}.csv") for name in trained}
    title = f"Loss by epoch: {facts.dataset}, all models"
    yield None, "loss_curves", figures.loss_curves(histories, styles, title)

    errors = {name: predictions[name] - observed for name in models}
    train_items = tables.read_columns(paths.TRAIN)["items"]
    counts = np.bincount(train_items, minlength=1 + items.max(initial=-1))[items]
    title = f"Error by the item's number of ratings: {facts.dataset}, all models"
    yield None, "error_by_popularity", figures.error_by_popularity(errors, counts, styles, title)

    for name in trained:
        title = f"Predicted against observed ratings: {facts.dataset}, {name}"
        figure = figures.predicted_against_observed(
            predictions[name], observed, facts.rating_range, title
        )
        yield name, f"predicted_{name}", figure


def read_history(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns epoch, train_loss and valid_loss of a training's history.

    Raises:
        InputError: a column is missing, or a field is no number.
    """
    names = ("epoch", "train_loss", "valid_loss")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {name: np.array([float(row[name]) for row in rows]) for name in names}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected numbers in the columns {', '.join(names)}, got {error}. "
            "`dvc repro` makes it; if it is damaged, delete it first."
        ) from None


if __name__ == "__main__":
    main()
