"""What is known of items and users: the user's own tables, matched with the ids that rate."""

import ast
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import types

from cf.core.config import AUTO, ItemTable, TextLayout, UserTable
from cf.core.errors import InputError
from cf.data import columns, table_file
from cf.data.validation import ITEM_TYPES, TAG_TYPES
from cf.data.values import Ids, WrongValueError

NAMES = {
    "title": (
        *("title", "name", "movietitle", "booktitle", "itemname", "itemtitle", "moviename"),
        *("productname", "producttitle", "filmtitle", "primarytitle", "originaltitle", "gamename"),
        *("songname", "trackname", "artistname", "animename", "businessname", "beername", "label"),
    ),
    "year": (
        *("year", "releaseyear", "yearofrelease", "yearofpublication", "publicationyear"),
        *("originalpublicationyear", "startyear", "releasedate", "published", "yearpublished"),
        *("publishedyear", "premiered", "datepublished", "date"),
    ),
    "genres": (
        *("genres", "genre", "categories", "category", "class", "listedin", "subjects", "styles"),
        *("style", "topics", "types"),
    ),
}
"""Names of columns of a table of items, in lower case without signs, the most telling first."""
SEPARATORS = ("|", ";", ",", "/")  # between genres
NO_GENRES = ("", "(no genres listed)")
# in brackets at the end of a title; of a span such as 2006-2007 the first
TITLE_YEAR = r"\(([0-9]{4})(?:[-\u2013]\s*(?:[0-9]{4})?)?\)$"
YEAR = r"(?<![0-9])(1[0-9]{3}|20[0-9]{2})(?![0-9])"
MISSING = ("", "nan", "NaN", "NA", "N/A", "null", "NULL", "None", r"\N")


def bare_items(item_ids: "pd.Series[Any]") -> pd.DataFrame:
    """Items of which the ids alone are known."""
    items = pd.DataFrame({"item_id": item_ids, "title": None, "year": None, "genres": ""})
    return items.astype({key: kind for key, kind in ITEM_TYPES.items() if key != "item_id"})


def no_tags() -> pd.DataFrame:
    """A table of tags, as `movielens.read_tags` has it, without any."""
    return pd.DataFrame(columns=list(TAG_TYPES)).astype(TAG_TYPES)


def read_items(settings: ItemTable, item_ids: "pd.Series[Any]") -> tuple[pd.DataFrame, list[str]]:
    """Title, year, genres and further features of items, out of the user's own table; and notes.

    The first columns are item_id, title, year and genres, as `movielens.read` has them; then a
    column for each feature, as `add_features` has it. Where no column has years, they are taken
    from the titles' ends. An item that is not in the table has nothing but its id.

    Raises:
        InputError: the table cannot be read, lacks a column that is stated, or has none of the ids.
    """
    rows, notes = match(settings.file, settings.layout, item_ids, settings.item_id, "item")
    stated = {key: getattr(settings, key) for key in NAMES}
    chosen = {key: name for key, name in stated.items() if name not in (AUTO, None)}
    for key, name in chosen.items():
        _check_column(settings.file, rows, name, f"items.{key}")
    for key in [key for key, name in stated.items() if name == AUTO]:
        free = [str(name) for name in rows if name not in chosen.values()]
        if found := columns.named(free, NAMES[key]) or _recognize(rows[free], key):
            chosen[key] = found
    items = bare_items(item_ids)
    if "title" in chosen:
        items["title"] = rows[chosen["title"]].astype("str")
    years, pattern = items["title"], TITLE_YEAR
    if "year" in chosen:
        years, pattern = rows[chosen["year"]].astype("str"), YEAR
    items["year"] = years.str.extract(pattern, expand=False).astype("Float64").astype("Int32")
    if "genres" in chosen:
        items["genres"] = split_lists(rows[chosen["genres"]], settings.separator).map("|".join)
    notes += [f"{key}: column {name}" for key, name in chosen.items()]
    rest = rows.drop(columns=list(chosen.values()))
    return add_features(items.astype({"genres": "str"}), rest, settings, "items", notes)


def read_users(settings: UserTable, user_ids: "pd.Series[Any]") -> tuple[pd.DataFrame, list[str]]:
    """The features of users, out of the user's own table, as `read_items`; the first is user_id."""
    rows, notes = match(settings.file, settings.layout, user_ids, settings.user_id, "user")
    users = pd.DataFrame({"user_id": user_ids})
    return add_features(users, rows, settings, "users", notes)


