"""Made-up ratings in every form, each with what must be read from it: strategies of hypothesis."""

import bz2
import csv
import gzip
import json
import lzma
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from cf.data.side_tables import MISSING

NAMES = {
    "user": ("userId", "user_id", "reviewerID", "User-ID"),
    "item": ("movieId", "item_id", "asin", "ISBN"),
    "rating": ("rating", "Book-Rating", "overall", "score"),
    "time": ("timestamp", "date", "unixReviewTime", "created_at"),
}
KEYS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
SIGNS = ",;|:# \t%='\"\\[]{}<>&$@.-_/0123abcXYZéżñ漢🙂\u00a0\u2028\ufeff"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
    ".zip": lambda content: zipped({"ratings.csv": content}),
}


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@dataclass
class Column:
    """Values as a file has them, and as they are read."""

    written: list[Any]
    read: list[Any]
    array: pa.Array | None = None  # in Parquet; None: of text


@dataclass
class Frame:
    """Columns by name of the file's, and the names of those that matter."""

    columns: dict[str, Column]
    names: dict[str, str]
    layout: dict[str, Any] = field(default_factory=dict)  # what is to be stated

    def rows(self) -> list[tuple[Any, ...]]:
        """What is to be read: ids as text, ratings, times."""
        read = [self.columns[name].read for name in self.names.values()]
        return list(zip(*read, strict=True))

    @property
    def stated(self) -> dict[str, str | None]:
        """The section ingest.columns."""
        return {key: self.names.get(name) for name, key in KEYS.items()}


@dataclass
class File:
    """A file's content, and what it holds."""

    content: bytes
    frame: Frame
    text: str | None = None  # before it was encoded and packed
    layout: dict[str, Any] = field(default_factory=dict)
    delimiter: str = ","
    quoted: bool = True
    n_before: int = 0  # lines before the first row that have something in them
    before: bytes = b""  # these lines
    rows: list[list[str]] = field(default_factory=list)  # as fields of text


def characters(exclude: str = "") -> st.SearchStrategy[str]:
    return st.one_of(
        st.sampled_from([sign for sign in SIGNS if sign not in exclude]),
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters=exclude),
    )


def texts(exclude: str = "", min_size: int = 1) -> st.SearchStrategy[str]:
    """Text without line ends; of blanks alone it is never."""
    return st.text(characters(exclude), min_size=min_size, max_size=8).filter(
        lambda text: text.strip() == text or (bool(text.strip()) and " " not in exclude)
    )


digits = st.integers(0, 10**6).map(str)
ID_KINDS: dict[str, st.SearchStrategy[str]] = {
    "small": st.integers(1, 40).map(str),
    "whole": st.integers(-(2**63), 2**63 - 1).map(str),
    "huge": st.integers(-(10**30), 10**30).map(str),
    "zeros": st.tuples(st.sampled_from(["", "0", "00"]), st.integers(0, 30).map(str)).map("".join),
    "floats": st.integers(-9, 10**6).map("{}.0".format),
    "decimals": st.decimals(-100, 100, places=2).map("{:f}".format),
    "hex": st.integers(0, 2**40).map(hex),
    "long_hex": st.integers(2**31, 2**40).map("0x{:010x}".format),
    "mail": digits.map("u{}@example.org".format),
    "uuid": st.uuids().map(str),
    "isbn": st.integers(0, 10**9 - 1).map("{:09}X".format),
    "signs": digits.map("{}".format).flatmap(
        lambda n: st.sampled_from(["=1+", "#", "%", "+", "-", "u:", "[b]", "{", "a b ", "'"]).map(
            lambda sign: sign + n
        )
    ),
    "words": st.sampled_from(["NA", "null", "nan", "None", "true", "NaN", "inf", "1e5", "-0", "x"]),
    "text": texts(),
}


