"""Somebody's ratings in a file."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from cf.core.config import TextLayout
from cf.core.errors import InputError
from cf.data import columns, side_tables, table_file
from cf.inference.recommender import Recommender


def read(path: Path, recommender: Recommender) -> pd.DataFrame:
    """A table with a column of items and one of ratings, or JSON {item: rating}.

    Returns:
        item_id, or title where the items are titles; and rating.

    Raises:
        InputError: it cannot be read, or has ratings that cannot be used.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    try:
        frame = _read_object(path) if path.suffix == ".json" else None
        frame = _read_table(path) if frame is None else frame
        if not len(frame):
            raise InputError("holds no ratings.")
        frame["rating"] = [_number(*cells) for cells in enumerate(frame["rating"])]
        recommender.given(frame)
    except InputError as error:
        reason = str(error)
        raise InputError(reason if str(path) in reason else f"{path}: {reason}") from None
    return frame


def _read_table(path: Path) -> pd.DataFrame:
    table = table_file.read_whole(path, TextLayout())
    names = list(table.column_names)
    rating = columns.named(names, columns.NAMES["rating"])
    others = [name for name in names if name != rating]
    title = columns.named(others, side_tables.NAMES["title"])
    item = columns.named([name for name in others if name != title], columns.NAMES["item_id"])
    if rating is None or (item or title) is None:
        raise InputError(f"expected the columns item_id (or title) and rating, got {names}.")
    user = columns.named([n for n in others if n not in (item, title)], columns.NAMES["user_id"])
    if user is not None and (n := len(table.column(user).unique())) > 1:
        raise InputError(f"expected the ratings of one person, got {n} users in {user}.")
    chosen = table.select([item or title, rating]).to_pandas()
    return pd.DataFrame(chosen.set_axis(["item_id" if item else "title", "rating"], axis=1))


def _read_object(path: Path) -> pd.DataFrame | None:
    """{item: rating}, if that is what a file of JSON has."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(isinstance(v, int | float) for v in found.values()):
        return None
    return pd.DataFrame({"item_id": list(found), "rating": list(found.values())}, dtype=object)


def _number(row: int, value: Any) -> float:
    try:
        return float(str(value).replace(",", "."))
    except ValueError:
        raise InputError(f"rating {row + 1}: expected a number, got {value!r}.") from None
