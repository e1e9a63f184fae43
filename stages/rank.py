"""Evaluate the lists that models and baselines recommend: models to reports/ranking.csv."""

from collections.abc import Iterable, Iterator
from functools import partial

from rich.console import Console

from cf.baselines.base import Scorer, rating_scorer
from cf.core import config, io, paths
from cf.core.config import Evaluate, Rank
from cf.core.errors import InputError, exit_on_input_error
from cf.core.provenance import Provenance, SplitInfo
from cf.core.ratings import Ratings
from cf.evaluation import ranking
from cf.reporting.tables import ranking_table
from cf.tracking.record import read_all, recording


@exit_on_input_error
def main() -> None:
    """Write the table, and add its metrics to the models' runs."""
    rank = config.load(paths.PARAMS, "rank", Rank)
    evaluate = config.load(paths.PARAMS, "evaluate", Evaluate)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    part = evaluate.part
    io.write_csv(paths.RANKING, ranking.table({}, rank.k, part))
    io.write_json(paths.RANKED_RUNS, {})
    if split.method not in ranking.METHODS:
        print(f"Not on a {split.method} split: `dvc exp run -S split.method=time` ranks.")
        return
    split.n_leaked_in(part)  # raises where there is no such part
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    records = read_all(split)
    train = Ratings.from_frame(io.read_parquet(paths.TRAIN))
    held_out = Ratings.from_frame(io.read_parquet(paths.SPLIT_FILES[part]))
    exclude = Ratings.from_frame(io.read_parquet(paths.VALID)) if part == "test" else None
    sizes = provenance.n_users, provenance.n_items
    try:
        task = ranking.make_task(train, held_out, *sizes, rank.relevant, exclude)
    except InputError as nobody:  # ratings can be evaluated all the same
        print(f"No lists are evaluated. {nobody}")
        return

    with recording(settings) as recorder:
        metrics, ndcg = {}, {}
        for name, scorer in scorers(records, train, sizes, rank, evaluate.damping):
            lists = ranking.recommend(scorer, task, rank.k)
            metrics[name] = ranking.evaluate_lists(lists, task)
            ndcg[name] = ranking.ndcg(lists, task)
        gaps = ranking.ndcg_gap(ndcg)
        table = ranking.table({name: metrics[name] | gaps[name] for name in gaps}, rank.k, part)
        io.write_csv(paths.RANKING, table)
        io.write_json(paths.RANKED_RUNS, {name: record.id for name, record in records.items()})
        run_metrics = ranking.run_metrics(table)
        for name, record in records.items():
            record.metrics.update(run_metrics[name])
            recorder.upsert(record)
    title = f"{provenance.dataset}, split by {split.method}, {part}"
    Console().print(ranking_table(table, title))


def scorers(
    models: Iterable[str], train: Ratings, sizes: tuple[int, int], rank: Rank, damping: float
) -> Iterator[tuple[str, Scorer]]:
    """What ranks items for users, by name: made one after the other, so that few are in memory."""
    # late: SciPy and torch are imported while the recorder imports MLflow, or not at all
    from cf.baselines.bias import Bias
    from cf.baselines.ease import EASE
    from cf.baselines.item_knn import ItemKNN
    from cf.baselines.popularity import Popularity
    from cf.models import base
    from cf.training import checkpoint

    yield "popularity", Popularity().fit(train, *sizes).score
    yield "itemknn", ItemKNN(rank.knn.n_neighbors, rank.knn.shrinkage).fit(train, *sizes).score
    yield "ease", EASE(rank.ease.l2, rank.ease.max_items).fit(train, *sizes).score
    yield "bias", Bias(damping).fit(train, *sizes).score
    for name in models:
        model = checkpoint.load(paths.MODELS / name)
        yield name, rating_scorer(partial(base.predict, model), sizes[1])


if __name__ == "__main__":
    main()
