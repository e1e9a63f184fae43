"""Ratings, items and users out of a MovieLens file, straight from the zip."""

import csv
import zipfile
from functools import reduce
from io import StringIO
from operator import add
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from cf.data.side_tables import TITLE_YEAR
from cf.data.validation import ITEM_TYPES, RATING_TYPES, validate

# in the order of their flags in u.item
GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
NO_GENRES = ["(no genres listed)", "unknown"]
USER_TYPES = {"user_id": "int64", "age": "float64", "sex": "str", "occupation": "str"}


class Layout(NamedTuple):
    """How a MovieLens file is laid out; header is 0 where the first line names the fields.

    Of the `fields` of a rating, those that are not in RATING_TYPES are left out. The member
    `items` of the file holds the items: item_id, title, and genres or the flags they are made from.
    The member `users`, if there is one, holds the users, with the fields of USER_TYPES.
    """

    separator: str
    fields: tuple[str, ...]
    items: str
    item_separator: str
    item_fields: tuple[str, ...]
    header: int | None
    users: str | None = None
    user_separator: str = "|"
    user_fields: tuple[str, ...] = ("user_id", "age", "sex", "occupation", "_zip")


FIELDS = tuple(RATING_TYPES)
# 1::1193::5::978300760 is seven fields between single colons, for the faster parser
DAT_FIELDS = ("user_id", "_1", "item_id", "_2", "rating", "_3", "timestamp")
ITEM_FIELDS = ("item_id", "title", "genres")
FLAGGED_FIELDS = ("item_id", "title", "_date", "_video", "_url", "_unknown", *GENRES)
WHEEL_FIELDS = ("item_id", "title", "in_brackets", "genres")
LAYOUTS = {
    "ratings.csv": Layout(",", FIELDS, "movies.csv", ",", ITEM_FIELDS, header=0),
    "ratings.dat": Layout(
        *(":", DAT_FIELDS, "movies.dat", "::", ITEM_FIELDS, None),
        *("users.dat", "::", ("user_id", "sex", "age", "occupation", "_zip")),  # ml-1m alone has it
    ),
    "u.data": Layout("\t", FIELDS, "u.item", "|", FLAGGED_FIELDS, None, "u.user"),
    "ml-100k.inter": Layout(
        "\t", FIELDS, "ml-100k.item", "\t", WHEEL_FIELDS, 0, "ml-100k.user", "\t"
    ),
}


def read(
    path: Path, rating_range: tuple[float, float]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The ratings, items and users of a MovieLens zip, or of the wheel that holds ml-100k.

    Ratings (user_id int64, item_id int64, rating float32 in stars, timestamp int64 in seconds since
    1970 UTC) are in the file's order. Items have item_id int64, title with the year it ends in,
    year Int32 or NA, and genres: names joined by "|", or "". Users have user_id int64 and, in
    ml-100k and ml-1m, age float64 in years (in ml-1m the start of a span), sex and occupation.

    Raises:
        InputError: a rating cannot be used, or is not within `rating_range`, in stars.
    """
    with zipfile.ZipFile(path) as archive:
        members = {PurePosixPath(name).name: name for name in archive.namelist()}
        name = next(name for name in LAYOUTS if name in members)
        layout = LAYOUTS[name]
        with archive.open(members[name]) as member:
            ratings = pd.read_csv(
                member,
                sep=layout.separator,
                names=layout.fields,
                header=layout.header,
                usecols=list(RATING_TYPES),
                dtype=RATING_TYPES,
            )
        items = _read_items(archive.read(members[layout.items]), layout)
        users = pd.DataFrame({"user_id": ratings["user_id"].unique()})
        if layout.users in members:
            with archive.open(members[str(layout.users)]) as member:
                users = pd.read_csv(
                    member,
                    sep=layout.user_separator,
                    names=layout.user_fields,
                    header=layout.header,
                    usecols=list(USER_TYPES),
                    dtype=USER_TYPES,
                    engine="python" if len(layout.user_separator) > 1 else "c",
                )[list(USER_TYPES)]
    first_line = 1 if layout.header is None else 2
    validate(ratings, rating_range, str(path), lambda row: f"{name} line {row + first_line}")
    return ratings, items, users


def _read_items(content: bytes, layout: Layout) -> pd.DataFrame:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # ml-100k and ml-1m
    separator = layout.item_separator
    items = pd.read_csv(
        StringIO(text),
        sep=separator,
        names=layout.item_fields,
        header=layout.header,
        dtype="str",
        na_filter=False,
        quoting=csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE,
        engine="python" if len(separator) > 1 else "c",
    )
    title = items["title"]
    if "in_brackets" in items:  # the wheel cut off what a title ends in, mostly the year
        ending = items["in_brackets"]
        title = title.where(ending == "unkonwn", title + " (" + ending + ")")
    items["title"] = title.str.strip()
    items["year"] = items["title"].str.extract(TITLE_YEAR, expand=False)
    if "genres" not in items:
        flags = [items[genre].map({"0": "", "1": f"|{genre}"}) for genre in GENRES]
        items["genres"] = reduce(add, flags).str.lstrip("|")
    items["genres"] = items["genres"].replace(NO_GENRES, "").str.replace(" ", "|")
    return items[list(ITEM_TYPES)].astype(ITEM_TYPES)
