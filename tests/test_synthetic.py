"""Made-up ratings: the shape asked for, long tails as real ones have, and a floor that is right."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cf.core.config import Ingest
from cf.core.errors import InputError
from cf.data import movielens, ratings_file, synthetic
from cf.data.synthetic import SHAPES, Shape, Synthetic
from tests.ingest_files import real_zip

SMALL = Shape(300, 500, 12_000)
FILES = ("ratings.csv", "movies.csv", "noise_floor.json")


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return synthetic.make(SHAPES["ml-latest-small"], seed=1)


def floor(predicted: np.ndarray, observed: pd.Series) -> float:
    return float(np.sqrt(np.mean((predicted.astype(np.float64) - observed) ** 2)))


def test_the_seed_determines_the_bytes(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.write(tmp_path / name, synthetic.make(SMALL, seed))
    a, b, c = ([(tmp_path / name / file).read_bytes() for file in FILES] for name in "abc")
    assert a == b
    assert all(mine != others for mine, others in zip(a, c, strict=True))


@pytest.mark.parametrize(
    "shape", [SMALL, Shape(2, 40, 47), Shape(50, 2_000, 2_000), Shape(30, 40, 30 * 24)]
)
def test_the_shape_is_exact(shape: Shape, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthetic, "BLOCK", 5_000)  # several blocks
    made = synthetic.make(shape, seed=3)
    ratings, items = made.ratings, made.items
    assert len(ratings) == shape.n_ratings
    assert ratings["user_id"].unique().tolist() == list(range(1, shape.n_users + 1))
    assert sorted(ratings["item_id"].unique()) == items["item_id"].tolist()
    assert len(items) == shape.n_items
    assert not ratings.duplicated(["user_id", "item_id"]).any()
    in_order = ratings.sort_values(["user_id", "item_id"])
    pd.testing.assert_frame_equal(in_order, ratings)
    assert ratings["user_id"].value_counts().between(20, 0.6 * shape.n_items).all()
    assert set(ratings["rating"]) <= set(np.arange(0.5, 5.5, 0.5))
    assert ratings.dtypes.map(str).tolist() == ["int32", "int32", "float32", "int64"]


@pytest.mark.parametrize("n_ratings", [19 * 300, 300 * 301])
def test_a_shape_that_cannot_be_says_what_can(n_ratings: int):
    with pytest.raises(InputError, match=r"expected 6,000 to 90,000 ratings .* --ratings"):
        Shape(300, 500, n_ratings)


def test_the_expectation_is_that_of_rounded_ratings():
    rng = np.random.default_rng(0)
    mean = np.array([-1, 0.6, 2.25, 3.4, 4.9, 6], np.float32)
    sd = np.array([0.5, 1.0, 0.1, 0.7, 0.9, 0.4], np.float32)
    draws = mean + sd * rng.standard_normal((200_000, 6))
    rounded = np.clip(np.round(2 * draws) / 2, 0.5, 5)
    error = rounded.mean(axis=0) - synthetic.expected_rating(mean, sd)
    assert np.abs(error / (rounded.std(axis=0) / np.sqrt(len(draws)) + 1e-6)).max() < 4


def test_the_floor_is_the_error_of_the_truth_and_nothing_near_it_is_lower(made: Synthetic):
    ratings, expected = made.ratings["rating"], made.expected
    assert made.noise_floor == pytest.approx(floor(expected, ratings), abs=1e-6)
    slope, intercept = np.polyfit(expected - expected.mean(), ratings, 1)  # a fit of the truth
    assert slope == pytest.approx(1, abs=0.02)
    assert intercept == pytest.approx(expected.mean(), abs=0.01)
    assert made.noise_floor < floor(expected + 0.05, ratings)
    assert made.noise_floor + 0.005 < made.noise_floor_no_time < ratings.std() - 0.1
    # no level, user or item is predicted too high or too low on average
    left = ratings - expected
    for groups in (expected.round(1), made.ratings["user_id"] % 50, made.ratings["item_id"] % 50):
        found = left.groupby(groups).agg(["mean", "std", "size"]).query("size > 30")
        z = found["mean"] / found["std"] * np.sqrt(found["size"])
        assert z.abs().max() < 4.5
        assert z.std() == pytest.approx(1, abs=0.35)


def test_moods_last_a_session(monkeypatch: pytest.MonkeyPatch):
    """Ratings minutes apart are higher or lower together, of other sessions less so."""
    monkeypatch.setattr(synthetic, "MOOD_SD", 0.5)
    ratings = synthetic.make(SHAPES["ml-latest-small"], seed=1).ratings
    ratings = ratings.sort_values(["user_id", "timestamp"], kind="stable")
    left = ratings["rating"] - ratings.groupby("user_id")["rating"].transform("mean")
    gap, before = ratings.groupby("user_id")["timestamp"].diff(), left.shift()
    covariance = [(left * before)[rows].mean() for rows in (gap < 600, gap > 3600)]
    assert covariance[0] > covariance[1] + 0.5 * synthetic.MOOD_SD**2


def test_times_are_of_sessions_over_years(made: Synthetic):
    ratings = made.ratings.sort_values(["user_id", "timestamp"])
    times = ratings["timestamp"]
    assert times.between(synthetic.START_S, synthetic.END_S).all()
    first = pd.to_datetime(times.groupby(ratings["user_id"]).min(), unit="s").dt.year
    assert first.nunique() > 20
    gaps = times.groupby(ratings["user_id"]).diff().dropna()
    assert (gaps < 600).mean() > 0.85
    assert (gaps > 3600).mean() > 0.03


def test_genres_shift_ratings(made: Synthetic):
    """Genres explain more of the items' mean residuals than shuffled genres do."""
    ratings, items = made.ratings, made.items
    centered = ratings["rating"] - ratings.groupby("user_id")["rating"].transform("mean")
    means = centered.groupby(ratings["item_id"]).mean().to_numpy()
    weights = np.sqrt(ratings["item_id"].value_counts().sort_index().to_numpy())
    flags = items["genres"].str.get_dummies().assign(one=1).to_numpy(float)

    def explained(table: np.ndarray) -> float:
        scaled = table * weights[:, np.newaxis]
        fitted = scaled @ np.linalg.lstsq(scaled, means * weights)[0]
        return float(np.var(fitted))

    rng = np.random.default_rng(0)
    by_chance = max(explained(rng.permutation(flags)) for _ in range(20))
    assert explained(flags) > 3 * by_chance


