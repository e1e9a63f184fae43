"""Ratings, items, users and tags out of a MovieLens file, straight from the zip."""

import csv
import re
import zipfile
from array import array
from collections.abc import Iterator, Sequence
from functools import reduce
from io import StringIO
from operator import add
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from cf.core.errors import InputError
from cf.data.side_tables import TITLE_YEAR, no_tags
from cf.data.validation import ITEM_TYPES, RATING_TYPES, TAG_TYPES, validate

# in the order of their flags in u.item
GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
TAG_LINE = re.compile(r"(\d+)::(\d+)::(.*)::(\d+)")  # a tag may have colons
NO_GENRES = ["(no genres listed)", "unknown"]
USER_TYPES = {"user_id": "int64", "age": "float64", "sex": "str", "occupation": "str"}


class Layout(NamedTuple):
    """How a MovieLens file is laid out; header is 0 where the first line names the fields.

    Of the `fields` of a rating, those that are not in RATING_TYPES are left out. The member
    `items` of the file holds the items: item_id, title, and genres or the flags they are made from.
    The member `users`, if there is one, holds the users, with the fields of USER_TYPES; the member
    `tags`, if there is one, a tag a line: user, item, tag, time.
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
    tags: str | None = None


FIELDS = tuple(RATING_TYPES)
# 1::1193::5::978300760 is seven fields between single colons, for the faster parser
DAT_FIELDS = ("user_id", "_1", "item_id", "_2", "rating", "_3", "timestamp")
ITEM_FIELDS = ("item_id", "title", "genres")
FLAGGED_FIELDS = ("item_id", "title", "_date", "_video", "_url", "_unknown", *GENRES)
WHEEL_FIELDS = ("item_id", "title", "in_brackets", "genres")
LAYOUTS = {
    "ratings.csv": Layout(",", FIELDS, "movies.csv", ",", ITEM_FIELDS, header=0, tags="tags.csv"),
    "ratings.dat": Layout(
        *(":", DAT_FIELDS, "movies.dat", "::", ITEM_FIELDS, None),
        *("users.dat", "::", ("user_id", "sex", "age", "occupation", "_zip")),  # ml-1m alone has it
        "tags.dat",  # ml-10m alone has it
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
        members = _members(archive)
        name = _ratings_name(members)
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


def read_tags(path: Path) -> pd.DataFrame:
    """The tags that users gave items, of a MovieLens zip, in the file's order.

    item_id int64; tag, the text as it was typed, perhaps empty; timestamp int64, in seconds since
    1970 UTC. There are no rows where the zip has no file of tags, as ml-100k and ml-1m, which is
    laid out as ml-10m. Published zips are verified by their digest, so none can have lost it.

    Raises:
        InputError: a row is not a user, an item, a tag and a time.
    """
    with zipfile.ZipFile(path) as archive:
        members = _members(archive)
        layout = LAYOUTS[_ratings_name(members)]
        if layout.tags not in members:
            return no_tags()
        text = _decode(archive.read(members[str(layout.tags)]))
    item_ids, tags, times = array("q"), [], array("q")
    try:
        for _, item_id, tag, time in _tag_rows(text, layout.item_separator):
            item_ids.append(int(item_id))
            tags.append(tag)
            times.append(int(time))
    except (ValueError, OverflowError, csv.Error) as error:
        raise InputError(
            f"{path}, {layout.tags} row {len(times) + 1}: expected a user, an item, a tag and a "
            f"time ({error}). Is the file whole?"
        ) from None
    columns = zip(TAG_TYPES, (item_ids, tags, times), strict=True)
    return pd.DataFrame(dict(columns)).astype(TAG_TYPES)


def _tag_rows(text: str, separator: str) -> Iterator[Sequence[str]]:
    """The fields of each row; none where they cannot be told apart."""
    if separator == ",":
        reader = csv.reader(StringIO(text, newline=""))
        next(reader, None)
        yield from reader
    else:
        for line in StringIO(text):
            found = TAG_LINE.fullmatch(line.rstrip("\r\n"))
            yield found.groups() if found else ()


def _members(archive: zipfile.ZipFile) -> dict[str, str]:
    """The members of a zip by name, without folders."""
    return {PurePosixPath(name).name: name for name in archive.namelist()}


def _ratings_name(members: dict[str, str]) -> str:
    return next(name for name in LAYOUTS if name in members)


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # ml-100k and ml-1m


def _read_items(content: bytes, layout: Layout) -> pd.DataFrame:
    separator = layout.item_separator
    items = pd.read_csv(
        StringIO(_decode(content)),
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
