"""Files with a table, whatever their format: text, lines of JSON, or Parquet; packed or not."""

import bz2
import codecs
import glob
import gzip
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cf.core.config import TextLayout
from cf.core.errors import InputError
from cf.data import text_file
from cf.data.text_file import UnreadableError
from cf.data.values import WrongValueError

PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # such as \ud83d in JSON without what should follow
JSON = re.compile(rb'\{\s*("|\}|$)|\[\s*([\[{"\d\]]|$)')  # not an id such as {6f1c-...}
ZSTD, ZIP, PARQUET = b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PAR1"
SUFFIXES = (
    *(".csv", ".tsv", ".txt", ".dat", ".data", ".inter", ".json", ".jsonl", ".ndjson"),
    *(".parquet", ".pq"),
)
VERSIONED = {"_delta_log": "Delta Lake", ".hoodie": "Hudi"}  # folders in such tables
DEEPEST = 4  # folders above a file in which to look for these
PACKED_SUFFIXES = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
BATCH = 1 << 17  # rows
AS_WRITTEN: dict[str, Any] = {"parse_int": str, "parse_float": str, "parse_constant": str}


def find(path: str) -> list[Path]:
    """The files that a path, a folder or a pattern such as ratings-*.csv stands for, by name.

    Raises:
        InputError: the name cannot be that of a file.
    """
    if not path:  # a shell's variable that is not set
        return []
    try:
        whole = Path(path).expanduser()
        if whole.is_file():
            return [whole]
        if whole.is_dir():
            files = {file.relative_to(whole).as_posix(): file for file in sorted(whole.rglob("*"))}
            return [files[name] for name in tables_in(path, files) if files[name].is_file()]
        names = sorted(glob.glob(str(whole)))  # noqa: PTH207  Path.glob takes no absolute pattern
        found = [file for name in names if (file := Path(name)).is_file()]
        for folder in {parent for file in found for parent in list(file.parents)[:DEEPEST]}:
            require_current(path, [name for name in VERSIONED if (folder / name).exists()])
        return found
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, or of no user
        raise InputError(f"{path[:80]}: {str(error).rstrip('.')}.") from None


def tables_in(folder: str, names: Iterable[str]) -> list[str]:
    """Of the paths of files in a folder, those that are of tables.

    Raises:
        InputError: the folder is a table that keeps files of its earlier versions.
    """
    found = list(names)
    require_current(folder, {part for name in found for part in PurePosixPath(name).parts})
    return [name for name in found if has_table_name(name)]


def require_current(path: str, folders: Iterable[str]) -> None:
    """Raise `InputError` where one of the folders tells of files of earlier versions beside it."""
    for name in VERSIONED.keys() & set(folders):
        raise InputError(
            f"{path}: is a table of {VERSIONED[name]}, and has files of its earlier versions too. "
            "Write its rows into a folder of Parquet files, and give that."
        )


def has_table_name(path: str) -> bool:
    """Whether a file has a table, by its path; hidden files and folders, as of jobs that failed,
    begin with . or _ and have none.
    """
    is_hidden = any(part.startswith((".", "_")) for part in PurePosixPath(path).parts)
    endings = tuple(suffix + packed for suffix in SUFFIXES for packed in PACKED_SUFFIXES)
    return path.lower().endswith(endings) and not is_hidden


def open_unpacked(path: Path) -> BinaryIO:
    """A file's content, unpacked if it is packed, by its first bytes and not by its name.

    Raises:
        InputError: a zip with no file or several.
    """
    with path.open("rb") as file:
        magic = file.read(6)
    for start, opener in PACKED.items():
        if magic.startswith(start):
            return cast(BinaryIO, opener(path, "rb"))
    if magic.startswith(ZSTD):
        stream = pa.input_stream(str(path), compression="zstd")
        return cast(BinaryIO, io.BufferedReader(stream, 1 << 20))  # which has lines
    if magic.startswith(ZIP):
        archive = zipfile.ZipFile(path)
        members = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
        if "xl/workbook.xml" in members:
            raise InputError(f"{path}: is an Excel workbook. Save the sheet as CSV, and give that.")
        if len(members) != 1:
            names = f": {', '.join(members[:5])}" if members else ""
            raise InputError(
                f"{path}: expected one file in the zip, got {len(members)}{names}. Unpack it, and "
                "give the file."
            )
        return cast(BinaryIO, archive.open(members[0]))
    return path.open("rb")


@dataclass(frozen=True)
class Table:
    """A file with a table.

    Attributes:
        names: of its columns.
        sample: its first rows, as text.
        notes: what was recognized, for people.
        read: the columns of these names, block by block: as text, or as a Parquet file has them.
            With `in_one_line`, line ends within them are an error in a file of lines.
        records: each row as text with its number from 1; None where rows are not to be had so.
        unit: what these numbers count.
        first_row: the number of its first row, from 0, if it is a part of a file.
    """

    path: Path
    names: list[str]
    sample: list[list[str]]
    notes: list[str]
    read: Callable[..., Iterator[list[pa.Array]]]
    records: Callable[[], Iterator[tuple[int, list[str]]]] | None = None
    unit: str = "line"
    first_row: int = 0

    def locate(self, row: int) -> str:
        """Where a row, numbered from 0, is: as an editor counts lines ("line 2"), or "row 1"."""
        if self.records is None:
            return f"{self.unit} {self.first_row + row + 1}"
        number, _ = next(islice(self.records(), row, None))
        return f"{self.unit} {number}"


