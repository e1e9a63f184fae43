"""Seconds of a sweep of bayesmf in this process, and with its draws on one and two workers of Ray.

Usage: python -m benchmarks.ray_sampler, after make ray

Made-up ratings, 16 factors, one thread a process. Medians are printed, of whole sweeps and of the
draws of users and items, which are what Ray divides.
"""

import argparse
import statistics
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.adagrad import made_up
from cf.bayes.gibbs import Divide, EntitySide, Priors, Sampler, by_users_and_items
from cf.core import config
from cf.distributed.rows import rows_on_ray

N_FACTORS, ROUNDS = 16, 5
N_USERS, N_ITEMS = 50_000, 22_000
WORKERS = (1, 2)


class Timed:
    """`RatingsByRow` that adds up how long its draws take."""

    def __init__(self, ratings: Any) -> None:
        self.ratings, self.seconds = ratings, 0.0

    def draw(self, *given: Any) -> Any:
        """As `RatingsByRow.draw`."""
        started = time.perf_counter()
        drawn = self.ratings.draw(*given)
        self.seconds += time.perf_counter() - started
        return drawn


def build(divide: Divide, n_ratings: int) -> tuple[Sampler, tuple[Timed, Timed]]:
    """A chain, and what draws its users and items."""
    torch.manual_seed(0)
    train = made_up(n_ratings, N_USERS, N_ITEMS)
    users, items = (torch.tensor(each, dtype=torch.int32) for each in (train.users, train.items))
    values = torch.from_numpy((train.values - train.values.mean()) / np.float32(train.values.std()))
    of_users, of_items = map(Timed, divide(users, items, N_USERS, N_ITEMS))
    sides = EntitySide(N_USERS, N_FACTORS, []), EntitySide(N_ITEMS, N_FACTORS, [])
    by_row = of_users, of_items
    return Sampler(users, items, values, *sides, True, Priors(), None, by_row), by_row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=8_000_000)
    n_ratings = parser.parse_args().ratings
    torch.set_num_threads(1)
    sweeps: dict[str, list[float]] = {}
    draws: dict[str, list[float]] = {}
    for n_workers in (0, *WORKERS):  # one cluster at a time: each takes the cores it is given
        name = f"Ray, {n_workers} worker{'s' * (n_workers > 1)}" if n_workers else "this process"
        with ExitStack() as stack:
            divide: Divide = by_users_and_items
            if n_workers:
                settings = config.Ray(
                    address=None, workers=n_workers, storage="ray", max_failures=0
                )
                divide = stack.enter_context(rows_on_ray(settings))
            sampler, by_row = build(divide, n_ratings)
            for round_ in range(ROUNDS + 1):
                before, started = sum(each.seconds for each in by_row), time.perf_counter()
                sampler.sweep()
                if round_:  # the first one compiles, and sends ratings
                    sweeps.setdefault(name, []).append(time.perf_counter() - started)
                    draws.setdefault(name, []).append(sum(each.seconds for each in by_row) - before)
    table = Table(title=f"{n_ratings:,} ratings, {N_USERS:,} users x {N_ITEMS:,} items")
    for heading in ("", "s a sweep", "of which draws, s", "draws: times as fast"):
        table.add_column(heading, justify="right" if heading else "left")
    base = statistics.median(draws["this process"])
    for name, seconds in sweeps.items():
        drawing = statistics.median(draws[name])
        cells = f"{statistics.median(seconds):.2f}", f"{drawing:.2f}", f"{base / drawing:.2f}"
        table.add_row(name, *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
