"""Recommended items on a split by time: cf rank."""

from io import StringIO

import pandas as pd
from rich.console import Console

from cf.baselines.ranking import interaction_scorers
from cf.cli import experiments
from cf.core import config, io, paths
from cf.core.config import Ingest, Rank, Split
from cf.core.errors import InputError
from cf.core.names import BASELINES, RANKING_BASELINES
from cf.core.ratings import Provenance, Ratings
from cf.data import ratings_file, table_file
from cf.data.datasets import REGISTRY
from cf.data.split import split
from cf.evaluation import ranking
from cf.reporting.tables import ranking_table

NAME = "rank-time"


def main() -> None:
    """Run the pipeline up to the stage rank as an experiment of DVC, and print its table.

    Interactions, which no model is trained on, are ranked here, by the baselines.
    """
    ingest = config.load(paths.PARAMS, "ingest", Ingest)
    files = [] if ingest.dataset in REGISTRY else table_file.find(ingest.dataset)
    if files and ratings_file.has_interactions(files, ingest):
        rank_interactions()
        return
    if failure := experiments.run({NAME: {"split.method": "time"}}, 1, "rank", target="rank"):
        raise InputError(failure)
    (found,) = experiments.results([NAME]).to_dict("records")
    table = pd.read_csv(StringIO(experiments.read_at(found["rev"], paths.RANKING)))
    baselines = (*BASELINES, *RANKING_BASELINES)
    trained = next(name for name in table["model"] if name not in baselines)
    dataset = experiments.read_record(found["rev"], trained).dataset["name"]
    title = f"{dataset}, split by time, {found['evaluate.part']}"
    Console(highlight=False).print(ranking_table(table, title))


def rank_interactions() -> None:
    """Hold out the latest interactions, or without times some of each user's, and print a table."""
    experiments.output("dvc", "repro", "--quiet", "encode")
    rank = config.load(paths.PARAMS, "rank", Rank)
    settings = config.load(paths.PARAMS, "split", Split)
    facts = io.read_dataclass(paths.PROVENANCE, Provenance)
    frame = io.read_parquet(paths.ENCODED_RATINGS)
    method = "time" if "timestamp" in frame else "per_user"
    settings = settings.model_copy(update={"method": method, "test": False})
    rows = split(frame, settings)
    train, valid = (Ratings.from_frame(frame.iloc[rows[part]]) for part in ("train", "valid"))
    data = train, facts.n_users, facts.n_items
    relevant = 0.0 if rank.relevant == "auto" else rank.relevant  # whoever used an item
    task = ranking.make_task(train, valid, *data[1:], relevant)
    lists = {
        name: ranking.recommend(scorer, task, rank.k)
        for name, scorer in interaction_scorers(data, rank)
    }
    table = ranking.evaluate_lists(lists, task, rank.k, "valid")
    title = f"{facts.dataset}: interactions, split by {method}, valid"
    Console(highlight=False).print(ranking_table(table, title))
