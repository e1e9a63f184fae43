"""How good the first k items are that a model recommends, of all items that are new to a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cf.baselines.top_k import MEMORY, Scorer, best, chunks, rated
from cf.core.errors import InputError
from cf.core.ratings import Indices, Ratings
from cf.evaluation.rankings import METRICS


@dataclass(frozen=True)
class Task:
    """What lists are made for and judged by.

    Attributes:
        users: (n,) those counted, ascending: with a training rating and a relevant item.
        n_left_out: users with held-out ratings who are not counted.
        train: sparse (n_users, n_items) of ones, who rated what in train.
        seen: the same of all that is known of users: not recommended again.
        relevant: (n_relevant,) ascending numbers user · n_items + item, of all users.
        n_relevant: (n,) relevant items of each user counted.
    """

    users: Indices
    n_left_out: int
    train: Any
    seen: Any
    relevant: Indices
    n_relevant: Indices


def task(
    train: Ratings,
    held_out: Ratings,
    n_users: int,
    n_items: int,
    lowest_relevant: float,
    between: Ratings | None = None,
) -> Task:
    """The users that can be judged, and what is relevant to each.

    An item is relevant where the user's held-out rating is at least `lowest_relevant` stars and
    the user has not rated it before.

    Args:
        between: ratings after those in train and before those held out: models do not know them,
            but the users do.

    Raises:
        InputError: no user can be judged.
    """
    known = rated(train, n_users, n_items)
    seen = known if between is None else known.maximum(rated(between, n_users, n_items))
    high = np.flatnonzero(held_out.values >= lowest_relevant)
    relevant = rated(held_out.take(high), n_users, n_items)
    relevant -= relevant.multiply(seen)
    relevant.eliminate_zeros()
    n_relevant = np.diff(relevant.indptr).astype(np.int64)
    users = np.flatnonzero((n_relevant > 0) & (np.diff(known.indptr) > 0))
    if not len(users):
        raise InputError(
            f"params.yaml: rank.relevant: no user has both a training rating and a held-out one "
            f"of {lowest_relevant:g} stars or more. Lower it, or hold out more ratings of users "
            "who stay in training."
        )
    n_left_out = len(np.unique(held_out.users)) - len(users)
    of_users = np.repeat(np.arange(n_users), n_relevant)
    pairs = np.sort(of_users * n_items + relevant.indices)
    return Task(users, n_left_out, known, seen, pairs, n_relevant[users])


def top(scorer: Scorer, task: Task, k: int, memory: int = MEMORY) -> Indices:
    """The `k` items that a scorer recommends to each user of the task, the best first.

    All items are candidates but those that the user has seen. Of equal scores the item of
    the lower index comes first: that which occurs earlier in the data.

    Args:
        scorer: users to scores of all items, which are changed in place.
        k: > 0.
        memory: bytes, roughly, that the scores of the users looked at at once may take.

    Returns:
        (len(task.users), k) items; -1 at the end of a list for want of candidates.

    Raises:
        ValueError: a score is NaN, or the scores' shape is not (users, n_items).
    """
    n_items = task.train.shape[1]
    lists = np.empty((len(task.users), k), dtype=np.int64)
    for rows in chunks(len(task.users), n_items, memory):
        users = task.users[rows]
        scores = scorer(users)
        if scores.shape != (len(users), n_items):
            raise ValueError(f"expected {(len(users), n_items)} scores, got {scores.shape}")
        scores[task.seen[users].nonzero()] = -np.inf
        lists[rows] = best(scores, k)
    return lists


def ndcg(lists: Indices, task: Task) -> NDArray[np.float64]:
    """Each user's NDCG, (n,); arguments and formula as for `judge`."""
    k = lists.shape[1]
    numbers = task.users[:, None] * task.train.shape[1] + lists
    hits = (lists >= 0) & np.isin(numbers, task.relevant)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(task.n_relevant, k) - 1]
    of_users: NDArray[np.float64] = hits @ discounts / ideal
    return of_users


def behind(of_users: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """How far each model's NDCG is below the best one's, with the ends of a 95% interval.

    Users are drawn anew, and models are compared user by user: the mean of the differences, give
    or take 1.96 of its standard errors. With few users the interval is too narrow.

    Args:
        of_users: (n,) NDCG of the same users, of each model.
    """
    best = max(of_users, key=lambda name: of_users[name].mean())
    found = {}
    for name, values in of_users.items():
        difference = of_users[best] - values
        half = 1.96 * difference.std() / np.sqrt(max(1, len(difference) - 1))
        mean = float(difference.mean())
        found[name] = {"behind": mean, "behind_low": mean - half, "behind_high": mean + half}
    return found


def judge(lists: Indices, task: Task) -> dict[str, float]:
    """NDCG, recall, MAP, coverage and novelty of lists, and how many users count and do not.

    With k the length of the lists, which the metrics' names end in:

    - ndcg: hits discounted by 1 / log2(1 + place), over what the ideal list has.
    - recall: hits over the user's number of relevant items.
    - map: the sum of the precision at each hit's place over the number of relevant items.
    - coverage: the share of all items that is on any list.
    - novelty: the mean of -log2(share of train's users who rated the item) over all places, in
      bits. An item that nobody rated counts like one that a single user did.

    The first three are means over users, in [0, 1]. docs/methods.md has their sources.

    Args:
        lists: (n, k) items, no item twice in a row; -1 at the end for want of candidates.
        task: whose users, (n,), the lists are for.
    """
    n_items = task.train.shape[1]
    k = lists.shape[1]
    numbers = task.users[:, None] * n_items + lists
    there = lists >= 0
    hits = there & np.isin(numbers, task.relevant)
    precision = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    means = {
        "ndcg": ndcg(lists, task).mean(),
        "recall": np.mean(hits.sum(axis=1) / task.n_relevant),
        "map": np.mean((precision * hits).sum(axis=1) / task.n_relevant),
        "coverage": len(np.unique(lists[there])) / n_items,
        "novelty": _novelty(task.train)[lists[there]].mean() if there.any() else 0.0,
    }
    named = {f"{name}_at_{k}": float(means[name]) for name in METRICS}
    return {**named, "n_users": len(task.users), "n_left_out": task.n_left_out}


def _novelty(train: Any) -> NDArray[np.float64]:
    """The self-information of each item, (n_items,), in bits."""
    n_raters = np.bincount(train.indices, minlength=train.shape[1])
    n_active = np.count_nonzero(np.diff(train.indptr))
    bits: NDArray[np.float64] = np.log2(n_active / np.maximum(n_raters, 1))
    return bits
