"""Score every model and the baselines: models to reports."""

from cf import params, tracking
from cf.data import splitting, tables
from cf.data.tables import Provenance, SplitFacts
from cf.evaluation import leaderboard, metrics
from cf.models import base, baseline
from cf.training import checkpoints
from stages import paths, runs
from stages.stage import stage


@stage
def main() -> None:
    """Write metrics, leaderboard and predictions, and add the metrics to the models' runs."""
    evaluate = params.load(paths.PARAMS, "evaluate", params.Evaluate)
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    split = tables.read_facts(paths.SPLIT_FACTS, SplitFacts)
    train, valid = tables.read_ratings(paths.TRAIN), tables.read_ratings(paths.VALID)
    pairs = valid.users, valid.items

    with tracking.recorder(settings) as recorder:
        predictions = {
            "global_mean": baseline.global_mean(train, *pairs),
            "bias": baseline.bias(train, *pairs, evaluate.damping),
        }
        for name in runs.read():
            predictions[name] = base.predict(checkpoints.load(paths.MODELS / name), *pairs)
        cold = splitting.cold(train, valid)
        scores = {
            name: metrics.summary(predicted, valid.values, cold)
            for name, predicted in predictions.items()
        }
        for name, run_id in runs.read().items():
            recorder.add(run_id, scores[name])

    dataset, notebook = provenance.dataset, leaderboard.is_notebooks(provenance, split)
    leaderboard.write(paths.LEADERBOARD, leaderboard.rank(scores, dataset, notebook))
    tables.write_json(
        paths.METRICS, {name: {**score, "dataset": dataset} for name, score in scores.items()}
    )
    observed = {"rows": valid.rows, "users": valid.users, "items": valid.items}
    tables.write_columns(paths.PREDICTIONS, {**observed, "observed": valid.values, **predictions})
    leaderboard.show(paths.LEADERBOARD)


if __name__ == "__main__":
    main()
