"""Made-up ratings: the shape asked for, long tails as real ones have, and a floor that is right."""

import itertools
import json
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
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
    "shape",
    [
        *(SMALL, Shape(2, 40, 47), Shape(50, 2_000, 2_000), Shape(30, 40, 30 * 24)),
        *(Shape(30, 40, 605), Shape(30, 40, 30 * 24 - 1)),
    ],
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


@dataclass(frozen=True)
class Golden:
    """Sums of what a seed gives, each value times its number from 1."""

    shape: Shape
    user_id: int
    item_id: int
    timestamp: int
    rating: float
    expected: float
    floors: tuple[float, float]
    first: list[tuple[int, int, float, int]]
    items: list[tuple[int, str, str]]
    years: int


GOLDEN = [  # users who rate a large share of the items, and users who rate a small one
    Golden(
        Shape(60, 90, 2000),
        *(80354509, 84668011, 2480853275802230, 6951335.5, 6905602.794844508),
        (0.7870646186274358, 0.8045814251660431),
        [(1, 3, 2.5, 1477925961), (1, 5, 2.5, 1478029240)],
        [
            (1, "Film 1 (2013)", "Comedy|Drama|Fantasy"),
            (3, "Film 3 (2020)", "Drama|Mystery|Sci-Fi"),
        ],
        180561,
    ),
    Golden(
        Shape(40, 1000, 1200),
        *(18471412, 368913728, 930663057622310, 2576256.0, 2581191.213986993),
        (0.7861682979828334, 0.7980098608864872),
        [(1, 2, 3.5, 1508971348), (1, 32, 3.0, 1508971379)],
        [
            (1, "Film 1 (2019)", "Comedy|Drama|Fantasy"),
            (3, "Film 3 (2009)", "Drama|Mystery|Sci-Fi"),
        ],
        2001720,
    ),
]


@pytest.mark.parametrize("golden", GOLDEN, ids=["dense", "sparse"])
def test_a_seed_gives_what_it_always_gave(golden: Golden, monkeypatch: pytest.MonkeyPatch):
    """What docs and benchmarks say of made-up data holds as long as this does."""
    monkeypatch.setattr(synthetic, "BLOCK", 500)  # several blocks
    steps: list[int] = []
    made = synthetic.make(golden.shape, 5, steps.append)
    number = np.arange(1, len(made.ratings) + 1)
    for name in ("user_id", "item_id", "timestamp"):
        assert int((made.ratings[name].to_numpy(np.int64) * number).sum()) == getattr(golden, name)
    assert (made.ratings["rating"].to_numpy(float) * number).sum() == golden.rating
    assert (made.expected.astype(float) * number).sum() == pytest.approx(golden.expected, rel=1e-6)
    assert (made.noise_floor, made.noise_floor_no_time) == pytest.approx(golden.floors, rel=1e-6)
    assert list(made.ratings.head(2).itertuples(index=False, name=None)) == golden.first
    assert list(made.items.iloc[[0, 2]].itertuples(index=False, name=None)) == golden.items
    assert made.items["title"].str[-5:-1].astype(int).sum() == golden.years
    assert len(steps) > 2
    assert sum(steps) == golden.shape.n_ratings
    assert (made.expected.dtype, made.items["item_id"].dtype) == ("float32", "int32")


@pytest.mark.parametrize(
    ("sizes", "allowed"),
    [
        ((300, 500, 5_999), "6,000 to 90,000 ratings for 300 users and 500 items"),
        ((300, 500, 90_001), "6,000 to 90,000 ratings for 300 users and 500 items"),
        ((2, 1_000, 999), "1,000 to 1,200 ratings for 2 users and 1,000 items"),
        ((0, 1_000, 1_000), "1,000 to 0 ratings for 0 users and 1,000 items"),
        ((1_000, 0, 20_000), "20,000 to 0 ratings for 1,000 users and 0 items"),
    ],
)
def test_a_shape_that_cannot_be_says_what_can(sizes: tuple[int, int, int], allowed: str):
    with pytest.raises(InputError) as caught:
        Shape(*sizes)
    assert str(caught.value) == (
        f"made-up ratings: expected {allowed} (20 per user at least, 60% of all pairs at most), "
        f"got {sizes[2]:,}. Change --ratings, --users or --items."
    )


