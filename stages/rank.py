"""Judge the lists that models and baselines recommend: models to reports/ranking.csv."""

from rich.console import Console

from cf import params, tracking
from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from cf.evaluation import rankings
from cf.reporting.terminal import ranking_table
from stages import heldout, paths, runs
from stages.stage import stage


@stage
def main() -> None:
    """Write the table, and add its figures to the models' runs."""
    rank = params.load(paths.PARAMS, "rank", params.Rank)
    evaluate = params.load(paths.PARAMS, "evaluate", params.Evaluate)
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    split = tables.read_facts(paths.SPLIT_FACTS, SplitFacts)
    part = evaluate.part
    if split.method not in rankings.METHODS:
        rankings.write(paths.RANKING, {}, rank.k, part, {})
        print(f"Not on a {split.method} split: `dvc exp run -S split.method=time` ranks.")
        return
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    heldout.leaked(part, split)  # there is such a part
    trainings = runs.read(split)
    with tracking.recorder(settings) as recorder:
        from stages.recommending import judge  # late: MLflow is imported while torch is

        metrics = judge(list(trainings), rank, evaluate)
        executions = {name: training.id for name, training in trainings.items()}
        rankings.write(paths.RANKING, metrics, rank.k, part, executions)
        rows = rankings.read(paths.RANKING)
        runs.record_ranking(recorder, trainings, rows)
    if not rows:
        return
    title = f"{provenance.dataset}, split by {split.method}, {part}"
    Console().print(ranking_table(rows, title))


if __name__ == "__main__":
    main()
