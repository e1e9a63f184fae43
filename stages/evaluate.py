"""Score every model and the baselines: models to reports."""

from rich.console import Console

from cf import params, tracking
from cf.data import splitting, tables
from cf.data.tables import Provenance, SplitFacts
from cf.evaluation import leaderboard, metrics
from cf.models import base, baseline
from cf.reporting.terminal import leaderboard_table
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
    trainings = runs.read(split)
    pairs = valid.users, valid.items

    with tracking.recorder(settings) as recorder:
        predictions = {
            "global_mean": baseline.global_mean(train, *pairs),
            "bias": baseline.bias(train, *pairs, evaluate.damping),
        }
        for name in trainings:
            predictions[name] = base.predict(checkpoints.load(paths.MODELS / name), *pairs)
        cold = splitting.cold(train, valid)
        scores = {
            name: metrics.summary(predicted, valid.values, cold)
            for name, predicted in predictions.items()
        }
        for name, training in trainings.items():
            recorder.add(training, scores[name])
        if trainings:
            rmse = {name: metrics.rmse(predictions[name], valid.values) for name in trainings}
            best = min(trainings, key=rmse.__getitem__)
            recorder.register(trainings[best], rmse[best])

    notebook = leaderboard.is_notebooks(provenance, split)
    rows = leaderboard.rank(scores, provenance.dataset, notebook)
    leaderboard.write(paths.LEADERBOARD, rows)
    tables.write_json(paths.METRICS, scores)
    sizes = {key: getattr(provenance, key) for key in ("n_ratings", "n_users", "n_items")}
    tables.write_json(paths.DATA, {"dataset": provenance.dataset, **sizes})
    observed = {"rows": valid.rows, "users": valid.users, "items": valid.items}
    tables.write_columns(paths.PREDICTIONS, {**observed, "observed": valid.values, **predictions})
    Console().print(leaderboard_table(leaderboard.read(paths.LEADERBOARD)))


if __name__ == "__main__":
    main()
