"""The scores of all models and baselines, for the stage evaluate."""

from cf.data import splitting, tables
from cf.evaluation import metrics
from cf.evaluation.metrics import Summary
from cf.models import base, baseline
from cf.training import checkpoints
from stages import paths


def score(models: list[str], damping: float) -> dict[str, Summary]:
    """The metrics of each model and baseline; their predictions are written to reports.

    Args:
        models: those trained, by the name of their folder.
        damping: of the bias baseline.
    """
    train, valid = tables.read_ratings(paths.TRAIN), tables.read_ratings(paths.VALID)
    pairs = valid.users, valid.items
    predictions = {
        "global_mean": baseline.global_mean(train, *pairs),
        "bias": baseline.bias(train, *pairs, damping),
    }
    for name in models:
        predictions[name] = base.predict(checkpoints.load(paths.MODELS / name), *pairs)
    observed = {"rows": valid.rows, "users": valid.users, "items": valid.items}
    tables.write_columns(paths.PREDICTIONS, {**observed, "observed": valid.values, **predictions})
    cold = splitting.cold(train, valid)
    return {
        name: metrics.summary(predicted, valid.values, cold)
        for name, predicted in predictions.items()
    }
