"""bayesmf on the validation rows of other splits, several sampler seeds each. Chooses nothing.

Takes data/encoded (`dvc repro encode`). A chain uses one thread, so as many run at a time as there
are processes. Usage: python -m benchmarks.splits [SEEDS [PROCESSES]]
"""

import multiprocessing
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.bayesmf import changed, read, sampled, scores, variants
from cf.baselines.bias import Bias
from cf.core import config, paths
from cf.core.config import Evaluate, Sampling
from cf.core.ratings import Ratings
from cf.data import split as splitting
from cf.evaluation import calibration, metrics
from cf.models import base

FRACTION = 0.2
N_LAST = 5
MORE = {"10 factors": {"n_factors": 10}, "200 sweeps": {"n_sweeps": 200, "n_samples": 160}}
N_RESAMPLES = 2000
Parts = Mapping[str, NDArray[np.int64]]


class Judged(NamedTuple):
    """One chain: its metrics, and the sum of squared errors of each user, (n_users,)."""

    found: dict[str, float]
    squares: NDArray[np.float64]


def splits(ratings: Ratings) -> dict[str, Parts]:
    """Three random splits, each user's last ratings, and the latest ratings of all."""
    assert ratings.timestamps is not None
    return {
        **{f"random, {s}": splitting.random_split(len(ratings), FRACTION, s) for s in (42, 7, 8)},
        f"leave_last, {N_LAST}": splitting.leave_last(ratings.users, ratings.timestamps, N_LAST),
        "leave_last, 1": splitting.leave_last(ratings.users, ratings.timestamps, 1),
        "time": splitting.by_time(ratings.timestamps, FRACTION),
    }


def judge(name: str, changes: dict[str, Any], seed: int) -> Judged:
    """A chain of a variant on a split."""
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    ratings = Ratings.read(paths.ENCODED_RATINGS)
    parts = splits(ratings)[name]
    train, held = ratings.take(parts["train"]), ratings.take(parts["valid"])
    data = read()
    model = sampled(changed(sampling, seed, **changes), train, data)
    found, predicted = scores(model, train, held, data)
    found["no time"] = metrics.rmse(base.predict(model, held.users, held.items), held.values)
    errors = np.square(predicted.astype(np.float64) - held.values)
    squares = np.bincount(held.users, errors, int(ratings.users.max()) + 1)
    return Judged(found, squares.astype(np.float64))


def behind(
    one: list[Judged], other: list[Judged], counts: NDArray[np.int64]
) -> tuple[float, float]:
    """The 95% interval of the RMSE of the one less that of the other, over users and seeds."""
    draw = np.random.default_rng(0)
    users = draw.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), N_RESAMPLES)
    n = users @ counts

    def resampled(chains: list[Judged]) -> NDArray[np.float64]:
        of_seeds = np.stack([users @ chain.squares for chain in chains], axis=1)
        weights = draw.multinomial(len(chains), np.full(len(chains), 1 / len(chains)), N_RESAMPLES)
        mean = (of_seeds * weights).sum(1) / len(chains)
        found: NDArray[np.float64] = np.sqrt(mean / n)
        return found

    low, high = np.quantile(resampled(one) - resampled(other), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Print the table: means over the seeds, and intervals of the difference to everything."""
    n_seeds, n_processes = (int(n) for n in (*sys.argv[1:], *("3", "1")[len(sys.argv) - 1 :]))
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    damping = config.load(paths.PARAMS, "evaluate", Evaluate).damping
    ratings = Ratings.read(paths.ENCODED_RATINGS)
    sizes = 1 + int(ratings.users.max()), 1 + int(ratings.items.max())
    changes = {**variants(sampling, ratings), **MORE}
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, spawned) as pool:
        jobs = {
            (name, variant, seed): pool.submit(judge, name, change, seed)
            for name in splits(ratings)
            for variant, change in changes.items()
            for seed in range(1, n_seeds + 1)
        }
        done = {key: job.result() for key, job in jobs.items()}
    table = Table(title=f"bayesmf, {n_seeds} sampler seeds", box=box.SIMPLE_HEAD, padding=0)
    for heading in ("split", "variant"):
        table.add_column(heading)
    levels = (f"{level}%" for level in calibration.COVERAGE)
    for heading in ("RMSE", "more than everything, 95%", "no time", "cold", "nll", *levels):
        table.add_column(heading, justify="right")
    for name, parts in splits(ratings).items():
        train, held = ratings.take(parts["train"]), ratings.take(parts["valid"])
        counts = np.bincount(held.users, minlength=sizes[0])
        bias = Bias(damping).fit(train, *sizes).predict(held.users, held.items)
        table.add_row(name, "bias baseline", f"{metrics.rmse(bias, held.values):.4f}")
        for variant in changes:
            chains = [done[name, variant, seed] for seed in range(1, n_seeds + 1)]
            mean = {key: np.mean([c.found[key] for c in chains]) for key in chains[0].found}
            whole = [done[name, "everything", seed] for seed in range(1, n_seeds + 1)]
            low, high = behind(chains, whole, counts)
            interval = "" if variant == "everything" else f"{low:+.4f} to {high:+.4f}"
            figures = (f"{mean[key]:.4f}" for key in ("no time", "cold"))
            shares = (f"{100 * mean[key]:.1f}" for key in calibration.COVERAGE.values())
            row = f"{mean['rmse']:.4f}", interval, *figures, f"{mean['nll']:.3f}", *shares
            table.add_row(name, variant, *row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
