"""Ratings and items out of a MovieLens file, straight from the zip."""

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from cf.core.errors import InputError
from cf.data.validation import RATING_TYPES, validate

MAX_RATINGS = 2 << 30  # bytes; the largest, ml-32m's ratings.csv, has 0.9e9
MAX_ITEMS = 64 << 20  # bytes; the largest, ml-32m's movies.csv, has 4e6
MAX_RATIO = 100  # of a member's bytes to its compressed ones; MovieLens has 3 to 10

# in the order of their flags in u.item
GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
    *(RuntimeError, UnicodeDecodeError),  # encrypted or of an unknown version; a member's name
)
NO_GENRES = ("(no genres listed)", "unknown")


@dataclass(frozen=True)
class Layout:
    """How a MovieLens file is laid out.

    Attributes:
        rating_delimiter: the character between two fields of a rating.
        rating_fields: those that are not in RATING_TYPES are left out.
        items: name of the member that holds the items.
        item_delimiter: the characters between two fields of an item.
        item_fields: item_id, title and whatever `genres` needs.
        genres: the genres of each item, joined by "|", from the table of the item fields.
        header: whether the first line names the fields.
    """

    rating_delimiter: str
    rating_fields: tuple[str, ...]
    items: str
    item_delimiter: str
    item_fields: tuple[str, ...]
    genres: Callable[[pa.Table], pa.ChunkedArray]
    header: bool


def _listed_genres(items: pa.Table) -> pa.ChunkedArray:
    return items["genres"]


def _flagged_genres(items: pa.Table) -> pa.ChunkedArray:
    parts = [pc.if_else(pc.equal(items[genre], "1"), f"|{genre}", "") for genre in GENRES]
    return pc.utf8_ltrim(pc.binary_join_element_wise(*parts, ""), "|")


def _spaced_genres(items: pa.Table) -> pa.ChunkedArray:
    return pc.replace_substring(items["genres"], " ", "|")


LAYOUTS = {
    "ratings.csv": Layout(
        rating_delimiter=",",
        rating_fields=tuple(RATING_TYPES),
        items="movies.csv",
        item_delimiter=",",
        item_fields=("item_id", "title", "genres"),
        genres=_listed_genres,
        header=True,
    ),
    "ratings.dat": Layout(
        rating_delimiter=":",  # 1::1193::5::978300760 is seven fields between single colons
        rating_fields=("user_id", "_1", "item_id", "_2", "rating", "_3", "timestamp"),
        items="movies.dat",
        item_delimiter="::",
        item_fields=("item_id", "title", "genres"),
        genres=_listed_genres,
        header=False,
    ),
    "u.data": Layout(
        rating_delimiter="\t",
        rating_fields=tuple(RATING_TYPES),
        items="u.item",
        item_delimiter="|",
        item_fields=("item_id", "title", "_date", "_video", "_url", "_unknown", *GENRES),
        genres=_flagged_genres,
        header=False,
    ),
    "ml-100k.inter": Layout(  # of the wheel
        rating_delimiter="\t",
        rating_fields=tuple(RATING_TYPES),
        items="ml-100k.item",
        item_delimiter="\t",
        item_fields=("item_id", "title", "in_brackets", "genres"),
        genres=_spaced_genres,
        header=True,
    ),
}


