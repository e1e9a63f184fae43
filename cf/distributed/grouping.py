"""Ratings grouped by users, so that a worker has most rows of the users whose ratings it reads."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch.distributed as dist
from pyarrow import parquet

from cf.core import io
from cf.distributed.parts import Part, parts_of
from cf.distributed.stream import N_LANES, RowGroup, concatenate, read


def group_by_users(ratings: Path, folder: Path, n_users: int) -> Path:
    """Write ratings into `folder`, with row groups of one block of users each, and return it.

    Each worker of the process group does it with its parts, and waits for all others. What an
    earlier call has written there stays.

    Args:
        ratings: a Parquet file, or a folder of them.
        folder: which all workers share.

    Raises:
        InputError: a file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts_of(ratings)):
        path = folder / f"{number:06}.parquet"
        if number % dist.get_world_size() == dist.get_rank() and not path.exists():
            _group(part, path, n_users)
    dist.barrier()
    return folder


def _group(part: Part, path: Path, n_users: int) -> None:
    groups = [RowGroup(part.path, number, 0, (0, 0)) for number in part.numbers]
    ratings = concatenate([read(group) for group in groups])
    blocks = ratings.users.astype(np.int64) * N_LANES // n_users
    order = np.argsort(blocks, kind="stable")
    cuts = np.searchsorted(blocks, np.arange(N_LANES + 1), sorter=order)
    columns = dict(zip(("user", "item", "rating"), ratings.take(order), strict=True))
    table = pa.table(columns)
    with io.atomic_write(path) as tmp_path, parquet.ParquetWriter(tmp_path, table.schema) as writer:
        for start, end in pairwise(cuts):
            if start < end:
                writer.write_table(table.slice(start, end - start), row_group_size=io.ROW_GROUP)