def match(
    path: str, layout: TextLayout, ids: "pd.Series[Any]", id_name: str, what: str
) -> tuple[pd.DataFrame, list[str]]:
    """The columns of a table as text, a row for each of the ids, in that order, and notes.

    The column of ids, if it is not stated, is the one with a telling name that has most of the
    ids, or else any column that has most; it is left out. Of rows with the same id the first one
    counts. Where a value is missing, there is None.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"params.yaml: ingest.{what}s: there is no file {path}.")
    whole = table_file.read_whole(file, layout)
    if id_name != AUTO:
        _check_column(path, whole.column_names, id_name, f"{what}s.{what}_id")
        found = {id_name: _find(ids, whole[id_name])}
    else:
        telling = ["id", *(name for name in columns.NAMES[f"{what}_id"] if name != "title")]
        named = [name for name in whole.column_names if columns.plain_name(name) in telling]
        found = {name: _find(ids, whole[name]) for name in named}
        if not any((rows >= 0).any() for rows in found.values()):
            found = {name: _find(ids, whole[name]) for name in whole.column_names}
    id_name = max(found, key=lambda name: np.count_nonzero(found[name] >= 0))
    position = found[id_name]
    n_found = np.count_nonzero(position >= 0)
    if not n_found:
        raise InputError(
            f"{path}: no column has an id of the {what}s that are rated ({_some(ids)}, …), of "
            f"{str(whole.column_names)[:300]}. Ids must be written as in the ratings. If they are, "
            f"name their column in params.yaml: ingest.{what}s.{what}_id."
        )
    rows = {
        name: _as_text(column.take(pa.array(position, mask=position < 0)))
        for name, column in zip(whole.column_names, whole.columns, strict=True)
        if name != id_name
    }
    notes = [f"{path}: {n_found:,} of the {len(ids):,} {what}s, by column {id_name}"]
    return pd.DataFrame(rows, index=range(len(ids)), dtype=object), notes


def _find(ids: "pd.Series[Any]", column: pa.ChunkedArray) -> NDArray[np.int64]:
    """The first row of the column that has each id, (n,); -1 where none has.

    An id that is not there as it is written may be there with .0 at its end, or without.
    """
    collector = Ids()
    rows = np.flatnonzero(column.is_valid())
    try:
        for chunk in column.drop_null().chunks:
            if len(chunk):
                collector.add(chunk)
        known = collector.series()
    except (ValueError, WrongValueError, pa.ArrowException):  # of a type that no id has
        return np.full(len(ids), -1)
    if known.dtype == "int64" and ids.dtype == "int64":
        return _first_of_each(known, ids, rows)
    known, ids = known.astype("str"), ids.astype("str")
    exact = _first_of_each(known, ids, rows)
    known, ids = known.str.removesuffix(".0"), ids.str.removesuffix(".0")
    return np.where(exact >= 0, exact, _first_of_each(known, ids, rows))


def _first_of_each(
    known: "pd.Series[Any]", ids: "pd.Series[Any]", rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    first = ~known.duplicated()
    found = pd.Index(known[first]).get_indexer(pd.Index(ids))
    first_rows: NDArray[np.int64] = np.append(rows[first], -1)[found]  # -1 is the last: -1
    return first_rows


def _as_text(column: pa.ChunkedArray) -> "pd.Series[Any]":
    """Each value as text, without blanks around it; a list as JSON; None where it is missing."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_nested(column.type):
        values = [None if v is None else json.dumps(v, default=str) for v in column.to_pylist()]
        return pd.Series(values, dtype=object)
    try:
        texts = column.cast(pa.string()).to_pandas().astype(object)
    except (pa.ArrowException, UnicodeError):  # bytes, for example
        return pd.Series([None] * len(column), dtype=object)
    texts = texts.str.strip()
    known: pd.Series[Any] = texts.where(texts.notna() & ~texts.isin(MISSING), None)
    return known


def split_lists(texts: "pd.Series[Any]", separator: str = AUTO) -> "pd.Series[Any]":
    """The names in each text, as lists without repeats: of JSON or Python, or between separators.

    Objects of JSON stand for their name. Unless it is stated, the separator is the first of
    `SEPARATORS` that is in any text.
    """
    if separator == AUTO:
        plain = texts[~texts.str.startswith("[", na=True)]
        found = (sign for sign in SEPARATORS if plain.str.contains(sign, regex=False).any())
        separator = next(found, SEPARATORS[0])

    def split(text: str | None) -> list[str]:
        values: Any = [] if text is None else text.split(separator)
        if text is not None and text.startswith("["):
            with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                values = ast.literal_eval(text)  # a list of Python's, and most of JSON's
            with suppress(ValueError, RecursionError):
                values = json.loads(text)
        names = (value.get("name", "") if isinstance(value, dict) else value for value in values)
        # "|" separates names in cf's own tables
        clean = (str(name).strip().replace("|", "/") for name in names)
        return [name for name in dict.fromkeys(clean) if name not in NO_GENRES]

    return texts.map(split)


