"""What every system is given, and what it is to do."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core import config, io, paths
from cf.core.config import Rank
from cf.core.ratings import Indices, Provenance, Ratings
from cf.evaluation import ranking
from cf.evaluation.ranking import RankingTask


class Case(NamedTuple):
    """The rows of data/split and what is known of the items.

    Attributes:
        items: genres, joined by "|", and year of release by index.
        tags: item, tag and timestamp of each that was given.
        task: the users to make lists for.
        k: items on a list.
        n_threads: that a system may use.
    """

    train: Ratings
    valid: Ratings
    n_users: int
    n_items: int
    rating_range: tuple[float, float]
    items: pd.DataFrame
    tags: pd.DataFrame
    task: RankingTask
    k: int
    seed: int
    n_threads: int


Answers = NDArray[np.float32] | NDArray[np.float64] | Indices
"""Stars for each row of valid, (n,), or a list for each user of the task, (n, k)."""

Steps = Generator[None, None, Answers]
"""First imports the library, then fits, then returns what it predicts: a yield after each step.

Fitting begins with the rows as arrays: what a library needs to take them is part of it.
"""


class System(NamedTuple):
    """A row of the table.

    Attributes:
        package: the name under which pip installs it.
    """

    name: str
    package: str
    steps: Callable[[Case], Steps]


def read(seed: int, n_threads: int) -> Case:
    """The case that data/split holds."""
    facts = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    train, valid = (
        Ratings.read(paths.TRAIN),
        Ratings.read(paths.VALID),
    )
    rank = config.load(paths.PARAMS, "rank", Rank)
    sizes = facts.n_users, facts.n_items
    task = ranking.make_task(train, valid, *sizes, rank.relevant)
    low, high = facts.rating_range
    items = io.read_parquet(paths.ENCODED_ITEMS, ["genres", "year"])
    tags = io.read_parquet(paths.ENCODED_TAGS, ["item", "tag", "timestamp"])
    return Case(train, valid, *sizes, (low, high), items, tags, task, rank.k, seed, n_threads)


def days(ratings: Ratings) -> Indices:
    """The day of each rating since 1970 UTC; all the same where the data has no times."""
    if ratings.timestamps is None:
        return np.zeros(len(ratings), np.int64)
    found: Indices = ratings.timestamps // 86400
    return found


def frame(ratings: Ratings) -> Any:
    """The ratings as a pandas frame with the columns user_id, item_id and rating."""
    return pd.DataFrame(
        {
            "user_id": ratings.users,
            "item_id": ratings.items,
            "rating": ratings.values.astype(np.float64),
        }
    )