@st.composite
def frames(draw: st.DrawFn, exclude: str = "", max_rows: int = 12) -> Frame:
    """Ratings, and what comes with them."""
    pairs = draw(
        st.lists(
            st.tuples(draw(ids(exclude)), draw(ids(exclude))),
            min_size=1,
            max_size=max_rows,
            unique=True,
        )
    )
    n = len(pairs)
    columns = {
        "user": Column([u for u, _ in pairs], [u for u, _ in pairs]),
        "item": Column([i for _, i in pairs], [i for _, i in pairs]),
        "rating": draw(ratings(n)),
    }
    if draw(st.booleans()):
        columns["time"] = draw(times(n, exclude))
    names = {key: draw(st.sampled_from(NAMES[key])) for key in columns}
    named = {names[key]: column for key, column in columns.items()}
    order = draw(st.permutations([*names.values()]))
    if draw(st.booleans()):
        anything = st.text(max_size=9).filter(lambda text: "\0" not in text)  # with line ends
        extra = st.one_of(texts(exclude, 0), st.just("")) if exclude else anything
        values = draw(st.lists(extra, min_size=n, max_size=n))
        named["note"] = Column(values, values)
        order.insert(draw(st.integers(0, len(order))), "note")
    if draw(st.booleans()) and draw(st.booleans()):
        named[""] = Column([str(row) for row in range(n)], [])
        order.insert(0, "")
    return Frame({name: named[name] for name in order}, names, {"thousands": None})


def ids(exclude: str = "") -> st.SearchStrategy[st.SearchStrategy[str]]:
    """A kind of ids."""
    kinds = {**ID_KINDS, "text": texts(exclude)}
    return st.sampled_from(sorted(kinds)).map(
        lambda kind: kinds[kind].filter(
            lambda text: not any(sign in text for sign in exclude) and bool(text)
        )
    )


GRIDS = [(0.5, 0.5, 10), (1, 1, 5), (1, 1, 10), (0, 1, 100), (-10, 0.01, 2001), (0, 0.25, 5)]
FORMATS = ["{:g}", "{:.1f}", "{:.2f}", "{:.4f}", "{!r}"]


@st.composite
def ratings(draw: st.DrawFn, n: int) -> Column:
    low, step, levels = draw(st.sampled_from(GRIDS))
    number = st.integers(0, levels - 1).map(lambda level: round(low + level * step, 4))
    form = draw(st.sampled_from(FORMATS))
    written = [form.format(value) for value in draw(st.lists(number, min_size=n, max_size=n))]
    read = [float(np.float32(text)) for text in written]
    return Column(written, read)


@st.composite
def times(draw: st.DrawFn, n: int, exclude: str = "") -> Column:
    seconds = draw(st.lists(st.integers(4 * 10**8, 4 * 10**9), min_size=n, max_size=n))
    kind = draw(st.sampled_from([*UNITS, "float", "iso", "date", "zone", "space"]))
    if kind in UNITS:
        part = draw(st.integers(0, UNITS[kind] - 1))
        return Column([str(second * UNITS[kind] + part) for second in seconds], seconds)
    if kind == "float":
        return Column([f"{second}.0" for second in seconds], seconds)
    dates = [datetime.fromtimestamp(second, UTC) for second in seconds]
    if kind == "date" or any(sign in exclude for sign in ": "):
        days = [second - second % 86400 for second in seconds]
        return Column([f"{date:%Y-%m-%d}" for date in dates], days)
    if kind == "zone":
        there = [date + timedelta(hours=2) for date in dates]
        return Column([f"{date:%Y-%m-%dT%H:%M:%S}+02:00" for date in there], seconds)
    form = "%Y-%m-%d %H:%M:%S" if kind == "space" else "%Y-%m-%dT%H:%M:%SZ"
    return Column([date.strftime(form) for date in dates], seconds)


