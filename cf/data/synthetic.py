"""Made-up ratings from a seed, in any shape, with a planted structure and a known noise floor.

Usage: python -m cf.data.synthetic FOLDER [--shape ml-32m] [--seed 1]

The mean of a rating is a global mean, plus a bias of the user and of the item, plus a dot product
of factors, plus the user's mood in that session; noise, whose level is the user's own, is added,
and the sum is rounded to half stars from 0.5 to 5. The factors and biases of items are shifted by
their genres. Users rate in sessions of minutes, days apart. Popularity of items and activity of
users have long tails, popular items are rated somewhat higher, and users choose items that suit
their factors. Not planted: items rated before their year of release, tags, trends over years.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv
from scipy.special import ndtr, ndtri

from cf.core import io
from cf.core.errors import InputError, exit_on_input_error
from cf.core.progress import progress_bar
from cf.data.movielens import NO_GENRES

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Reals = NDArray[np.float32]

MIN_PER_USER = 20  # as in MovieLens
MAX_SHARE = 0.6  # of the items that a user may rate
LEVELS = np.arange(0.5, 5.5, 0.5, dtype=np.float32)  # stars

MEAN = 3.35  # of ratings, in stars, before they are rounded
USER_BIAS_SD, ITEM_BIAS_SD = 0.4, 0.4
POPULAR_BIAS = 0.3  # stars that the most popular item is above the least popular one, at most
N_FACTORS = 8
FACTORS_SD = 0.35  # of the dot product, in stars
GENRE_SHARE = 0.4  # of the variance of item factors and biases that comes from genres
MOOD_SD = 0.15  # of sessions
NOISE_SD, NOISE_SPREAD = 0.78, 0.35  # of the median user, and of its logarithm over users
TASTE = 2.0  # how much the dot product counts, in log odds a star, when users choose items

START_S, END_S = 825_000_000, 1_697_000_000  # February 1996 to October 2023
DAY_S = 86_400
WITHIN_GAP_S = 20.0  # mean time between ratings of a session
SESSION_SIZE, SESSION_SPREAD = 25.0, 1.0  # ratings, of the median user, and of its logarithm
DAYS_BETWEEN, DAYS_SPREAD = 4.0, 1.7  # between sessions: the median, and of its logarithm

GENRE_SHARES = {  # of items, about as in MovieLens
    **{"Action": 0.19, "Adventure": 0.13, "Animation": 0.06, "Children": 0.07, "Comedy": 0.38},
    **{"Crime": 0.12, "Documentary": 0.05, "Drama": 0.45, "Fantasy": 0.08, "Film-Noir": 0.01},
    **{"Horror": 0.10, "Musical": 0.04, "Mystery": 0.06, "Romance": 0.16, "Sci-Fi": 0.10},
    **{"Thriller": 0.19, "War": 0.04, "Western": 0.02},
}

BLOCK = 1 << 20  # ratings that are made at once
IN_CACHE = 2**14  # pairs at a time whose factors stay in the cache
DENSE = 20  # who rates more than 1/DENSE of the items chooses among all items at once


@dataclass(frozen=True)
class Shape:
    """How many users, items and ratings, and how unequal they are.

    Every item is rated at least once, every user rates at least `MIN_PER_USER` items. An item's
    popularity is proportional to exp(-item_drop * q**item_bend), where q in (0, 1) is its rank.

    Attributes:
        user_spread: standard deviation of the logarithm of a user's ratings above the minimum.
        item_drop: logarithm of how much more popular the most popular item is than the least.
        item_bend: lower: popularity falls earlier, and the tail is longer.

    Raises:
        InputError: there are too few or too many ratings for as many users and items.
    """

    n_users: int
    n_items: int
    n_ratings: int
    user_spread: float = 1.4
    item_drop: float = 10.0
    item_bend: float = 0.4

    def __post_init__(self) -> None:
        least = max(self.n_users * MIN_PER_USER, self.n_items)
        most = self.n_users * int(MAX_SHARE * self.n_items)
        if min(self.n_users, self.n_items) < 1 or not least <= self.n_ratings <= most:
            raise InputError(
                f"made-up ratings: expected {least:,} to {most:,} ratings for {self.n_users:,} "
                f"users and {self.n_items:,} items ({MIN_PER_USER} per user at least, "
                f"{MAX_SHARE:.0%} of all pairs at most), got {self.n_ratings:,}. Change --ratings, "
                "--users or --items."
            )


SHAPES = {
    "ml-latest-small": Shape(610, 9_724, 100_836, 1.45, 8.5, 0.3),
    "ml-100k": Shape(943, 1_682, 100_000, 1.15, 6.0, 0.6),
    "ml-1m": Shape(6_040, 3_706, 1_000_209, 1.15, 6.5, 0.6),
    "ml-10m": Shape(69_878, 10_677, 10_000_054, 1.35, 8.5, 0.45),
    "ml-32m": Shape(200_948, 87_585, 32_000_204, 1.4, 14.0, 0.28),
}
"""Sizes as published; how unequal they are is fitted to ml-latest-small, and set for the others."""


@dataclass(frozen=True)
class Synthetic:
    """Made-up ratings.

    Attributes:
        ratings: user_id int32, item_id int32, rating float32 in stars, timestamp int64 in seconds
            since 1970 UTC; by user, then by item. No pair of user and item comes twice.
        items: item_id int32, title with the year it ends in, genres: names joined by "|", or "".
        expected: (n_ratings,) the expectation of each rating, given all but its own noise, and
            that it is rounded.
        noise_floor: RMSE of `expected` on these ratings, in stars: what no model can beat.
        noise_floor_no_time: the same of a prediction that does not know the moods of sessions.
    """

    ratings: pd.DataFrame
    items: pd.DataFrame
    expected: Reals
    noise_floor: float
    noise_floor_no_time: float


@dataclass(frozen=True)
class _Truth:
    """What is planted: of users (n_users, ...), of items (n_items, ...), in stars."""

    user_bias: Reals
    item_bias: Reals
    user_factors: Reals
    item_factors: Reals
    user_noise: Reals
    popularity: Floats  # sums to 1


def make(shape: Shape, seed: int, advance: Callable[[int], None] = lambda n: None) -> Synthetic:
    """Made-up ratings of this shape. `advance` is called with the number of those just made."""
    rng = np.random.default_rng(seed)
    items, genres = make_items(shape.n_items, rng)
    truth = _plant(shape, genres, rng)
    counts = user_counts(shape, rng)
    ends = np.concatenate([[0], np.cumsum(counts)])
    # every item is in the list of somebody, whose other items are drawn
    slots = np.sort(rng.choice(shape.n_ratings, shape.n_items, replace=False))
    owners, owned = np.searchsorted(ends, slots, "right") - 1, rng.permutation(shape.n_items)

    n = shape.n_ratings
    user_id, item_id = np.empty(n, np.int32), np.empty(n, np.int32)
    rating, expected = np.empty(n, np.float32), np.empty(n, np.float32)
    timestamp = np.empty(n, np.int64)
    squares = squares_no_time = 0.0
    for first, last in _blocks(ends):
        rows = slice(ends[first], ends[last])
        mine = slice(*np.searchsorted(owners, [first, last]))
        of_block = replace(
            truth,
            user_bias=truth.user_bias[first:last],
            user_factors=truth.user_factors[first:last],
            user_noise=truth.user_noise[first:last],
        )
        forced = np.sort((owners[mine] - first) * shape.n_items + owned[mine])
        users, chosen = np.divmod(_choose(counts[first:last], forced, of_block, rng), shape.n_items)
        timestamp[rows], mood = _draw_times(counts[first:last], users, rng)
        mean = MEAN + of_block.user_bias[users] + truth.item_bias[chosen]
        mean += _affinity(of_block, users, chosen)
        sd = of_block.user_noise[users]
        drawn = mean + mood + sd * rng.standard_normal(len(mean), np.float32)
        rating[rows] = np.clip(np.round(2 * drawn) / 2, LEVELS[0], LEVELS[-1])
        expected[rows] = expected_rating(mean + mood, sd)
        no_time = expected_rating(mean, np.hypot(sd, np.float32(MOOD_SD)))
        squares += float(np.sum(np.square(rating[rows] - expected[rows], dtype=np.float64)))
        squares_no_time += float(np.sum(np.square(rating[rows] - no_time, dtype=np.float64)))
        user_id[rows], item_id[rows] = users + first + 1, chosen + 1
        advance(len(users))
    columns = {"user_id": user_id, "item_id": item_id, "rating": rating, "timestamp": timestamp}
    ratings = pd.DataFrame(columns, copy=False)
    floors = math.sqrt(squares / n), math.sqrt(squares_no_time / n)
    return Synthetic(ratings, items, expected, *floors)


def expected_rating(mean: Reals, sd: Reals) -> Reals:
    """The expectation of normal values rounded to half stars and clipped to 0.5 to 5.

    Each threshold between two levels adds half a star with the probability of being above it.
    """
    total = np.full(len(mean), LEVELS[0], np.float32)
    for threshold in (LEVELS[:-1] + LEVELS[1:]) / 2:
        total += np.float32(0.5) * ndtr((mean - threshold) / sd)
    return total


def user_counts(shape: Shape, rng: np.random.Generator) -> Ints:
    """How many items each user rates, (n_users,): a shifted lognormal in random order.

    What comes near to `MAX_SHARE` of the items is bent, so that it stays below.
    """
    rank = (np.arange(shape.n_users) + 0.5) / shape.n_users
    most = int(MAX_SHARE * shape.n_items) - MIN_PER_USER
    above = np.exp(-shape.user_spread * ndtri(rank))  # descending
    extra = shape.n_ratings - MIN_PER_USER * shape.n_users

    if not extra:  # nobody rates more than the fewest
        return np.full(shape.n_users, MIN_PER_USER)

    def saturated(scale: float) -> Floats:
        """`scale * above`, as long as that is few."""
        values: Floats = -most * np.expm1(-scale * above / most)
        return values

    low, high = 0.0, 1e6 * (1 + extra)
    for _ in range(200):  # bisection
        scale = (low + high) / 2
        low, high = (low, scale) if saturated(scale).sum() > extra else (scale, high)
    ends = np.round(np.cumsum(saturated(low))).astype(np.int64)
    ends[-1] = extra
    return rng.permutation(MIN_PER_USER + np.diff(ends, prepend=0))


def make_items(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The table of items, and which genres each has, (n, n_genres)."""
    names = list(GENRE_SHARES)
    genres = rng.random((n, len(names))) < list(GENRE_SHARES.values())
    years = np.maximum(2023 - rng.exponential(20, n), 1902).astype(np.int64)
    ids = np.arange(1, n + 1, dtype=np.int32)
    titles = [f"Film {item} ({year})" for item, year in zip(ids, years.tolist(), strict=True)]
    joined = ["|".join(names[k] for k in np.flatnonzero(row)) for row in genres]
    return pd.DataFrame({"item_id": ids, "title": titles, "genres": joined}), genres


