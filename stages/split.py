"""Ratings to train, validation and test rows: data/encoded to data/split."""

from rich.console import Console

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.ratings import Provenance
from cf.data import own_files
from cf.data.describe import describe
from cf.data.split import split
from cf.reporting.tables import leakage, split_table


@exit_on_input_error
def main() -> None:
    """Hold out the rows that params.yaml says, and count what they hold."""
    settings = config.load(paths.PARAMS, "split", config.Split)
    own_files.require({"split": settings.model_dump()})
    provenance = io.read_dataclass(paths.PROVENANCE, Provenance)
    ratings = io.read_parquet(paths.ENCODED_RATINGS)
    subsets = {name: ratings.iloc[rows] for name, rows in split(ratings, settings).items()}
    del ratings  # half of the memory
    paths.TEST.unlink(missing_ok=True)  # of an earlier split, where DVC has not removed it
    for name, subset in subsets.items():
        io.write_parquet(paths.SPLIT_FILES[name], subset)
    info = describe(subsets, settings)
    io.write_json(paths.SPLIT_INFO, info)
    io.write_json(paths.SPLIT_PROVENANCE, provenance)
    console = Console(highlight=False)
    console.print(split_table(info, provenance.dataset))
    if info.n_leaked:
        console.print(f"[bold red]WARNING: {leakage(info.n_leaked)}[/]")


if __name__ == "__main__":
    main()
