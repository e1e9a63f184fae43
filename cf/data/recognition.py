"""What a ratings file has, for people, and the settings that read it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cf.core.config import Columns, Ingest, ItemTable, TextLayout, UserTable
from cf.core.errors import InputError
from cf.data import ratings_file, side_tables, table_file
from cf.data.table_file import Table
from cf.data.text_file import UnreadableError, is_number
from cf.data.values import EARLIEST_S, find_unit

N_PROBLEMS = 10  # that are shown
MANY, MANY_REPEATS = 10, 0.05  # rows, and their share, that say that columns may be others
N_BESIDE, MAX_SIZE_BESIDE = 10, 1 << 27  # files beside the ratings that are looked into, bytes
DATE_PATTERNS = (
    *("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%m %d, %Y"),
    *("%d %b %Y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y"),
)
WHOLE_PATTERNS = (
    *("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S %z"),
    *("%a, %d %b %Y %H:%M:%S GMT", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p"),
)
TIMES_OF_DAY = ("", " %H:%M", " %H:%M:%S")


@dataclass(frozen=True)
class Recognized:
    """What was found in files of ratings.

    Attributes:
        settings: the section `ingest` that reads them.
        format: sentences about the files.
        columns: what each column is, and why; a row each.
        facts: sentences about the ratings.
        problems: the first lines that cannot be read, and why.
    """

    settings: Ingest
    format: list[str]
    columns: pd.DataFrame
    facts: list[str]
    problems: list[str] = field(default_factory=list)


def recognize(
    path: str,
    items: str | None = None,
    users: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Recognized:
    """What is in the file, the folder or the pattern of files, and in tables of items and users.

    `columns` are the names of those that are known. Of the files of a folder the one that has
    ratings counts, where others have none.

    Raises:
        InputError: there is no file, none with users, items and ratings, or as `side_tables`.
    """
    files = table_file.find(path)
    if not files and path and Path(path).expanduser().is_dir():
        raise InputError(f"{path}: is a folder without tables, but for hidden files and folders.")
    if not files:
        raise InputError(
            f"{path or repr(path)}: there is no such file, nor a folder or a pattern of files."
        )
    tables = [table_file.open_table(file, TextLayout()) for file in files]
    known: dict[str, Any] = {"columns": dict(columns or {}), "items": items, "users": users}
    settings = Ingest.model_validate({"dataset": path, "fallback": None} | known)
    if Path(path).expanduser().is_dir():
        of_ratings = [table for table in tables if _has_ratings(table, settings)]
        if len(of_ratings) == 1 < len(tables):
            tables = of_ratings
            files, path = [tables[0].path], str(tables[0].path)
            settings = settings.model_copy(update={"dataset": path})
    chosen = ratings_file.choose_columns(tables, settings)
    settings, said = guess_signs(settings, tables, {key: name for key, (name, _) in chosen.items()})
    stated = {key: chosen[key][0] if key in chosen else None for key in Columns.model_fields}
    feedback = "implicit" if ratings_file.is_implicit(settings, chosen) else "auto"
    known = {"columns": Columns.model_validate(stated), "feedback": feedback}
    settings = settings.model_copy(update=known)
    notes = [f"{file.name}" for file in files[:3]] + ["…"] * (len(files) > 3)
    form = [", ".join(notes), *tables[0].notes]
    try:
        read = ratings_file.read_tables(tables, settings.model_copy(update={"repeats": "first"}))
    except InputError:
        found = (find_problems(table, settings, len(tables) > 1) for table in tables)
        problems = list(islice(chain.from_iterable(found), N_PROBLEMS + 1))
        if not problems:
            raise
        return Recognized(settings, form, describe_columns(chosen, None), [], problems)
    ratings = read.ratings
    lowest, highest = read.rating_range
    ends = [float(str(np.float32(end))) for end in read.rating_range]  # 0.1, not 0.10000000149
    update: dict[str, Any] = {"rating_range": ends}
    facts = [describe_ratings(ratings["rating"]), *said, *read.side_notes]
    if read.implicit:
        update = {}
        counted = f", counted from {lowest:g} to {highest:g}" if "rating" in chosen else ""
        facts[0] = f"{len(ratings):,} interactions{counted}: not ratings, so for `make rank` alone"
    if not (items or users):
        facts += find_side_tables(files, read)
    if len(read.users) == 1:
        facts.append("All are of one user: models need several")
    if "timestamp" in ratings and ratings["timestamp"].max() < EARLIEST_S:
        facts.append(
            "These times are of 1970 to 1973, taken for seconds: if they are something else, state "
            "ingest.layout.time_unit, or timestamp: null if there are none"
        )
    if n := read.n_repeats:
        if read.implicit or n < max(MANY, MANY_REPEATS * (n + len(ratings))):
            update["repeats"] = "last"
            facts.append(f"repeats of a user and an item: {n:,}; the last one counts")
        else:
            facts.append(
                f"{n:,} of {n + len(ratings):,} rows repeat a user and an item. Are these columns "
                "right? If so, state ingest.repeats: last, first or mean"
            )
    if not read.implicit and (mark := suspicious_mark(ratings["rating"])):
        facts.append(mark)
    settings = settings.model_copy(update=update)
    return Recognized(settings, form, describe_columns(chosen, ratings), facts)


def find_side_tables(files: Sequence[Path], read: ratings_file.RatingsFile) -> Iterator[str]:
    """A sentence about each file beside the ratings that seems to describe items or users."""
    there = sorted(files[0].parent.iterdir())
    beside = [file for file in there if table_file.has_table_name(file.name) and file.is_file()]
    for file in beside[:N_BESIDE]:
        if file in files or file.stat().st_size > MAX_SIZE_BESIDE:
            continue
        with suppress(InputError):
            items, _ = side_tables.read_items(ItemTable(file=str(file)), read.items["item_id"])
            if (share := items["title"].notna().mean()) > 0.5:
                yield f"{file.name} has the titles of {share:.0%} of the items: --items {file}"
        with suppress(InputError):
            users, _ = side_tables.read_users(UserTable(file=str(file)), read.users["user_id"])
            features = list(map(str, users))[1:]
            if (
                features
                and "user" in file.name
                and users[features].notna().any(axis=1).mean() > 0.5
            ):
                yield f"{file.name} has {', '.join(features)} of the users: --users {file}"


def _has_ratings(table: Table, settings: Ingest) -> bool:
    with suppress(InputError):
        return bool(ratings_file.choose_columns([table], settings))
    return False


def guess_signs(
    settings: Ingest, tables: Sequence[Table], names: dict[str, str]
) -> tuple[Ingest, list[str]]:
    """The settings with decimal sign, sign of thousands and pattern of dates, where they matter.

    Also sentences about these.

    Raises:
        InputError: dates fit several patterns.
    """

    def values(key: str) -> list[str]:
        if key not in names:
            return []
        found = ((table, table.names.index(names[key])) for table in tables)
        return [row[at] for table, at in found for row in table.sample if at < len(row)]

    update: dict[str, Any] = {}
    said = []
    ratings = values("rating")
    if any("," in value for value in ratings) and not any("." in value for value in ratings):
        update["decimal"] = ","
        said.append("Ratings have decimal commas")
    ids = pd.Series([*values("user_id"), *values("item_id")], dtype="str")
    with_commas = ids[ids.str.contains(",", regex=False)]
    if len(with_commas) and ids.str.fullmatch(r"\d{1,3}(,\d{3})*").all():
        update["thousands"] = ","
        said.append(
            f"Ids such as {with_commas.iloc[0]} are taken for numbers; to keep them as they are, "
            "state ingest.layout.thousands: null"
        )
    dates = values("timestamp")
    if dates and not is_number(dates[0]) and not _fits(dates, "ISO8601"):
        days = (day + time for time in TIMES_OF_DAY for day in DATE_PATTERNS)
        fitting = [pattern for pattern in (*days, *WHOLE_PATTERNS) if _fits(dates, pattern)]
        if len(fitting) > 1:
            raise InputError(
                f"{tables[0].path}: dates such as {dates[0]} fit {' and '.join(fitting)}. State "
                "one in params.yaml: ingest.layout.time_unit."
            )
        update["time_unit"] = fitting[0] if fitting else "auto"
    elif dates and is_number(dates[0]):
        numbers = [float(value.replace(",", ".")) for value in dates if is_number(value)]
        finite = [int(number) for number in numbers if math.isfinite(number)]
        unit = find_unit(min(finite), max(finite)) if finite else None
        said.append(f"Times are in {unit} since 1970" if unit else "Times are dates as numbers")
    return settings.model_copy(update={"layout": TextLayout(**update)}), said


def _fits(dates: list[str], pattern: str) -> bool:
    return bool(
        pd.to_datetime(pd.Series(dates), format=pattern, errors="coerce", utc=True).notna().all()
    )


def find_problems(table: Table, settings: Ingest, with_name: bool) -> Iterator[str]:
    """The lines of a file that cannot be read, and why."""
    place = f"{table.path.name} {table.unit}" if with_name else table.unit
    if table.records is None:
        return
    names = settings.columns.model_dump()
    at = {key: table.names.index(name) for key, name in names.items() if name is not None}
    try:
        for line, fields in table.records():
            if len(fields) != len(table.names):
                yield f"{place} {line}: expected {len(table.names)} fields, got {len(fields)}"
                continue
            for key, position in at.items():
                value = fields[position].strip()
                if not value or (key == "rating" and not is_number(value)):
                    yield f"{place} {line}: {names[key]} is {value[:40]!r}"
    except UnreadableError as error:
        yield f"{place} {error.line}: {error}"


def describe_columns(
    chosen: dict[str, tuple[str, str]], ratings: pd.DataFrame | None
) -> pd.DataFrame:
    """A row a column: what it is, its name, why, and what it has."""
    rows = []
    for key, (name, why) in chosen.items():
        has = ""
        if ratings is not None:
            values = ratings[key]
            if key in ("user_id", "item_id"):
                kind = "whole numbers" if values.dtype == "int64" else "text"
                some = ", ".join(map(str, values.drop_duplicates().head(3)))
                has = f"{values.nunique():,} different, {kind}: {some}, …"
            elif key == "timestamp":
                ends = (datetime.fromtimestamp(int(t), UTC) for t in (values.min(), values.max()))
                has = " to ".join(f"{end:%Y-%m-%d %H:%M}" for end in ends)
            else:
                has = f"{values.min():g} to {values.max():g}"
        rows.append({"is": key, "column": name, "because": why, "has": has})
    return pd.DataFrame(rows)


def describe_ratings(ratings: "pd.Series[float]") -> str:
    """How many ratings, between which, and in which steps."""
    levels = np.unique(ratings)
    text = f"{len(ratings):,} ratings from {levels[0]:g} to {levels[-1]:g}"
    steps = np.unique(np.diff(levels).round(4))
    if len(levels) > 100 or not len(steps):
        skewed = levels[0] >= 0 and ratings.mean() > 1.5 * ratings.median()
        hint = ". If they count plays or hours, set ingest.feedback: implicit" * bool(skewed)
        return f"{text}, {len(levels):,} different{hint}"
    share = ratings.value_counts(normalize=True).head(3)
    common = ", ".join(f"{level:g} ({part:.0%})" for level, part in share.items())
    return f"{text} in steps of {steps[0]:g}, most often {common}"


def suspicious_mark(ratings: "pd.Series[float]") -> str:
    """A sentence about a value that may mean that there is no rating, if there is one."""
    share = ratings.value_counts(normalize=True)
    levels = np.sort(share.index.to_numpy())
    for mark in (0.0, -1.0, 99.0, 999.0):
        if mark in share.index and len(levels) > 2:
            gap = np.diff(levels)
            far = (mark == levels[0] and gap[0] > 1.5 * np.median(gap)) or (
                mark == levels[-1] and gap[-1] > 1.5 * np.median(gap)
            )
            if far or share[mark] > (0.1 if mark == levels[0] == 0 else 0.3):
                part = f"{mark:g} is {share[mark]:.0%} of the ratings"
                return f"{part}: if it means that there is none, set ingest.missing: [{mark:g}]"
    return ""
