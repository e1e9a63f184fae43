"""Judge the lists that models and baselines recommend: models to reports/ranking.csv."""

from rich.console import Console

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation import rankings
from cf.reporting.tables import ranking_table
from cf.tracking import record as records
from stages import heldout


@exit_on_input_error
def main() -> None:
    """Write the table, and add its figures to the models' runs."""
    rank = config.load(paths.PARAMS, "rank", config.Rank)
    evaluate = config.load(paths.PARAMS, "evaluate", config.Evaluate)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    part = evaluate.part
    if split.method not in rankings.METHODS:
        rankings.write(paths.RANKING, {}, rank.k, part, {})
        print(f"Not on a {split.method} split: `dvc exp run -S split.method=time` ranks.")
        return
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    heldout.leaked(part, split)  # there is such a part
    trainings = records.read_all(split)
    with records.recording(settings) as recorder:
        from stages.recommending import judge  # late: MLflow is imported while torch is

        metrics = judge(list(trainings), rank, evaluate)
        executions = {name: training.id for name, training in trainings.items()}
        rankings.write(paths.RANKING, metrics, rank.k, part, executions)
        rows = rankings.read(paths.RANKING)
        prefix = "" if part == "valid" else f"{part}/"
        for row in rows:
            if record := trainings.get(row["model"]):
                ranked = rankings.figures(row).items()
                record.metrics = {f"{prefix}{name}": value for name, value in ranked}
                recorder.upsert(record)
        io.write_json(paths.RANKED_RUNS, executions)
    if not rows:
        return
    title = f"{provenance.dataset}, split by {split.method}, {part}"
    Console().print(ranking_table(rows, title))


if __name__ == "__main__":
    main()
