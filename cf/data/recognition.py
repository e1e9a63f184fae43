"""What a ratings file has, for people, and the settings that read it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cf.core.config import Columns, Ingest, ItemTable, TextLayout, UserTable
from cf.core.errors import InputError
from cf.data import ratings_file, side_tables, table_file
from cf.data.table_file import Table
from cf.data.text_file import UnreadableError, is_number

N_PROBLEMS = 10  # that are shown
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


def recognize(path: str, items: str | None = None, users: str | None = None) -> Recognized:
    """What is in the file, the folder or the pattern of files, and in tables of items and users.

    Raises:
        InputError: there is no file, none with users, items and ratings, or as `side_tables`.
    """
    files = table_file.find(path)
    if not files:
        raise InputError(f"{path}: there is no such file, nor a folder or a pattern of files.")
    tables = [table_file.open_table(file, TextLayout()) for file in files]
    tables_of = {"items": items, "users": users}
    settings = Ingest.model_validate({"dataset": path, "fallback": None} | tables_of)
    chosen = ratings_file.choose_columns(tables, settings)
    settings = guess_signs(settings, tables[0], {key: name for key, (name, _) in chosen.items()})
    stated = {key: chosen[key][0] if key in chosen else None for key in Columns.model_fields}
    feedback = "implicit" if ratings_file.is_implicit(settings, chosen) else "auto"
    known = {"columns": Columns.model_validate(stated), "feedback": feedback}
    settings = settings.model_copy(update=known)
    notes = [f"{file.name}" for file in files[:3]] + ["…"] * (len(files) > 3)
    form = [", ".join(notes), *tables[0].notes]
    problems = list(islice(find_problems(tables[0], settings), N_PROBLEMS + 1))
    if problems:
        return Recognized(settings, form, describe_columns(chosen, None), [], problems)
    read = ratings_file.read(files, settings.model_copy(update={"repeats": "first"}))
    ratings = read.ratings
    lowest, highest = read.rating_range
    ends = [float(str(np.float32(end))) for end in read.rating_range]  # 0.1, not 0.10000000149
    update: dict[str, Any] = {"rating_range": ends}
    facts = [describe_ratings(ratings["rating"]), *read.side_notes]
    if read.implicit:
        update = {}
        counted = f", counted from {lowest:g} to {highest:g}" if "rating" in chosen else ""
        facts[0] = f"{len(ratings):,} interactions{counted}: not ratings, so for `make rank` alone"
    if not (items or users):
        facts += find_side_tables(files, read)
    if len(read.users) == 1:
        facts.append("All are of one user: models need several")
    if read.n_repeats:
        update["repeats"] = "last"
        facts.append(f"{read.n_repeats:,} rows repeat a user and an item: the last one counts")
    if not read.implicit and (mark := suspicious_mark(ratings["rating"])):
        facts.append(mark)
    settings = settings.model_copy(update=update)
    return Recognized(settings, form, describe_columns(chosen, ratings), facts)


def find_side_tables(files: Sequence[Path], read: ratings_file.RatingsFile) -> Iterator[str]:
    """A sentence about each file beside the ratings that seems to describe items or users."""
    beside = sorted(file for file in files[0].parent.iterdir() if table_file.is_table(file))
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


def guess_signs(settings: Ingest, table: Table, names: dict[str, str]) -> Ingest:
    """The settings with decimal sign, sign of thousands and pattern of dates, where they matter."""

    def values(key: str) -> list[str]:
        at = table.names.index(names[key]) if key in names else None
        return [] if at is None else [row[at] for row in table.sample if at < len(row)]

    update: dict[str, Any] = {}
    ratings = values("rating")
    if any("," in value for value in ratings) and not any("." in value for value in ratings):
        update["decimal"] = ","
    ids = pd.Series([*values("user_id"), *values("item_id")], dtype="str")
    for sign in (",", "."):
        in_thousands = ids.str.fullmatch(rf"\d{{1,3}}(\{sign}\d{{3}})*")
        if in_thousands.all() and ids.str.contains(sign, regex=False).any():
            update["thousands"] = sign
    dates = values("timestamp")
    if dates and not is_number(dates[0]) and not _fits(dates, "ISO8601"):
        days = (day + time for time in TIMES_OF_DAY for day in DATE_PATTERNS)
        patterns = (*days, *WHOLE_PATTERNS)
        update["time_unit"] = next((p for p in patterns if _fits(dates, p)), "auto")
    return settings.model_copy(update={"layout": TextLayout(**update)})


def _fits(dates: list[str], pattern: str) -> bool:
    return bool(
        pd.to_datetime(pd.Series(dates), format=pattern, errors="coerce", utc=True).notna().all()
    )


def find_problems(table: Table, settings: Ingest) -> Iterator[str]:
    """The lines of a text file that cannot be read, and why."""
    if table.records is None:
        return
    names = settings.columns.model_dump()
    at = {key: table.names.index(name) for key, name in names.items() if name is not None}
    try:
        for line, fields in table.records():
            if len(fields) != len(table.names):
                yield f"line {line}: {len(fields)} fields instead of {len(table.names)}"
                continue
            for key, position in at.items():
                value = fields[position].strip()
                if not value or (key == "rating" and not is_number(value)):
                    yield f"line {line}: {names[key]} is {value[:40]!r}"
    except UnreadableError as error:
        yield f"line {error.line}: {error}"


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
