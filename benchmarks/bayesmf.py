"""What each switch of bayesmf is worth, on a slice of the training rows: no validation row is read.

Usage: python -m benchmarks.bayesmf [SEEDS]
"""

import sys
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from cf import params
from cf.data import splitting, tables
from cf.data.tables import Provenance
from cf.evaluation import metrics
from cf.models import base
from cf.models.bayesmf import BayesMF
from cf.params import Gibbs, Sampling
from cf.ratings import Ratings
from cf.sampling import features, posterior
from cf.training import devices
from cf.training.checkpoints import Blueprint
from stages import items, paths

SLICE = 0.2  # of the training rows, to judge on
SWITCHES = ("user_noise", "days", "genres", "year", "popularity", "raters", "rated")


def judged(
    sampling: Sampling, gibbs: Gibbs, fitted: Ratings, held: Ratings, seed: int
) -> tuple[float, float, float]:
    """RMSE on all held rows and on the cold ones, in stars, and seconds."""
    facts = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    sizes = facts.n_users, facts.n_items
    devices.prepare(torch.device("cpu"), sampling.n_threads, seed)
    model = Blueprint(sampling.model, *sizes, facts.rating_range).build("bayesmf")
    assert isinstance(model, BayesMF)
    started = time.perf_counter()
    of_users = features.of_users(gibbs, fitted, *sizes)
    known = items.genres().tolist(), items.years()
    of_items = features.of_items(gibbs, fitted, *sizes, *known)
    nothing = held.take(np.arange(0))
    for _ in posterior.sample(model, fitted, nothing, of_users, of_items, gibbs):
        pass
    seconds = time.perf_counter() - started
    predicted = base.predict(model, held.users, held.items, held.timestamps)
    cold = splitting.cold(fitted, held)
    rmse = metrics.rmse(predicted, held.values)
    return rmse, metrics.rmse(predicted[cold], held.values[cold]), seconds


def main() -> None:
    """Print the table, the mean over the seeds."""
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    sampling = params.load(paths.PARAMS, "train_bayesmf", Sampling)
    train = tables.read_ratings(paths.TRAIN)
    order = np.random.RandomState(1).permutation(len(train))
    n_held = int(SLICE * len(train))
    held, fitted = train.take(order[:n_held]), train.take(np.sort(order[n_held:]))
    off = dict.fromkeys(SWITCHES, False)
    variants = {
        "everything": {},
        **{f"without {name}": {name: False} for name in SWITCHES},
        "ids and user_noise": {**off, "user_noise": True},
        "ids only": off,
    }
    table = Table(title=f"bayesmf, {len(held):,} training rows held out, {n_seeds} seeds")
    for heading in ("variant", "RMSE", "cold", "seconds"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name, changes in variants.items():
        gibbs = sampling.gibbs.model_copy(update=changes)
        runs = [judged(sampling, gibbs, fitted, held, seed) for seed in range(1, n_seeds + 1)]
        rmse, cold, seconds = np.mean(runs, axis=0)
        table.add_row(name, f"{rmse:.4f}", f"{cold:.4f}", f"{seconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
