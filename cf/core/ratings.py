"""Ratings as arrays, for models to be fitted to; where they came from, and how they were split."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import parquet

from cf.core import io
from cf.core.errors import InputError

Indices = NDArray[np.int64]
Stars = NDArray[np.float32]

MOST_RATINGS = 50_000_000
"""Above this, `blend` and `rank` take a random sample of users. In memory it is up to 8 GB."""
BLOCK = 2**16  # ratings that are counted and summed at a time, within a processor's cache

SUBSET_LABELS = {"train": "training", "valid": "validation", "test": "test"}
"""The subsets of a split, in order, and what they are called in words."""


class RatingStats(ABC):
    """Training ratings that can be counted and summed, whether they are in memory or not.

    Sums that `np.add.at` accumulates in place, block after block, are the same to the bit for both.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def blocks(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], Stars]]:
        """Users, items and values of all ratings, in order, a block at a time."""

    def user_counts(self, n_users: int, of_items: Indices | None = None) -> Indices:
        """(n_users,) how many ratings each user has, of these items or of all."""
        counts = np.zeros(n_users, np.int64)
        for users, items, _ in self.blocks():
            np.add.at(counts, users if of_items is None else users[np.isin(items, of_items)], 1)
        return counts

    def item_counts(self, n_items: int, by_users: Indices | None = None) -> Indices:
        """(n_items,) how many ratings each item has, by these users or by all."""
        counts = np.zeros(n_items, np.int64)
        for users, items, _ in self.blocks():
            np.add.at(counts, items if by_users is None else items[np.isin(users, by_users)], 1)
        return counts

    def mean_of(self, transform: Callable[[Stars], Any]) -> float:
        """The mean of all ratings, each transformed, such as to the scale of a model."""
        total = 0.0
        for _, _, values in self.blocks():
            total += float(np.sum(np.asarray(transform(values)), dtype=np.float64))
        return total / len(self)


@dataclass(frozen=True)
class Ratings(RatingStats):
    """Ratings by index, one per row.

    Attributes:
        users: (n,) in [0, n_users).
        items: (n,) in [0, n_items).
        values: (n,) in the data's unit, such as stars.
        timestamps: (n,) in seconds since 1970 UTC, or None where the data has none.
        rows: (n,) number of each rating in the ingested file, from 0.

    Raises:
        ValueError: the arrays differ in length, or an index is negative.
    """

    users: Indices
    items: Indices
    values: Stars
    timestamps: Indices | None
    rows: Indices

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in vars(self).items() if array is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"ratings need arrays of one length, got {lengths}")
        for name, array in vars(self).items():
            expected = "f" if name == "values" else "iu"
            if array is not None and array.dtype.kind not in expected:
                raise ValueError(f"{name} must be numbers, got an array of {array.dtype}")
        for name in ("users", "items"):
            indices = getattr(self, name)
            if len(indices) and indices.min() < 0:
                raise ValueError(f"{name} must be indices >= 0, got {indices.min()}")

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "Ratings":
        """The ratings of a frame with the columns user, item, rating, row and perhaps timestamp."""
        return cls(
            users=frame["user"].to_numpy(),
            items=frame["item"].to_numpy(),
            values=frame["rating"].to_numpy(),
            timestamps=frame["timestamp"].to_numpy() if "timestamp" in frame else None,
            rows=frame["row"].to_numpy(),
        )

    @classmethod
    def read(
        cls,
        path: Path,
        source: "Provenance | None" = None,
        of_users: NDArray[np.bool_] | None = None,
    ) -> "Ratings":
        """The ratings of a Parquet file with the columns of `from_frame`, part of `source`.

        `of_users`, (n_users,), says whose ratings to read; None: all. The others' are never in
        memory together.

        Raises:
            InputError: there is no such file, or it holds something else.
        """
        needed = ["user", "item", "rating", "row"]
        frame = io.read_parquet(path, needed) if of_users is None else _read(path, needed, of_users)
        with io.reading(path):
            if source:
                if frame.empty:
                    raise ValueError("it has no ratings")
                for name, size in (("user", source.n_users), ("item", source.n_items)):
                    if (last := frame[name].max()) >= size:
                        raise ValueError(f"{name} {last} is not below {size}")
            return cls.from_frame(frame)

    def to_frame(self) -> pd.DataFrame:
        """A frame that `from_frame` turns into these ratings."""
        columns = {"user": self.users, "item": self.items, "rating": self.values}
        if self.timestamps is not None:
            columns["timestamp"] = self.timestamps
        return pd.DataFrame({**columns, "row": self.rows})

    def __len__(self) -> int:
        return len(self.values)

    def blocks(self) -> Iterator[tuple[Indices, Indices, Stars]]:
        """As `RatingStats.blocks`, without copies."""
        for start in range(0, len(self), BLOCK):
            rows = slice(start, start + BLOCK)
            yield self.users[rows], self.items[rows], self.values[rows]

    def mean_of(self, transform: Callable[[Stars], Any]) -> float:
        """As `RatingStats.mean_of`; in one sum, which may have other last bits than one of sums."""
        return float(np.mean(np.asarray(transform(self.values)), dtype=np.float64))

    def take(self, positions: Indices) -> "Ratings":
        """The ratings at `positions`, in that order."""
        return Ratings(
            users=self.users[positions],
            items=self.items[positions],
            values=self.values[positions],
            timestamps=None if self.timestamps is None else self.timestamps[positions],
            rows=self.rows[positions],
        )


