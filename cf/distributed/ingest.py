"""The user's own Parquet files on Ray, as `cf.data.ratings_file` reads them: no process has all.

The files are read in parts. Each pair of a user and an item belongs to one of several owners, by a
hash: it finds the rows that repeat the pair. Workers write the rows that stay to a folder that all
machines share; from there they are put together.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core import config, io
from cf.core.config import Ingest
from cf.core.ratings import Indices
from cf.data import ratings_file, table_file, validation
from cf.data.ratings_file import HINTS, Contents, Form
from cf.data.table_file import Collector
from cf.data.validation import Repeats, Summary
from cf.data.values import Ids
from cf.distributed.cluster import cluster, in_order, n_workers_of, result, submit, tell_if_busy
from cf.distributed.encode import KEYS, appear, as_ids
from cf.distributed.parts import Part, parts_of, parts_of_files
from cf.distributed.storage import temporary_folder


class Source(NamedTuple):
    """How parts of the files are read.

    Attributes:
        found: what all parts say of each column; empty as long as that is not known.
    """

    settings: Ingest
    form: Form
    found: Mapping[str, Any]

    def collect(self, part: Part) -> dict[str, Collector]:
        """The columns of a part, put together.

        Raises:
            InputError: as `table_file.collect`.
        """
        table = table_file.open_parts(part.path, part.numbers)
        collectors = ratings_file.collectors(self.settings, self.form.names)
        table_file.collect([table], self.form.names, collectors, HINTS)
        return collectors

    def read(self, part: Part) -> tuple[pd.DataFrame, int]:
        """A part's rows with a rating, indexed by their numbers; how many have none."""
        columns = {
            key: collector.series(self.found[key]) for key, collector in self.collect(part).items()
        }
        rows = pd.RangeIndex(part.first_row, part.first_row + part.n_rows)
        ratings = ratings_file.with_plain_ids(pd.DataFrame(columns)).set_axis(rows)
        return ratings_file.complete(ratings, self.settings)


def ingest_on_ray(
    settings: config.Ray, files: Sequence[Path], ingest: Ingest, ratings: Path
) -> Contents:
    """Write the ratings of Parquet files as `stages.ingest` does, and return what else they have.

    Raises:
        InputError: as `ratings_file.read`, or Ray cannot be had.
    """
    tables = [table_file.open_table(file, ingest.layout) for file in files]
    form = ratings_file.recognize(tables, ingest)
    parts, sizes = parts_of_files(files)
    name = ratings_file.name_of(tables)
    collectors = ratings_file.collectors(ingest, form.names)

    def converting(key: str) -> AbstractContextManager[None]:
        return table_file.converting(f"{tables[0].path}, column {form.names[key]}", HINTS[key])

    with cluster(settings), temporary_folder(settings, "ingest") as folder:
        n_workers = n_workers_of(settings)
        tell_if_busy(n_needed=1)
        source = Source(ingest, form, {})
        looks = (submit(look, 1, part, source)[0] for part in parts)
        by_part = list(in_order(looks, 2 * n_workers))
        found = {}
        for key, collector in collectors.items():
            with converting(key):
                found[key] = collector.combine(each[key] for each in by_part)
                collector.series(found[key])  # of no rows: whether it can be had
        source = source._replace(found=found)

        repeats, changes = find_repeats(parts, source)
        written = (
            submit(write_part, 1, part, source, folder / f"{number:06}.parquet", *of_part)[0]
            for number, (part, of_part) in enumerate(zip(parts, changes, strict=True))
        )
        wrote = list(in_order(written, 2 * n_workers))
        summary = validation.combine([each.summary for each in wrote])
        where = partial(ratings_file.locate, tables=tables, sizes=sizes)
        validation.require_usable(summary, form.rating_range, name, where, form.implicit)
        validation.require_once(repeats, name, where)
        kept, ids = parts_of(folder), {}
        for key in KEYS:
            new = result(appear(kept, key, n_workers).ids)
            ids[key] = pd.Series(as_ids(pd.Index(np.concatenate(new))), name=key)
            with converting(key):
                Ids(ingest.layout.thousands).check(pd.Index(ids[key]))
        contents = ratings_file.contents(
            form,
            ingest,
            (ids["user_id"], ids["item_id"]),
            n_ratings=summary.n_rows,
            ends=(summary.lowest, summary.highest),
            n_missing=sum(each.n_missing for each in wrote),
            n_repeats=sum(each.n_repeats for each in wrote),
        )
        with io.parquet_writer(ratings) as write:
            for part in kept:
                write(part.read([*KEYS, "rating"]))
    return contents