def _plant(shape: Shape, genres: NDArray[np.bool_], rng: np.random.Generator) -> _Truth:
    """Draw what is planted."""

    def normal(*size: int) -> Floats:
        return rng.standard_normal(size)

    q = (np.arange(shape.n_items) + 0.5) / shape.n_items
    popularity = rng.permutation(np.exp(-shape.item_drop * q**shape.item_bend))
    share = genres / np.sqrt(np.maximum(genres.sum(1, keepdims=True), 1))
    of_items = normal(shape.n_items, N_FACTORS + 1) * math.sqrt(1 - GENRE_SHARE)
    of_items += share @ normal(len(GENRE_SHARES), N_FACTORS + 1) * math.sqrt(GENRE_SHARE)
    higher = POPULAR_BIAS * (1 + np.log(popularity / popularity.max()) / shape.item_drop)
    item_bias = ITEM_BIAS_SD * of_items[:, 0] + higher
    return _Truth(
        user_bias=(USER_BIAS_SD * normal(shape.n_users)).astype(np.float32),
        item_bias=item_bias.astype(np.float32),
        user_factors=normal(shape.n_users, N_FACTORS).astype(np.float32),
        item_factors=(FACTORS_SD / math.sqrt(N_FACTORS) * of_items[:, 1:]).astype(np.float32),
        user_noise=(NOISE_SD * np.exp(NOISE_SPREAD * normal(shape.n_users))).astype(np.float32),
        popularity=popularity / popularity.sum(),
    )


