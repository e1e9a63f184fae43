"""The rows of a delimited text file, and the line that each begins on."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from cf.core.errors import InputError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows, each with the line it begins on; empty lines are left out.

    Slow, so for what a fast reader refused.

    Raises:
        InputError: a row that cannot be parsed.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        line = 1
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{path}, line {line}: {error}. Correct the line.") from None


def line_of(path: Path, delimiter: str, row: int) -> str:
    """Where a row, numbered from 0, begins, as an editor counts lines: "line 2"."""
    line, _ = next(islice(records(path, delimiter), row + 1, None))
    return f"line {line}"
