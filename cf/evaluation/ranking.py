"""Top-k recommendation: how good the first k items are, of all items that are new to a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.baselines.base import Scorer, interaction_matrix
from cf.baselines.top_k import MEMORY, chunks, top_k
from cf.core import io
from cf.core.errors import InputError
from cf.core.ratings import Indices, Ratings
from cf.evaluation.metrics import prefix_of

METHODS = ("time", "leave_last")
"""The splits that hold out what users rated last: lists are for what comes next."""

METRICS = ("ndcg", "recall", "map", "coverage", "novelty")


@dataclass(frozen=True)
class RankingTask:
    """What lists are made for and evaluated by.

    Attributes:
        users: (n,) those counted, ascending: with a training rating and a relevant item.
        n_left_out: users with held-out ratings who are not counted.
        train: sparse (n_users, n_items) of ones, who rated what in train.
        seen: the same of all ratings that precede the held-out ones: not recommended again.
        relevant: (n_relevant,) ascending numbers user · n_items + item, of all users.
        n_relevant: (n,) relevant items of each user counted.
    """

    users: Indices
    n_left_out: int
    train: Any
    seen: Any
    relevant: Indices
    n_relevant: Indices


def make_task(
    train: Ratings,
    held_out: Ratings,
    n_users: int,
    n_items: int,
    lowest_relevant: float,
    exclude: Ratings | None = None,
) -> RankingTask:
    """The users that can be evaluated, and what is relevant to each.

    An item is relevant where the user's held-out rating is at least `lowest_relevant` stars and
    the user has not rated it before.

    Args:
        exclude: ratings between train and the held-out ones. Models do not know them, but their
            items are not recommended to their users.

    Raises:
        InputError: no user can be evaluated.
    """
    known = interaction_matrix(train, n_users, n_items)
    seen = (
        known if exclude is None else known.maximum(interaction_matrix(exclude, n_users, n_items))
    )
    high = np.flatnonzero(held_out.values >= lowest_relevant)
    relevant = interaction_matrix(held_out.take(high), n_users, n_items)
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
    return RankingTask(users, n_left_out, known, seen, pairs, n_relevant[users])


def recommend(scorer: Scorer, task: RankingTask, k: int, memory: int = MEMORY) -> Indices:
    """The `k` items that a scorer recommends to each user of the task, the best first.

    All items are candidates but those that the user has seen. Of equal scores the item of
    the lower index comes first: the one that occurs earlier in the data.

    Args:
        scorer: users to scores of all items, which are changed in place.
        k: > 0.
        memory: bytes, roughly, for the scores of the users in one chunk.

    Returns:
        (len(task.users), k) items; -1 at the end of a list that lacks candidates.

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
        lists[rows] = top_k(scores, k)
    return lists


def ndcg(lists: Indices, task: RankingTask) -> NDArray[np.float64]:
    """Each user's NDCG, (n,); arguments and formula as for `evaluate_lists`."""
    k = lists.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(task.n_relevant, k) - 1]
    of_users: NDArray[np.float64] = _hits(lists, task) @ discounts / ideal
    return of_users


def evaluate_lists(lists: Indices, task: RankingTask) -> dict[str, float]:
    """NDCG, recall, MAP, coverage and novelty of lists, and the numbers of users.

    With k the length of the lists, which the metrics' names end in:

    - ndcg: hits discounted by 1 / log2(1 + position), divided by the same of the ideal list.
    - recall: hits divided by the user's number of relevant items.
    - map: the sum of the precision at each hit's position, divided by the number of relevant items.
    - coverage: the fraction of all items that is on any list.
    - novelty: the mean of -log2(fraction of train's users who rated the item) over all positions,
      in bits. An item that nobody rated counts like one that a single user rated.

    The first three are means over users, in [0, 1]. n_users and n_left_out are the users who are
    counted, and not. docs/evaluation.md has the sources.

    Args:
        lists: (n, k) items, no item twice in a row; -1 at the end where candidates lack.
        task: whose users, (n,), the lists are for.
    """
    k = lists.shape[1]
    is_item = lists >= 0
    hits = _hits(lists, task)
    precision = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    means = {
        "ndcg": ndcg(lists, task).mean(),
        "recall": np.mean(hits.sum(axis=1) / task.n_relevant),
        "map": np.mean((precision * hits).sum(axis=1) / task.n_relevant),
        "coverage": len(np.unique(lists[is_item])) / task.train.shape[1],
        "novelty": _novelty(task.train)[lists[is_item]].mean() if is_item.any() else 0.0,
    }
    named = {f"{name}_at_{k}": float(means[name]) for name in METRICS}
    return {**named, "n_users": len(task.users), "n_left_out": task.n_left_out}


def ndcg_gaps(of_users: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """How far each model's NDCG is below the best one's, with the ends of a 95% interval.

    The interval is paired, over users: the mean difference plus or minus 1.96 of its standard
    errors. With few users it is too narrow.

    Args:
        of_users: NDCG of the same users, (n,), by model.
    """
    best = max(of_users.values(), key=lambda values: float(values.mean()))
    found = {}
    for name, values in of_users.items():
        gap = best - values
        half = 1.96 * float(gap.std()) / np.sqrt(max(1, len(gap) - 1))
        mean = float(gap.mean())
        found[name] = {"behind": mean, "behind_low": mean - half, "behind_high": mean + half}
    return found


def compare(
    lists: Mapping[str, Indices], task: RankingTask | None, k: int, part: str
) -> pd.DataFrame:
    """A row per model with the columns of reports/ranking.csv, the highest NDCG first.

    Args:
        lists: (n, k) items, by model: for the users of the task.
        task: None where there is none; then there are no lists either.
        part: the held-out rows that the task is made of, valid or test.

    Returns:
        model, what `evaluate_lists` and `ndcg_gaps` return of it, and part.
    """
    metrics = [f"{name}_at_{k}" for name in METRICS]
    columns = ["model", *metrics, "behind", "behind_low", "behind_high", "n_users", "n_left_out"]
    rows = []
    if task:
        gaps = ndcg_gaps({name: ndcg(items, task) for name, items in lists.items()})
        rows = [
            {"model": name, **evaluate_lists(items, task), **gaps[name]}
            for name, items in lists.items()
        ]
    table = pd.DataFrame(rows, columns=columns).assign(part=part)
    return table.sort_values(metrics[0], ascending=False, kind="stable", ignore_index=True)


def run_metrics(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The metrics that each model's run has in MLflow; those on the test set begin with test/.

    Args:
        table: as `compare` returns it.
    """
    metrics = table.filter(like="_at_").round(io.DECIMALS).to_dict("records")
    return {
        model: {f"{prefix_of(part)}{name}": value for name, value in values.items()}
        for model, part, values in zip(table["model"], table["part"], metrics, strict=True)
    }


def _hits(lists: Indices, task: RankingTask) -> NDArray[np.bool_]:
    """Whether the item at each position of the lists is relevant to the user, (n, k)."""
    pairs = task.users[:, None] * task.train.shape[1] + lists
    hits: NDArray[np.bool_] = (lists >= 0) & np.isin(pairs, task.relevant)
    return hits


def _novelty(train: Any) -> NDArray[np.float64]:
    """The self-information of each item, (n_items,), in bits."""
    n_raters = np.bincount(train.indices, minlength=train.shape[1])
    n_active = np.count_nonzero(np.diff(train.indptr))
    bits: NDArray[np.float64] = np.log2(n_active / np.maximum(n_raters, 1))
    return bits
