"""The user's own Parquet files on Ray, as `cf.data.ratings_file` reads them: no process has all.

The files are read in bundles of parts. Each pair of a user and an item belongs to one of several
owners, by a hash: it finds the rows that repeat the pair. Workers write the rows that stay to a
folder that all machines share; from there they are put together.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core import config, io, paths
from cf.core.config import Ingest
from cf.core.errors import InputError
from cf.core.ratings import Indices
from cf.data import ratings_file, table_file, validation
from cf.data.ratings_file import HINTS, Contents, ReadPlan
from cf.data.table_file import Collector
from cf.data.validation import Repeats, Summary
from cf.data.values import Times
from cf.distributed.cluster import cluster, in_order, n_workers_of, result, submit, tell_if_busy
from cf.distributed.encode import KEYS, appear, as_ids
from cf.distributed.parts import Part, bundled, parts_of_files
from cf.distributed.storage import temporary_folder

Bundle = Sequence[Part]


class Reader(NamedTuple):
    """Reads parts of the files.

    Attributes:
        facts: what all parts say of each column; empty as long as that is not known.
    """

    settings: Ingest
    plan: ReadPlan
    facts: Mapping[str, Any]

    def collect(self, bundle: Bundle, **collectors: Collector) -> dict[str, Collector]:
        """The columns of some parts, put together, by `collectors` or others.

        Raises:
            InputError: as `table_file.collect`.
        """
        tables = [table_file.open_parts(part.path, part.numbers) for part in bundle]
        found = ratings_file.collectors(self.settings, self.plan.names) | collectors
        table_file.collect(tables, self.plan.names, found, HINTS)
        return found

    def read(self, bundle: Bundle) -> tuple[pd.DataFrame, int]:
        """The rows with a rating, indexed by their numbers; how many have none."""
        columns = {
            key: collector.series(self.facts[key])
            for key, collector in self.collect(bundle).items()
        }
        first = bundle[0].first_row
        rows = pd.RangeIndex(first, first + sum(part.n_rows for part in bundle))
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
    plan = ratings_file.recognize(tables, ingest)
    parts, sizes = parts_of_files(files)
    bundles = bundled(parts)
    name, where = (
        ratings_file.name_of(tables),
        partial(ratings_file.locate, tables=tables, sizes=sizes),
    )
    # The cluster ends first: a task that still runs would make the folder again.
    with named_as_given(files), temporary_folder(settings, "ingest") as folder, cluster(settings):
        n_workers = n_workers_of(settings)
        tell_if_busy(n_needed=1)
        reader = Reader(ingest, plan, {})
        reader = reader._replace(facts=facts_of_all(bundles, reader, n_workers))
        repeats, changes = find_repeats(bundles, reader)
        written = [folder / f"{number:06}.parquet" for number in range(len(bundles))]
        tasks = (
            submit(write_bundle, 1, bundle, reader, path, *of_bundle)[0]
            for bundle, path, of_bundle in zip(bundles, written, changes, strict=True)
        )
        counts = list(in_order(tasks, 2 * n_workers))
        summary = validation.combine([each.summary for each in counts])
        validation.require_usable(summary, plan.rating_range, name, where, plan.implicit)
        validation.require_once(repeats, name, where)
        kept = parts_written(written, summary.n_rows)
        contents = ratings_file.contents(
            plan,
            ingest,
            (distinct_ids(kept, "user_id", n_workers), distinct_ids(kept, "item_id", n_workers)),
            n_ratings=summary.n_rows,
            ends=(summary.lowest, summary.highest),
            n_missing=sum(each.n_missing for each in counts),
            n_repeats=sum(each.n_repeats for each in counts),
        )
        with io.parquet_writer(ratings) as write:
            for part in kept:
                write(part.read([*KEYS, "rating"]))
    return contents


@contextmanager
def named_as_given(files: Sequence[Path]) -> Iterator[None]:
    """Messages of the block name files by the paths given; workers have the absolute ones."""
    try:
        yield
    except InputError as error:
        if files[0].is_absolute():
            raise
        raise type(error)(str(error).replace(f"{Path.cwd()}/", "")) from None


def facts_of_all(bundles: Sequence[Bundle], reader: Reader, n_workers: int) -> dict[str, Any]:
    """What all parts say of each column: the type of ids, the unit of times.

    Raises:
        InputError: a value cannot be used, or the parts' do not go together.
    """
    tasks = (submit(column_facts, 1, bundle, reader)[0] for bundle in bundles)
    found: list[dict[str, Any]] = []
    in_unit = None
    for bundle, facts in zip(bundles, in_order(tasks, 2 * n_workers), strict=True):
        found.append(facts)
        if "timestamp" in facts and (known := facts["timestamp"].in_unit) is not None:
            if in_unit not in (None, known):  # read again, so that the row is named
                times = Times(reader.settings.layout.time_unit)
                times.in_unit = in_unit
                reader.collect(bundle, timestamp=times)
            in_unit = known
    together = {}
    for key, collector in ratings_file.collectors(reader.settings, reader.plan.names).items():
        first = bundles[0][0].path if bundles else ""
        with table_file.converting(f"{first}, column {reader.plan.names[key]}", HINTS[key]):
            together[key] = collector.combine(each[key] for each in found)
            collector.check(together[key])
    return together


def column_facts(bundle: Bundle, reader: Reader) -> list[dict[str, Any]]:
    """What some parts say of each column."""
    return [{key: column.found() for key, column in reader.collect(bundle).items()}]


def distinct_ids(parts: Sequence[Part], key: str, n_workers: int) -> "pd.Series[Any]":
    """Each id of a column once, in order of first appearance."""
    new = result(appear(parts, key, n_workers).ids)
    return pd.Series(as_ids(pd.Index(np.concatenate(new))), name=key)


def parts_written(files: Sequence[Path], n_rows: int) -> list[Part]:
    """What workers have written, which has `n_rows` together.

    Raises:
        InputError: it is not there.
    """
    there = [file for file in files if file.is_file()]
    parts, sizes = parts_of_files(there)
    if sum(sizes) != n_rows:
        raise InputError(
            f"{paths.PARAMS}: ray.storage: expected {n_rows:,} ratings that workers wrote to "
            f"{files[0].parent}, got {sum(sizes):,}. Name a folder that all machines share."
        )
    return parts


def find_repeats(
    bundles: Sequence[Bundle], reader: Reader
) -> tuple[Repeats | None, list[list[Any]]]:
    """Repeats where they are refused; else by bundle, references to each owner's `Changes`."""
    n, how = len(bundles), reader.settings.repeats
    shared = [submit(rows_by_owner, n, bundle, reader, n) for bundle in bundles]
    by_owner = list(zip(*shared, strict=True))
    if how == "refuse":
        found = result([submit(repeats_of_owner, 1, *frames)[0] for frames in by_owner])
        return combined([each for each in found if each]), [[] for _ in bundles]
    starts = [bundle[0].first_row for bundle in bundles]
    changes = [submit(changes_of_owner, n, how, starts, *frames) for frames in by_owner]
    return None, [list(each) for each in zip(*changes, strict=True)]