@pytest.mark.parametrize(
    "sizes", [(300, 500, 6_000), (300, 500, 90_000), (2, 1_000, 1_000), (5, 34, 100)]
)
def test_a_shape_may_be_at_its_limits(sizes: tuple[int, int, int]):
    assert Shape(*sizes).n_ratings == sizes[2]


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
    assert made.noise_floor == pytest.approx(floor(expected, ratings), abs=1e-10)
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


def test_the_files_are_laid_out_as_movielens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthetic, "BLOCK", 2)
    ratings = pd.DataFrame(
        {
            "user_id": np.array([1, 1, 2], np.int32),
            "item_id": np.array([1, 2, 2], np.int32),
            "rating": np.array([0.5, 5, 3.5], np.float32),
            "timestamp": [825_000_000, 1_697_000_000, 9],
        }
    )
    names = pd.DataFrame(
        {
            "item_id": [1, 2],
            "title": ["Film 1 (1999)", "Film 2 (2001)"],
            "genres": ["", "War|Drama"],
        }
    )
    steps: list[int] = []
    made = Synthetic(ratings, names, np.zeros(3, np.float32), 0.7654321987, 0.8)
    synthetic.write(tmp_path, made, steps.append)
    assert (tmp_path / "ratings.csv").read_text() == (
        "userId,movieId,rating,timestamp\n1,1,0.5,825000000\n1,2,5.0,1697000000\n2,2,3.5,9\n"
    )
    assert (tmp_path / "movies.csv").read_text() == (
        "movieId,title,genres\n1,Film 1 (1999),(no genres listed)\n2,Film 2 (2001),War|Drama\n"
    )
    written = json.loads((tmp_path / "noise_floor.json").read_text())
    assert written == {"noise_floor": 0.765432, "noise_floor_no_time": 0.8}
    assert steps == [2, 1]


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def run(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["synthetic", str(tmp_path), *options])
        synthetic.main()
        return capsys.readouterr().out

    sizes = ["--users", "20", "--items", "100", "--ratings", "500"]
    monkeypatch.setattr("time.perf_counter", itertools.count(10, 3).__next__)
    printed = run("--shape", "ml-1m", *sizes, "--seed", "0")
    made = synthetic.make(replace(SHAPES["ml-1m"], n_users=20, n_items=100, n_ratings=500), 0)
    assert printed == (
        f"made-up ratings {'━' * 24}  0:00:00\n"
        f"{tmp_path}: 500 ratings of 100 items by 20 users in 3 s. RMSE of the truth: "
        f"{made.noise_floor:.4f}; without times {made.noise_floor_no_time:.4f}\n"
    )
    read = pd.read_csv(tmp_path / "ratings.csv")
    assert read["movieId"].tolist() == made.ratings["item_id"].tolist()
    run(*sizes)
    read = pd.read_csv(tmp_path / "ratings.csv")
    made = synthetic.make(replace(SHAPES["ml-32m"], n_users=20, n_items=100, n_ratings=500), 1)
    assert read["movieId"].tolist() == made.ratings["item_id"].tolist()
    with pytest.raises(SystemExit, match=r"--seed: expected 0 or more, got -1\.$"):
        run("--seed", "-1")
    with pytest.raises(SystemExit):
        run("--help")
    helped = capsys.readouterr().out
    assert helped.startswith("usage: python -m cf.data.synthetic [-h]")
    assert "Usage: python -m cf.data.synthetic FOLDER [--shape ml-32m] [--seed 1]\n\n" in helped
    for line in (
        r"  folder +where ratings\.csv and movies\.csv go",
        r"  --shape .*\n +of which data set",
        r"  --users USERS +instead of the shape's",
        r"  --items ITEMS +instead of the shape's",
        r"  --ratings RATINGS +instead of the shape's",
        r"  --seed SEED +0 or more",
    ):
        assert re.search(f"^{line}$", helped, re.MULTILINE), line


def test_users_who_can_rate_no_more_than_the_fewest_rate_just_these() -> None:
    shape = replace(SHAPES["ml-100k"], n_users=5, n_items=34, n_ratings=100)
    with warnings.catch_warnings(action="error"):
        assert (synthetic.user_counts(shape, np.random.default_rng(0)) == 20).all()
    shape = replace(shape, n_items=100)  # nor are there any to draw, though they could
    assert (synthetic.user_counts(shape, np.random.default_rng(0)) == 20).all()


