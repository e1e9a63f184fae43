"""Rows of figures to CSV, which git shows line by line, and back."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cf.core.errors import InputError
from cf.core.io import atomic_write

DECIMALS = 6

Row = dict[str, Any]
"""The values of one row by column; None where there is none."""

Kinds = Mapping[str, type]
"""What each column holds: str, int, float or bool."""


def write(path: Path, kinds: Kinds, rows: Sequence[Row]) -> None:
    """Write the columns named in `kinds`, figures to `DECIMALS`, nothing where there is none."""
    with atomic_write(path) as tmp_path, tmp_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, kinds, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _text(row[key]) for key in kinds} for row in rows)


def read(path: Path, kinds: Kinds, empty: bool = False) -> list[Row]:
    """The rows that `write` wrote; none only where `empty` allows it.

    Raises:
        InputError: no such file, other columns, or a value that is none of its kind.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        if list(reader.fieldnames or ()) != list(kinds):
            raise ValueError("it has others")
        if not rows and not empty:
            raise ValueError("it has no rows")
        return [{key: _value(kinds[key], row[key]) for key in kinds} for row in rows]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path}: expected a table with the columns {', '.join(kinds)} ({error}). "
            "`dvc repro` makes it."
        ) from None


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    return f"{value:.{DECIMALS}f}" if isinstance(value, float) else str(value)


def _value(kind: type, text: str | None) -> Any:
    if text is None:
        raise ValueError("a row is too short")
    if not text:
        return None
    return text == "true" if kind is bool else kind(text)