def read(path: Path, rating_range: tuple[float, float]) -> tuple[pa.Table, pa.Table]:
    """The ratings and items of a MovieLens zip, or of the wheel that holds ml-100k.

    Args:
        rating_range: lowest and highest rating allowed, in stars.

    Returns:
        Ratings (user_id int64, item_id int64, rating float32 in stars, timestamp int64 in
        seconds since 1970 UTC) in the file's order, and items (item_id int64, title string,
        year int32 or null, genres string: names joined by "|", or ""). A title keeps the year
        it ends in.

    Raises:
        InputError: not a zip, damaged, a member that is unsafe or missing or not in
            MovieLens' format, or ratings that cannot be used.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_unsafe_names(archive, path)
            members = {PurePosixPath(info.filename).name: info for info in archive.infolist()}
            name = next((name for name in LAYOUTS if name in members), None)
            if name is None or LAYOUTS[name].items not in members:
                raise InputError(
                    f"{path}: holds no MovieLens data: expected {' or '.join(LAYOUTS)} with its "
                    f"items, got {', '.join(sorted(members)[:9])}. Delete it and run again."
                )
            layout = LAYOUTS[name]
            with _opened(archive, members[name], MAX_RATINGS, path) as member:
                ratings = _read_ratings(member, layout)
            with _opened(archive, members[layout.items], MAX_ITEMS, path) as member:
                items = _read_items(member.read(), layout)
    except pa.ArrowException as error:
        raise InputError(f"{path}: not in the format of MovieLens: {error}.") from None
    except DAMAGE as error:
        raise InputError(
            f"{path}: a damaged zip file ({error}). Delete it and run the same command again: "
            "it is then downloaded anew."
        ) from None
    first_line = 2 if layout.header else 1
    validate(ratings, rating_range, str(path), lambda row: f"{name} line {row + first_line}")
    return ratings, items


def _refuse_unsafe_names(archive: zipfile.ZipFile, path: Path) -> None:
    for name in archive.namelist():
        as_windows = PureWindowsPath(name)  # knows / and \ and drives
        if ".." in as_windows.parts or as_windows.anchor:
            raise InputError(
                f"{path}: member {name!r} points outside of the archive, which no MovieLens "
                "file does. Do not unpack it; delete it and get the file from its publisher."
            )


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int, path: Path) -> IO[bytes]:
    """The member as a stream; zipfile lets it give no more bytes than it declares."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{info.filename!r} is packed in an unknown way")
    compressed = min(info.compress_size, path.stat().st_size)
    if info.file_size > min(limit, MAX_RATIO * compressed):
        raise InputError(
            f"{path}: member {info.filename!r} declares {info.file_size:,} bytes in "
            f"{compressed:,} compressed ones: a zip bomb, not MovieLens data. Delete it and get "
            "the file from its publisher."
        )
    return archive.open(info)


def _read_ratings(member: IO[bytes], layout: Layout) -> pa.Table:
    return csv.read_csv(
        member,
        csv.ReadOptions(column_names=layout.rating_fields, skip_rows=int(layout.header)),
        csv.ParseOptions(delimiter=layout.rating_delimiter, quote_char=False),
        csv.ConvertOptions(
            column_types=RATING_TYPES, include_columns=list(RATING_TYPES), null_values=[""]
        ),
    ).combine_chunks()


def _read_items(content: bytes, layout: Layout) -> pa.Table:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # ml-100k and ml-1m
    delimiter = layout.item_delimiter
    if len(delimiter) > 1:
        text, delimiter = text.replace(delimiter, "\x1f"), "\x1f"
    types = {field: pa.string() for field in layout.item_fields}
    table = csv.read_csv(
        io.BytesIO(text.encode()),
        csv.ReadOptions(column_names=layout.item_fields, skip_rows=int(layout.header)),
        csv.ParseOptions(delimiter=delimiter, quote_char='"' if delimiter == "," else False),
        csv.ConvertOptions(column_types=types | {"item_id": pa.int64()}, null_values=[]),
    ).combine_chunks()
    titles = pc.utf8_trim_whitespace(_whole_titles(table))
    genres = layout.genres(table)
    return pa.table(
        {
            "item_id": table["item_id"],
            "title": titles,
            "year": _years(titles),
            "genres": pc.if_else(pc.is_in(genres, pa.array(NO_GENRES)), "", genres),
        }
    )


def _whole_titles(items: pa.Table) -> pa.ChunkedArray:
    """Titles as GroupLens writes them; the wheel cut off what they end in, mostly the year."""
    titles = items["title"]
    if "in_brackets" not in items.column_names:
        return titles
    ending = items["in_brackets"]
    whole = pc.binary_join_element_wise(titles, " (", ending, ")", "")
    return pc.if_else(pc.equal(ending, "unkonwn"), titles, whole)


def _years(titles: pa.ChunkedArray) -> pa.ChunkedArray:
    """The year in brackets that ends a title, the first of a span such as 2006-2007."""
    found = pc.extract_regex(titles, r"\((?P<year>\d{4})(?:[-\x{2013}]\s*(?:\d{4})?)?\)$")
    return pc.struct_field(found, "year").cast(pa.int32())
