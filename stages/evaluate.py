"""Score every model and the baselines: models to reports."""

from rich.console import Console

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation import leaderboard
from cf.reporting.tables import leaderboard_table
from cf.tracking import record as tracking
from stages import heldout, runs


@exit_on_input_error
def main() -> None:
    """Write metrics, leaderboard and predictions, and add the metrics to the models' runs."""
    evaluate = config.load(paths.PARAMS, "evaluate", config.Evaluate)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
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
    io.write_json(paths.METRICS, scores)
    sizes = {key: getattr(provenance, key) for key in ("n_ratings", "n_users", "n_items")}
    io.write_json(paths.DATA, {"dataset": provenance.dataset, "part": part, **sizes})
    Console().print(leaderboard_table(leaderboard.read(paths.LEADERBOARD)))


if __name__ == "__main__":
    main()
