"""Ratings from Parquet files in an order that seed and epoch determine, however many workers read.

No worker holds all ratings, and each one reads what it needs alone.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from pyarrow.types import is_floating, is_integer

from cf.core import io
from cf.core.errors import InputError
from cf.core.ratings import BLOCK, Indices, RatingStats, Stars

N_LANES = 64  # that each batch is put together from; at least as many as workers
WINDOW = 2**22  # ratings of all lanes that are in memory, and shuffled, at a time
COLUMNS = ["user", "item", "rating"]
AGAIN = "`dvc repro` makes it anew."


class Batch(NamedTuple):
    """Ratings by index: (n,) each, in 32 bits."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: Stars

    def take(self, rows: slice | Indices) -> "Batch":
        """The ratings at these places."""
        return Batch(self.users[rows], self.items[rows], self.values[rows])


def concatenate(parts: Sequence[Batch]) -> Batch:
    """All ratings of the parts, one after the other."""
    users, items, values = zip(*parts, strict=True)
    return Batch(np.concatenate(users), np.concatenate(items), np.concatenate(values))


class RowGroup(NamedTuple):
    """A part of a Parquet file that can be read by itself.

    Attributes:
        block: of users, whose ratings these are, if they are grouped.
        mtime_ns: when the file was modified: a row group of another time is read anew.
    """

    path: Path
    number: int
    n_rows: int
    block: int = 0
    mtime_ns: int = 0


