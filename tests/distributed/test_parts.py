"""Encode and split on Ray write the bytes that they write in memory, from however many parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

pytest.importorskip("ray", reason="no Ray here: make ray")

from cf.core import config, io
from cf.core.config import Split
from cf.core.errors import InputError
from cf.data.describe import describe, describe_held_out
from cf.data.split import split
from cf.distributed import parts
from cf.distributed.encode import encode_on_ray
from cf.distributed.split import columns_to_choose_by, split_on_ray
from stages.encode import encode
from stages.split import take_apart

pytestmark = pytest.mark.xdist_group("ray")
N_ROWS = 10_000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty parts of two row groups each."""
    monkeypatch.setattr(io, "ROW_GROUP", 250)
    monkeypatch.setattr(parts, "PART_ROWS", 500)


def on_ray(workers: int, address: str) -> config.Ray:
    return config.Ray(address=address, workers=workers, storage="ray", max_failures=0)


def numbers(ids: Any) -> Any:
    return ids * 7 - 40


def texts(ids: Any) -> Any:
    return pd.Series(ids).map("#{}é".format).astype("str")


def ratings(name: Callable[[Any], Any], **columns: Any) -> pd.DataFrame:
    """Of which the last users and items appear late."""
    rng = np.random.default_rng(5)
    reach = np.linspace(10, 900, N_ROWS)
    users, items = ((rng.random(N_ROWS) ** 2 * reach).astype(np.int64) for _ in range(2))
    values = rng.integers(1, 6, N_ROWS).astype(np.float32)
    return pd.DataFrame(
        {"user_id": name(users), "item_id": name(items * 3), "rating": values, **columns}
    )


def test_damage_is_said_in_one_line(tmp_path: Path, address: str) -> None:
    given = ratings(texts)
    given.loc[7000, "rating"] = np.nan
    io.write_parquet(tmp_path / "ratings.parquet", given)
    with pytest.raises(InputError, match=r"^\S+ratings.parquet: cannot be read \(column rating"):
        encode_on_ray(
            on_ray(2, address), tmp_path / "ratings.parquet", tmp_path / "encoded.parquet"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["ratings.parquet"]


def require_same_bytes(given: pd.DataFrame, path: Path, settings: config.Ray) -> None:
    """Encode `path`, which has these ratings, on Ray and in memory."""
    out, local = path.with_name("ray.parquet"), path.with_name("local.parquet")
    found = encode_on_ray(settings, path, out)
    encoded, *expected = encode(given)
    io.write_parquet(local, encoded)
    assert out.read_bytes() == local.read_bytes()
    for ids, others in zip(found, expected, strict=True):
        pd.testing.assert_index_equal(ids, others)


@pytest.mark.parametrize(("name", "workers"), [(numbers, 1), (numbers, 3), (texts, 2)])
def test_ratings_are_encoded_to_the_same_bytes(
    tmp_path: Path, connected: str, name: Callable[[Any], Any], workers: int
) -> None:
    given = ratings(name, timestamp=np.arange(N_ROWS))
    path = tmp_path / "ratings.parquet"
    io.write_parquet(path, given)
    assert len(parts.parts_of(path)) == 20
    require_same_bytes(given, path, on_ray(workers, connected))


def categories(ids: Any) -> Any:
    return texts(ids).astype("category")


@pytest.mark.parametrize("name", [numbers, texts, categories])
def test_files_and_row_groups_without_ratings_are_passed_over(
    tmp_path: Path, connected: str, name: Callable[[Any], Any]
) -> None:
    given = ratings(name, timestamp=np.arange(N_ROWS))
    table = pa.Table.from_pandas(given, preserve_index=False)
    folder = tmp_path / "ratings"
    folder.mkdir()
    pieces = [[0, 0], [700, 0, 1300], [0], [2000, 5999, 0, 1], []]  # ratings of each row group
    start = 0
    for number, sizes in enumerate(pieces):
        with parquet.ParquetWriter(folder / f"{number}.parquet", table.schema) as writer:
            for size in sizes:
                writer.write_table(table.slice(start, size))
                start += size
    assert start == N_ROWS
    metadata = parquet.read_metadata(folder / "1.parquet")
    assert [metadata.row_group(number).num_rows for number in range(3)] == pieces[1]
    require_same_bytes(given, folder, on_ray(2, connected))


def encoded(**columns: Any) -> pd.DataFrame:
    found, *_ = encode(ratings(numbers, **columns))
    return found


@pytest.mark.parametrize(
    ("method", "test"),
    [("random", True), ("per_user", False), ("time", True), ("leave_last", True), ("k_fold", True)],
)
def test_ratings_are_split_to_the_same_bytes(
    tmp_path: Path, connected: str, method: str, test: bool
) -> None:
    settings = Split(
        method=method, fraction=0.2, seed=3, n_last=1, n_folds=5, fold=1, file=None, test=test
    )
    given = encoded(timestamp=np.random.default_rng(1).integers(0, 3000, N_ROWS))
    io.write_parquet(tmp_path / "ratings.parquet", given)
    rows = split(columns_to_choose_by(tmp_path / "ratings.parquet"), settings)
    train, held_out, n_leaked = split_on_ray(
        on_ray(2, connected), tmp_path / "ratings.parquet", rows, tmp_path / "train.parquet"
    )
    subsets = take_apart(given, rows)
    io.write_parquet(tmp_path / "expected.parquet", subsets.pop("train"))
    assert (tmp_path / "train.parquet").read_bytes() == (tmp_path / "expected.parquet").read_bytes()
    assert held_out.keys() == subsets.keys()
    for name, frame in held_out.items():
        pd.testing.assert_frame_equal(frame, subsets[name])
    facts = describe({"train": pd.read_parquet(tmp_path / "train.parquet"), **subsets}, settings)
    assert facts == describe_held_out(train, held_out, n_leaked, settings)
    assert facts.n_leaked > 0


def test_a_split_without_times_needs_none(tmp_path: Path) -> None:
    io.write_parquet(tmp_path / "ratings.parquet", encoded())
    assert list(columns_to_choose_by(tmp_path / "ratings.parquet")) == ["user"]