def _blocks(ends: Ints) -> Iterator[tuple[int, int]]:
    """The first user and the one after the last, of about `BLOCK` ratings each."""
    first = 0
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + BLOCK, "right")) - 1)
        yield first, last
        first = last


def _affinity(truth: _Truth, users: Ints, items: Ints) -> Reals:
    """The dot product of each pair, (n,) in stars."""
    product = np.empty(len(users), np.float32)
    for start in range(0, len(users), IN_CACHE):
        part = slice(start, start + IN_CACHE)
        factors = truth.user_factors[users[part]], truth.item_factors[items[part]]
        np.einsum("nk,nk->n", *factors, out=product[part])
    return product


def _choose(counts: Ints, forced: Ints, truth: _Truth, rng: np.random.Generator) -> Ints:
    """The pairs user * n_items + item, ascending, of which users have as many as `counts` says.

    Items are drawn by popularity and taste, without replacement. The pairs `forced`, ascending, are
    among them.
    """
    n_items = len(truth.popularity)
    dense = counts > n_items / DENSE
    parts = [
        _choose_among_all(user, counts[user], forced, truth, rng)
        for user in np.flatnonzero(dense).tolist()
    ]
    cumulative = np.cumsum(truth.popularity)
    pairs = kept = forced[~dense[forced // n_items]]
    wanted = np.where(dense, 0, counts)
    missing = wanted - np.bincount(pairs // n_items, minlength=len(counts))
    while (missing > 0).any():
        users = np.repeat(np.arange(len(counts)), np.where(missing > 0, 3 * missing + 4, 0))
        drawn = np.searchsorted(cumulative, rng.random(len(users)) * cumulative[-1], "right")
        odds = np.exp(np.float32(-TASTE) * _affinity(truth, users, drawn))
        accepted = rng.random(len(users), np.float32) * (1 + odds) < 1
        more = np.sort((users * n_items + drawn)[accepted])
        pairs = np.sort(np.concatenate([pairs, more]), kind="stable")  # which merges what ascends
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        missing = wanted - np.bincount(pairs // n_items, minlength=len(counts))
    priority = rng.random(len(pairs))
    priority[np.searchsorted(pairs, kept)] = 0.0
    users = pairs // n_items
    order = np.argsort(users + priority)
    have = wanted - missing
    rank = np.arange(len(pairs)) - np.repeat(np.cumsum(have) - have, have)
    keep = np.empty(len(pairs), np.bool_)
    keep[order] = rank < np.repeat(wanted, have)
    return np.sort(np.concatenate([pairs[keep], *parts]), kind="stable")


def _choose_among_all(
    user: int, count: int, forced: Ints, truth: _Truth, rng: np.random.Generator
) -> Ints:
    """The pairs of one user.

    Source:
        Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir": the lowest of
        exponential variables with the weights as rates.
    """
    n_items = len(truth.popularity)
    suits = 1 / (1 + np.exp(-TASTE * (truth.item_factors @ truth.user_factors[user])))
    keys = rng.standard_exponential(n_items) / (truth.popularity * suits)
    mine = forced[slice(*np.searchsorted(forced // n_items, [user, user + 1]))]
    keys[mine % n_items] = 0.0
    chosen: Ints = user * n_items + np.argpartition(keys, count - 1)[:count]
    return chosen


def _draw_times(counts: Ints, users: Ints, rng: np.random.Generator) -> tuple[Ints, Reals]:
    """The time of each rating, in seconds since 1970 UTC, and the mood of its session, in stars.

    A user's ratings are in random order in time. All are between `START_S` and `END_S`.
    """
    n, starts = len(users), np.cumsum(counts) - counts
    size = SESSION_SIZE * np.exp(SESSION_SPREAD * rng.standard_normal(len(counts)))
    new_session = rng.random(n) * size[users] < 1
    new_session[starts] = True
    sessions = np.cumsum(new_session) - 1
    mood = (MOOD_SD * rng.standard_normal(sessions[-1] + 1)).astype(np.float32)[sessions]

    within = np.floor(rng.standard_exponential(n) * WITHIN_GAP_S)
    between = np.zeros(n)
    days = DAYS_BETWEEN * np.exp(DAYS_SPREAD * rng.standard_normal(sessions[-1] + 1))
    between[new_session] = DAY_S * days
    within[starts] = between[starts] = 0.0
    within, between = _cumulate(within, starts, counts), _cumulate(between, starts, counts)
    first = rng.uniform(START_S, END_S - 365 * DAY_S, len(counts))
    ends = starts + counts - 1
    left = END_S - first - within[ends]
    scale = np.minimum(1, left / np.maximum(between[ends], 1))
    moments = (first[users] + within + scale[users] * between).astype(np.int64)

    order = np.argsort(users + rng.random(n))
    times, moods = np.empty(n, np.int64), np.empty(n, np.float32)
    times[order], moods[order] = moments, mood
    return times, moods


def _cumulate(values: Floats, starts: Ints, counts: Ints) -> Floats:
    """Sums from the start of each user's on."""
    total = np.cumsum(values)
    sums: Floats = total - np.repeat(total[starts], counts)
    return sums


def write(folder: Path, made: Synthetic, advance: Callable[[int], None] = lambda n: None) -> None:
    """Write ratings.csv and movies.csv as MovieLens has them, and noise_floor.json."""
    stars = pa.array([f"{level:.1f}" for level in LEVELS])
    names = ["userId", "movieId", "rating", "timestamp"]
    schema = pa.schema(zip(names, (pa.int32(), pa.int32(), pa.string(), pa.int64()), strict=True))
    plain = csv.WriteOptions(include_header=False, quoting_style="none")
    with io.atomic_write(folder / "ratings.csv") as path, path.open("wb") as file:
        file.write(f"{','.join(names)}\n".encode())
        writer = csv.CSVWriter(file, schema, write_options=plain)
        for start in range(0, len(made.ratings), BLOCK):
            block = made.ratings.iloc[start : start + BLOCK]
            columns: list[Any] = [pa.array(block[name].to_numpy()) for name in made.ratings]
            levels = (2 * block["rating"].to_numpy()).astype(np.int64) - 1
            columns[2] = stars.take(pa.array(levels))
            writer.write_table(pa.table(columns, schema=schema))
            advance(len(block))
        writer.close()
    movies = made.items.replace({"genres": {"": NO_GENRES[0]}})
    movies.columns = pd.Index(["movieId", "title", "genres"])
    io.write_csv(folder / "movies.csv", movies)
    floors = {key: getattr(made, key) for key in ("noise_floor", "noise_floor_no_time")}
    io.write_json(folder / "noise_floor.json", io.round_floats(floors))


@exit_on_input_error
def main() -> None:
    """Make ratings and write them."""
    parser = argparse.ArgumentParser(prog="python -m cf.data.synthetic", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="where ratings.csv and movies.csv go")
    parser.add_argument("--shape", choices=SHAPES, default="ml-32m", help="of which data set")
    for name in ("users", "items", "ratings"):
        parser.add_argument(f"--{name}", type=int, help="instead of the shape's")
    parser.add_argument("--seed", type=int, default=1, help="0 or more")
    arguments = parser.parse_args()
    sizes = {f"n_{name}": getattr(arguments, name) for name in ("users", "items", "ratings")}
    shape = replace(SHAPES[arguments.shape], **{k: n for k, n in sizes.items() if n is not None})
    if arguments.seed < 0:
        raise InputError(f"--seed: expected 0 or more, got {arguments.seed}.")
    started = time.perf_counter()
    with progress_bar("made-up ratings", 2 * shape.n_ratings) as bar:

        def advance(n: int) -> None:
            bar.completed += n

        made = make(shape, arguments.seed, advance)
        write(arguments.folder, made, advance)
    print(
        f"{arguments.folder}: {shape.n_ratings:,} ratings of {shape.n_items:,} items by "
        f"{shape.n_users:,} users in {time.perf_counter() - started:.0f} s. RMSE of the truth: "
        f"{made.noise_floor:.4f}; without times {made.noise_floor_no_time:.4f}"
    )


if __name__ == "__main__":
    main()
