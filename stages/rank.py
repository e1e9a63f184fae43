"""Evaluate the lists that models and baselines recommend: models to reports/ranking.csv."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd
from rich.console import Console

from cf.baselines.base import Scorer, rating_scorer
from cf.core import config, io, paths
from cf.core.errors import InputError, exit_on_input_error
from cf.core.progress import working
from cf.core.ratings import Provenance, Ratings, SplitInfo, sample_users
from cf.evaluation import ranking
from cf.reporting.tables import ranking_table
from cf.tracking.record import RunRecord, read_all, recording


@exit_on_input_error
@working("rank: ranking items")
def main() -> None:
    """Write the table, and add its metrics to the models' runs."""
    rank = config.load(paths.PARAMS, "rank", config.Rank)
    evaluate = config.load(paths.PARAMS, "evaluate", config.Evaluate)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    part = evaluate.part
    save(ranking.evaluate_lists({}, None, rank.k, part), {})
    if split.method not in ranking.METHODS:
        print(
            f"Nothing to rank: the split is {split.method}, and lists are evaluated where the "
            "latest ratings are held out. `make rank` does that in a folder of its own."
        )
        return
    split.n_leaked_in(part)  # raises where there is no such part
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    records = read_all(split)
    of_users = sample_users(provenance)
    train = Ratings.read(paths.TRAIN, provenance, of_users)
    data = train, provenance.n_users, provenance.n_items
    held_out = Ratings.read(paths.SPLIT_FILES[part], provenance, of_users)
    exclude = Ratings.read(paths.VALID, provenance, of_users) if part == "test" else None
    if of_users is not None:
        print(f"Lists are of {of_users.sum():,} users, drawn at random.")
    try:
        task = ranking.make_task(train, held_out, *data[1:], rank.relevant, exclude)
    except InputError as error:  # ratings can be evaluated all the same
        print(f"No lists are evaluated. {error}")
        return

    with recording(settings) as recorder:
        lists = {
            name: ranking.recommend(scorer, task, rank.k)
            for name, scorer in scorers(records, data, task.train, rank, evaluate.damping)
        }
        table = ranking.evaluate_lists(lists, task, rank.k, part)
        metrics = ranking.run_metrics(table)
        for name, record in records.items():
            record.metrics.update(metrics[name])
            recorder.upsert(record)
        save(table, records)
    Console().print(ranking_table(table, f"{provenance.dataset}, split by {split.method}, {part}"))


def save(table: pd.DataFrame, records: Mapping[str, RunRecord]) -> None:
    """Write the table, and which trainings it is about."""
    io.write_csv(paths.RANKING, table)
    io.write_json(paths.RANKED_RUNS, {name: record.id for name, record in records.items()})


def scorers(
    models: Iterable[str],
    data: tuple[Ratings, int, int],
    rated: Any,
    rank: config.Rank,
    damping: float,
) -> Iterator[tuple[str, Scorer]]:
    """What ranks items for users, by name: made one after the other, so that few are in memory.

    `rated` is who rated what in train, sparse. Models rank as `Recommender.recommend` does; one
    without a formula in cf/inference, by its predicted ratings.
    """
    # late: SciPy and torch are imported while the recorder imports MLflow, or not at all
    from cf.baselines.bias import Bias
    from cf.baselines.ranking import interaction_scorers
    from cf.inference.lists import BLEND, Likely, Weight, scorer
    from cf.inference.load import load_answers
    from cf.models import base
    from cf.training import checkpoint

    yield from interaction_scorers(data, rank)
    yield "bias", Bias(damping).fit(*data).score
    for name in models:
        if answers := load_answers(paths.MODELS / name):
            likely = Likely.load(paths.BLEND, data[2])
            weights = io.read_json(paths.BLEND / BLEND, dict[str, Weight])
            with io.reading(paths.BLEND / BLEND):
                weight = weights[name]
            yield name, scorer(answers, rated, likely, weight)
        else:
            model = checkpoint.load(paths.MODELS / name)
            yield name, rating_scorer(partial(base.predict, model), data[2])


if __name__ == "__main__":
    main()
