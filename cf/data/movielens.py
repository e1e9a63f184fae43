"""Ratings and items out of a MovieLens file, straight from the zip."""

import csv
import zipfile
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import pandas as pd

from cf.data.validation import ITEM_TYPES, RATING_TYPES, validate

# in the order of their flags in u.item
GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
NO_GENRES = ("(no genres listed)", "unknown")


class Layout(NamedTuple):
    """How a MovieLens file is laid out.

    Attributes:
        rating_fields: of a line; those that are not in RATING_TYPES are left out.
        items: name of the member that holds the items.
        item_fields: item_id, title, and genres or the flags that they are made from.
        has_header: whether the first line names the fields.
    """

    rating_separator: str
    rating_fields: tuple[str, ...]
    items: str
    item_separator: str
    item_fields: tuple[str, ...]
    has_header: bool


LAYOUTS = {
    "ratings.csv": Layout(
        rating_separator=",",
        rating_fields=tuple(RATING_TYPES),
        items="movies.csv",
        item_separator=",",
        item_fields=("item_id", "title", "genres"),
        has_header=True,
    ),
    "ratings.dat": Layout(
        rating_separator=":",  # 1::1193::5::978300760 is seven fields between single colons
        rating_fields=("user_id", "_1", "item_id", "_2", "rating", "_3", "timestamp"),
        items="movies.dat",
        item_separator="::",
        item_fields=("item_id", "title", "genres"),
        has_header=False,
    ),
    "u.data": Layout(
        rating_separator="\t",
        rating_fields=tuple(RATING_TYPES),
        items="u.item",
        item_separator="|",
        item_fields=("item_id", "title", "_date", "_video", "_url", "_unknown", *GENRES),
        has_header=False,
    ),
    "ml-100k.inter": Layout(  # of the wheel
        rating_separator="\t",
        rating_fields=tuple(RATING_TYPES),
        items="ml-100k.item",
        item_separator="\t",
        item_fields=("item_id", "title", "in_brackets", "genres"),
        has_header=True,
    ),
}


def read(path: Path, rating_range: tuple[float, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ratings and items of a MovieLens zip, or of the wheel that holds ml-100k.

    Args:
        path: of a published file, whose digest has been checked.
        rating_range: lowest and highest rating allowed, in stars.

    Returns:
        Ratings (user_id int64, item_id int64, rating float32 in stars, timestamp int64 in
        seconds since 1970 UTC) in the file's order, and items (item_id int64, title, year Int32
        or NA, genres: names joined by "|", or ""). A title keeps the year it ends in.

    Raises:
        InputError: ratings that cannot be used.
    """
    with zipfile.ZipFile(path) as archive:
        members = {PurePosixPath(name).name: name for name in archive.namelist()}
        name = next(name for name in LAYOUTS if name in members)
        layout = LAYOUTS[name]
        with archive.open(members[name]) as member:
            ratings = _read_ratings(member, layout)
        items = _read_items(archive.read(members[layout.items]), layout)
    first_line = 1 + layout.has_header
    validate(ratings, rating_range, str(path), lambda row: f"{name} line {row + first_line}")
    return ratings, items


def _read_ratings(member: IO[bytes], layout: Layout) -> pd.DataFrame:
    return pd.read_csv(
        member,
        sep=layout.rating_separator,
        names=layout.rating_fields,
        header=0 if layout.has_header else None,
        usecols=list(RATING_TYPES),
        dtype=RATING_TYPES,
    )


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
        header=0 if layout.has_header else None,
        dtype="str",
        na_filter=False,
        quoting=csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE,
        engine="python" if len(separator) > 1 else "c",
    )
    title = items["title"]
    if "in_brackets" in items:  # the wheel cut off what a title ends in, mostly the year
        ending = items["in_brackets"]
        title = title.where(ending == "unkonwn", title + " (" + ending + ")")
    title = title.str.strip()
    genres = _flagged_genres(items) if "genres" not in items else items["genres"]
    genres = genres.mask(genres.isin(NO_GENRES), "").str.replace(" ", "|")
    columns = {"item_id": items["item_id"], "title": title, "year": _years(title), "genres": genres}
    return pd.DataFrame(columns).astype(ITEM_TYPES)


def _flagged_genres(items: pd.DataFrame) -> pd.Series:
    genres = pd.Series("", items.index)
    for genre in GENRES:
        genres = genres.mask(items[genre] == "1", genres + "|" + genre)
    return genres.str.lstrip("|")


def _years(titles: pd.Series) -> pd.Series:
    """The year in brackets that ends a title, the first of a span such as 2006-2007."""
    return titles.str.extract(r"\(([0-9]{4})(?:[-\u2013]\s*(?:[0-9]{4})?)?\)$", expand=False)