def test_tails_are_as_long_as_the_real_ones(made: Synthetic):
    """Within a tenth or so of the real shares, and a fifth of the real quantiles."""
    real, _, _ = movielens.read(real_zip("ml-latest-small"), (0.5, 5.0))
    for column in ("item_id", "user_id"):
        ours, theirs = (
            np.sort(ratings[column].value_counts().to_numpy())[::-1]
            for ratings in (made.ratings, real)
        )
        for top in (0.01, 0.1):
            shares = [
                counts[: round(top * len(counts))].sum() / counts.sum() for counts in (ours, theirs)
            ]
            assert shares[0] == pytest.approx(shares[1], abs=0.03)
        quantiles = [0.5, 0.75, 0.9, 0.99]
        expected = np.quantile(theirs, quantiles)
        assert np.quantile(ours, quantiles) == pytest.approx(expected, rel=0.2, abs=1)


def test_the_files_are_read_as_movielens_are(tmp_path: Path):
    """And as people's own: with ingest.dataset and ingest.items alone."""
    command = [sys.executable, "-m", "cf.data.synthetic", str(tmp_path), "--shape", "ml-100k"]
    sizes = ["--users", "50", "--items", "200", "--ratings", "2000", "--seed", "4"]
    output = subprocess.run([*command, *sizes], check=True, capture_output=True, text=True).stdout
    assert "2,000 ratings of 200 items by 50 users" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    path = tmp_path / "ratings.csv"
    assert path.read_text().splitlines()[0] == "userId,movieId,rating,timestamp"
    settings = Ingest(dataset=str(path), fallback=None, items=str(tmp_path / "movies.csv"))
    read = ratings_file.read([path], settings)
    made = synthetic.make(replace(SHAPES["ml-100k"], n_users=50, n_items=200, n_ratings=2000), 4)
    pd.testing.assert_frame_equal(read.ratings, made.ratings, check_dtype=False)
    items = read.items.sort_values("item_id")
    assert items["genres"].fillna("").tolist() == made.items["genres"].tolist()
    assert items["title"].tolist() == made.items["title"].tolist()
    assert items["year"].notna().all()
    assert read.rating_range == (0.5, 5.0)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "cf.data.synthetic", str(tmp_path / "file")]
    sizes = ["--users", "20", "--items", "100", "--ratings", "500"]
    result = subprocess.run([*command, *sizes], capture_output=True, text=True)
    assert result.returncode == 1
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_noise_floor_is_written(tmp_path: Path):
    made = synthetic.make(SMALL, 1)
    synthetic.write(tmp_path, made)
    written = json.loads((tmp_path / "noise_floor.json").read_text())
    assert written["noise_floor"] == pytest.approx(made.noise_floor, abs=1e-6)
    assert written["noise_floor_no_time"] == pytest.approx(made.noise_floor_no_time, abs=1e-6)


def test_users_who_can_rate_no_more_than_the_fewest_rate_just_these() -> None:
    shape = replace(SHAPES["ml-100k"], n_users=5, n_items=34, n_ratings=100)
    with warnings.catch_warnings(action="error"):
        assert (synthetic.user_counts(shape, np.random.default_rng(0)) == 20).all()