def add_features(
    table: pd.DataFrame,
    rows: pd.DataFrame,
    settings: ItemTable | UserTable,
    section: str,
    notes: list[str],
) -> tuple[pd.DataFrame, list[str]]:
    """The table with those columns of `rows`, which are text, that are numbers or categories.

    Numbers are float64, NaN where one is missing; categories are text, missing or not. Unless it is
    stated, a column is a number where all values are, but not if it numbers the rows; and a
    category where values repeat.

    Raises:
        InputError: a column is not there, or has something else than the numbers that are stated.
    """
    features = settings.features
    stated = features if isinstance(features, dict) else {}
    names = list(map(str, rows if features == AUTO else features))
    if features == AUTO:
        names = [name for name in names if not _is_of_ratings(name)]
    used, left_out = [], []
    for name in names:
        _check_column(settings.file, rows, name, f"{section}.features")
        kind = stated.get(name) or _kind(rows[name], asked=features != AUTO)
        if kind is None:
            left_out.append(name)
            continue
        key = name
        while key in table:  # such as a second column called title
            key += "_"
        if kind == "number":
            table[key] = pd.to_numeric(rows[name], errors="coerce").astype("float64")
            wrong = rows[name][table[key].isna() & rows[name].notna()]
            if len(wrong):
                raise InputError(
                    f"{settings.file}, column {name}: expected a number, got "
                    f"{wrong.iloc[0][:80]!r}. Correct it, or say category in params.yaml: "
                    f"ingest.{section}.features."
                )
        else:
            table[key] = rows[name].astype("str")
        used.append(f"{name} ({kind})")
    if used:
        notes = [*notes, f"features: {', '.join(used)}"]
    if left_out:
        notes = [*notes, f"no features, being text, lists or all different: {', '.join(left_out)}"]
    return table, notes


def _is_of_ratings(name: str) -> bool:
    """Whether a column is no feature by its name: an id, or what a table of ratings has."""
    plain = columns.plain_name(name)
    known = [*columns.NAMES["user_id"], *columns.NAMES["rating"], *columns.NAMES["timestamp"]]
    return plain.endswith("id") or plain in known


def _kind(texts: "pd.Series[Any]", asked: bool) -> str | None:
    """Whether texts are numbers or categories; None where they are neither."""
    known = texts.dropna()
    n_different = known.nunique()
    if n_different < 2 and not asked:
        return None
    numbers = pd.to_numeric(known, errors="coerce")
    if numbers.notna().all() and np.isfinite(numbers).all():
        numbers_rows = n_different == len(known) > 100 and (numbers % 1 == 0).all()
        return None if numbers_rows and not asked else "number"
    repeats = n_different <= max(10, len(known) / 5)
    is_list = known.str.startswith(("[", "{")).any()
    return "category" if asked or (repeats and not is_list) else None


def _recognize(rows: pd.DataFrame, key: str) -> str | None:
    """The column of a table of items without telling names that has titles, years or genres."""
    sample = rows.head(1000)
    for name in sample:
        values = sample[name].dropna()
        words = values.str.contains(r"[^\W\d_]{2}").mean()
        is_list = values.str.contains(r"\w\|\w|^\[").mean() if len(values) else 0
        different = values.nunique() / max(1, len(values))
        if key == "genres" and is_list > 0.2:
            return str(name)
        web = values.str.match(r"https?:").any()
        if key == "title" and words > 0.8 and different > 0.8 and is_list < 0.2 and not web:
            return str(name)
        if key == "year" and len(values) and values.str.fullmatch(YEAR).all():
            return str(name)
    return None


def _check_column(path: str, names: Sequence[str] | pd.DataFrame, name: str, key: str) -> None:
    if name not in names:
        raise InputError(
            f"{path}: no column {name!r}, got {str(list(names))[:300]}. Name one of these in "
            f"params.yaml: ingest.{key}."
        )


def _some(ids: "pd.Series[Any]") -> str:
    return ", ".join(map(str, ids.head(3)))