class RatingStream(RatingStats):
    """The ratings of Parquet files, batch after batch, of which this worker has its share.

    Row groups are put in the order of their blocks of users, and within a block in an order drawn
    from (seed, epoch). All of them are cut into `N_LANES` lanes of equal length. The ratings of a
    lane are shuffled, a window at a time. A batch is the next ratings of each lane; a worker reads
    lanes side by side. So a batch has the same ratings however many workers there are, and each of
    them reads its share and the ends of row groups.

    Attributes:
        n_ratings: of all workers.
        n_batches: of an epoch, of about one size. A batch has a rating of each lane at least where
            there are `N_LANES` times as many ratings as batches.
    """

    def __init__(
        self,
        path: Path,
        batch_size: int = 2**16,
        seed: int = 0,
        worker: int = 0,
        n_workers: int = 1,
    ) -> None:
        """Look at how much a Parquet file has, or a folder of them, without reading it.

        Raises:
            InputError: a file cannot be read.
            ValueError: there are more workers than lanes.
        """
        if n_workers > N_LANES:
            raise ValueError(f"expected at most {N_LANES} workers, got {n_workers}")
        self.path, self.groups = path, row_groups(path, may_be_grouped=True)
        self.n_ratings = sum(group.n_rows for group in self.groups)
        self.n_batches = -(-self.n_ratings // batch_size)
        first, end = (N_LANES * each // n_workers for each in (worker, worker + 1))
        self.seed, self.lanes = seed, range(first, end)

    def __len__(self) -> int:
        return self.n_ratings

    def sizes(self) -> NDArray[np.int64]:
        """(n_batches,) ratings of each batch, of all workers."""
        sizes: NDArray[np.int64] = np.diff([self._cuts(lane) for lane in range(N_LANES)]).sum(0)
        return sizes

    def batches(self, epoch: int) -> Iterator[Batch]:
        """This worker's share of each batch of an epoch, which may be empty."""
        for shares in zip(*(self._lane(lane, epoch) for lane in self.lanes), strict=True):
            yield concatenate(shares)

    def require_within(self, n_users: int, n_items: int) -> None:
        """Raise InputError where a rating is not finite, or of a user or item beyond that many.

        It is also raised where there are no ratings.
        """
        if not self.n_ratings:
            raise InputError(f"{self.path}: expected ratings, got none. {AGAIN}")
        for group in self.groups:
            users, items, values = read(group)
            if not np.isfinite(values).all():
                raise InputError(f"{group.path}: expected finite ratings. {AGAIN}")
            for indices, n, what in ((users, n_users, "users"), (items, n_items, "items")):
                if len(indices) and not 0 <= indices.min() <= indices.max() < n:
                    raise InputError(
                        f"{group.path}: expected {n} {what}, got the indices {indices.min()} to "
                        f"{indices.max()}. {AGAIN}"
                    )

    def blocks(self) -> Iterator[Batch]:
        """As `RatingStats.blocks`, of all workers."""
        for group in self.groups:
            ratings = read(group)
            for start in range(0, group.n_rows, BLOCK):
                yield ratings.take(slice(start, start + BLOCK))

    def _cuts(self, lane: int) -> Indices:
        """(n_batches + 1,) where in a lane each batch's ratings begin, and the last ones end.

        Lanes round down and up at different batches, so that these are of about one size.
        """
        low, high = (self.n_ratings * each // N_LANES for each in (lane, lane + 1))
        exact = np.arange(self.n_batches + 1) * (high - low) * N_LANES + lane * self.n_batches
        return exact // (N_LANES * max(1, self.n_batches))

    def _lane(self, lane: int, epoch: int) -> Iterator[Batch]:
        """A lane's ratings, batch after batch."""
        windows = self._windows(lane, epoch)
        waiting = Batch(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
        for start, end in pairwise(self._cuts(lane).tolist()):
            while len(waiting.users) < end - start:
                waiting = concatenate([waiting, next(windows)])
            yield waiting.take(slice(end - start))
            waiting = waiting.take(slice(end - start, None))

    def _windows(self, lane: int, epoch: int) -> Iterator[Batch]:
        """A lane's ratings, shuffled within windows."""
        drawn = np.random.default_rng([self.seed, epoch]).permutation(len(self.groups))
        order = sorted(drawn, key=lambda index: self.groups[index].block)
        low, high = (self.n_ratings * each // N_LANES for each in (lane, lane + 1))
        size = WINDOW // N_LANES
        parts: list[Batch] = []
        n_windows = 0
        ends = np.cumsum([self.groups[index].n_rows for index in order])
        first, last = np.searchsorted(ends, [low, high - 1], side="right")
        for at in range(first, last + 1 if low < high else first):
            group = self.groups[order[at]]
            before = int(ends[at]) - group.n_rows
            start, end = max(low - before, 0), min(high - before, group.n_rows)
            columns = read(group)
            while start < end:
                stop = min(end, start + size - sum(len(part.users) for part in parts))
                parts.append(columns.take(slice(start, stop)))
                start = stop
                is_last = before + start >= high
                if is_last or sum(len(part.users) for part in parts) == size:
                    rng = np.random.default_rng([self.seed, epoch, lane, n_windows])
                    shuffled = rng.permutation(sum(len(part.users) for part in parts))
                    n_windows += 1
                    window, parts = concatenate(parts).take(shuffled), []
                    yield window
                    del window  # the generator waits, and would keep it in memory


class RatingsInMemory(RatingStats):
    """The ratings of a stream, read once and kept for further passes, in 12 bytes each."""

    def __init__(self, ratings: RatingStream) -> None:
        self.n_ratings, self.kept = len(ratings), list(ratings.blocks())

    def __len__(self) -> int:
        return self.n_ratings

    def blocks(self) -> Iterator[Batch]:
        """As `RatingStats.blocks`."""
        return iter(self.kept)


def rating_stats(path: Path, n_users: int, n_items: int, in_memory: bool) -> RatingStats:
    """The ratings of a Parquet file, all of them checked.

    Raises:
        InputError: as `RatingStream` and its `require_within`.
    """
    ratings = RatingStream(path)
    ratings.require_within(n_users, n_items)
    return RatingsInMemory(ratings) if in_memory else ratings


def row_groups(path: Path, may_be_grouped: bool = False) -> list[RowGroup]:
    """The row groups of a Parquet file, or of all files in a folder, in the order of their names.

    `may_be_grouped`: by `cf.distributed.grouping`; the user's own files may have a column block.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    found: list[RowGroup] = []
    if not files:
        raise InputError(f"{path}: no *.parquet in this folder.")
    for file in files:
        with io.reading(file):
            metadata, mtime_ns = footer(file), file.stat().st_mtime_ns
            for number in range(metadata.num_row_groups):
                n_rows = metadata.row_group(number).num_rows
                block = block_of(metadata, number) if may_be_grouped else 0
                found.append(RowGroup(file, number, n_rows, block, mtime_ns))
    return found


def block_of(metadata: parquet.FileMetaData, number: int) -> int:
    """The block of users of a row group, by the column that `cf.distributed.grouping` adds."""
    names = metadata.schema.names
    if "block" not in names:
        return 0
    column = metadata.row_group(number).column(names.index("block"))
    return int(column.statistics.min)


def footer(path: Path) -> parquet.FileMetaData:
    """What a Parquet file says of its row groups, read once: of many, that takes a while."""
    status = path.stat()
    return _footer(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _footer(path: Path, mtime_ns: int, size: int) -> parquet.FileMetaData:
    return parquet.read_metadata(path)


@lru_cache(maxsize=2)
def read(group: RowGroup) -> Batch:
    """The ratings of a row group.

    Raises:
        InputError: it cannot be read.
    """
    with io.reading(group.path):
        file = parquet.ParquetFile(group.path, metadata=footer(group.path))
        table = file.read_row_group(group.number, columns=COLUMNS)
        user, item, rating = (table[name] for name in COLUMNS)
        if not (is_integer(user.type) and is_integer(item.type) and is_floating(rating.type)):
            raise ValueError("expected whole numbers as indices, and ratings as floats")
        if any(column.null_count for column in table.columns):
            raise ValueError("a value is missing")
        users, items = (column.cast(pa.int32()).to_numpy().copy() for column in (user, item))
        columns = Batch(users, items, rating.cast(pa.float32(), safe=False).to_numpy())
    pa.default_memory_pool().release_unused()
    return columns
