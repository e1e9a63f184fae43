"""Ratings to train, validation and test rows: data/encoded to data/split."""

from pathlib import Path

from rich.console import Console

from cf import params
from cf.data import parts, splitfile, splitting, tables
from cf.data.splitting import Parts
from cf.data.tables import Provenance
from cf.params import Split
from cf.ratings import Ratings
from cf.reporting.terminal import leakage, split_table
from stages import paths
from stages.stage import stage


@stage
def main() -> None:
    """Hold out the rows that params.yaml says, and count what they hold."""
    split = params.load(paths.PARAMS, "split", params.Split)
    provenance = tables.read_facts(paths.PROVENANCE, Provenance)
    ratings = tables.read_ratings(paths.ENCODED_RATINGS)
    rows = divide(ratings, split)
    paths.TEST.unlink(missing_ok=True)  # of an earlier split, where DVC has not removed it
    for part, places in rows.items():
        tables.write_ratings(paths.PARTS[part], ratings.take(places))
    facts = parts.describe(ratings, rows, split)
    tables.write_facts(paths.SPLIT_FACTS, facts)
    tables.write_facts(paths.SPLIT_PROVENANCE, provenance)
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