def test_nobody_rates_less_than_the_fewest_or_more_than_the_most() -> None:
    rng = np.random.default_rng(0)
    for n_ratings in (601, 605, 650, 700, 719, 720):
        counts = synthetic.user_counts(Shape(30, 40, n_ratings), rng)
        assert counts.sum() == n_ratings
        assert counts.min() >= 20
        assert counts.max() <= 24


def test_the_oldest_item_is_of_1902() -> None:
    items, _ = synthetic.make_items(5_000, np.random.default_rng(0))
    assert items["title"].str[-5:-1].astype(int).min() == 1902


@pytest.mark.parametrize(
    ("ends", "blocks"),
    [
        ([0, 10, 20, 30], [(0, 2), (2, 3)]),
        ([0, 10, 31, 40], [(0, 1), (1, 2), (2, 3)]),
        ([0, 50, 60, 70], [(0, 1), (1, 3)]),
        ([0, 5, 55], [(0, 1), (1, 2)]),
    ],
)
def test_blocks_are_of_whole_users(
    ends: list[int], blocks: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "BLOCK", 20)
    assert list(itertools.islice(synthetic._blocks(np.array(ends)), 5)) == blocks


def indifferent(n_users: int, popularity: np.ndarray) -> synthetic._Truth:
    """What is planted where users like all items alike."""
    n_items = len(popularity)
    zeros = [np.zeros(n, np.float32) for n in (n_users, n_items)]
    factors = [np.zeros((n, synthetic.N_FACTORS), np.float32) for n in (n_users, n_items)]
    return synthetic._Truth(*zeros, *factors, zeros[0], popularity)


def test_what_is_planted_takes_little_memory() -> None:
    rng = np.random.default_rng(0)
    shape = Shape(30, 50, 700)
    _, genres = synthetic.make_items(shape.n_items, rng)
    truth = synthetic._plant(shape, genres, rng)
    planted = {name: values.dtype for name, values in vars(truth).items()}
    assert {name for name, dtype in planted.items() if dtype != np.float32} == {"popularity"}
    assert truth.popularity.sum() == pytest.approx(1)
    users, items = np.array([0, 7, 29]), np.array([4, 4, 49])
    affinity = synthetic._affinity(truth, users, items)
    assert affinity.dtype == np.float32
    expected = (truth.user_factors[users] * truth.item_factors[items]).sum(axis=1)
    np.testing.assert_allclose(affinity, expected, rtol=1e-5)
    times, moods = synthetic._draw_times(np.array([2, 1]), np.array([0, 0, 1]), rng)
    assert (times.dtype, moods.dtype) == (np.int64, np.float32)
    assert synthetic.expected_rating(affinity, affinity + 5).dtype == np.float32


def test_only_who_rates_many_items_chooses_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def among_all(user: int, count: int, *_: object) -> np.ndarray:
        asked.append((user, count))
        return 400 * user + np.arange(count)

    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(synthetic, "_choose_among_all", among_all)
    truth = indifferent(2, np.full(400, 1 / 400))
    none = np.array([], np.int64)
    pairs = synthetic._choose(np.array([20, 21]), none, truth, np.random.default_rng(0))
    assert asked == [(1, 21)]
    assert np.bincount(pairs // 400).tolist() == [20, 21]


def test_the_most_popular_item_is_chosen_wherever_it_stands() -> None:
    rng = np.random.default_rng(0)
    for best in (0, 50, 99):
        popularity = np.full(100, 0.001)
        popularity[best] = 0.901
        truth = indifferent(30, popularity)
        pairs = synthetic._choose(np.full(30, 4), np.array([], np.int64), truth, rng)
        assert (pairs % 100 == best).sum() > 25


def test_who_chooses_among_all_takes_the_lowest_keys() -> None:
    truth = indifferent(2, np.full(1_000, 0.001))
    for count in (1, 2, 300, 999):
        pairs = synthetic._choose_among_all(
            1, count, np.array([], np.int64), truth, np.random.default_rng(3)
        )
        keys = np.random.default_rng(3).standard_exponential(1_000)
        assert sorted(pairs - 1_000) == sorted(np.argsort(keys)[:count])
