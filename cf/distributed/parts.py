"""Parts of a Parquet file, which tasks read one by one."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cf.core import io
from cf.distributed.stream import RowGroup, row_groups

PART_ROWS = 2**20  # a task's, at least
MOST_PARTS = 256  # since each of them exchanges ids with each owner


class Part(NamedTuple):
    """Row groups of a Parquet file, one after the other.

    Attributes:
        numbers: of the row groups.
        first_row: how many rows of the file are before these.
    """

    path: Path
    numbers: list[int]
    first_row: int
    n_rows: int

    def read(self, needed: Sequence[str], only: bool = False) -> pd.DataFrame:
        """The rows, with at least these columns, or only these.

        Raises:
            InputError: they cannot be read.
        """
        return io.read_row_groups(self.path, self.numbers, needed, only)


def parts_of(path: Path) -> list[Part]:
    """All of a Parquet file, or of a folder of them, in parts of one file each.

    Raises:
        InputError: it cannot be read.
    """
    return in_parts(row_groups(path.resolve()))


def parts_of_files(paths: Sequence[Path]) -> tuple[list[Part], list[int]]:
    """All of these files, as `parts_of`, and how many rows each has."""
    by_file = [row_groups(path.absolute()) for path in paths]
    sizes = [sum(group.n_rows for group in groups) for groups in by_file]
    return in_parts(list(chain.from_iterable(by_file))), sizes


def bundled(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts one after the other, in bundles: files may have few rows each."""
    wanted = rows_wanted(parts)
    bundles: list[list[Part]] = []
    n_rows = wanted  # of the last one
    for part in parts:
        if n_rows >= wanted:
            bundles.append([])
            n_rows = 0
        bundles[-1].append(part)
        n_rows += part.n_rows
    return bundles


def rows_wanted(pieces: Sequence[RowGroup] | Sequence[Part]) -> int:
    """How many rows a task takes at least."""
    return max(PART_ROWS, -(-sum(piece.n_rows for piece in pieces) // MOST_PARTS))


def in_parts(groups: Sequence[RowGroup]) -> list[Part]:
    """All row groups, in their order."""
    wanted = rows_wanted(groups)
    parts: list[Part] = []
    n_rows = 0
    for group in groups:
        if not parts or parts[-1].n_rows >= wanted or parts[-1].path != group.path:
            parts.append(Part(group.path, [], n_rows, 0))
        last = parts[-1]
        parts[-1] = last._replace(
            numbers=[*last.numbers, group.number], n_rows=last.n_rows + group.n_rows
        )
        n_rows += group.n_rows
    return parts
