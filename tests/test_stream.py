"""Ratings are streamed in an order that seed and epoch determine, however many workers read."""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from pyarrow import parquet

from cf.core import io
from cf.core.errors import InputError
from cf.distributed import grouping, parts, stream
from cf.distributed.blocks import n_rows_held, n_rows_of_worker, rows_of
from cf.distributed.grouping import group_by_users
from cf.distributed.stream import N_LANES, RatingStream

N = 5000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files with `N` ratings in row groups of 700, each rating with a number of its own."""
    folder = tmp_path_factory.mktemp("train")
    numbers = np.arange(N)
    ratings = pd.DataFrame(
        {"user": numbers // 60, "item": numbers % 60, "rating": (numbers % 10 / 2).astype("f4")}
    )
    ratings[:3000].to_parquet(folder / "a.parquet", row_group_size=700)
    ratings[3000:].to_parquet(folder / "b.parquet", row_group_size=700)
    return folder


def numbers_of(batch: stream.Batch) -> list[int]:
    return (batch.users * 60 + batch.items).tolist()


def epoch(folder: Path, number: int = 1, seed: int = 3, n_workers: int = 1) -> list[list[int]]:
    """The ratings of each batch, in the order of workers."""
    streams = [RatingStream(folder, 300, seed, worker, n_workers) for worker in range(n_workers)]
    shares = zip(*(each.batches(number) for each in streams), strict=True)
    return [[number for share in batch for number in numbers_of(share)] for batch in shares]


def test_an_epoch_has_each_rating_once_in_batches_of_about_one_size(folder: Path) -> None:
    batches = epoch(folder)
    assert sorted(chain(*batches)) == list(range(N))
    assert len(batches) == RatingStream(folder, 300).n_batches == 17
    sizes = [len(batch) for batch in batches]
    assert sizes == RatingStream(folder, 300).sizes().tolist()
    assert max(sizes) <= 300 + N_LANES
    assert min(sizes) >= N / 17 - N_LANES


@pytest.mark.parametrize("n_workers", [2, 3, N_LANES])
def test_a_batch_has_the_same_ratings_however_many_workers_share_it(
    folder: Path, n_workers: int
) -> None:
    for alone, shared in zip(epoch(folder), epoch(folder, n_workers=n_workers), strict=True):
        assert sorted(alone) == sorted(shared)


def test_the_order_is_that_of_seed_and_epoch(folder: Path) -> None:
    assert epoch(folder) == epoch(folder)
    assert epoch(folder, number=2) != epoch(folder)
    assert epoch(folder, seed=4) != epoch(folder)


def test_a_batch_is_drawn_from_all_of_the_data(folder: Path) -> None:
    spread = [np.std(batch) for batch in epoch(folder)]
    assert min(spread) > 0.8 * np.std(np.arange(N))


@pytest.fixture
def _alone(tmp_path: Path) -> Iterator[None]:
    """A process group of this process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few row groups each, which are short."""
    monkeypatch.setattr(parts, "PART_ROWS", 2000)
    monkeypatch.setattr(grouping, "PART_ROWS", 700)
    monkeypatch.setattr(io, "ROW_GROUP", 50)


@pytest.mark.usefixtures("_alone", "small_parts")
def test_ratings_are_grouped_into_row_groups_of_one_block_of_users(
    folder: Path, tmp_path: Path
) -> None:
    grouped = group_by_users(folder, tmp_path / "grouped", n_users=84)
    files = sorted(path.name for path in grouped.iterdir())
    assert files == ["000000.parquet", "000001.parquet", "000002.parquet"]
    n_rows = n_rows_held(84)
    for group in stream.row_groups(grouped, may_be_grouped=True):
        rows = rows_of(stream.read(group).users.astype(np.int64), n_rows)
        assert set(rows * N_LANES // n_rows) == {group.block}
        assert group.n_rows <= 50
    alone, shared = epoch(grouped), epoch(grouped, n_workers=3)
    assert sorted(chain(*alone)) == list(range(N))
    assert [sorted(batch) for batch in alone] == [sorted(batch) for batch in shared]
    lanes = epoch(grouped, n_workers=N_LANES)[0], epoch(grouped, 2, n_workers=N_LANES)[0]
    assert lanes[0] != lanes[1]


@pytest.mark.usefixtures("_alone", "small_parts")
@pytest.mark.parametrize("n_workers", [2, 5])
def test_a_worker_has_most_users_that_it_reads_even_if_the_first_are_the_most_active(
    tmp_path: Path, n_workers: int
) -> None:
    n_users = 5000
    draw = np.random.default_rng(0)
    users = (n_users * draw.random(20_000) ** 3).astype(np.int64)
    ratings = pd.DataFrame({"user": users, "item": 0 * users, "rating": np.float32(users % 5)})
    ratings.to_parquet(tmp_path / "train.parquet", row_group_size=1000)
    block_size = n_rows_of_worker(n_rows_held(n_users), n_workers)

    def share_of_its_own(path: Path) -> float:
        found = []
        for worker in range(n_workers):
            for batch in RatingStream(path, 300, 3, worker, n_workers).batches(1):
                rows = rows_of(batch.users.astype(np.int64), n_rows_held(n_users))
                found += (rows // block_size == worker).tolist()
        return float(np.mean(found))

    grouped = group_by_users(tmp_path / "train.parquet", tmp_path / "grouped", n_users)
    assert share_of_its_own(tmp_path / "train.parquet") == pytest.approx(1 / n_workers, abs=0.05)
    assert share_of_its_own(grouped) > 0.8  # the first user has 6% of the ratings


@pytest.mark.parametrize("n_rows", [N_LANES**2, N_LANES**2 + 1, 6_040, 2**31 - 1])
def test_each_user_has_a_row_of_its_own(n_rows: int) -> None:
    indices = np.arange(min(n_rows, 100_000))
    rows = rows_of(indices, n_rows)
    assert len(set(rows.tolist())) == len(indices)
    assert 0 <= rows.min() <= rows.max() < n_rows
    assert rows_of(torch.from_numpy(indices), n_rows).tolist() == rows.tolist()


@pytest.mark.usefixtures("_alone", "small_parts")
def test_grouped_files_are_kept_if_they_are_whole(folder: Path, tmp_path: Path) -> None:
    grouped = group_by_users(folder, tmp_path / "grouped", n_users=84)
    first, second, third = sorted(grouped.iterdir())
    kept, expected = first.stat().st_mtime_ns, second.read_bytes()
    second.write_bytes(expected[:-9])
    third.unlink()
    group_by_users(folder, grouped, n_users=84)
    assert first.stat().st_mtime_ns == kept
    assert second.read_bytes() == expected
    assert third.is_file()


def test_windows_bound_what_is_in_memory_and_lose_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "WINDOW", 7 * N_LANES)
    windows = list(RatingStream(folder, 300)._windows(5, epoch=1))
    assert {len(window.users) for window in windows[:-1]} == {7}
    assert sorted(chain(*epoch(folder))) == list(range(N))


def test_counts_and_means_are_those_of_all_ratings(folder: Path) -> None:
    share = RatingStream(folder, 300, worker=1, n_workers=2)
    assert len(share) == N
    assert share.user_counts(100).tolist() == [60] * 83 + [20] + [0] * 16
    assert share.item_counts(61).tolist() == [84] * 20 + [83] * 40 + [0]
    assert share.mean_of(lambda values: values * 2) == pytest.approx(4.5)


def test_few_ratings_make_one_batch_and_none_make_none(tmp_path: Path) -> None:
    few = pd.DataFrame({"user": [0, 1], "item": [1, 0], "rating": np.float32([1, 2])})
    few.to_parquet(tmp_path / "few.parquet")
    few[:0].to_parquet(tmp_path / "none.parquet")
    batches = list(RatingStream(tmp_path / "few.parquet", 300).batches(1))
    assert [sorted(batch.users.tolist()) for batch in batches] == [[0, 1]]
    assert list(RatingStream(tmp_path / "none.parquet", 300).batches(1)) == []


def test_more_workers_than_lanes_and_files_that_are_none_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="expected at most 64 workers, got 65"):
        RatingStream(folder, 300, n_workers=65)
    (tmp_path / "odd.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"odd\.parquet: cannot be read"):
        RatingStream(tmp_path)


def test_a_row_group_is_read_once_an_epoch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = parquet.ParquetFile.read_row_group

    def read_row_group(self: parquet.ParquetFile, number: int, **options: object) -> object:
        asked.append(number)
        return real(self, number, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", read_row_group)
    stream.read.cache_clear()
    lane = RatingStream(folder, 300)._windows(0, epoch=1)
    assert sum(len(window.users) for window in lane) == N // N_LANES
    assert len(asked) == 1


def test_blocks_are_all_ratings_in_the_order_of_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BLOCK", 300)
    blocks = list(RatingStream(folder, 300, worker=1, n_workers=2).blocks())
    assert list(chain(*map(numbers_of, blocks))) == list(range(N))
    assert [len(block.users) for block in blocks[:4]] == [300, 300, 100, 300]


def test_a_file_without_ratings_is_refused(tmp_path: Path) -> None:
    none = pd.DataFrame({"user": [0], "item": [0], "rating": np.float32([1])})[:0]
    none.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"train\.parquet: expected ratings, got none\."):
        RatingStream(tmp_path / "train.parquet").require_within(2, 2)


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    for rating in (1.0, 2.0):
        frame = pd.DataFrame({"user": [0], "item": [0], "rating": np.float32([rating])})
        frame.to_parquet(path)
        os.utime(path, (0, rating))
        assert [block.values.tolist() for block in RatingStream(path).blocks()] == [[rating]]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("user", [0, -1], "expected 2 users, got the indices -1 to 0"),
        ("item", [0, 2], "expected 2 items, got the indices 0 to 2"),
        ("user", [0, 2**32 + 1], "not in range"),
        ("item", [0, 0.9], "expected whole numbers as indices"),
        ("user", ["0", "1"], "expected whole numbers as indices"),
        ("rating", ["a", "b"], "ratings as floats"),
        ("rating", [True, False], "ratings as floats"),
        ("rating", [1.0, 1e300], "expected finite ratings"),
        ("user", pd.array([0, None], "Int64"), "a value is missing"),
        ("rating", [1.0, np.inf], "expected finite ratings"),
        ("rating", [1.0, np.nan], "a value is missing|expected finite ratings"),
    ],
)
def test_values_that_are_none_are_refused(
    tmp_path: Path, column: str, values: list[Any], message: str
) -> None:
    good = pd.DataFrame({"rating": np.ones(2, "f4"), "item": [0, 1], "user": [1, 0]})
    good.to_parquet(tmp_path / "good.parquet")
    RatingStream(tmp_path / "good.parquet").require_within(2, 2)
    good.assign(**{column: values}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(InputError, match=message) as caught:
        RatingStream(tmp_path / "train.parquet").require_within(2, 2)
    assert str(caught.value).startswith(str(tmp_path / "train.parquet"))
