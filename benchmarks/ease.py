"""EASE with fewer items that add to scores: its lists, seconds and memory of its weights.

Each user's last ratings are held out. `alone` is the NDCG of lists of these items only; `all`, of
all items that training has met. Takes data/encoded (dvc repro encode).
Usage: python -m benchmarks.ease [N_LAST] [MAX_ITEMS ...]
"""

import sys
import time

import numpy as np
from rich.console import Console

from benchmarks.lists import N_LAST, hold_out_last, table_of_last
from cf.baselines.base import Scores
from cf.baselines.ranking import EASE
from cf.core import config, io, paths
from cf.core.config import Rank
from cf.core.ratings import Indices, Provenance
from cf.evaluation import ranking

MAX_ITEMS = 500, 1000, 2000, 5000, 10_000


def main() -> None:
    """Measure and print."""
    n_last = int(sys.argv[1]) if len(sys.argv) > 1 else N_LAST
    rank = config.load(paths.PARAMS, "rank", Rank)
    facts = io.read_dataclass(paths.PROVENANCE, Provenance)
    train, _, task = hold_out_last(n_last, facts, rank.relevant)
    shown = table_of_last(facts, n_last, task)
    for heading in ("max_items", "alone", "all", "listed of the others", "fit, s", "MB"):
        shown.add_column(heading, justify="right")
    for max_items in map(int, sys.argv[2:] or MAX_ITEMS):
        started = time.perf_counter()
        ease = EASE(rank.ease.l2, max_items).fit(train, facts.n_users, facts.n_items)
        seconds = time.perf_counter() - started

        def alone(users: Indices, ease: EASE = ease) -> Scores:
            scores = ease.score(users)
            scores[:, ease.others.items] = -np.inf
            return scores

        lists = [ranking.recommend(scorer, task, rank.k) for scorer in (alone, ease.score)]
        ndcg = (ranking.user_metrics(of, task)["ndcg"].mean() for of in lists)
        of_others = np.isin(lists[1], ease.others.items).mean()
        n_bytes = ease.weights.nbytes + sum(part.nbytes for part in vars(ease.others).values())
        cells = (f"{value:.4f}" for value in ndcg)
        more = f"{of_others:.1%}", f"{seconds:.1f}", f"{n_bytes / 1e6:.0f}"
        shown.add_row(f"{len(ease.items):,}", *cells, *more)
    Console(width=140).print(shown)


if __name__ == "__main__":
    main()