def combined(found: Sequence[Repeats]) -> Repeats | None:
    """The first row of all that repeat a pair, and how many there are."""
    if not found:
        return None
    first = min(found, key=lambda repeats: repeats.rows.row)
    return first._replace(rows=first.rows._replace(n=sum(each.rows.n for each in found)))


def rows_by_owner(bundle: Bundle, reader: Reader, n_owners: int) -> list[pd.DataFrame]:
    """By owner, the rows of some parts."""
    ratings, _ = reader.read(bundle)
    owner = pd.util.hash_pandas_object(ratings[list(KEYS)], index=False).to_numpy() % n_owners
    return [ratings[owner == each] for each in range(n_owners)]


def repeats_of_owner(*frames: pd.DataFrame) -> list[Repeats | None]:
    """The repeats among an owner's rows, given by bundle."""
    return [validation.find_repeats(pd.concat(frames))]


class Changes(NamedTuple):
    """What merging repeats does to a bundle.

    Attributes:
        dropped: the numbers of rows that are left out.
        rows: the numbers of rows with another rating; `values` has it.
    """

    dropped: Indices
    rows: Indices
    values: NDArray[np.float32]


def changes_of_owner(how: Any, starts: Sequence[int], *frames: pd.DataFrame) -> list[Changes]:
    """By bundle, what merging does to an owner's rows; `starts` has the bundles' first rows."""
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


class Counts(NamedTuple):
    """Of a bundle: what stays, and how many rows have no rating or are repeats left out."""

    summary: Summary
    n_missing: int
    n_repeats: int


def write_bundle(bundle: Bundle, reader: Reader, path: Path, *changes: Changes) -> list[Counts]:
    """Write the rows that stay."""
    ratings, n_missing = reader.read(bundle)
    for each in changes:
        ratings.loc[each.rows, "rating"] = each.values
    dropped: Indices = np.concatenate([np.empty(0, np.int64), *(each.dropped for each in changes)])
    ratings = ratings.drop(index=pd.Index(dropped))
    io.write_parquet(path, ratings)
    summary = validation.summarize(ratings, reader.plan.rating_range, reader.plan.implicit)
    return [Counts(summary, n_missing, len(dropped))]