def _read(path: Path, needed: Sequence[str], of_users: NDArray[np.bool_]) -> pd.DataFrame:
    """The rows of these users, read one row group after the other."""
    with io.reading(path):
        n_groups = parquet.read_metadata(path).num_row_groups
    found = [io.read_row_groups(path, [], needed)]
    for number in range(n_groups):
        rows = io.read_row_groups(path, [number], needed)
        with io.reading(path):  # IndexError: a user beyond `of_users`
            found.append(rows[of_users[rows["user"]]])
    return pd.concat(found, ignore_index=True)


def is_cold(ratings: Ratings, user_counts: Indices, item_counts: Indices) -> NDArray[np.bool_]:
    """(len(ratings),) whether each rating's user or item has no training rating.

    The counts, (n_users,) and (n_items,), are of the training ratings.
    """
    cold: NDArray[np.bool_] = (user_counts[ratings.users] == 0) | (item_counts[ratings.items] == 0)
    return cold


@dataclass(frozen=True)
class Provenance:
    """Where the ratings came from, and their size.

    Attributes:
        dataset: its true name.
        requested: what params.yaml asked for; differs from `dataset` after a fallback.
        source: its URL, or the file's name.
        sha256: of the file it was read from.
        rating_range: lowest and highest rating that the data set allows.
        unit: what a rating counts, as a plural: stars, points.
        feedback: explicit ratings; or implicit, interactions such as plays, perhaps counted.
        ids_sha256: `ids_digest` of users and items; empty in files of an earlier cf.
    """

    dataset: str
    requested: str
    source: str
    sha256: str
    n_ratings: int
    n_users: int
    n_items: int
    rating_range: tuple[float, float]
    unit: str = "stars"
    feedback: str = "explicit"
    ids_sha256: str = ""

    def __post_init__(self) -> None:
        low, high = self.rating_range
        if not 0 < max(self.n_users, self.n_items) <= self.n_ratings or low > high:
            raise ValueError(
                f"{self.n_ratings} ratings from {low} to {high} are not of {self.n_users} users "
                f"and {self.n_items} items"
            )

    def require_ratings(self, what: str) -> None:
        """Raise InputError where the data has interactions: `what` needs ratings."""
        if self.feedback == "implicit":
            raise InputError(
                f"{what} needs ratings, and {self.dataset} has interactions: who used what, not "
                "how they liked it. Name a column of ratings in params.yaml, "
                "ingest.columns.rating, with ingest.feedback: explicit. Lists of items are "
                "recommended and evaluated from interactions by `make rank`."
            )


def sample_users(source: Provenance) -> NDArray[np.bool_] | None:
    """(n_users,) users drawn at random, who have about `MOST_RATINGS`; None if all have no more."""
    if source.n_ratings <= MOST_RATINGS:
        return None
    drawn = np.random.default_rng(0).random(source.n_users)
    return drawn < MOST_RATINGS / source.n_ratings


def ids_digest(users: Iterable[Any], items: Iterable[Any]) -> str:
    """SHA-256 of the ids of users and items in the order of their indices.

    A model and data with the same digest mean the same users and items by the same indices.
    """
    ids = [[str(value) for value in values] for values in (users, items)]
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()


def unit_of(rating_range: tuple[float, float]) -> str:
    """What a rating of this range counts, if nobody says: up to 5 stars, or points."""
    low, high = rating_range
    return "stars" if low >= 0 and 1 < high <= 5 else "points"


@dataclass(frozen=True)
class SplitInfo:
    """How the rows were divided.

    Attributes:
        fraction: as `seed`, of params.yaml, whether the method uses it or not.
        sha256: of the validation rows' numbers (int64, little endian), and where there is a test
            set, of the word test and its rows' numbers after that.
        settings: the values of params.yaml that the method uses.
        parts: the counts of each subset, train, valid and perhaps test, by `cf.data.describe`.
    """

    fraction: float
    seed: int
    sha256: str
    method: str = "random"
    settings: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, dict[str, int]] = field(default_factory=dict)

    def n_leaked_in(self, part: str) -> int:
        """Ratings of a held-out part whose user rates the same item in train.

        Raises:
            InputError: the split holds out no such part.
        """
        if part == "test" and "test" not in self.parts:
            raise InputError(
                "params.yaml: evaluate.part: there is no test part. Set split.test to true, or "
                "evaluate.part to valid."
            )
        return self.parts.get(part, {}).get("n_leaked", 0)

    @property
    def n_leaked(self) -> int:
        """Held-out rows whose user rates the same item in train."""
        return sum(counts.get("n_leaked", 0) for counts in self.parts.values())
