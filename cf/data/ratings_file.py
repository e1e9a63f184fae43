"""Ratings out of the user's own files."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cf.core import io
from cf.core.config import AUTO, Ingest
from cf.core.errors import InputError
from cf.data import columns, side_tables, table_file
from cf.data.table_file import Collector, Table
from cf.data.validation import merge_repeats, validate
from cf.data.values import Ids, Numbers, Times

THOUSANDS = (
    '; if that is a thousands separator, say so: ingest.layout.thousands: "," (or "."); if it '
    "is part of the ids, null"
)
HINTS = {
    "user_id": THOUSANDS,
    "item_id": THOUSANDS,
    "rating": "; if the decimal sign is a comma, say so: ingest.layout.decimal",
    "timestamp": ", or say what times are in (ingest.layout.time_unit) or that there are none: "
    "ingest.columns.timestamp: null in params.yaml",
}
PIECE = 1 << 20  # rows

OPTIONS = {"user_id": "user", "item_id": "item", "rating": "rating", "timestamp": "time"}
"""What columns are called as options of `cf inspect`."""


@dataclass(frozen=True)
class Contents:
    """What there is beside ratings, and what was done to get them.

    Attributes:
        n_ratings: without those that are left out.
        items: item_id in order of first appearance, title, year, genres and further features.
        users: user_id in order of first appearance, and features.
        n_repeats: rows of the same user and item that are left out.
        rating_range: as stated, or the lowest and the highest.
        implicit: whether they are interactions: each "rating" counts them, 1 if nothing does.
        notes: what was recognized, left out or merged, for people.
        side_notes: the same of the tables of items and users.
    """

    n_ratings: int
    items: pd.DataFrame
    users: pd.DataFrame
    rating_range: tuple[float, float]
    implicit: bool
    n_repeats: int
    notes: list[str]
    side_notes: list[str]


@dataclass(frozen=True)
class RatingsFile(Contents):
    """Ratings, and their contents.

    Attributes:
        ratings: user_id, item_id (int64, or categoricals of text where not all are whole numbers),
            rating (float32) and, where there are times, timestamp (int64, seconds since 1970 UTC).
    """

    ratings: pd.DataFrame


def read(paths: Sequence[Path], settings: Ingest) -> RatingsFile:
    """The ratings of the user's own files.

    Raises:
        InputError: as `table_file.open_table`, `table_file.read_columns`, `choose_columns` and
            `validate`.
    """
    return read_tables([table_file.open_table(path, settings.layout) for path in paths], settings)


def read_tables(tables: Sequence[Table], settings: Ingest) -> RatingsFile:
    """The ratings of files that are open, as `read`."""
    plan = recognize(tables, settings)
    columns = collectors(settings, plan.names)
    read, sizes = table_file.read_columns(tables, plan.names, columns, HINTS)
    ratings, n_missing = complete(read, settings)
    n_repeats = 0
    if settings.repeats != "refuse" and not ratings.empty:
        merged = merge_repeats(ratings, settings.repeats)
        n_repeats = len(ratings) - len(merged)
        ratings = merged
    where = partial(locate, tables=tables, sizes=sizes)
    validate(ratings, plan.rating_range, name_of(tables), where, plan.implicit)
    ratings = ratings.reset_index(drop=True)
    users, items = (different(ratings[key]) for key in ("user_id", "item_id"))
    values = ratings["rating"]
    ends = float(values.min()), float(values.max())
    found = contents(plan, settings, (users, items), len(ratings), ends, n_missing, n_repeats)
    return RatingsFile(**vars(found), ratings=ratings)


@dataclass(frozen=True)
class ReadPlan:
    """How the ratings of files are to be read.

    Attributes:
        names: of the columns of user_id, item_id, rating and timestamp, as far as there are.
        rating_range: as stated; None if it is not.
        implicit: as in `Contents`.
        notes: what was recognized, for people.
    """

    names: dict[str, str]
    rating_range: tuple[float, float] | None
    implicit: bool
    notes: list[str]


def recognize(tables: Sequence[Table], settings: Ingest) -> ReadPlan:
    """How these files are to be read.

    Raises:
        InputError: as `choose_columns`.
    """
    chosen = choose_columns(tables, settings)
    notes = [f"{key}: column {name}, {why}" for key, (name, why) in chosen.items()]
    notes += tables[0].notes
    implicit = is_implicit(settings, chosen)
    if implicit:
        notes.append("interactions, not ratings: for `make rank` alone")
    stated = None
    if not isinstance(settings.rating_range, str):
        stated = settings.rating_range[0], settings.rating_range[1]
    return ReadPlan({key: name for key, (name, _) in chosen.items()}, stated, implicit, notes)


def name_of(tables: Sequence[Table]) -> str:
    """What files are called in messages about all of them."""
    first = tables[0].path
    return str(first if len(tables) == 1 else first.parent)


def locate(row: int, tables: Sequence[Table], sizes: Sequence[int]) -> str:
    """Where a row of all files is, numbered from 0, given how many each file has."""
    for table, size in zip(tables, sizes, strict=True):
        if row < size:
            file = f"{table.path.name} " if len(tables) > 1 else ""
            return file + table.locate(row)
        row -= size
    raise IndexError(row)


def complete(found: pd.DataFrame, settings: Ingest) -> tuple[pd.DataFrame, int]:
    """Rows with a rating, which counts as 1 where there is no such column; how many are left out.

    The index stays: the rows of the files.
    """
    if "rating" not in found:
        found["rating"] = np.ones(len(found), np.float32)
    if not settings.missing:
        return found, 0
    missing = found["rating"].isin([np.float32(mark) for mark in settings.missing])
    return found[~missing], int(missing.sum())


def write(path: Path, ratings: pd.DataFrame) -> None:
    """Write ratings as a Parquet file, piece by piece: as text, ids take more memory."""
    with io.parquet_writer(path) as write_piece:
        for start in range(0, max(1, len(ratings)), PIECE):
            write_piece(with_plain_ids(ratings[start : start + PIECE]))


def with_plain_ids(ratings: pd.DataFrame) -> pd.DataFrame:
    """Ratings with text instead of categoricals, of which each row group would have all names."""
    categoricals = ratings.select_dtypes("category").columns
    return ratings.astype(dict.fromkeys(categoricals, "str"))


def contents(
    plan: ReadPlan,
    settings: Ingest,
    ids: "tuple[pd.Series[Any], pd.Series[Any]]",
    n_ratings: int,
    ends: tuple[float, float],
    n_missing: int,
    n_repeats: int,
) -> Contents:
    """What there is beside ratings.

    Args:
        ids: each user's and each item's, in order of first appearance.
        ends: the lowest and the highest rating.

    Raises:
        InputError: a table of items or users cannot be read.
    """
    notes = list(plan.notes)
    if settings.missing:
        notes.append(f"{n_missing:,} rows with a missing rating are left out")
    if n_repeats:
        notes.append(f"{n_repeats:,} repeats: {settings.repeats} of each user and item")
    user_ids, item_ids = ids
    items, users = side_tables.bare_items(item_ids), pd.DataFrame({"user_id": user_ids})
    side_notes: list[str] = []
    if settings.items:
        items, side_notes = side_tables.read_items(settings.items, item_ids)
    if settings.users:
        users, of_users = side_tables.read_users(settings.users, user_ids)
        side_notes = side_notes + of_users
    return Contents(
        n_ratings=n_ratings,
        items=items,
        users=users,
        rating_range=plan.rating_range or ends,
        implicit=plan.implicit,
        n_repeats=n_repeats,
        notes=notes,
        side_notes=side_notes,
    )


def different(ids: "pd.Series[Any]") -> "pd.Series[Any]":
    """Each id once, in order of first appearance: whole numbers, or text."""
    once = ids.drop_duplicates().reset_index(drop=True)
    return once if once.dtype == "int64" else once.astype("str")


def choose_columns(tables: Sequence[Table], settings: Ingest) -> dict[str, tuple[str, str]]:
    """The columns of user, item, rating and time, and why, as `columns.choose`.

    Raises:
        InputError: a column that is stated is not there, or one that is needed is not found.
    """
    stated = settings.columns.model_dump()
    given = {key: name for key, name in stated.items() if name not in (None, AUTO)}
    if len(set(given.values())) < len(given):
        raise InputError(
            f"params.yaml: ingest.columns: expected a different column for each, got {given}."
        )
    for table in tables:
        for key, name in given.items():
            if name not in table.names:
                null = " (null if there is none)" if key in ("rating", "timestamp") else ""
                raise InputError(
                    f"{table.path}: no column {name!r} for {key}, got {str(table.names)[:300]}. "
                    f"Name the column in params.yaml: ingest.columns.{key}{null}."
                )
    first = tables[0]
    if len(given) < 2 and columns.is_matrix(first.sample):
        raise InputError(
            f"{first.path}: has {len(first.names)} columns of numbers, as a matrix of users and "
            "items has. cf needs a row for each rating, with the user, the item and the rating: "
            "pandas' DataFrame.melt makes them of it. If it has them, name these columns in "
            "params.yaml: ingest.columns."
        )
    fixed = {key: name for key, name in stated.items() if name != AUTO}
    chosen = columns.choose(first.names, first.sample, fixed)
    in_folders = [name.partition("=")[0] for name in _folders(first.path, settings.dataset)]
    for key in ("user_id", "item_id", "rating"):
        is_guessed = key not in chosen or chosen[key][1] not in columns.BY_NAME
        name = columns.named(in_folders, columns.NAMES[key])
        if name and is_guessed and key not in fixed:
            raise InputError(
                f"{first.path}: the column {name} is in the names of folders, not in the files, "
                "and cf reads files. Write them with all columns; or name another column in "
                f"params.yaml: ingest.columns.{key}."
            )
    unused = len(first.names) > len(chosen)
    needed = ["user_id", "item_id"]
    if settings.feedback == "explicit" or (unused and settings.columns.rating == AUTO):
        needed.append("rating")
    for key in needed:
        if key not in chosen:
            null = {
                "user_id": " (one person's own ratings have none: cf needs several people)",
                "rating": ", or null if rows are interactions without ratings",
            }.get(key, "")
            row = f"; the first row is {str(first.sample[0])[:300]}" if first.sample else ""
            raise InputError(
                f"{first.path}: no column was recognized as {key} among {str(first.names)[:300]} "
                f"({'; '.join(first.notes)}{row}). "
                f"Name it in params.yaml: ingest.columns.{key}{null}; or let `cf inspect FILE "
                f"--{OPTIONS[key]} NAME` do it."
            )
    for table in tables[1:]:
        if not columns.has_names(first.names) and (
            table.names != first.names
            or columns.choose(table.names, table.sample, fixed).keys() != chosen.keys()
            or any(
                columns.choose(table.names, table.sample, fixed)[key][0] != name
                for key, (name, _) in chosen.items()
            )
        ):
            raise InputError(
                f"{table.path}: its columns, which have no names, are not those of {first.path}. "
                "All files need the same columns; or state ingest.columns in params.yaml."
            )
        if missing := [name for name, _ in chosen.values() if name not in table.names]:
            raise InputError(
                f"{table.path}: no column {missing[0]!r}, which {first.path} has. All files need "
                "the same columns."
            )
    return chosen


def _folders(path: Path, dataset: str) -> list[str]:
    """The names such as rating=5 of the folders that a file is in, within its data set."""
    before, *pattern = re.split(r"[*?[]", dataset, maxsplit=1)
    root = Path(before.rpartition("/")[0] if pattern else before).expanduser()
    within = path.relative_to(root) if path.is_relative_to(root) else path  # of a copied URL
    return [part for part in within.parts[:-1] if "=" in part]


def is_implicit(settings: Ingest, chosen: Mapping[str, tuple[str, str]]) -> bool:
    """Whether the rows are interactions, by the columns chosen, and why they are."""
    if settings.feedback != AUTO:
        return settings.feedback == "implicit"
    name, why = chosen.get("rating", ("", columns.BY_COUNTS))
    return why == columns.BY_COUNTS or columns.plain_name(name) in columns.COUNTS


def has_interactions(paths: Sequence[Path], settings: Ingest) -> bool:
    """Whether files have interactions instead of ratings, by a look at their first rows.

    Raises:
        InputError: as `read`, as far as these rows show.
    """
    tables = [table_file.open_table(path, settings.layout) for path in paths]
    return is_implicit(settings, choose_columns(tables, settings))


def collectors(settings: Ingest, names: Mapping[str, str]) -> dict[str, Collector]:
    """What puts each of these columns together."""
    layout = settings.layout
    all_of_them: dict[str, Collector] = {
        "user_id": Ids(layout.thousands),
        "item_id": Ids(layout.thousands),
        "rating": Numbers(layout.decimal, layout.thousands),
        "timestamp": Times(layout.time_unit),
    }
    return {key: all_of_them[key] for key in names}