class Collector(Protocol):
    """A column, put together from blocks."""

    def add(self, values: pa.Array) -> None:
        """Take a block; WrongValueError is raised about a value that cannot be used."""

    def found(self) -> Any:
        """What the blocks so far say of the whole column."""

    def combine(self, found: Iterable[Any]) -> Any:
        """What parts of a column say together; ValueError where they do not go together."""

    def check(self, found: Any) -> None:
        """Raise ValueError where what the whole column is found to be cannot be used."""

    def series(self, found: Any = None) -> pd.Series:
        """All blocks together; ValueError is raised where they do not go together.

        With `found`, what all parts of a column say together, they are one of these.
        """


def read_columns(
    tables: Sequence[Table],
    columns: Mapping[str, str],
    collectors: Mapping[str, Collector],
    hints: Mapping[str, str],
) -> tuple[pd.DataFrame, list[int]]:
    """The rows of all tables, and how many each has.

    Args:
        columns: the names of the columns to read, by what they are called in the result.
        collectors: of each of these.
        hints: what else to do about a wrong value than to correct it.

    Raises:
        InputError: a line that is no row, or a value that cannot be used.
    """
    sizes = collect(tables, columns, collectors, hints)
    frame = {}
    for key, collector in collectors.items():
        with converting(f"{tables[0].path}, column {columns[key]}", hints[key]):
            frame[key] = collector.series()
    return pd.DataFrame(frame, copy=False), sizes


def collect(
    tables: Sequence[Table],
    columns: Mapping[str, str],
    collectors: Mapping[str, Collector],
    hints: Mapping[str, str],
) -> list[int]:
    """Give the columns of all tables to their collectors; arguments as for `read_columns`.

    Returns:
        How many rows each table has.
    """
    sizes = []
    for table in tables:
        n_rows = 0
        with _reading(table.path):
            for arrays in table.read(list(columns.values()), in_one_line=True):
                for key, array in zip(columns, arrays, strict=True):
                    if not len(array):  # such as a group of rows without rows
                        continue
                    problem = f"column {columns[key]}"
                    try:
                        collectors[key].add(array)
                    except WrongValueError as error:
                        where = table.locate(n_rows + error.row)
                        got = _got(array[error.row])
                        raise InputError(
                            f"{table.path}, {where}, {problem}: expected {error}, got {got!r}. "
                            f"Correct or remove the {where.split()[0]}{hints[key]}."
                        ) from None
                    except (ValueError, pa.ArrowException) as error:
                        raise InputError(
                            f"{table.path}, {problem}: {error}. Convert it{hints[key]}."
                        ) from None
                n_rows += len(arrays[0])
        sizes.append(n_rows)
    return sizes


