"""Somebody's own ratings, in the forms that people have them in Python."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from cf.core.errors import InputError

ITEMS = ("item_id", "itemid", "movieid", "bookid", "item", "movie")
TITLES, RATINGS, USERS = ("title", "name"), ("rating", "stars", "score"), ("user_id", "userid")


class Given(NamedTuple):
    """Items, by id or title, and their ratings; whether all items are given by title."""

    names: list[Any]
    values: list[Any]
    by_title: bool = False


def parse(ratings: Any) -> Given:
    """The items and ratings of somebody.

    Args:
        ratings: {item: rating}, or a Series of ratings by item, or a frame with a column of items
            (item_id, movieId, ... or else title) and a column of ratings.

    Raises:
        InputError: it is none of these, or has the ratings of several users.
    """
    if isinstance(ratings, pd.Series | Mapping):
        return Given(list(ratings.keys()), [value for _, value in ratings.items()])
    if not isinstance(ratings, pd.DataFrame):
        raise InputError(
            "ratings: expected {item: rating}, or a frame with the columns item_id (or title) and "
            f"rating, got {type(ratings).__name__}."
        )
    named = {str(name).casefold(): name for name in ratings}
    items, titles, values, users = (
        next((named[name] for name in known if name in named), None)
        for known in (ITEMS, TITLES, RATINGS, USERS)
    )
    by_title = items is None
    items = titles if by_title else items
    if items is None or values is None:
        raise InputError(
            "ratings: expected the columns item_id (or title) and rating, got "
            f"{', '.join(map(str, ratings))}."
        )
    if users is not None and (n := ratings[users].nunique()) > 1:
        raise InputError(f"ratings: expected those of one person, got {n} users in {users}.")
    return Given(ratings[items].tolist(), ratings[values].tolist(), by_title)
