"""The items to recommend to somebody: cf recommend."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

import cf
from cf.cli.output import Format, show
from cf.core import io
from cf.core.errors import InputError
from cf.core.progress import progress_bar
from cf.inference.recommender import Recommender

N_ROWS = 100_000  # of lists that are written at a time

ORDERS = {
    "both": "ordered by expected ratings and by what similar users rate",
    "stars": "ordered by expected ratings",
    "likely": "ordered by what similar users rate",
}


def main(
    user: str | None,
    ratings: str | None,
    everybody: str | None,
    options: dict[str, Any],
    force: bool,
    model: str | None,
    form: Format,
) -> None:
    """Print a list for a user or a file of ratings, or write one for everybody into a file.

    Raises:
        InputError: none of these is given, or several; or something cannot be read or written.
    """
    if sum(value is not None for value in (user, ratings, everybody)) != 1:
        raise InputError("give one of --user ID, --ratings FILE and --all FILE.")
    recommender = cf.load(model)
    if everybody is not None:
        write_all(recommender, Path(everybody), options, force)
        return
    given = None if ratings is None else read_ratings(ratings, recommender)
    frame = recommender.recommend(user, ratings=given, **options)
    whose = f"user {user}" if user is not None else Path(str(ratings)).name
    new = user is not None and recommender.catalog.find_users([user])[0] < 0
    unit = recommender.facts["unit"]
    caption = f"expected {unit}"
    if "low" in frame:
        caption += "; 95% interval of the rating"
    caption += f"\n{ORDERS[options['by']]}"
    if given is not None:
        caption += f"\nby {len(given)} rating{'s' * (len(given) != 1)} in {ratings}"
    show(frame, f"Recommended to {whose}: {recommender.name}", form, caption)
    if new:
        print(f"There is no user {user} in the data: these are for anybody.", file=sys.stderr)


def read_ratings(path: str, recommender: Recommender) -> pd.DataFrame:
    """Somebody's ratings in a file, as `cf.cli.ratings_file.read` has them."""
    from cf.cli import ratings_file  # late: other answers need not wait for what reads files

    return ratings_file.read(Path(path), recommender)


def write_all(recommender: Recommender, path: Path, options: dict[str, Any], force: bool) -> None:
    """Write a list for each user of the data into a Parquet or CSV file, as they are made.

    Raises:
        InputError: there is such a file already, or it is of another kind.
    """
    refuse_to_overwrite(path, force, (".parquet", ".csv"))
    recommender.prepare()
    n_users, n_lists = len(recommender.catalog.user_ids), 0
    waiting: list[pd.DataFrame] = []
    with progress_bar("recommend", n_users) as task, io.atomic_write(path) as tmp_path:
        with frame_writer(tmp_path) as write:
            for n_done, frame in recommender.recommend_all(**options):
                waiting.append(frame)
                n_lists += int((frame["rank"] == 1).sum())
                task.completed += n_done
                task.fields["text"] = f"{int(task.completed):,} of {n_users:,} users"
                if sum(map(len, waiting)) >= N_ROWS or task.completed == n_users:
                    write(pd.concat(waiting, ignore_index=True))
                    waiting.clear()
        if not n_lists:
            raise InputError("no item is left to recommend to anybody. Ask for fewer restrictions.")
    n_without = n_users - n_lists
    without = f"; nothing is left to recommend to {n_without:,} users" if n_without else ""
    print(f"{path}: {n_lists:,} lists by {recommender.name}{without}")


@contextmanager
def frame_writer(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """A function that appends a frame to a CSV file, or to a Parquet file as a group of rows."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            yield lambda frame: io.without_formulas(frame).to_csv(
                file, index=False, header=file.tell() == 0
            )
        return
    import pyarrow as pa  # late: a list for one user is not written
    from pyarrow import parquet

    with ExitStack() as stack:
        writer = None

        def write(frame: pd.DataFrame) -> None:
            nonlocal writer
            schema = None if writer is None else writer.schema
            table = pa.Table.from_pandas(frame, schema, preserve_index=False)
            if writer is None:
                writer = stack.enter_context(parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)

        yield write


def refuse_to_overwrite(path: Path, force: bool, suffixes: Sequence[str]) -> None:
    """Raise InputError where there is a file already, unless that is meant, or no file can be."""
    if path.suffix not in suffixes:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(suffixes)}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the name of a file.")
    if path.exists() and not force:
        raise InputError(f"{path} exists. Give another name, or --force to overwrite it.")
