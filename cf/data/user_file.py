"""The user's own CSV, TSV or Parquet file as a frame, and where in the file a row is."""

import csv
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from cf.core.errors import InputError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Column:
    """A column to read, by its name in the file.

    For messages: what its values are, what else to do about a wrong one than to correct it, if
    anything, and what to do if the file has no such column.
    """

    name: str
    type: pa.DataType
    expected: str
    hint: str = ""
    if_missing: str = ""


def read(path: Path, columns: Mapping[str, Column]) -> pd.DataFrame:
    """The columns of a file, under the keys of `columns`; a value that is missing is NA.

    Text is read by pyarrow itself: `pandas.read_csv` fills up rows that are too short, or does
    not know line ends in quotes, or the types of columns before it has inferred others.

    Raises:
        InputError: unknown kind of file, empty, not readable, a column missing or there twice,
            or a value of the wrong type; the message names file, line or row, and column.
    """
    suffix = path.suffix.lower()
    if suffix not in {*DELIMITERS, ".parquet"}:
        raise InputError(
            f"{path}: expected a name that ends in .csv, .tsv or .parquet. Convert or rename it."
        )
    if not path.stat().st_size:
        raise InputError(f"{path}: is empty. Expected a first line with column names, then rows.")
    table = (_read_parquet if suffix == ".parquet" else _read_text)(path, columns)
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def locate(path: Path, row: int) -> str:
    """Where a row, numbered from 0, is: as an editor counts lines ("line 2"), or "row 1"."""
    if path.suffix.lower() not in DELIMITERS:
        return f"row {row + 1}"
    line, _ = next(islice(_records(path), row + 1, None))
    return f"line {line}"


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows of text, each with its first line; slow, so for messages only."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=DELIMITERS[path.suffix.lower()])
        line = 1
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{path}, line {line}: {error}. Correct the line.") from None


def _read_text(path: Path, columns: Mapping[str, Column]) -> pa.Table:
    records = _records(path)
    _, header = next(records, (0, []))
    if any(sign in name for name in header for sign in "\0\ufffd"):
        raise InputError(f"{path}: is not text in UTF-8. Save it as such, or give a Parquet file.")
    _check_names(path, header, columns)
    if next(records, None) is None:
        return pa.schema([(key, column.type) for key, column in columns.items()]).empty_table()
    names = [column.name for column in columns.values()]
    try:
        table = _read_csv(path, {column.name: column.type for column in columns.values()})
    except pa.ArrowInvalid as error:
        try:  # what does not fit is found more easily, and quoted, as text
            table = _read_csv(path, dict.fromkeys(names, pa.binary()))
        except pa.ArrowInvalid:
            for line, fields in _records(path):
                if len(fields) != len(header):
                    raise InputError(
                        f"{path}, line {line}: expected {len(header)} fields as in the header, "
                        f"got {len(fields)}. Correct or remove the line; quote fields that hold "
                        "the delimiter."
                    ) from None
            raise InputError(f"{path}: cannot be read: {error}.") from None
    return _cast(path, table.rename_columns(list(columns)), columns)


def _read_csv(path: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    delimiter = DELIMITERS[path.suffix.lower()]
    parse = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    convert = arrow_csv.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=True
    )
    return arrow_csv.read_csv(path, parse_options=parse, convert_options=convert)


def _read_parquet(path: Path, columns: Mapping[str, Column]) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        _check_names(path, file.schema_arrow.names, columns)
        table = file.read([column.name for column in columns.values()])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as Parquet ({error}). Write it anew, or give a .csv file."
        ) from None
    by_key = {key: table[column.name] for key, column in columns.items()}
    return _cast(path, pa.table(by_key), columns)


def _check_names(path: Path, names: list[str], columns: Mapping[str, Column]) -> None:
    for key, column in columns.items():
        if names.count(column.name) != 1:
            problem = "no column" if column.name not in names else "more than one column"
            purpose = "" if key == column.name else f" for {key}"
            raise InputError(
                f"{path}: {problem} {column.name!r}{purpose}, got {str(names)[:300]}. "
                f"{column.if_missing}"
            )


def _cast(path: Path, table: pa.Table, columns: Mapping[str, Column]) -> pa.Table:
    for position, (key, column) in enumerate(columns.items()):
        values = table[key]
        try:
            table = table.set_column(position, key, _convert(values, column.type))
        except pa.ArrowException:
            row = _first_wrong(values, column.type)
            where, got = locate(path, row), values[row].as_py()
            text = got.decode(errors="replace").strip() if isinstance(got, bytes) else got
            raise InputError(
                f"{path}, {where}, column {column.name}: expected {column.expected}, got "
                f"{(text[:80] if isinstance(text, str) else text)!r}. Correct or remove the "
                f"{where.split()[0]}{column.hint}."
            ) from None
    return table


def _convert(values: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_binary(values.type):  # of a text file
        values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.timestamp("s"), safe=False)
    return values.cast(to)


def _first_wrong(values: pa.ChunkedArray, to: pa.DataType) -> int:
    def n_wrong(row: int) -> int:
        with suppress(pa.ArrowException):
            _convert(values[: row + 1], to)
            return 0
        return 1

    return bisect_left(range(len(values)), 1, key=n_wrong)
