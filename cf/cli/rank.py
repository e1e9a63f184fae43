"""Recommended items on a split by time: cf rank."""

from io import StringIO

import pandas as pd
from rich.console import Console

from cf.cli import experiments
from cf.core import paths
from cf.core.errors import InputError
from cf.core.names import BASELINES, RANKING_BASELINES
from cf.reporting.tables import ranking_table

NAME = "rank-time"


def main() -> None:
    """Run the pipeline up to the stage rank as an experiment of DVC, and print its table."""
    if failure := experiments.run({NAME: {"split.method": "time"}}, 1, "rank", target="rank"):
        raise InputError(failure)
    (found,) = experiments.results([NAME]).to_dict("records")
    ranking = pd.read_csv(StringIO(experiments.read_at(found["rev"], paths.RANKING)))
    baselines = (*BASELINES, *RANKING_BASELINES)
    trained = next(name for name in ranking["model"] if name not in baselines)
    dataset = experiments.read_record(found["rev"], trained).dataset["name"]
    title = f"{dataset}, split by time, {found['evaluate.part']}"
    Console(highlight=False).print(ranking_table(ranking, title))