@st.composite
def text_files(draw: st.DrawFn, lines_only: bool = False, max_rows: int = 12) -> File:
    """Delimited text; with `lines_only`, a row is a line, in no package."""
    delimiter = draw(st.sampled_from([",", ",", ";", "\t", "|", "::", " ", "\x01"]))
    quoted = delimiter in ",;\t|" and draw(st.integers(0, 3)) > 0
    exclude = {"::": ":", " ": " \t\u00a0"}.get(delimiter, delimiter) + '"'
    if delimiter == " ":  # nothing that Python takes for a blank, nor an empty field
        exclude += "".join(map(chr, range(0x2000, 0x2010))) + "\u3000\u1680\u2028\u2029\u202f\u205f"
    if lines_only and quoted:
        exclude = "\0"
    frame = draw(frames("" if quoted and not lines_only else exclude, max_rows))
    if delimiter == " ":
        for name in ("note",):
            if name in frame.columns:
                frame.columns[name].written = [v or "-" for v in frame.columns[name].written]
    header = draw(st.booleans()) if "" not in frame.columns else True
    if delimiter == " " and "" in frame.columns:
        del frame.columns[""]
    layout: dict[str, Any] = dict(frame.layout)
    if delimiter == "\x01":
        layout["delimiter"] = delimiter
    if (not quoted and delimiter in ",;\t|\x01") or draw(st.booleans()):
        layout["delimiter"] = delimiter
    if not quoted:
        layout["quote"] = None
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    table = [*([list(frame.columns)] if header else []), *rows_of(frame)]
    if draw(st.booleans()) and draw(st.booleans()) and (quoted or delimiter in ";|"):
        comma_decimals(frame)
        layout["decimal"] = ","
        table = [*([list(frame.columns)] if header else []), *rows_of(frame)]
    if quoted:
        buffer = StringIO(newline="")
        has_return = any("\r" in value for row in table for value in row)  # bpo-10178
        minimal = not has_return and draw(st.booleans())
        quoting: Any = csv.QUOTE_MINIMAL if minimal else csv.QUOTE_ALL
        writer = csv.writer(buffer, delimiter=delimiter, lineterminator=newline, quoting=quoting)
        writer.writerows(table)
        text = buffer.getvalue()
    else:
        text = "".join(delimiter.join(row) + newline for row in table)
    if draw(st.booleans()):
        text = text.removesuffix(newline)
    before = ""
    if draw(st.integers(0, 4)) == 0 and header:
        some = ["# exported in 2020", newline, f"sep={delimiter}" if delimiter in ",;|" else "% a"]
        before = draw(st.sampled_from(some)) + newline
    if not header:
        layout["header"] = False
        layout["delimiter"] = delimiter  # of a row or two, others may fit as well
        numbers = {name: str(n) for n, name in enumerate(frame.columns, start=1)}
        frame = Frame(
            {numbers[name]: column for name, column in frame.columns.items()},
            {key: numbers[name] for key, name in frame.names.items()},
            frame.layout,
        )
    elif draw(st.booleans()):
        layout["header"] = True
    content, layout["encoding"] = draw(encoded(before + text, not lines_only))
    if not header and text.startswith("\ufeff"):
        layout["encoding"] = "utf-8"
    packer = "" if lines_only else draw(st.sampled_from(["", "", "", *PACKERS]))
    n_before = len(before.split()) and 1
    first = b""
    if header and lines_only:
        rest = text[text.index(newline) + len(newline) :]
        kind = "latin-1" if layout["encoding"] == "latin-1" else "utf-8"
        first = content[: len(content) - len(rest.encode(kind))]
    n_before += header
    text = before + text
    packed, rows = PACKERS[packer](content), rows_of(frame)
    return File(packed, frame, text, layout, delimiter, quoted, n_before, first, rows)


@st.composite
def encoded(draw: st.DrawFn, text: str, any_width: bool = True) -> tuple[bytes, str]:
    known = ["utf-8", "utf-8", "utf-8-sig", "latin-1", *(["utf-16"] if any_width else [])]
    encoding = draw(st.sampled_from(known))
    if text.startswith("\ufeff"):
        return text.encode(), "utf-8"
    if encoding == "latin-1":
        try:
            return text.encode("latin-1"), "latin-1"
        except UnicodeEncodeError:
            encoding = "utf-8"
    return text.encode(encoding), "auto"


def rows_of(frame: Frame) -> list[list[str]]:
    return [list(row) for row in zip(*(c.written for c in frame.columns.values()), strict=True)]


def comma_decimals(frame: Frame) -> None:
    column = frame.columns[frame.names["rating"]]
    column.written = [value.replace(".", ",") for value in column.written]


