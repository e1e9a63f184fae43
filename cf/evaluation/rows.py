"""Rows of figures to CSV, which git shows line by line, and back."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cf.errors import InputError
from cf.files import written

DECIMALS = 6

Row = dict[str, Any]
"""The values of one row by column; None where there is none."""

Kinds = Mapping[str, type]
"""What each column holds: str, int, float or bool."""


def write(path: Path, kinds: Kinds, rows: Sequence[Row]) -> None:
    """Write the columns named in `kinds`, figures to `DECIMALS`, nothing where there is none."""
    with written(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, kinds, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _text(row[key]) for key in kinds} for row in rows)


def read(path: Path, kinds: Kinds) -> list[Row]:
    """The rows that `write` wrote, at least one.

    Raises:
        InputError: no such file, or other columns.
    """
    rows = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    if not rows or set(rows[0]) != set(kinds):
        raise InputError(
            f"{path}: expected a table with the columns {', '.join(kinds)}. `dvc repro` makes it."
        )
    return [{key: _value(kinds[key], text) for key, text in row.items()} for row in rows]


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    return f"{value:.{DECIMALS}f}" if isinstance(value, float) else str(value)


def _value(kind: type, text: str) -> Any:
    if not text:
        return None
    return text == "true" if kind is bool else kind(text)
