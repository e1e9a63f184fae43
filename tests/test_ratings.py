from pathlib import Path

import numpy as np
import pytest

from cf.core import io, ratings
from cf.core.errors import InputError
from cf.core.ratings import Provenance, Ratings, SplitInfo, is_cold, sample_users, unit_of


def some(timestamps: bool) -> Ratings:
    n = np.arange(3)
    return Ratings(n, n[::-1].copy(), n.astype(np.float32), n * 10 if timestamps else None, n)


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        Ratings(np.arange(2), np.arange(3), np.ones(3, np.float32), None, np.arange(3))


@pytest.mark.parametrize(
    ("rating_range", "unit"),
    [
        *(((0.5, 5), "stars"), ((1, 5), "stars"), ((0, 5), "stars"), ((1, 3), "stars")),
        *(((0, 10), "points"), ((0, 100), "points"), ((-1, 1), "points"), ((0, 1), "points")),
    ],
)
def test_up_to_five_are_stars(rating_range: tuple[float, float], unit: str) -> None:
    assert unit_of(rating_range) == unit


def test_provenance_without_a_unit_is_of_stars(tmp_path: Path) -> None:
    old = {"dataset": "a", "requested": "a", "source": "", "sha256": "", "rating_range": [1, 5]}
    io.write_json(tmp_path / "p.json", old | {"n_ratings": 1, "n_users": 1, "n_items": 1})
    assert io.read_dataclass(tmp_path / "p.json", Provenance).unit == "stars"


def test_negative_indices_are_refused() -> None:
    with pytest.raises(ValueError, match="items must be indices >= 0, got -1"):
        Ratings(np.arange(1), np.array([-1]), np.ones(1, np.float32), None, np.arange(1))


def test_take_keeps_rows_together() -> None:
    taken = some(timestamps=True).take(np.array([2, 0]))
    assert taken.users.tolist() == [2, 0]
    assert taken.items.tolist() == [0, 2]
    assert taken.timestamps is not None
    assert taken.timestamps.tolist() == [20, 0]


@pytest.mark.parametrize("timestamps", [True, False])
def test_ratings_survive_the_disk(tmp_path: Path, timestamps: bool) -> None:
    before = some(timestamps)
    io.write_parquet(tmp_path / "r.parquet", before.to_frame())
    after = Ratings.from_frame(io.read_parquet(tmp_path / "r.parquet"))
    for name, array in vars(before).items():
        np.testing.assert_array_equal(getattr(after, name), array)
    assert after.values.dtype == np.float32
    first = (tmp_path / "r.parquet").read_bytes()
    io.write_parquet(tmp_path / "r.parquet", before.to_frame())
    assert (tmp_path / "r.parquet").read_bytes() == first


def test_facts_survive_the_disk(tmp_path: Path) -> None:
    facts = SplitInfo(0.2, 42, "ab")
    io.write_json(tmp_path / "split.json", facts)
    assert io.read_dataclass(tmp_path / "split.json", SplitInfo) == facts


@pytest.mark.parametrize("content", [None, "{", '{"fraction": 1}'])
def test_unreadable_facts_are_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "provenance.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"provenance.json: cannot be read .* `dvc repro`"):
        io.read_dataclass(path, Provenance)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 nothing else"])
def test_an_unreadable_table_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "train.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"train.parquet: cannot be read .* `dvc repro`"):
        Ratings.from_frame(io.read_parquet(path))


def test_cold_is_a_user_or_an_item_that_train_never_met() -> None:
    def ratings(*pairs: tuple[int, int]) -> Ratings:
        users, items = np.array(pairs).T
        return Ratings(users, items, np.ones(len(pairs), np.float32), None, np.arange(len(pairs)))

    train = ratings((0, 0), (1, 2))
    asked = ratings((0, 0), (0, 1), (0, 2), (2, 0), (1, 9))
    counts = train.user_counts(3), train.item_counts(10)
    assert is_cold(asked, *counts).tolist() == [False, True, False, True, True]


def test_counts_are_of_all_ratings_or_of_some_items_or_users() -> None:
    users, items = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 1, 1])
    ratings = Ratings(users, items, np.ones(6, np.float32), None, np.arange(6))
    assert ratings.user_counts(4).tolist() == [2, 1, 3, 0]
    assert ratings.user_counts(4, np.array([1])).tolist() == [1, 1, 2, 0]
    assert ratings.item_counts(3).tolist() == [2, 4, 0]
    assert ratings.item_counts(3, np.array([0, 1])).tolist() == [1, 2, 0]
    assert ratings.item_counts(3, np.array([], int)).tolist() == [0, 0, 0]


def test_ratings_of_some_users_are_read_row_group_by_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io, "ROW_GROUP", 40)
    draw = np.random.default_rng(1)
    users, items = draw.integers(0, 20, 500), draw.integers(0, 9, 500)
    whole = Ratings(users, items, np.ones(500, np.float32), users * 7, np.arange(500))
    path = tmp_path / "ratings.parquet"
    io.write_parquet(path, whole.to_frame())
    source = Provenance("toy", "toy", "", "", 500, 20, 9, (1.0, 5.0))
    of_users = draw.random(20) < 0.3
    found = Ratings.read(path, source, of_users)
    expected = whole.take(np.flatnonzero(of_users[users]))
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values)
        assert getattr(found, name).dtype == values.dtype
    with pytest.raises(InputError, match=r"ratings.parquet: cannot be read \(it has no ratings"):
        Ratings.read(path, source, np.zeros(20, bool))
    with pytest.raises(InputError, match=r"ratings.parquet: cannot be read \(.*out of bounds"):
        Ratings.read(path, source, of_users[:10])


def test_of_many_ratings_users_are_drawn_who_have_about_as_many_as_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Provenance("toy", "toy", "", "", 40_000, 2_000, 9, (1.0, 5.0))
    assert sample_users(source) is None
    monkeypatch.setattr(ratings, "MOST_RATINGS", 10_000)
    drawn = sample_users(source)
    assert drawn is not None
    assert drawn.shape == (2_000,)
    assert 400 < drawn.sum() < 600
    np.testing.assert_array_equal(drawn, sample_users(source))
