"""The scores of all models and baselines, for the stage evaluate."""

from cf.data import splitting, tables
from cf.evaluation import metrics
from cf.evaluation.metrics import Summary
from cf.models import base, baseline
from cf.training import checkpoints
from stages import paths


def score(models: list[str], damping: float, part: str) -> dict[str, Summary]:
    """The metrics of each model and baseline; their predictions are written to reports.

    Args:
        models: those trained, by the name of their folder.
        damping: of the bias baseline.
        part: which held-out part to score on: valid or test.
    """
    train, held_out = (tables.read_ratings(paths.PARTS[name]) for name in ("train", part))
    pairs = held_out.users, held_out.items
    predictions = {
        "global_mean": baseline.global_mean(train, *pairs),
        "bias": baseline.bias(train, *pairs, damping),
    }
    for name in models:
        predictions[name] = base.predict(checkpoints.load(paths.MODELS / name), *pairs)
    observed = {"rows": held_out.rows, "users": held_out.users, "items": held_out.items}
    tables.write_columns(
        paths.PREDICTIONS, {**observed, "observed": held_out.values, **predictions}
    )
    cold = splitting.cold(train, held_out)
    return {
        name: metrics.summary(predicted, held_out.values, cold)
        for name, predicted in predictions.items()
    }
