"""Seconds of the leaderboard's intervals: 10,000 resamples, eight models, made-up errors."""

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from cf.evaluation import bootstrap

N_MODELS = 8
SIZES = {"ml-latest-small": (610, 20_167), "ml-1m": (6_040, 200_041)}
"""Users and validation ratings at `split.fraction` 0.2."""


def main() -> None:
    """Measure and print."""
    table = Table(title=f"Paired bootstrap over users: 10,000 resamples, {N_MODELS} models")
    for heading in ("as large as", "users", "ratings", "seconds"):
        table.add_column(heading, justify="left" if heading == "as large as" else "right")
    rng = np.random.default_rng(0)
    for name, (n_users, n_rows) in SIZES.items():
        users = rng.integers(0, n_users, n_rows)
        observed = rng.normal(3.5, 1, n_rows).astype(np.float32)
        predictions = {
            f"model {number}": observed + rng.normal(0, 0.9, n_rows).astype(np.float32)
            for number in range(N_MODELS)
        }
        started = time.perf_counter()
        bootstrap.resample(predictions, observed, users, n_resamples=10_000, seed=0)
        seconds = time.perf_counter() - started
        table.add_row(name, f"{n_users:,}", f"{n_rows:,}", f"{seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
