"""Ratings per second of row-wise Adagrad, compiled and by PyTorch, beside Adam on whole tables.

dotbias with 50 factors on made-up ratings whose users and items are as unequal as in MovieLens
(Zipf's law), sorted by user. Systems are measured in turn, round by round, and medians are printed.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from cf.core import config
from cf.core.ratings import Ratings
from cf.training import device, optim
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit

ROUNDS = 3
LARGE = 65_536  # ratings a step
ROWWISE = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.01, eps=1.0)
ADAM = config.Adam(name="adam", betas=[0.9, 0.999], weight_decay=0.0002)
SYSTEMS: dict[str, tuple[config.Adam | config.RowwiseAdagrad, int, int]] = {
    "adam, batches of 65,536, 1 thread": (ADAM, LARGE, 1),
    "rowwise_adagrad, batches of 65,536, 1 thread": (ROWWISE, LARGE, 1),
    "rowwise_adagrad compiled, 1 thread": (ROWWISE, 1, 1),
    "rowwise_adagrad compiled, 2 threads": (ROWWISE, 1, 2),
}


def made_up(n_ratings: int, n_users: int, n_items: int) -> Ratings:
    """Ratings of random stars, sorted by user."""
    draw = np.random.default_rng(0)

    def indices(n_rows: int, exponent: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        weights = np.arange(1, n_rows + 1) ** -exponent
        return draw.permutation(n_rows)[draw.choice(n_rows, n_ratings, p=weights / weights.sum())]

    users, items = np.sort(indices(n_users, 0.6)), indices(n_items, 0.9)
    stars = draw.integers(1, 11, n_ratings).astype(np.float32) * np.float32(0.5)
    return Ratings(users, items, stars, None, np.arange(n_ratings))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=8_000_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=22_000)
    size = parser.parse_args()
    train = made_up(size.ratings, size.users, size.items)
    model = {"name": "dotbias", "n_factors": 50, "init_range": [-0.01, 0.01]}
    spec = ModelSpec(model, size.users, size.items, (0.5, 5.0))
    endless = config.Schedule(n_epochs=[ROUNDS + 1], learning_rate=0.01, anneal="none")
    epochs = {}
    for name, (settings, batch_size, n_threads) in SYSTEMS.items():
        device.prepare(torch.device("cpu"), n_threads, seed=1)
        built = spec.build(name)
        optimizer = optim.build(settings, built, len(train))
        epochs[name] = fit(built, train, train.take(np.arange(1)), optimizer, endless, batch_size)
    wall: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    cpu: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    for round_ in range(ROUNDS + 1):
        for name, (_, _, n_threads) in SYSTEMS.items():
            torch.set_num_threads(n_threads)
            started = time.process_time()
            seconds = next(epochs[name]).seconds
            if round_:  # the first also sorts the ratings and compiles
                wall[name].append(seconds)
                cpu[name].append(time.process_time() - started)
    title = f"{size.ratings:,} ratings, {size.users:,} users x {size.items:,} items, 50 factors"
    table = Table(title=f"{title}, {ROUNDS} rounds")
    for heading in ("system", "s an epoch", "M ratings/s", "M ratings/s of CPU time"):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for name in SYSTEMS:
        seconds, cpu_seconds = statistics.median(wall[name]), statistics.median(cpu[name])
        speeds = (f"{size.ratings / each / 1e6:.1f}" for each in (seconds, cpu_seconds))
        table.add_row(name, f"{seconds:.2f}", *speeds)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
