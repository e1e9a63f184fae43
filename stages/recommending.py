"""The lists of all models and baselines and what they are worth, for the stage rank."""

from collections.abc import Callable
from functools import partial

import numpy as np

from cf.data import tables
from cf.data.tables import Provenance
from cf.errors import InputError
from cf.evaluation import ranking
from cf.models import base, baseline
from cf.params import Evaluate, Rank
from cf.recommenders.ease import ease
from cf.recommenders.itemknn import itemknn
from cf.recommenders.popularity import popularity
from cf.recommenders.scores import Scorer, by_stars
from cf.training import checkpoints
from stages import paths


def judge(models: list[str], rank: Rank, evaluate: Evaluate) -> dict[str, dict[str, float]]:
    """The metrics of each model and baseline; none, and a word why, if there is nobody to judge.

    Args:
        models: those trained, by the name of their folder.
    """
    train = tables.read_ratings(paths.TRAIN)
    held_out = tables.read_ratings(paths.PARTS[evaluate.part])
    facts = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    n_items = facts.n_items
    between = tables.read_ratings(paths.VALID) if evaluate.part == "test" else None
    try:
        task = ranking.task(train, held_out, facts.n_users, n_items, rank.relevant, between)
    except InputError as nobody:  # stars can be judged all the same
        print(f"No lists are judged. {nobody}")
        return {}
    knn, settings = rank.knn, rank.ease

    def bias() -> Scorer:
        """By the stars of one user: those of another are all as much higher or lower."""
        items = np.arange(n_items)
        stars = baseline.bias(train, np.zeros_like(items), items, evaluate.damping)
        return lambda users: np.tile(stars, (len(users), 1))

    def model(name: str) -> Scorer:
        return by_stars(partial(base.predict, checkpoints.load(paths.MODELS / name)), n_items)

    # Made one after the other, so that only one is in memory.
    scorers: dict[str, Callable[[], Scorer]] = {
        "popularity": lambda: popularity(train.items, n_items),
        "itemknn": lambda: itemknn(task.train, knn.n_neighbours, knn.shrinkage),
        "ease": lambda: ease(task.train, settings.l2, settings.max_items),
        "bias": bias,
        **{name: partial(model, name) for name in models},
    }
    metrics, ndcg = {}, {}
    for name, make in scorers.items():
        lists = ranking.top(make(), task, rank.k)
        metrics[name], ndcg[name] = ranking.judge(lists, task), ranking.ndcg(lists, task)
    behind = ranking.behind(ndcg)
    return {name: {**metrics[name], **behind[name]} for name in metrics}
