"""Score every model and the baselines: models to reports."""

from rich.console import Console

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation import champion, leaderboard
from cf.reporting.tables import leaderboard_table
from cf.tracking import record as records
from stages import heldout


@exit_on_input_error
def main() -> None:
    """Write metrics, leaderboard and predictions, and add the metrics to the models' runs."""
    evaluate = config.load(paths.PARAMS, "evaluate", config.Evaluate)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    part, n_leaked = evaluate.part, heldout.leaked(evaluate.part, split)
    trainings = records.read_all(split)
    with records.recording(settings) as recorder:
        from stages.scoring import score  # late: MLflow is imported while torch is

        scores, resampled = score(list(trainings), evaluate)
        notebook = leaderboard.is_notebooks(provenance, split)
        executions = {name: training.id for name, training in trainings.items()}
        rows = leaderboard.rank(
            scores, resampled, provenance.dataset, notebook, part, n_leaked, executions
        )
        prefix = "" if part == "valid" else f"{part}/"
        rmse = {name: scores[name]["rmse"] or 0 for name in trainings}
        best = champion.candidate(rmse, part, split.method)
        for name, values in leaderboard.with_bounds(scores, rows).items():
            if name in trainings:
                record = trainings[name]
                record.metrics = {f"{prefix}{key}": value for key, value in values.items()}
                record.candidate = name == best
                recorder.upsert(record)

    leaderboard.write(paths.LEADERBOARD, rows)
    io.write_json(paths.METRICS, scores)
    io.write_json(paths.EVALUATED_RUNS, executions)
    sizes = {key: getattr(provenance, key) for key in ("n_ratings", "n_users", "n_items")}
    io.write_json(paths.DATA, {"dataset": provenance.dataset, "part": part, **sizes})
    Console().print(leaderboard_table(leaderboard.read(paths.LEADERBOARD)))


if __name__ == "__main__":
    main()
