"""Ratings grouped by users, so that a worker has most rows of the users whose ratings it reads."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch.distributed as dist
from pyarrow import parquet

from cf.core import io
from cf.core.errors import InputError
from cf.distributed.blocks import n_rows_held, rows_of
from cf.distributed.parts import PART_ROWS, Part, parts_of
from cf.distributed.stream import N_LANES, Batch, RowGroup, concatenate, footer, read

SCHEMA = pa.schema(
    {"user": pa.int32(), "item": pa.int32(), "rating": pa.float32(), "block": pa.int8()}
)


def group_by_users(ratings: Path, folder: Path, n_users: int) -> Path:
    """Write ratings into `folder`, with row groups of one block of users each, and return it.

    Each worker of the process group does it with its parts, and waits for all others. Files that an
    earlier call has written there stay.

    Args:
        ratings: a Parquet file, or a folder of them.
        folder: which all workers share.

    Raises:
        InputError: a file cannot be read or written.
    """
    for number, part in enumerate(parts_of(ratings)):
        path = folder / f"{number:06}.parquet"
        if number % dist.get_world_size() == dist.get_rank() and not _is_whole(path, part):
            _group(part, path, n_users)
    dist.barrier()
    return folder


def _is_whole(path: Path, part: Part) -> bool:
    try:
        with io.reading(path):
            return bool(footer(path).num_rows == part.n_rows)
    except InputError:
        return False


def _group(part: Part, path: Path, n_users: int) -> None:
    n_rows = n_rows_held(n_users)
    with io.atomic_write(path) as tmp_path, parquet.ParquetWriter(tmp_path, SCHEMA) as writer:
        for ratings in _pieces(part):
            blocks = rows_of(ratings.users.astype(np.int64), n_rows) * N_LANES // n_rows
            order = np.argsort(blocks, kind="stable")
            columns = [*ratings.take(order), blocks[order].astype(np.int8)]
            table = pa.table(columns, schema=SCHEMA)
            for start, end in pairwise(np.searchsorted(blocks[order], np.arange(N_LANES + 1))):
                if start < end:
                    writer.write_table(table.slice(start, end - start), row_group_size=io.ROW_GROUP)


def _pieces(part: Part) -> Iterator[Batch]:
    """A part's ratings, `PART_ROWS` or a few more at a time."""
    waiting: list[Batch] = []
    for number in part.numbers:
        waiting.append(read(RowGroup(part.path, number, n_rows=0)))  # which it need not know
        if sum(len(each.users) for each in waiting) >= PART_ROWS:
            yield concatenate(waiting)
            waiting = []
    if waiting:
        yield concatenate(waiting)
