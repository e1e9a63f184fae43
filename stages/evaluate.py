"""Score every model and the baselines: models to reports."""

from rich.console import Console

from cf import params, tracking
from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from cf.evaluation import leaderboard
from cf.reporting.terminal import leaderboard_table
from stages import heldout, paths, runs
from stages.stage import stage


@stage
def main() -> None:
    """Write metrics, leaderboard and predictions, and add the metrics to the models' runs."""
    evaluate = params.load(paths.PARAMS, "evaluate", params.Evaluate)
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    split = tables.read_facts(paths.SPLIT_FACTS, SplitFacts)
    part, n_leaked = evaluate.part, heldout.leaked(evaluate.part, split)
    trainings = runs.read(split)
    with tracking.recorder(settings) as recorder:
        from stages.scoring import score  # late: MLflow is imported while torch is

        scores, resampled = score(list(trainings), evaluate)
        notebook = leaderboard.is_notebooks(provenance, split)
        executions = {name: training.id for name, training in trainings.items()}
        rows = leaderboard.rank(
            scores, resampled, provenance.dataset, notebook, part, n_leaked, executions
        )
        runs.record(recorder, trainings, leaderboard.with_bounds(scores, rows), part)

    leaderboard.write(paths.LEADERBOARD, rows)
    tables.write_json(paths.METRICS, scores)
    sizes = {key: getattr(provenance, key) for key in ("n_ratings", "n_users", "n_items")}
    tables.write_json(paths.DATA, {"dataset": provenance.dataset, "part": part, **sizes})
    Console().print(leaderboard_table(leaderboard.read(paths.LEADERBOARD)))


if __name__ == "__main__":
    main()
