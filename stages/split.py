"""Ratings to train, validation and test rows: data/encoded to data/split."""

from typing import Any

import pandas as pd
from rich.console import Console

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.progress import working
from cf.core.ratings import Provenance, Ratings
from cf.data import own_files
from cf.data.describe import describe, describe_held_out
from cf.data.split import Subsets, split
from cf.reporting.tables import leakage, split_table


@exit_on_input_error
@working("split: holding out ratings")
def main() -> None:
    """Hold out the rows that params.yaml says, and count what they hold."""
    settings = config.load(paths.PARAMS, "split", config.Split)
    own_files.require({"split": settings.model_dump()})
    provenance = io.read_dataclass(paths.PROVENANCE, Provenance)
    if on_ray := config.ray(paths.PARAMS):
        from cf.distributed.split import columns_to_choose_by, split_on_ray

        rows = split(columns_to_choose_by(paths.ENCODED_RATINGS), settings)
        train, subsets, n_leaked = split_on_ray(on_ray, paths.ENCODED_RATINGS, rows, paths.TRAIN)
        info = describe_held_out(train, subsets, n_leaked, settings)
    else:
        ratings = io.read_parquet(paths.ENCODED_RATINGS, ["user", "item", "rating", "row"])
        with io.reading(paths.ENCODED_RATINGS):
            Ratings.from_frame(ratings)
        subsets = take_apart(ratings, split(ratings, settings))
        info = describe(subsets, settings)
    paths.TEST.unlink(missing_ok=True)  # of an earlier split, where DVC has not removed it
    for name, subset in subsets.items():
        io.write_parquet(paths.SPLIT_FILES[name], subset)
    io.write_json(paths.SPLIT_INFO, info)
    io.write_json(paths.SPLIT_PROVENANCE, provenance)
    console = Console(highlight=False)
    console.print(split_table(info, provenance.dataset))
    if info.n_leaked:
        console.print(f"[bold red]WARNING: {leakage(info.n_leaked)}[/]")


def take_apart(ratings: pd.DataFrame, subsets: Subsets) -> dict[str, pd.DataFrame]:
    """The rows of each subset.

    Columns are taken out of `ratings` one by one, since all of both would be twice the memory.
    """
    columns: dict[str, dict[str, Any]] = {name: {} for name in subsets}
    for key in map(str, list(ratings)):
        values = ratings.pop(key).to_numpy()
        for name, rows in subsets.items():
            columns[name][key] = values[rows]
    return {name: pd.DataFrame(found, copy=False) for name, found in columns.items()}


if __name__ == "__main__":
    main()
