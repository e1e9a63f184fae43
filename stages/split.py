"""Ratings to train, validation and test rows: data/encoded to data/split."""

from pathlib import Path

from rich.console import Console

from cf.core import config, io, paths
from cf.core.config import Split
from cf.core.errors import exit_on_input_error
from cf.core.provenance import Provenance
from cf.core.ratings import Ratings
from cf.data import describe as parts
from cf.data import split as splitting
from cf.data import split_file as splitfile
from cf.data.split import Parts
from cf.reporting.tables import leakage, split_table


@exit_on_input_error
def main() -> None:
    """Hold out the rows that params.yaml says, and count what they hold."""
    split = config.load(paths.PARAMS, "split", config.Split)
    provenance = io.read_dataclass(paths.PROVENANCE, Provenance)
    ratings = Ratings.from_frame(io.read_parquet(paths.ENCODED_RATINGS))
    rows = divide(ratings, split)
    paths.TEST.unlink(missing_ok=True)  # of an earlier split, where DVC has not removed it
    for part, places in rows.items():
        io.write_parquet(paths.SPLIT_FILES[part], ratings.take(places).to_frame())
    facts = parts.describe(ratings, rows, split)
    io.write_dataclass(paths.SPLIT_INFO, facts)
    io.write_dataclass(paths.SPLIT_PROVENANCE, provenance)
    console = Console(highlight=False)
    console.print(split_table(facts, provenance.dataset))
    if facts.n_leaked:
        console.print(f"[bold red]WARNING: {leakage(facts.n_leaked)}[/]")


def divide(ratings: Ratings, split: Split) -> Parts:
    """The rows of each part."""
    n, users, times = len(ratings), ratings.users, ratings.timestamps
    fraction, seed, test = split.fraction, split.seed, split.test
    match split.method:
        case "random":
            return splitting.random_split(n, fraction, seed, test)
        case "per_user":
            return splitting.per_user(users, fraction, seed, test)
        case "time":
            return splitting.by_time(times, fraction, test)
        case "leave_last":
            return splitting.leave_last(users, times, split.n_last, test)
        case "k_fold":
            return splitting.k_fold(n, split.n_folds, split.fold, seed, test)
        case "file":
            labels = splitfile.read(Path(split.file or ""), n, test)
            return splitting.named(labels, test, split.file or "")


if __name__ == "__main__":
    main()
