"""Requests, whose rows ask for a prediction or for a list, and their answers as one table."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from cf.core.errors import InputError
from cf.inference.recommender import NEW_USER, Recommender

MAX_ITEMS = 1000  # in a list
TYPES = {"row": "int64", "prediction": "float64", "std": "float64"}  # other columns are objects
PARAMS: Mapping[str, Any] = {
    "n": 10,
    "by": "both",
    "genre": None,
    "first_year": None,
    "last_year": None,
    "min_ratings": 0,
}
"""What a request may say about its lists, and what holds if it does not."""


def answer(model: Recommender, rows: pd.DataFrame, params: Mapping[str, Any]) -> pd.DataFrame:
    """The answers to all rows, in their order.

    A row with an item_id is answered with one prediction, a row without one with a list of
    `params["n"]` items, the best first.

    Args:
        rows: user_id, or ratings of somebody who is not in the data: {item: rating}, or
            [{"item_id": item, "rating": rating}], or JSON of either; and perhaps item_id. Items are
            ids or titles.
        params: as `PARAMS`; what is None there, or not there, is as `PARAMS` has it.

    Returns:
        row, the number of the row that is answered, from 0; rank in its list, from 1; item_id;
        title; prediction; std, where the model has one; note, as `Recommender.predict` has it.
        What there is not is None, so that JSON has null.

    Raises:
        InputError: a row cannot be answered.
    """
    params = {
        name: default if params.get(name) is None else params[name]
        for name, default in PARAMS.items()
    }
    if not 1 <= params["n"] <= MAX_ITEMS:
        raise InputError(f"n: expected a number from 1 to {MAX_ITEMS:,}, got {params['n']}.")
    if not len(rows):
        raise InputError("there is no row with a user_id, an item_id or ratings.")
    answers: list[dict[str, Any]] = []
    pairs: dict[str, tuple[Any, list[int], list[Any], list[Any]]] = {}  # of one person, or of users
    for row, (user, item, cell) in enumerate(_cells(rows)):
        with _naming(row):
            ratings = _ratings(cell)
            for name, value in (("user_id", user), ("item_id", item)):
                if isinstance(value, bool) or not isinstance(value, str | int | float | None):
                    raise InputError(f"{name}: expected text or a number, got {value!r}.")
                if isinstance(value, float) and not math.isfinite(value):
                    raise InputError(f"{name}: expected text or a finite number, got {value!r}.")
            if (user is None) == (ratings is None):
                raise InputError("expected either a user_id, or the ratings of somebody else.")
            if item is None:
                answers += _list(model, row, user, ratings, params)
            else:
                group = pairs.setdefault(str(ratings), (ratings, [], [], []))
                for values, value in zip(group[1:], (row, user, item), strict=True):
                    values.append(value)
    for ratings, numbers, users, items in pairs.values():
        try:
            if ratings is None:
                found = model.predict(users, items)
            else:
                found = model.predict(items=items, ratings=_frame(ratings))
        except InputError:
            for row, item in zip(numbers, items, strict=True):
                with _naming(row):
                    model.catalog.find_items([item])
            with _naming(numbers[0]):
                raise
        answers += _records(found, numbers, [None] * len(numbers), found["note"])
    answers.sort(key=lambda record: (record["row"], record["rank"] or 0))
    columns = {name: [record[name] for record in answers] for name in answers[0]}
    return pd.DataFrame(
        {name: pd.Series(values, dtype=TYPES.get(name, object)) for name, values in columns.items()}
    )


def _cells(rows: pd.DataFrame) -> Iterator[tuple[Any, Any, Any]]:
    """user_id, item_id and ratings of each row, None where there is none."""
    columns = (
        rows[name].tolist() if name in rows else [None] * len(rows)
        for name in ("user_id", "item_id", "ratings")
    )
    for cells in zip(*columns, strict=True):
        user, item, ratings = map(_plain, cells)
        yield user, item, ratings


def _plain(cell: Any) -> Any:
    """None for what is missing; whole numbers that a column with gaps has made floats of."""
    if cell is None or cell is pd.NA or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, float):
        return None if np.isnan(cell) else int(cell) if cell.is_integer() else cell
    return cell


def _ratings(cell: Any) -> list[tuple[Any, Any]] | None:
    """Items and ratings in a cell, or None."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except ValueError:
            raise InputError(f"ratings: expected JSON, got {cell!r}.") from None
    if cell is None:
        return None
    if isinstance(cell, dict):
        return list(cell.items())
    try:
        return [(rating.get("item_id", rating.get("title")), rating["rating"]) for rating in cell]
    except (TypeError, AttributeError, KeyError):
        raise InputError(
            'ratings: expected {item: rating} or [{"item_id": item, "rating": rating}], got '
            f"{cell!r}."
        ) from None


def _frame(ratings: list[tuple[Any, Any]]) -> pd.DataFrame:
    return pd.DataFrame(ratings, columns=["item_id", "rating"], dtype=object)


def _list(
    model: Recommender,
    row: int,
    user: Any,
    ratings: list[tuple[Any, Any]] | None,
    params: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The answers to a row that asks for a list."""
    years = params["first_year"], params["last_year"]
    table = model.recommend(
        user,
        params["n"],
        ratings=None if ratings is None else _frame(ratings),
        by=params["by"],
        genre=params["genre"],
        year=None if years == (None, None) else years,
        min_ratings=params["min_ratings"],
    )
    known = ratings is not None or model.catalog.find_users([user])[0] >= 0
    n = len(table)
    return _records(table, [row] * n, range(1, n + 1), ["" if known else NEW_USER] * n)


def _records(
    table: pd.DataFrame, rows: Iterable[int], ranks: Iterable[int | None], notes: Iterable[str]
) -> list[dict[str, Any]]:
    """The table's rows as answers, which are faster to put together than tables."""
    columns = {
        "row": rows,
        "rank": ranks,
        "item_id": table["item_id"].tolist(),
        "title": [title if isinstance(title, str) else None for title in table["title"]],
        "prediction": table["prediction"].tolist(),
        **({"std": table["std"].tolist()} if "std" in table else {}),
        "note": notes,
    }
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


@contextmanager
def _naming(row: int) -> Iterator[None]:
    """Errors begin with the number of the row that they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"row {row}: {error}") from None
