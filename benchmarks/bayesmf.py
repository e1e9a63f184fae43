"""What each switch of bayesmf is worth, on a slice of the training rows: no validation row is read.

Usage: python -m benchmarks.bayesmf [SEEDS]
"""

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.switches import OFF, SWITCHES
from cf.bayes import sample as posterior
from cf.bayes import side_information as features
from cf.bayes.sample import Sweep
from cf.core import config, io, paths
from cf.core.config import Sampling
from cf.core.provenance import Provenance
from cf.core.ratings import Ratings, is_cold
from cf.data import split as splitting
from cf.evaluation import calibration, metrics
from cf.models import base
from cf.models.bayesmf import BayesMF
from cf.training import device as devices
from cf.training.checkpoint import ModelSpec
from stages import items
from stages import sampling as stage

SLICE = 0.2  # of the training rows, to judge on


class Known(NamedTuple):
    """What a chain is told besides ratings.

    Attributes:
        sizes: number of users and of items.
        genres: (n_items,) names joined by "|".
        years: (n_items,) of release, NaN where unknown.
        rating_range: in stars.
    """

    sizes: tuple[int, int]
    genres: Sequence[str]
    years: NDArray[np.float64]
    rating_range: tuple[float, float]


def known() -> Known:
    """What the project's data tells."""
    facts = io.read_dataclass(paths.PROVENANCE, Provenance)
    sizes = facts.n_users, facts.n_items
    return Known(sizes, items.genres().tolist(), items.years(), facts.rating_range)


def chain(
    sampling: Sampling, train: Ratings, watched: Ratings, known: Known
) -> tuple[BayesMF, Iterator[Sweep]]:
    """A model, and the sweeps that make it; both of chance that the seed sets."""
    devices.prepare(torch.device("cpu"), sampling.n_threads, sampling.seed)
    model = ModelSpec(sampling.model, *known.sizes, known.rating_range).build("bayesmf")
    assert isinstance(model, BayesMF)
    told = known.genres, known.years
    gibbs = stage.possible("bayesmf", sampling.gibbs, train, *told)
    of_users = features.of_users(gibbs, train, *known.sizes)
    of_items = features.of_items(gibbs, train, *known.sizes, *told)
    return model, posterior.sample(model, train, watched, of_users, of_items, gibbs)


def sampled(sampling: Sampling, train: Ratings, known: Known) -> BayesMF:
    """A model whose chain has ended, no other ratings watched."""
    model, sweeps = chain(sampling, train, train.take(np.arange(0)), known)
    deque(sweeps, maxlen=0)
    return model


def judged(sampling: Sampling, fitted: Ratings, held: Ratings) -> dict[str, Any]:
    """`rmse` on all held rows and `cold` on the cold ones, in stars, `seconds`, and error bars."""
    told = known()
    started = time.perf_counter()
    model = sampled(sampling, fitted, told)
    seconds = time.perf_counter() - started
    predicted, sd = base.predict_mean_and_std(model, held.users, held.items, held.timestamps)
    assert sd is not None
    cold = is_cold(fitted, held)
    return {
        "rmse": metrics.rmse(predicted, held.values),
        "cold": metrics.rmse(predicted[cold], held.values[cold]),
        "seconds": seconds,
        **calibration.summary(predicted, sd, held.values),
    }


def mean(
    sampling: Sampling, n_seeds: int, changes: dict[str, Any], fitted: Ratings, held: Ratings
) -> dict[str, float]:
    """Likewise of a variant, the mean over sampler seeds 1, 2, ..."""
    runs = [
        judged(changed(sampling, seed, **changes), fitted, held) for seed in range(1, n_seeds + 1)
    ]
    return {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}


def changed(sampling: Sampling, seed: int, **changes: Any) -> Sampling:
    """Likewise, with another seed, and with other values under `model` or `gibbs`."""
    of_model = {key: value for key, value in changes.items() if key in sampling.model}
    of_gibbs = {key: value for key, value in changes.items() if key not in sampling.model}
    return sampling.model_copy(
        update={
            "seed": seed,
            "model": sampling.model | of_model,
            "gibbs": sampling.gibbs.model_copy(update=of_gibbs),
        }
    )


def main() -> None:
    """Print the table, the mean over the seeds."""
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    train = Ratings.from_frame(io.read_parquet(paths.TRAIN))
    parts = splitting.random_split(len(train), SLICE, seed=1)
    fitted, held = train.take(parts["train"]), train.take(parts["valid"])
    variants: dict[str, dict[str, Any]] = {
        "everything": {},
        **{f"without {name}": {name: False} for name in SWITCHES},
        "ids and user_noise": {**OFF, "user_noise": True},
        "ids only": OFF,
    }
    table = Table(title=f"bayesmf, {len(held):,} training rows held out, {n_seeds} seeds")
    for heading in ("variant", "RMSE", "cold", "seconds"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name, changes in variants.items():
        found = mean(sampling, n_seeds, changes, fitted, held)
        figures = f"{found['rmse']:.4f}", f"{found['cold']:.4f}", f"{found['seconds']:.1f}"
        table.add_row(name, *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
