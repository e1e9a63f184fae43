"""The scores of all models and baselines, for the stage evaluate."""

import pandas as pd

from cf.baselines import bias as baseline
from cf.core import io, paths
from cf.core.config import Evaluate
from cf.core.ratings import Ratings, Stars, is_cold
from cf.evaluation import bootstrap as significance
from cf.evaluation import calibration, metrics, rows, strata
from cf.evaluation.bootstrap import Resampled
from cf.evaluation.metrics import Summary
from cf.evaluation.predictions import SD
from cf.models import base
from cf.training import checkpoint as checkpoints
from stages import items


def score(models: list[str], evaluate: Evaluate) -> tuple[dict[str, Summary], Resampled]:
    """The metrics of each model and baseline; predictions and strata are written to reports.

    Args:
        models: those trained, by the name of their folder.

    Returns:
        The metrics, and the RMSE on resamples of the users.
    """
    train, held_out = (
        Ratings.from_frame(io.read_parquet(paths.SPLIT_FILES[name]))
        for name in ("train", evaluate.part)
    )
    pairs = held_out.users, held_out.items
    predictions = {
        "global_mean": baseline.global_mean(train, *pairs),
        "bias": baseline.bias(train, *pairs, evaluate.damping),
    }
    deviations: dict[str, Stars] = {}
    for name in models:
        model = checkpoints.load(paths.MODELS / name)
        predictions[name], sd = base.predict_mean_and_std(model, *pairs, held_out.timestamps)
        if sd is not None:
            deviations[name] = sd
    observed = {"row": held_out.rows, "user": held_out.users, "item": held_out.items}
    spreads = {f"{name}{SD}": sd for name, sd in deviations.items()}
    frame = {**observed, "observed": held_out.values, **predictions, **spreads}
    io.write_parquet(paths.PREDICTIONS, pd.DataFrame(frame))
    groups = strata.stratify(train, held_out, items.genres())
    stratified = strata.score(groups, predictions, held_out.values, held_out.users)
    rows.write(paths.STRATA, strata.COLUMNS, stratified)
    cold = is_cold(train, held_out)
    scores = {
        name: metrics.summary(predicted, held_out.values, cold)
        for name, predicted in predictions.items()
    }
    for name, sd in deviations.items():
        scores[name] |= calibration.summary(predictions[name], sd, held_out.values)
    return scores, significance.resample(
        predictions, held_out.values, held_out.users, evaluate.n_resamples, evaluate.seed
    )
