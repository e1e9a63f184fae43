"""The scores of all models and baselines, for the stage evaluate."""

import numpy as np
from numpy.typing import NDArray

from cf.data import splitting, tables
from cf.evaluation import metrics, rows, significance, strata
from cf.evaluation.metrics import Summary
from cf.evaluation.significance import Resampled
from cf.models import base, baseline
from cf.params import Evaluate
from cf.training import checkpoints
from stages import paths


def score(models: list[str], evaluate: Evaluate) -> tuple[dict[str, Summary], Resampled]:
    """The metrics of each model and baseline; predictions and strata are written to reports.

    Args:
        models: those trained, by the name of their folder.

    Returns:
        The metrics, and the RMSE on resamples of the users.
    """
    train, held_out = (tables.read_ratings(paths.PARTS[name]) for name in ("train", evaluate.part))
    pairs = held_out.users, held_out.items
    predictions = {
        "global_mean": baseline.global_mean(train, *pairs),
        "bias": baseline.bias(train, *pairs, evaluate.damping),
    }
    for name in models:
        predictions[name] = base.predict(checkpoints.load(paths.MODELS / name), *pairs)
    observed = {"rows": held_out.rows, "users": held_out.users, "items": held_out.items}
    tables.write_columns(
        paths.PREDICTIONS, {**observed, "observed": held_out.values, **predictions}
    )
    groups = strata.stratify(train, held_out, _genres())
    stratified = strata.score(groups, predictions, held_out.values, held_out.users)
    rows.write(paths.STRATA, strata.COLUMNS, stratified)
    cold = splitting.cold(train, held_out)
    scores = {
        name: metrics.summary(predicted, held_out.values, cold)
        for name, predicted in predictions.items()
    }
    return scores, significance.resample(
        predictions, held_out.values, held_out.users, evaluate.n_resamples, evaluate.seed
    )


def _genres() -> NDArray[np.object_]:
    """The genres of each item, joined by "|", by the item's index."""
    items = tables.read_columns(paths.ITEMS, "item_id", "genres")
    genres = dict(zip(items["item_id"].tolist(), items["genres"].tolist(), strict=True))
    ids = tables.read_columns(paths.ITEM_VOCABULARY, "item_id")["item_id"]
    return np.array([genres.get(item, "") for item in ids.tolist()], dtype=object)
