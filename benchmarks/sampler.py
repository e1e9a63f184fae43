"""Seconds a sweep and memory of bayesmf's sampler, on data/split and at the shape of ml-1m.

Takes data/split (`dvc repro split`). Each line is measured in a process of its own, one after the
other. `times` is relative to a sweep with ids only on one thread; memory is that of the process,
PyTorch included. Of the million made-up ratings, with 16 factors, it makes ten sweeps.
"""

import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.bayesmf import Data, chain, changed, read
from benchmarks.switches import OFF
from cf.core import config, paths
from cf.core.config import Sampling
from cf.core.ratings import Indices, Ratings

N_USERS, N_ITEMS, N_RATINGS = 6040, 3706, 1_000_000  # ml-1m's shape
N_FACTORS, N_SWEEPS = 16, 10  # there


class Took(NamedTuple):
    """Seconds before the first sweep, of the median sweep, and in all; peak memory in MiB."""

    start: float
    sweep: float
    total: float
    peak: float


def real(everything: bool, n_threads: int) -> Took:
    """The chain that params.yaml describes, or one of ids only."""
    train, valid = (
        Ratings.read(paths.TRAIN),
        Ratings.read(paths.VALID),
    )
    return took(settings(everything, n_threads), train, valid, read())


def made_up(everything: bool, n_threads: int) -> Took:
    """A short chain of a million ratings, unevenly spread as such ratings are."""
    draw = np.random.default_rng(0)
    pairs = np.unique(pair(draw, 3 * N_RATINGS))
    raters, movies = divmod(draw.permutation(pairs)[:N_RATINGS], N_ITEMS)
    values = draw.integers(1, 6, N_RATINGS).astype(np.float32)
    # Each user rates within an hour on three days.
    times = 86400 * draw.integers(0, 3, N_RATINGS) + draw.integers(0, 3600, N_RATINGS)
    train = Ratings(raters, movies, values, times, np.arange(N_RATINGS))
    names = draw.choice(["Action", "Comedy", "Drama", "Comedy|Drama", "War"], N_ITEMS).tolist()
    years = draw.integers(1930, 2001, N_ITEMS).astype(float)
    users, items, tags = (
        pd.DataFrame(index=range(N_USERS)),
        pd.DataFrame({"genres": names, "year": years}),
        pd.DataFrame({"item": np.arange(N_ITEMS), "tag": names, "timestamp": 0}),
    )
    data = Data(users, items, tags, (0.5, 5.0))
    sampling = settings(everything, n_threads)
    short = {"n_factors": N_FACTORS, "n_samples": N_SWEEPS, "n_sweeps": N_SWEEPS, "burn_in": 0}
    sampling = changed(sampling, sampling.seed, **short)
    return took(sampling, train, train.take(np.arange(0)), data)


def pair(draw: np.random.Generator, n: int) -> Indices:
    """(n,) pairs of a user and an item, some more active and more popular than others."""
    users, movies = ((size * draw.random(n) ** 2).astype(np.int64) for size in (N_USERS, N_ITEMS))
    return users * N_ITEMS + movies


def settings(everything: bool, n_threads: int) -> Sampling:
    """Those of params.yaml, or without all that is not in ids."""
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    sampling = changed(sampling, sampling.seed, **({} if everything else OFF))
    return sampling.model_copy(update={"n_threads": n_threads})


def took(sampling: Sampling, train: Ratings, valid: Ratings, data: Data) -> Took:
    """What one chain takes, with the validation after each sweep in `total` alone."""
    started = time.perf_counter()
    _, sweeps = chain(sampling, train, valid, data)
    start = time.perf_counter() - started
    seconds = [sweep.seconds for sweep in sweeps]
    total = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Took(start, statistics.median(seconds), total, peak)


def main() -> None:
    """Measure and print."""
    ratings = {"data/split": real, "as ml-1m": made_up}
    table = Table(title="bayesmf", box=box.SIMPLE_HEAD)
    for heading in ("ratings", "knows"):
        table.add_column(heading)
    for heading in ("threads", "start, s", "sweep, s", "times", "all, s", "MiB"):
        table.add_column(heading, justify="right")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for name, measure in ratings.items():
            first = None
            for everything in (False, True):
                for n_threads in (1, 2):
                    done = pool.submit(measure, everything, n_threads).result()
                    first = first or done.sweep
                    table.add_row(
                        name,
                        "everything" if everything else "ids only",
                        f"{n_threads}",
                        f"{done.start:.1f}",
                        f"{done.sweep:.3f}",
                        f"{done.sweep / first:.2f}",
                        f"{done.total:.1f}",
                        f"{done.peak:.0f}",
                    )
    Console().print(table)


if __name__ == "__main__":
    main()
