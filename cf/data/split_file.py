"""The user's own file that says which rows are held out."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from cf.core.errors import InputError
from cf.core.provenance import SUBSET_LABELS
from cf.data.lines import DELIMITERS, line_of, records

COLUMNS = ("row", "part")


def read(path: Path, n: int, test: bool) -> NDArray[np.int8]:
    """The part of each row: the one that the file says, or train where it does not name the row.

    Args:
        path: of a .csv, .tsv or .parquet with the columns `row`, the rating's number in the
            ingested file from 0, and `part`: train, valid or test.
        n: number of rows that there are.
        test: whether a test part was asked for.

    Raises:
        InputError: no such file, not readable, a column missing, a row that there is not or
            that is named twice, or an unknown part; the message says where in the file.
    """
    if not path.is_file():
        raise InputError(
            f"params.yaml: split.file: {path}: no such file. It needs the columns row and part."
        )
    suffix = path.suffix.lower()
    if suffix not in {*DELIMITERS, ".parquet"}:
        raise InputError(
            f"params.yaml: split.file: {path}: expected a name that ends in .csv, .tsv or .parquet."
        )
    row, part = _read_parquet(path) if suffix == ".parquet" else _read_text(path)

    def refuse(places: pa.Array, expected: str) -> None:
        """End with the first place, if there is one."""
        if (first := pc.index(places, True).as_py()) >= 0:
            where = line_of(path, DELIMITERS[suffix], first) if suffix in DELIMITERS else None
            raise InputError(
                f"{path}, {where or f'row {first + 1}'}: expected {expected}, got row "
                f"{row[first].as_py()!r}, part {part[first].as_py()!r}."
            )

    a_number = f"a row from 0 to {n - 1}, as there are {n} ratings"
    refuse(pc.invert(pc.match_substring_regex(row, "^[0-9]{1,18}$")), a_number)
    numbers = row.cast(pa.int64()).to_numpy()
    refuse(pa.array(numbers >= n), a_number)
    repeated = np.ones(len(numbers), bool)
    repeated[np.unique(numbers, return_index=True)[1]] = False
    refuse(pa.array(repeated), "each row once")
    allowed = list(SUBSET_LABELS) if test else list(SUBSET_LABELS)[:2]
    hint = "" if test else " (or test, with split.test: true in params.yaml)"
    codes = pc.index_in(part, pa.array(allowed))
    refuse(pc.is_null(codes), f"the part {' or '.join(allowed)}{hint}")
    labels = np.zeros(n, np.int8)
    labels[numbers] = codes.to_numpy()
    return labels


def _read_text(path: Path) -> tuple[pa.Array, pa.Array]:
    delimiter = DELIMITERS[path.suffix.lower()]
    _, header = next(records(path, delimiter), (0, []))
    _check_columns(path, header)
    try:
        table = arrow_csv.read_csv(
            path,
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(COLUMNS, pa.string()), include_columns=COLUMNS
            ),
        )
    except pa.ArrowInvalid as error:
        for line, fields in records(path, delimiter):
            if len(fields) != len(header):
                raise InputError(
                    f"{path}, line {line}: expected {len(header)} fields as in the header, got "
                    f"{len(fields)}. Correct or remove the line."
                ) from None
        raise InputError(f"{path}: cannot be read: {error}.") from None
    return _columns(table)


def _read_parquet(path: Path) -> tuple[pa.Array, pa.Array]:
    try:
        _check_columns(path, pq.read_schema(path).names)
        return _columns(pq.read_table(path, columns=list(COLUMNS)))
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as Parquet ({error}). Write it anew, or give a .csv file."
        ) from None


def _columns(table: pa.Table) -> tuple[pa.Array, pa.Array]:
    row, part = (pc.fill_null(table[name].cast(pa.string()), "") for name in COLUMNS)
    return row.combine_chunks(), part.combine_chunks()


def _check_columns(path: Path, names: list[str]) -> None:
    for name in COLUMNS:
        if names.count(name) != 1:
            problem = "no column" if name not in names else "more than one column"
            raise InputError(
                f"{path}, line 1: {problem} {name!r}, got {str(names)[:300]}. It needs "
                "the columns row, a rating's number in the ingested file from 0, and part: train, "
                "valid or test."
            )