@st.composite
def json_files(draw: st.DrawFn, packed: bool = True) -> File:
    """Objects of JSON: lines, or a list."""
    frame = draw(frames())
    frame.columns.pop("", None)
    as_numbers = draw(st.booleans())
    ascii_only = draw(st.booleans())
    entries = []
    for row in rows_of(frame):
        pairs = []
        for name, value in draw(st.permutations([*zip(frame.columns, row, strict=True)])):
            text = json.dumps(value, ensure_ascii=ascii_only)
            if name == frame.names["rating"] or (as_numbers and is_json_number(value)):
                text = value
            pairs.append(f"{json.dumps(name)}: {text}")
        entries.append("{" + ", ".join(pairs) + "}")
    if draw(st.booleans()):
        text = "\n".join(entries) + draw(st.sampled_from(["", "\n", "\n\n"]))
    else:
        text = "[" + draw(st.sampled_from([",\n", ",", ", "])).join(entries) + "]"
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    packer = draw(st.sampled_from(["", "", *PACKERS])) if packed else ""
    return File(PACKERS[packer](content), frame, text, dict(frame.layout))


def is_json_number(text: str) -> bool:
    try:
        return isinstance(json.loads(text), int | float) and text not in ("NaN", "true", "false")
    except ValueError:
        return False


TYPES_OF_TEXT = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary())
EXTRAS: list[tuple[pa.DataType, Any]] = [
    (pa.list_(pa.int64()), [1, 2]),
    (pa.struct({"a": pa.int64()}), {"a": 1}),
    (pa.map_(pa.string(), pa.int64()), [("a", 1)]),
    (pa.timestamp("s"), 2**61),
    (pa.timestamp("ns"), 2**62 + 1),
    (pa.timestamp("us", "Europe/Berlin"), 1),
    (pa.duration("s"), 2**61),
    (pa.time64("ns"), 1),
    (pa.date32(), 2**30),
    (pa.date64(), 86_400_000 * 10**9),
    (pa.decimal256(60, 2), 1),
    (pa.null(), None),
    (pa.binary(), b"\xff\0"),
    (pa.float16(), np.float16(1)),
    (pa.bool_(), True),
]


@st.composite
def parquet_files(draw: st.DrawFn) -> File:
    """Parquet with columns of any type."""
    frame = draw(frames())
    frame.columns.pop("", None)
    arrays = {}
    for name, column in frame.columns.items():
        key = next((key for key, other in frame.names.items() if other == name), "note")
        arrays[name] = draw(arrow_arrays(column, key))
    kind, value = draw(st.sampled_from(EXTRAS))
    arrays["extra"] = pa.array([value] * len(frame.rows()), kind)
    buffer = BytesIO()
    version = draw(st.sampled_from(["1.0", "2.6"]))
    how: dict[str, Any] = {
        "row_group_size": draw(st.integers(1, 12)),
        "compression": draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
        "use_dictionary": draw(st.booleans()),
    }
    try:
        pq.write_table(pa.table(arrays), buffer, version=version, **how)
    except (pa.ArrowException, OSError):  # what this version of the format cannot hold
        arrays.pop("extra")
        buffer = BytesIO()
        pq.write_table(pa.table(arrays), buffer, **how)
    packer = draw(st.sampled_from(["", "", "", *PACKERS]))
    return File(PACKERS[packer](buffer.getvalue()), frame, None, dict(frame.layout))


@st.composite
def arrow_arrays(draw: st.DrawFn, column: Column, key: str) -> pa.Array:
    texts = column.written
    choices = [pa.array(texts, kind) for kind in TYPES_OF_TEXT]
    choices.append(pa.array(texts).dictionary_encode())
    if key in ("user", "item"):
        for kind in (pa.int8(), pa.int16(), pa.int64(), pa.uint8(), pa.uint64()):
            try:
                numbers = pa.array([int(text) for text in texts], kind)
            except (ValueError, OverflowError, pa.ArrowException):
                continue
            if [str(number) for number in numbers.to_pylist()] == texts:
                choices += [numbers, numbers, numbers.dictionary_encode()]
        if all(text.endswith(".0") for text in texts):
            numbers = pa.array([float(text) for text in texts], pa.float64())
            choices += [numbers] * 5
        if all(len(text) == 36 for text in texts):
            choices += [pa.array([UUID(text).bytes for text in texts], pa.binary(16))] * 5
    if key == "rating":
        choices += [pa.array(map(float, texts), kind) for kind in (pa.float32(), pa.float64())]
        choices.append(pa.array([Decimal(text) for text in texts], pa.decimal128(20, 6)))
    if key == "time":
        for unit, n in UNITS.items():
            for kind in (pa.timestamp(unit), pa.timestamp(unit, "UTC"), pa.int64()):
                choices.append(pa.array([second * n for second in column.read], kind))
    return draw(st.sampled_from(choices))


