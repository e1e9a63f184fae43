"""Top-k recommendation: how good the first k items are, of all items that are new to a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from cf.baselines.base import Scorer, chunks, interaction_matrix, top_k
from cf.core import io
from cf.core.errors import InputError
from cf.core.names import AT_K
from cf.core.ratings import Indices, Ratings, Stars
from cf.evaluation.bootstrap import MIN_USERS
from cf.evaluation.metrics import of_run

METHODS = ("time", "leave_last")  # splits that hold out what users rated last


@dataclass(frozen=True)
class RankingTask:
    """What lists are made for and evaluated by."""

    users: Indices  # (n,) those counted, ascending: with a training rating and a relevant item
    n_left_out: int  # users with held-out ratings who are not counted
    train: Any  # sparse (n_users, n_items) of ones, who rated what in train
    seen: Any  # the same of all ratings that precede the held-out ones: not recommended again
    relevant: Indices  # (n_relevant,) ascending numbers user · n_items + item, of all users
    n_relevant: Indices  # (n,) relevant items of each user counted


def typical_rating(values: Stars) -> float:
    """The rating that nearest to half of all ratings reach or exceed."""
    levels, counts = np.unique(values, return_counts=True)
    share = counts[::-1].cumsum()[::-1] / len(values)
    return float(levels[np.abs(share - 0.5).argmin()])


def make_task(
    train: Ratings,
    held_out: Ratings,
    n_users: int,
    n_items: int,
    lowest_relevant: float | Literal["auto"],
    exclude: Ratings | None = None,
) -> RankingTask:
    """The users that can be evaluated, and what is relevant to each.

    An item is relevant where the user's held-out rating is at least `lowest_relevant` (auto: the
    `typical_rating` of train) and the user has not rated it before. Models do not know the ratings
    `exclude`, between train and the held-out ones, but their items are not recommended to their
    users.

    Raises:
        InputError: no user can be evaluated.
    """
    known = interaction_matrix(train, n_users, n_items)
    seen = known if exclude is None else known.maximum(interaction_matrix(exclude, *known.shape))
    if lowest_relevant == "auto":
        lowest_relevant = typical_rating(train.values)
    high = np.flatnonzero(held_out.values >= lowest_relevant)
    relevant = interaction_matrix(held_out.take(high), *known.shape)
    relevant -= relevant.multiply(seen)
    relevant.eliminate_zeros()
    n_relevant = np.diff(relevant.indptr).astype(np.int64)
    users = np.flatnonzero((n_relevant > 0) & (np.diff(known.indptr) > 0))
    if not len(users):
        raise InputError(
            f"params.yaml: rank.relevant: no user has both a training rating and a held-out one "
            f"of at least {lowest_relevant:g}. Lower it, or hold out more ratings of users "
            "who stay in training."
        )
    n_left_out = len(np.unique(held_out.users)) - len(users)
    pairs = np.sort(np.repeat(np.arange(n_users), n_relevant) * n_items + relevant.indices)
    return RankingTask(users, n_left_out, known, seen, pairs, n_relevant[users])


def recommend(scorer: Scorer, task: RankingTask, k: int) -> Indices:
    """The `k` items with the highest scores for each user of the task, as `top_k` returns them.

    All items are candidates but those that the user has seen. The scores are changed in place.

    Raises:
        ValueError: a score is NaN, or the scores' shape is not (users, n_items).
    """
    n_items = task.train.shape[1]
    lists = np.empty((len(task.users), k), dtype=np.int64)
    for rows in chunks(len(task.users), n_items):
        users = task.users[rows]
        scores = scorer(users)
        if scores.shape != (len(users), n_items):
            raise ValueError(f"expected {(len(users), n_items)} scores, got {scores.shape}")
        scores[task.seen[users].nonzero()] = -np.inf
        lists[rows] = top_k(scores, k)
    return lists


def user_metrics(lists: Indices, task: RankingTask) -> pd.DataFrame:
    """The metrics of each user's list, in [0, 1]; docs/evaluation.md has the sources.

    - ndcg: hits discounted by 1 / log2(1 + position), divided by the same of the ideal list.
    - recall: hits divided by the user's number of relevant items.
    - map: the sum of the precision at each hit's position, divided by the number of relevant items.

    Lists are (len(task.users), k) items, no item twice in a row; -1 where candidates lack.
    """
    positions = np.arange(1, lists.shape[1] + 1)
    pairs = task.users[:, None] * task.train.shape[1] + lists
    hits = (lists >= 0) & np.isin(pairs, task.relevant)
    discounts = 1 / np.log2(1 + positions)
    ideal = np.cumsum(discounts)[np.minimum(task.n_relevant, len(positions)) - 1]
    precision = np.cumsum(hits, axis=1) / positions
    return pd.DataFrame(
        {
            "ndcg": hits @ discounts / ideal,
            "recall": hits.sum(axis=1) / task.n_relevant,
            "map": (precision * hits).sum(axis=1) / task.n_relevant,
        }
    )


def evaluate_lists(
    lists: Mapping[str, Indices], task: RankingTask | None, k: int, part: str
) -> pd.DataFrame:
    """A row per model with the columns of reports/ranking.csv, the highest NDCG first.

    Lists are as for `user_metrics`, none without a task. `part` says which held-out rows the task
    is made of.

    Returns:
        model; the means of `user_metrics`; coverage, the fraction of all items that is on any list;
        novelty, the mean of -log2(fraction of train's users who rated the item) over all positions,
        in bits, where an item that nobody rated counts like one that a single user rated; the
        metrics' names end in _at_ and k. behind: how far the NDCG is below the best one's, with the
        ends of the 95% interval of the paired difference over users, behind_low and behind_high,
        missing with few users. n_users and n_left_out: users counted, and not. part.
    """
    rows = []
    if task:
        of_users = {name: user_metrics(items, task) for name, items in lists.items()}
        ndcg = pd.DataFrame({name: metrics["ndcg"] for name, metrics in of_users.items()})
        gaps = -ndcg.sub(ndcg[ndcg.mean().idxmax()], axis="index")
        half = 1.96 * gaps.std() / np.sqrt(len(gaps)) * (1 if len(gaps) >= MIN_USERS else np.nan)
        n_items = task.train.shape[1]
        n_raters = np.bincount(task.train.indices, minlength=n_items)
        n_active = np.count_nonzero(np.diff(task.train.indptr))
        bits = np.log2(n_active / np.maximum(n_raters, 1))
        for name, metrics in of_users.items():
            items, gap = lists[name][lists[name] >= 0], gaps[name].mean()
            row = {f"{metric}_at_{k}": value for metric, value in metrics.mean().items()}
            row[f"coverage_at_{k}"] = len(np.unique(items)) / n_items
            row[f"novelty_at_{k}"] = bits[items].mean() if len(items) else 0.0
            row |= {"behind": gap, "behind_low": gap - half[name], "behind_high": gap + half[name]}
            rows.append({"model": name, **row})
    at_k = [f"{metric}_at_{k}" for metric in AT_K]
    table = pd.DataFrame(rows, columns=["model", *at_k, "behind", "behind_low", "behind_high"])
    n_users, n_left_out = (len(task.users), task.n_left_out) if task else (0, 0)
    table = table.assign(n_users=n_users, n_left_out=n_left_out, part=part)
    return table.sort_values(f"ndcg_at_{k}", ascending=False, kind="stable", ignore_index=True)


DTYPES = {"model": str, "part": str}
"""The columns of reports/ranking.csv that are no numbers."""


def run_metrics(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What each model's run has in MLflow, of reports/ranking.csv; test/ndcg_at_k on test."""
    metrics: list[Any] = table.filter(like="_at_").round(io.DECIMALS).to_dict("records")
    rows = zip(table["model"], table["part"], metrics, strict=True)
    return {model: of_run(values, part) for model, part, values in rows}
