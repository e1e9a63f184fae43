"""The scores of all models and baselines, for the stage evaluate."""

from cf.data import splitting, tables
from cf.evaluation import calibration, metrics, rows, significance, strata
from cf.evaluation.metrics import Summary
from cf.evaluation.predictions import SD
from cf.evaluation.significance import Resampled
from cf.models import base, baseline
from cf.params import Evaluate
from cf.ratings import Stars
from cf.training import checkpoints
from stages import items, paths


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
    deviations: dict[str, Stars] = {}
    for name in models:
        model = checkpoints.load(paths.MODELS / name)
        predictions[name], sd = base.moments(model, *pairs, held_out.timestamps)
        if sd is not None:
            deviations[name] = sd
    observed = {"rows": held_out.rows, "users": held_out.users, "items": held_out.items}
    spreads = {f"{name}{SD}": sd for name, sd in deviations.items()}
    tables.write_columns(
        paths.PREDICTIONS, {**observed, "observed": held_out.values, **predictions, **spreads}
    )
    groups = strata.stratify(train, held_out, items.genres())
    stratified = strata.score(groups, predictions, held_out.values, held_out.users)
    rows.write(paths.STRATA, strata.COLUMNS, stratified)
    cold = splitting.cold(train, held_out)
    scores = {
        name: metrics.summary(predicted, held_out.values, cold)
        for name, predicted in predictions.items()
    }
    for name, sd in deviations.items():
        scores[name] |= calibration.summary(predictions[name], sd, held_out.values)
    return scores, significance.resample(
        predictions, held_out.values, held_out.users, evaluate.n_resamples, evaluate.seed
    )