OTHER_LINES = [b"x\n", b"1,2\n", b'"\n', b"1,2,3,4,5,6,7\n", b"\n", b"\r\n", b" \n", b"\r"]


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content after one to three accidents."""
    signs = st.sampled_from([*b'",;|: \t\n\r\0#%\xff\xe9\xc30.-e{}[]\\'])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(["drop", "insert", "insert", "cut", "line", "twice"]))
        end = content.find(b"\n", at) + 1 or len(content)
        if kind == "drop":
            content = content[:at] + content[at + 1 :]
        elif kind == "insert":
            content = content[:at] + bytes([draw(signs)]) + content[at:]
        elif kind == "cut":
            content = content[:at]
        elif kind == "line":
            content = content[:end] + draw(st.sampled_from(OTHER_LINES)) + content[end:]
        else:
            content = content[:at] + content[at : at + 3] + content[at:]
    return content


@st.composite
def damaged_text(draw: st.DrawFn) -> tuple[File, bytes]:
    file = draw(text_files(lines_only=True))
    return file, draw(damaged(file.content))


@st.composite
def damaged_json(draw: st.DrawFn) -> tuple[File, bytes]:
    file = draw(json_files(packed=False))
    return file, draw(damaged(file.content))


@st.composite
def damaged_packed(draw: st.DrawFn) -> tuple[File, bytes, bool]:
    file = draw(text_files(lines_only=True))
    packer = draw(st.sampled_from([name for name in PACKERS if name]))
    packed = PACKERS[packer](file.content)
    content = packed[:6] + draw(damaged(packed[6:]))  # whose beginning says how it is packed
    return file, content, packer != ".zst"


@st.composite
def damaged_parquet(draw: st.DrawFn) -> bytes:
    return draw(damaged(draw(parquet_files()).content))


def odd_text() -> st.SearchStrategy[str]:
    """Pieces of files, in any order."""
    pieces = r"""user,item,rating\n~1,2,3\n~userId\titemId\trating\ttimestamp\n~a::b::3\n~\n~,~;
        ~::~|~\t~ ~"~""~\r\n~\r~\0~\ufeff~sep=;\n~# ~{~}~{"user": 1, "item": 2, "rating": 3}\n~[~]
        ~1~2.5~1,5~2020-01-01~1e999~nan~NaT~now~\xe9~\u6f22~\u2028~\x1f~\x85~PAR1~PK\x03\x04~1,027~-~0x1F~\x1a"""
    pieces = re.sub("\n +~", "~", pieces).encode().decode("unicode_escape").split("~")
    return st.lists(st.sampled_from(pieces), max_size=25).map("".join)


@st.composite
def item_files(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str, int, str]]]:
    """A table of items in any format, and its rows: id, title, year and genres."""
    some_ids = draw(st.lists(draw(ids()), min_size=1, max_size=9, unique=True))
    names = texts().map(str.strip).filter(lambda text: text not in MISSING)
    genres = st.lists(st.sampled_from(["Sci-Fi", "Drama", "Film, noir", "8"]), unique=True)
    rows = [
        (id_, draw(names), draw(st.integers(1900, 2030)), "|".join(draw(genres)))
        for id_ in some_ids
    ]
    columns = [[str(value) for value in column] for column in zip(*rows, strict=True)]
    table = dict(zip(["movieId", "title", "year", "genres"], columns, strict=True))
    kind = draw(st.sampled_from([",", ";", "\t", "json", "parquet"]))
    if kind == "parquet":
        buffer = BytesIO()
        pq.write_table(pa.table(table), buffer, row_group_size=draw(st.integers(1, 9)))
        content = buffer.getvalue()
    elif kind == "json":
        entries = [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
        content = "\n".join(map(json.dumps, entries)).encode()
    else:
        text = StringIO(newline="")
        writer = csv.writer(text, delimiter=kind, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerows([list(table), *zip(*columns, strict=True)])
        content = text.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    return PACKERS[draw(st.sampled_from(["", "", *PACKERS]))](content), rows
