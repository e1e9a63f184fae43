"""Ratings out of the user's own CSV, TSV or Parquet file."""

import re
from bisect import bisect_left
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from cf.core.config import Columns
from cf.core.errors import InputError
from cf.data.lines import DELIMITERS, line_of, records
from cf.data.validation import RATING_TYPES, validate

WHOLE = re.compile(r"-?0*[0-9]{1,19}")
NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|-?(nan|inf|infinity)", re.I)
EXPECTED = {
    "user_id": "a whole number",
    "item_id": "a whole number",
    "rating": "a number",
    "timestamp": "whole seconds since 1970",
}
HINTS = {
    "user_id": "; ids that are not 64-bit whole numbers must be numbered first",
    "item_id": "; ids that are not 64-bit whole numbers must be numbered first",
    "rating": "",
    "timestamp": ", or leave timestamps out: ingest.columns.timestamp: null in params.yaml",
}

Wanted = dict[str, str]  # our name -> the file's name


def read(
    path: Path, columns: Columns, rating_range: tuple[float, float]
) -> tuple[pa.Table, pa.Table]:
    """The ratings of the user's own file, and the items that occur in them.

    Args:
        columns: what the file calls its columns.
        rating_range: lowest and highest rating allowed, in stars.

    Returns:
        Ratings (user_id int64, item_id int64, rating float32 in stars, timestamp int64 in
        seconds since 1970 UTC) in the file's order, without the column timestamp where the
        file has none; and items as `movielens.read` returns them, in order of first
        appearance, of which only the ids are known.

    Raises:
        InputError: unknown kind of file, empty, a column missing, a value of the wrong kind,
            or ratings that cannot be used; the message names file, line or row, and column.
    """
    wanted = {ours: theirs for ours, theirs in columns.model_dump().items() if theirs is not None}
    if len(set(wanted.values())) < len(wanted):
        raise InputError(
            f"params.yaml: ingest.columns: expected a different column for each, got {wanted}."
        )
    if not path.stat().st_size:
        raise InputError(f"{path}: is empty. Expected a first line with column names, then rows.")
    suffix = path.suffix.lower()
    if suffix in DELIMITERS:
        delimiter = DELIMITERS[suffix]
        ratings = _read_text(path, delimiter, wanted)
        validate(ratings, rating_range, str(path), lambda row: line_of(path, delimiter, row))
    elif suffix == ".parquet":
        ratings = _read_parquet(path, wanted)
        validate(ratings, rating_range, str(path), lambda row: f"row {row + 1}")
    else:
        raise InputError(
            f"{path}: expected a name that ends in .csv, .tsv or .parquet. Convert or rename it."
        )
    return ratings, _items(ratings)


def _read_text(path: Path, delimiter: str, wanted: Wanted) -> pa.Table:
    _, header = next(records(path, delimiter), (0, []))
    if any(sign in name for name in header for sign in "\0\ufffd"):
        raise InputError(f"{path}: is not text in UTF-8. Save it as such, or give a Parquet file.")
    _check_columns(path, header, wanted)
    try:
        table = arrow_csv.read_csv(
            path,
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types={theirs: RATING_TYPES[ours] for ours, theirs in wanted.items()},
                include_columns=list(wanted.values()),
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(
            _first_bad_value(path, delimiter, wanted) or f"{path}: cannot be read: {error}."
        ) from None
    return table.rename_columns(list(wanted)).combine_chunks()


def _first_bad_value(path: Path, delimiter: str, wanted: Wanted) -> str | None:
    """A message about the first value that is not what its column needs.

    Slow, so only for a file that the fast reader refused.
    """
    rows = records(path, delimiter)
    _, header = next(rows)
    places = {ours: header.index(theirs) for ours, theirs in wanted.items()}
    line = None
    for line, fields in rows:
        if len(fields) != len(header):
            return (
                f"{path}, line {line}: expected {len(header)} fields as in the header, got "
                f"{len(fields)}. Correct or remove the line; quote fields that hold the delimiter."
            )
        for ours, place in places.items():
            text = fields[place].strip()
            if not _fits(text, RATING_TYPES[ours]):
                return (
                    f"{path}, line {line}, column {wanted[ours]}: expected {EXPECTED[ours]}, got "
                    f"{text[:80]!r}. Correct or remove the line{HINTS[ours]}."
                )
    return f"{path}: holds no ratings. It needs at least one." if line is None else None


def _fits(text: str, kind: pa.DataType) -> bool:
    if pa.types.is_floating(kind):
        return NUMBER.fullmatch(text) is not None
    return WHOLE.fullmatch(text) is not None and -(2**63) <= int(text) < 2**63


def _read_parquet(path: Path, wanted: Wanted) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        _check_columns(path, file.schema_arrow.names, wanted)
        table = file.read(list(wanted.values()))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as Parquet ({error}). Write it anew, or give a .csv file."
        ) from None
    columns = {ours: _as_kind(path, table[theirs], ours, theirs) for ours, theirs in wanted.items()}
    return pa.table(columns).combine_chunks()


def _as_kind(path: Path, column: pa.ChunkedArray, ours: str, theirs: str) -> pa.ChunkedArray:
    if pa.types.is_temporal(column.type) and ours == "timestamp":
        column = column.cast(pa.timestamp("s"), safe=False)
    if _casts(column, RATING_TYPES[ours]):
        return column.cast(RATING_TYPES[ours])
    rows = range(len(column))
    row = bisect_left(rows, True, key=lambda row: not _casts(column[: row + 1], RATING_TYPES[ours]))
    raise InputError(
        f"{path}, row {row + 1}, column {theirs}: expected {EXPECTED[ours]}, got "
        f"{column[row].as_py()!r}. Correct or remove the row{HINTS[ours]}."
    )


def _casts(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowException:
        return False
    return True


def _check_columns(path: Path, names: list[str], wanted: Wanted) -> None:
    for ours, theirs in wanted.items():
        if names.count(theirs) != 1:
            problem = "no column" if theirs not in names else "more than one column"
            raise InputError(
                f"{path}: {problem} {theirs!r} for {ours}, got {str(names)[:300]}. Name the "
                f"column in params.yaml: ingest.columns.{ours}"
                f"{' (null if there is none)' if ours == 'timestamp' else ''}."
            )


def _items(ratings: pa.Table) -> pa.Table:
    ids = pc.unique(ratings["item_id"])
    return pa.table(
        {
            "item_id": ids,
            "title": pa.nulls(len(ids), pa.string()),
            "year": pa.nulls(len(ids), pa.int32()),
            "genres": pa.repeat(pa.scalar(""), len(ids)),
        }
    )
