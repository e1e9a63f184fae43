"""The lists of all models and baselines and what they are worth, for the stage rank."""

from collections.abc import Callable
from functools import partial

import numpy as np

from cf.baselines import bias as baseline
from cf.baselines.ease import ease
from cf.baselines.item_knn import itemknn
from cf.baselines.popularity import popularity
from cf.baselines.top_k import Scorer, by_stars
from cf.core import io, paths
from cf.core.config import Evaluate, Rank
from cf.core.errors import InputError
from cf.core.provenance import Provenance
from cf.core.ratings import Ratings
from cf.evaluation import ranking
from cf.models import base
from cf.training import checkpoint as checkpoints


def judge(models: list[str], rank: Rank, evaluate: Evaluate) -> dict[str, dict[str, float]]:
    """The metrics of each model and baseline; none, and a word why, if there is nobody to judge.

    Args:
        models: those trained, by the name of their folder.
    """
    train = Ratings.from_frame(io.read_parquet(paths.TRAIN))
    held_out = Ratings.from_frame(io.read_parquet(paths.SPLIT_FILES[evaluate.part]))
    facts = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    n_items = facts.n_items
    between = Ratings.from_frame(io.read_parquet(paths.VALID)) if evaluate.part == "test" else None
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
