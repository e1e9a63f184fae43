"""Seconds and memory of ranking at the shape of ml-32m, with made-up ratings and factors.

200,948 users by 87,585 items, 32 million ratings of which a fifth is held out; users are unevenly
active and items unevenly popular. The scorer is a dot product of 16 factors. With `--users N` that
many get a list, and times are not scaled up; without it all do, which takes minutes.
"""

import argparse
import resource
import time
from dataclasses import replace

import numpy as np

from cf.baselines.base import Scorer, Scores
from cf.core.ratings import Indices, Ratings
from cf.evaluation import ranking

N_USERS, N_ITEMS, N_RATINGS = 200_948, 87_585, 32_000_204
N_FACTORS = 16


def made_up_ratings(rng: np.random.Generator) -> tuple[Ratings, Ratings]:
    """Train and held-out ratings."""
    n_valid = N_RATINGS // 5
    return part(rng, N_RATINGS - n_valid), part(rng, n_valid)


def part(rng: np.random.Generator, n: int) -> Ratings:
    """So many ratings; the most active users and the most popular items have the most."""
    users = (N_USERS * rng.random(n) ** 2).astype(np.int64)
    items = (N_ITEMS * rng.random(n) ** 4).astype(np.int64)
    values = (rng.integers(1, 11, n, dtype=np.int8) / np.float32(2)).astype(np.float32)
    return Ratings(users, items, values, None, np.arange(n))


def factors(rng: np.random.Generator) -> Scorer:
    """A scorer of little cost, so that the ranking is what is measured."""
    users = rng.standard_normal((N_USERS, N_FACTORS), dtype=np.float32)
    items = rng.standard_normal((N_FACTORS, N_ITEMS), dtype=np.float32)

    def scores(chosen: Indices) -> Scores:
        scored: Scores = users[chosen] @ items
        return scored

    return scores


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=N_USERS, help="how many to make lists for")
    n_lists = parser.parse_args().users
    rng = np.random.default_rng(0)
    train, valid = made_up_ratings(rng)
    scorer = factors(rng)
    started = time.perf_counter()
    task = ranking.make_task(train, valid, N_USERS, N_ITEMS, lowest_relevant=4.0)
    sample = np.linspace(0, len(task.users) - 1, min(n_lists, len(task.users))).astype(np.int64)
    task = replace(task, users=task.users[sample], n_relevant=task.n_relevant[sample])
    prepared = time.perf_counter()
    lists = ranking.recommend(scorer, task, 10)
    listed = time.perf_counter()
    metrics = ranking.evaluate_lists({"dot": lists}, task, 10, "valid")
    evaluated = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{N_USERS:,} users by {N_ITEMS:,} items, {N_RATINGS:,} ratings")
    print(f"the task: seen and relevant items: {prepared - started:.1f} s")
    print(f"lists of 10 for {len(sample):,} users: {listed - prepared:.1f} s")
    print(f"metrics: {evaluated - listed:.1f} s, NDCG {metrics['ndcg_at_10'][0]:.6f}")
    print(f"peak memory, ratings included: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