@contextmanager
def converting(problem: str, hint: str) -> Iterator[None]:
    """Turns what a collector raises into an InputError about `problem`."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{problem}: {error}. Convert it{hint}.") from None


def read_whole(path: Path, stated: TextLayout) -> pa.Table:
    """All columns of a file: as text, or as a Parquet file has them.

    Raises:
        InputError: as `open_table`, or a line that is no row.
    """
    table = open_table(path, stated)
    with _reading(path):
        blocks = list(table.read(table.names)) or [[pa.array([], pa.string())] * len(table.names)]
        columns = [pa.chunked_array(column) for column in zip(*blocks, strict=True)]
        whole = pa.table(columns, table.names)
        whole.validate(full=True)  # text of Parquet in another encoding
        return whole


def _got(value: pa.Scalar) -> Any:
    with suppress(ValueError, OverflowError, pa.ArrowException):
        got = value.as_py()
        return got[:80].strip() if isinstance(got, str) else got
    return f"a value of the type {value.type}"


def read_blocks(table: Table, columns: Sequence[str]) -> Iterator[list[pa.Array]]:
    """The columns of these names, block by block: as text, or as a Parquet file has them.

    Raises:
        InputError: a line that is no row.
    """
    with _reading(table.path):
        yield from table.read(columns)


def open_table(path: Path, stated: TextLayout) -> Table:
    """A file, looked into.

    Raises:
        InputError: it is empty, cannot be read, or has no columns of different names.
    """
    with _reading(path):
        start = _start(path)
        if start.startswith(PARQUET):
            table = _open_parquet(path)
        elif JSON.match(start):
            table = _open_json(path)
        else:
            table = _open_text(path, stated)
    if not table.names:
        raise InputError(f"{path}: has no columns. Expected rows of users, items and ratings.")
    if repeated := [name for name, count in Counter(table.names).items() if count > 1]:
        raise InputError(f"{path}: more than one column is called {repeated[0]!r}. Rename one.")
    return table


def _open_text(path: Path, stated: TextLayout) -> Table:
    open_file = partial(open_unpacked, path)
    layout = text_file.recognize(open_file, stated)

    def read(columns: Sequence[str], in_one_line: bool = False) -> Iterator[list[pa.Array]]:
        positions = [layout.names.index(name) for name in columns]
        return text_file.read(open_file, layout, positions, in_one_line)

    records = partial(text_file.records, open_file, layout)
    return Table(path, layout.names, layout.sample, layout.notes, read, records)


def _open_json(path: Path) -> Table:
    def read(columns: Sequence[str], in_one_line: bool = False) -> Iterator[list[pa.Array]]:
        objects = (entry for _, entry in _json_objects(path))
        while block := list(islice(objects, BATCH)):
            texts = [[_as_text(entry.get(name)) for entry in block] for name in columns]
            yield [pa.array(column, pa.string()) for column in texts]

    def records() -> Iterator[tuple[int, list[str]]]:
        for line, entry in _json_objects(path):
            yield line, [_as_text(entry.get(name)) or "" for name in names]

    first = [entry for _, entry in islice(_json_objects(path), 1000)]
    names = list(dict.fromkeys(chain.from_iterable(first)))
    sample = [[_as_text(entry.get(name)) or "" for name in names] for entry in first]
    unit = "entry" if _is_json_list(path) else "line"
    return Table(path, names, sample, ["objects of JSON"], read, records, unit)


def _is_json_list(path: Path) -> bool:
    return _start(path).startswith(b"[")


def _json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object with its line, or its number in a list of all, from 1; numbers as text."""
    is_list, number = _is_json_list(path), 0
    how = {**AS_WRITTEN, "object_pairs_hook": _object}
    try:
        with open_unpacked(path) as file:
            entries = json.load(file, **how) if is_list else file
            for number, entry in enumerate(entries, start=1):
                if is_list or entry.strip():
                    found = entry if is_list else json.loads(entry, **how)
                    if not isinstance(found, dict):
                        raise ValueError(f"got {str(found)[:80]}")
                    yield number, found
    except (ValueError, RecursionError) as error:
        unit = "entry" if is_list else "line"
        raise UnreadableError(number, f"expected an object of JSON: {error}", unit) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    for text in chain.from_iterable(pairs):
        if isinstance(text, str) and not text.isascii() and LONE_SURROGATE.search(text):
            raise ValueError(f"{ascii(text)[:80]} is no text: it has half of a character")
    return found


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)  # true, or what is no value of a column: lists, objects


def is_parquet(path: Path) -> bool:
    """Whether this is a Parquet file that is not packed.

    Raises:
        InputError: it cannot be read.
    """
    with _reading(path), path.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET


def open_parts(path: Path, row_groups: Sequence[int]) -> Table:
    """Row groups of a Parquet file that is not packed, one after the other.

    Raises:
        InputError: as `open_table`.
    """
    with _reading(path):
        return _open_parquet(path, row_groups)


def _open_parquet(path: Path, row_groups: Sequence[int] | None = None) -> Table:
    def opened() -> pq.ParquetFile:
        with open_unpacked(path) as unpacked, path.open("rb") as file:
            is_packed = file.read(len(PARQUET)) != PARQUET
            return pq.ParquetFile(pa.BufferReader(unpacked.read()) if is_packed else path)

    file = opened()
    names = file.schema_arrow.names

    def read(columns: Sequence[str], in_one_line: bool = False) -> Iterator[list[pa.Array]]:
        for batch in opened().iter_batches(BATCH, row_groups, list(columns)):
            yield [batch.column(name) for name in columns]

    first = next(file.iter_batches(100, row_groups), None)
    columns = [] if first is None else first.columns
    texts = [[_shown(value) for value in column] for column in columns]
    rows = [list(row) for row in zip(*texts, strict=True)]
    before = range(row_groups[0]) if row_groups else ()
    first_row = sum(file.metadata.row_group(number).num_rows for number in before)
    return Table(path, names, rows, ["a Parquet file"], read, unit="row", first_row=first_row)


def _shown(value: pa.Scalar) -> str:
    """A value as text; nothing where it is missing, or has no text."""
    with suppress(ValueError, OverflowError, pa.ArrowException):
        return "" if value.as_py() is None else str(value.as_py())
    return ""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except UnreadableError as error:
        if error.line:
            raise InputError(
                f"{path}, {error.unit} {error.line}: {error}. Correct or remove the {error.unit}."
            ) from None
        raise InputError(f"{path}: {error}.") from None
    except (OSError, EOFError, LookupError, UnicodeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())  # Arrow's may have several lines
        raise InputError(f"{path}: cannot be read ({reason}). Is it whole?") from None
    except (zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error, RuntimeError) as error:
        raise InputError(f"{path}: cannot be unpacked ({error}). Is it whole?") from None


def _start(path: Path) -> bytes:
    with open_unpacked(path) as file:
        return file.read(1 << 12).removeprefix(codecs.BOM_UTF8).lstrip()
