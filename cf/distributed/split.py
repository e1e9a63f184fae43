"""The rows of each subset on Ray, as stages.split writes them: no process has all train ratings."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray
from pyarrow import parquet

from cf.core import config, io
from cf.core.ratings import Indices
from cf.data.describe import Counts, Train, count, is_leaked
from cf.distributed.cluster import cluster, in_order, n_workers_of, submit, tell_if_busy
from cf.distributed.parts import Part, parts_of

PAIR = ["user", "item"]
BY = ("user", "timestamp")


def columns_to_choose_by(ratings: Path) -> pd.DataFrame:
    """The columns user and timestamp, if there is one, of a Parquet file: all that a split needs.

    Raises:
        InputError: it cannot be read.
    """
    with io.reading(ratings):
        there = parquet.read_schema(ratings).names
    return io.read_parquet(ratings, BY[: 1 + (BY[1] in there)], only=True)


def split_on_ray(
    settings: config.Ray, ratings: Path, subsets: Mapping[str, Indices], train_path: Path
) -> tuple[Train, dict[str, pd.DataFrame], dict[str, int]]:
    """Write the ratings of train, and return what there is to say of it, and what is held out.

    Args:
        ratings: a Parquet file with user, item, row and more columns.
        subsets: the rows of each; those of train ascend.

    Returns:
        Train; the ratings of each subset that is held out; and how many of them have leaked.

    Raises:
        InputError: `ratings` cannot be read, or Ray cannot be had.
    """
    parts = parts_of(ratings)
    with cluster(settings):
        n_workers = n_workers_of(settings)
        tell_if_busy(n_needed=1)
        held_out = {
            name: gather(parts, rows, n_workers)
            for name, rows in subsets.items()
            if name != "train"
        }
        pairs = ray.put([frame[PAIR] for frame in held_out.values()])
        found = TrainSummary()

        def start() -> Iterator[Any]:
            for part in parts:
                yield submit(take_train, 1, part, local(part, subsets["train"]), pairs)[0]

        with io.parquet_writer(train_path) as write:
            for frame, leaked in in_order(start(), most_waiting=2 * n_workers):
                write(frame)
                found.add(frame, leaked)
    return found.train(), held_out, dict(zip(held_out, found.n_leaked, strict=True))


class TrainSummary:
    """What the parts of train have together."""

    def __init__(self) -> None:
        self.counts: list[Counts] = []
        self.is_known = {name: np.zeros(0, bool) for name in PAIR}
        self.leaked: list[set[int]] = []

    def add(self, train: pd.DataFrame, leaked: list[Indices]) -> None:
        """Take in a part; `leaked` has the places of held-out ratings that are in it too."""
        self.leaked = self.leaked or [set() for _ in leaked]
        for all_of_them, here in zip(self.leaked, leaked, strict=True):
            all_of_them.update(here.tolist())
        if train.empty:
            return
        self.counts.append(count(train))
        for name in PAIR:
            values = train[name].to_numpy()
            more = max(0, 1 + int(values.max()) - len(self.is_known[name]))
            self.is_known[name] = np.pad(self.is_known[name], (0, more))
            self.is_known[name][values] = True

    @property
    def n_leaked(self) -> list[int]:
        """The number of leaked ratings of each held-out subset."""
        return [len(each) for each in self.leaked]

    def train(self) -> Train:
        """The whole of train."""
        users, items = (np.flatnonzero(self.is_known[name]) for name in PAIR)
        counts = {"n": sum(each["n"] for each in self.counts)}
        counts |= {"n_users": len(users), "n_items": len(items)}
        for name, choose in (("earliest", min), ("latest", max)):
            if name in self.counts[0]:
                counts[name] = choose(each[name] for each in self.counts)
        return Train(counts, users, items)


def local(part: Part, rows: Indices) -> Indices:
    """Which rows of a part, from 0, are among `rows`, which ascend."""
    ends = [part.first_row, part.first_row + part.n_rows]
    first, end = np.searchsorted(rows, ends)
    return rows[first:end] - part.first_row


def gather(parts: list[Part], rows: Indices, n_workers: int) -> pd.DataFrame:
    """The ratings with these numbers, in this order."""
    order = np.argsort(rows)
    ascending = rows[order]
    tasks = (submit(take, 1, part, local(part, ascending))[0] for part in parts)
    found = pd.concat(list(in_order(tasks, 2 * n_workers)), ignore_index=True)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    gathered: pd.DataFrame = found.take(places)
    return gathered.reset_index(drop=True)


def take(part: Part, rows: Indices) -> list[pd.DataFrame]:
    """The ratings of a part with these numbers, from 0."""
    return [part.read([*PAIR, "rating", "row"]).take(rows)]


def take_train(
    part: Part, rows: Indices, held_out: list[pd.DataFrame]
) -> list[tuple[pd.DataFrame, list[Indices]]]:
    """As `take`; and the places of held-out ratings whose user rates the same item in them."""
    (train,) = take(part, rows)
    if train.empty:
        return [(train, [np.empty(0, np.int64) for _ in held_out])]
    return [(train, [np.flatnonzero(is_leaked(train, each)) for each in held_out])]
