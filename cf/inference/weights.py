"""How much predicted ratings count in lists, beside who rates what: chosen on a part of train."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cf.baselines.base import interaction_matrix, top_k
from cf.baselines.ranking import EASE, co_ratings
from cf.core.config import Rank
from cf.core.ratings import Indices, Ratings
from cf.evaluation import ranking
from cf.inference.base import Answers, Floats
from cf.inference.lists import Likely, pairs, standardize

CHOICES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
N_LAST = 5  # ratings held out of each user who has twice as many
MAX_USERS = 400
BATCH = 100  # users at a time
N_CANDIDATES = 300  # by either score
DEFAULT = 1.0  # where no user has enough ratings


def fit(
    train: Ratings, n_users: int, n_items: int, models: Mapping[str, Answers], rank: Rank
) -> tuple[Likely, dict[str, float]]:
    """Who rates what in the training ratings, and the weight of each model's predicted ratings.

    The weight is that with which lists have the highest NDCG: each user's last training ratings, or
    without times any, are held out and looked for on the lists. Who rates what is fitted to the
    rest, and users are folded into a model by the rest of their ratings, so that only the model's
    items were trained with the ratings held out.
    """
    held = _hold_out(train)
    wanted, rest = train.take(np.flatnonzero(held)), train.take(np.flatnonzero(~held))
    rated, less = (interaction_matrix(part, n_users, n_items) for part in (train, rest))
    likely, of_rest = fit_likely(rated, less, EASE(rank.ease.l2, rank.ease.max_items))
    if not len(wanted):
        return likely, dict.fromkeys(models, DEFAULT)
    task = ranking.make_task(rest, wanted, n_users, n_items, rank.relevant)
    with threadpool_limits(1, user_api="blas"):  # of products this small, idle threads spin
        return likely, _choose(rest, task, of_rest, models, rank)


def fit_likely(rated: Any, less: Any, ease: EASE) -> tuple[Likely, Likely]:
    """Who rates what by all pairs, and by those that are left without a few users' last ones.

    Both are sparse (n_users, n_items). Only pairs of the users who differ are counted twice.
    """
    chosen = ease.choose(rated), ease.choose(less)
    either = np.union1d(*chosen)
    counts = co_ratings(rated[:, either])
    users = np.flatnonzero(np.diff(rated.indptr) != np.diff(less.indptr))

    def fitted(items: Indices, matrix: Any) -> Likely:
        there = np.searchsorted(either, items)
        gram = counts[np.ix_(there, there)]
        others = ease.solve_others(matrix, items, gram)
        return Likely(items, ease.solve(gram), matrix.shape[1], others)

    of_all = fitted(chosen[0], rated)
    counts -= co_ratings(rated[users][:, either])
    counts += co_ratings(less[users][:, either])
    return of_all, fitted(chosen[1], less)


def _choose(
    rest: Ratings,
    task: ranking.RankingTask,
    likely: Likely,
    models: Mapping[str, Answers],
    rank: Rank,
) -> dict[str, float]:
    """The weight of each model with which lists of the task have the highest NDCG."""
    n_users = task.train.shape[0]
    order = np.argsort(rest.users, kind="stable")
    counts = np.bincount(rest.users, minlength=n_users)
    ends = np.concatenate([[0], np.cumsum(counts)])
    found = {key: np.empty((len(task.users), rank.k), np.int64) for key in product(models, CHOICES)}
    for start in range(0, len(task.users), BATCH):
        rows = slice(start, start + BATCH)
        of_users = [order[ends[u] : ends[u + 1]] for u in task.users[rows]]
        seen = task.seen[task.users[rows]].toarray() > 0
        of_seen = [np.flatnonzero(row) for row in seen]
        base = np.zeros(seen.shape, np.float32)
        likely.add_to(base, [rest.items[r] for r in of_users], of_seen)
        for name, answers in models.items():
            people = [answers.fold_in(rest.items[r], rest.values[r]) for r in of_users]
            stars = answers.table(people)
            standardize(stars, pairs(of_seen))
            items = _candidates(np.where(seen, -np.inf, base), np.where(seen, -np.inf, stars))
            of_base, of_stars = (np.take_along_axis(z, items, axis=1) for z in (base, stars))
            new = ~np.take_along_axis(seen, items, axis=1)
            new[:, 1:] &= items[:, 1:] != items[:, :-1]
            for weight in CHOICES:
                scores = np.where(new, of_base + np.float32(weight) * of_stars, -np.inf)
                best = top_k(scores.astype(np.float32), rank.k)
                chosen = np.take_along_axis(items, best.clip(0), axis=1)
                found[name, weight][rows] = np.where(best >= 0, chosen, -1)
    ndcg = {key: ranking.user_metrics(lists, task)["ndcg"].mean() for key, lists in found.items()}
    return {name: max(CHOICES, key=lambda weight: ndcg[name, weight]) for name in models}


def _candidates(*scores: Floats) -> Indices:
    """The items with the highest of each score, in ascending order: others are on no list."""
    n = min(N_CANDIDATES, scores[0].shape[1])
    tops = [np.argpartition(-each, n - 1, axis=1)[:, :n] for each in scores]
    return np.sort(np.concatenate(tops, axis=1), axis=1)


def _hold_out(train: Ratings) -> NDArray[np.bool_]:
    """(n,) whether a rating is among the last of its user, of at most `MAX_USERS` users."""
    draw = np.random.default_rng(0)
    when = train.timestamps if train.timestamps is not None else draw.random(len(train))
    counts = np.bincount(train.users)
    enough = np.flatnonzero(counts >= 2 * N_LAST)
    taken = np.zeros(len(counts), bool)
    taken[draw.permutation(enough)[:MAX_USERS]] = True
    rows = np.flatnonzero(taken[train.users])
    rows = rows[np.lexsort((when[rows], train.users[rows]))]
    of_user = counts[taken]
    left = np.repeat(np.cumsum(of_user), of_user) - np.arange(len(rows))  # 1 for the last
    held = np.zeros(len(train), bool)
    held[rows[left <= N_LAST]] = True
    return held
