"""Somebody's own ratings, in the forms that people have them: a dictionary, a frame, a file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cf.core.errors import InputError


class Given(NamedTuple):
    """Items, by id or title, and their ratings; whether all items are given by title."""

    names: list[Any]
    values: list[Any]
    by_title: bool = False


def parse(ratings: Any) -> Given:
    """The items and ratings of somebody.

    Args:
        ratings: {item: rating}, or a Series of ratings by item, or a frame with a column of items
            and one of ratings, called item_id (or title) and rating or something like it.

    Raises:
        InputError: it is none of these, or has the ratings of several users.
    """
    if isinstance(ratings, pd.DataFrame):
        items, values, by_title = _find_columns(ratings)
        return Given(ratings[items].tolist(), ratings[values].tolist(), by_title)
    if isinstance(ratings, pd.Series | Mapping):
        return Given(list(ratings.keys()), [value for _, value in ratings.items()])
    raise InputError(
        "ratings: expected {item: rating}, or a frame with the columns item_id (or title) and "
        f"rating, got {type(ratings).__name__}."
    )


def read(path: Path) -> pd.DataFrame:
    """The ratings in a file: a table with columns as for `parse`, or JSON {item: rating}.

    Returns:
        title, or else item_id, and rating.

    Raises:
        InputError: it cannot be read, or is not of this form.
    """
    # Late: it is a second until these are imported.
    from cf.core.config import TextLayout
    from cf.data import table_file

    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    found = _read_object(path) if path.suffix == ".json" else None
    try:
        if found is None:
            table = table_file.read_whole(path, TextLayout())
            given = parse(table.to_pandas())
        else:
            given = Given(list(found), list(found.values()))
    except InputError as error:
        reason = str(error)
        raise InputError(reason if str(path) in reason else f"{path}: {reason}") from None
    if not given.names:
        raise InputError(f"{path}: holds no ratings.")
    numbers = []
    for row, (name, value) in enumerate(zip(given.names, given.values, strict=True)):
        try:
            numbers.append(float(str(value).replace(",", ".")))
        except ValueError:
            raise InputError(
                f"{path}, rating {row + 1}: expected a number for {name!r}, got {value!r}."
            ) from None
    column = "title" if given.by_title else "item_id"
    return pd.DataFrame({column: pd.Series(given.names, dtype=object), "rating": numbers})


def _find_columns(frame: pd.DataFrame) -> tuple[Any, Any, bool]:
    """The names of the columns of items and of ratings, and whether the items are titles."""
    for name in ("item_id", "title"):
        if {name, "rating"} <= set(frame) and "user_id" not in frame:
            return name, "rating", name == "title"
    from cf.data import columns, side_tables

    names = [str(name) for name in frame]
    rating = columns.named(names, columns.NAMES["rating"])
    others = [name for name in names if name != rating]
    title = columns.named(others, side_tables.NAMES["title"])
    item = columns.named([name for name in others if name != title], columns.NAMES["item_id"])
    item = item or title
    if rating is None or item is None:
        raise InputError(f"expected the columns item_id (or title) and rating, got {names}.")
    user = columns.named([name for name in others if name != item], columns.NAMES["user_id"])
    if user is not None and (n := frame[frame.columns[names.index(user)]].nunique()) > 1:
        raise InputError(f"expected the ratings of one person, got {n} users in {user}.")
    of_items, of_ratings = (frame.columns[names.index(name)] for name in (item, rating))
    return of_items, of_ratings, item == title


def _read_object(path: Path) -> dict[str, Any] | None:
    """{item: rating}, if that is what a file of JSON has."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    numbers = isinstance(found, dict) and all(isinstance(v, int | float) for v in found.values())
    return found if numbers else None