def look(part: Part, source: Source) -> list[dict[str, Any]]:
    """What a part says of each column."""
    return [{key: column.found() for key, column in source.collect(part).items()}]


def find_repeats(parts: Sequence[Part], source: Source) -> tuple[Repeats | None, list[list[Any]]]:
    """Repeats where they are refused; else by part, references to each owner's `Changes`."""
    n = len(parts)
    shared = [submit(share, n, part, source, n) for part in parts]
    by_owner = list(zip(*shared, strict=True))
    if source.settings.repeats == "refuse":
        found = result([submit(refuse, 1, *frames)[0] for frames in by_owner])
        return combine_repeats([each for each in found if each]), [[] for _ in parts]
    starts = [part.first_row for part in parts]
    changes = [submit(merge, n, source.settings.repeats, starts, *frames) for frames in by_owner]
    return None, [list(each) for each in zip(*changes, strict=True)]


def combine_repeats(found: Sequence[Repeats]) -> Repeats | None:
    """The first row of all that repeat a pair, and how many there are."""
    if not found:
        return None
    first = min(found, key=lambda repeats: repeats.rows.row)
    return first._replace(rows=first.rows._replace(n=sum(each.rows.n for each in found)))


def share(part: Part, source: Source, n_owners: int) -> list[pd.DataFrame]:
    """By owner, the rows of a part."""
    ratings, _ = source.read(part)
    owner = pd.util.hash_pandas_object(ratings[list(KEYS)], index=False).to_numpy() % n_owners
    return [ratings[owner == each] for each in range(n_owners)]


def refuse(*frames: pd.DataFrame) -> list[Repeats | None]:
    """The repeats among an owner's rows, given by part."""
    return [validation.find_repeats(pd.concat(frames))]


class Changes(NamedTuple):
    """What merging repeats does to a part.

    Attributes:
        dropped: the numbers of rows that are left out.
        rows: the numbers of rows with another rating; `values` has it.
    """

    dropped: Indices
    rows: Indices
    values: NDArray[np.float32]


def merge(how: Any, starts: Sequence[int], *frames: pd.DataFrame) -> list[Changes]:
    """By part, what merging does to an owner's rows; `starts` has the first row of each part."""
    ratings = pd.concat(frames)
    merged = validation.merge_repeats(ratings, how)
    dropped = np.sort(ratings.index.difference(merged.index).to_numpy(np.int64))
    is_other = merged["rating"].to_numpy() != ratings["rating"].loc[merged.index].to_numpy()
    rows, values = merged.index[is_other].to_numpy(np.int64), merged["rating"].to_numpy()[is_other]
    order = np.argsort(rows)
    rows, values = rows[order], values[order]
    of_dropped, of_rows = (
        np.split(numbers, np.searchsorted(numbers, starts[1:])) for numbers in (dropped, rows)
    )
    of_values = np.split(values, np.searchsorted(rows, starts[1:]))
    return [Changes(*each) for each in zip(of_dropped, of_rows, of_values, strict=True)]


class Written(NamedTuple):
    """What there was in a part: rows that stay, without a rating, and repeats that are left out."""

    summary: Summary
    n_missing: int
    n_repeats: int


def write_part(part: Part, source: Source, path: Path, *changes: Changes) -> list[Written]:
    """Write the rows of a part that stay."""
    ratings, n_missing = source.read(part)
    for each in changes:
        ratings.loc[each.rows, "rating"] = each.values
    dropped: Indices = np.concatenate([np.empty(0, np.int64), *(each.dropped for each in changes)])
    ratings = ratings.drop(index=pd.Index(dropped))
    io.write_parquet(path, ratings)
    summary = validation.summarize(ratings, source.form.rating_range, source.form.implicit)
    return [Written(summary, n_missing, len(dropped))]
