"""What each switch of bayesmf is worth, on a slice of the training rows: no validation row is read.

Usage: python -m benchmarks.bayesmf [SEEDS]
"""

import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.switches import OFF
from cf.bayes import side_information
from cf.bayes.sample import Sweep, sample
from cf.bayes.side_information import drop_unavailable
from cf.core import config, io, paths
from cf.core.config import Sampling
from cf.core.ratings import Provenance, Ratings, Stars, is_cold
from cf.data import split as splitting
from cf.evaluation import calibration, metrics
from cf.models import base
from cf.models.bayesmf import BayesMF
from cf.training import device
from cf.training.checkpoint import ModelSpec

SLICE = 0.2  # of the training rows, to judge on


class Data(NamedTuple):
    """What a chain uses besides ratings.

    Attributes:
        rating_range: in stars.
        users: features by index.
        items: genres, joined by "|", year of release and features by index.
        tags: item, tag and timestamp of each that was given.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    tags: pd.DataFrame
    rating_range: tuple[float, float]


def read() -> Data:
    """The project's data."""
    facts = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    users = io.read_parquet(paths.ENCODED_USERS, ["user_id"])
    items = io.read_parquet(paths.ENCODED_ITEMS, ["genres", "year"])
    tags = io.read_parquet(paths.ENCODED_TAGS, ["item", "tag", "timestamp"])
    return Data(users, items, tags, facts.rating_range)


def chain(
    sampling: Sampling, train: Ratings, valid: Ratings, data: Data
) -> tuple[BayesMF, Iterator[Sweep]]:
    """A model, and the sweeps that make it; the seed determines both."""
    device.prepare(torch.device("cpu"), sampling.n_threads, sampling.seed)
    spec = ModelSpec(sampling.model, len(data.users), len(data.items), data.rating_range)
    model = spec.build("bayesmf")
    assert isinstance(model, BayesMF)
    gibbs = drop_unavailable(sampling.gibbs, train, data.items, data.users, data.tags)
    features = side_information.features(gibbs, train, data.users, data.items, data.tags)
    return model, sample(model, train, valid, *features, gibbs)


def sampled(sampling: Sampling, train: Ratings, data: Data) -> BayesMF:
    """A model whose chain has ended, without validation."""
    model, sweeps = chain(sampling, train, train.take(np.arange(0)), data)
    deque(sweeps, maxlen=0)
    return model


def judged(sampling: Sampling, fitted: Ratings, held: Ratings) -> dict[str, Any]:
    """`rmse` on all held rows and `cold` on the cold ones, in stars, `seconds`, and error bars."""
    data = read()
    started = time.perf_counter()
    model = sampled(sampling, fitted, data)
    seconds = time.perf_counter() - started
    return scores(model, fitted, held, data)[0] | {"seconds": seconds}


def scores(
    model: BayesMF, fitted: Ratings, held: Ratings, data: Data
) -> tuple[dict[str, Any], Stars]:
    """The predictions; `rmse` on all held rows, `cold` on cold ones, in stars, and error bars."""
    predicted, sd = base.predict_mean_and_std(model, held.users, held.items, held.timestamps)
    assert sd is not None
    counts = fitted.user_counts(len(data.users)), fitted.item_counts(len(data.items))
    cold = is_cold(held, *counts)
    found = {
        "rmse": metrics.rmse(predicted, held.values),
        "cold": metrics.rmse(predicted[cold], held.values[cold]),
        **calibration.summary(predicted, sd, held.values),
    }
    return found, predicted


def mean(
    sampling: Sampling, n_seeds: int, changes: dict[str, Any], fitted: Ratings, held: Ratings
) -> dict[str, float]:
    """The metrics of a variant, the mean over sampler seeds 1, 2, ..."""
    runs = [
        judged(changed(sampling, seed, **changes), fitted, held) for seed in range(1, n_seeds + 1)
    ]
    return {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}


def changed(sampling: Sampling, seed: int, **changes: Any) -> Sampling:
    """The section with another seed, and with other values under `model` or `gibbs`."""
    of_model = {key: value for key, value in changes.items() if key in sampling.model}
    of_gibbs = {key: value for key, value in changes.items() if key not in sampling.model}
    return sampling.model_copy(
        update={
            "seed": seed,
            "model": sampling.model | of_model,
            "gibbs": sampling.gibbs.model_copy(update=of_gibbs),
        }
    )


def variants(sampling: Sampling, ratings: Ratings) -> dict[str, dict[str, Any]]:
    """What to change, by name: each switch off that the data has something for, and several."""
    data = read()
    gibbs = drop_unavailable(sampling.gibbs, ratings, data.items, data.users, data.tags)
    return {
        "everything": {},
        **{f"without {name}": {name: off} for name, off in OFF.items() if getattr(gibbs, name)},
        "ids and user_noise": OFF | {"user_noise": True},
        "ids only": OFF,
    }


def main() -> None:
    """Print the table, the mean over the seeds."""
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    train = Ratings.read(paths.TRAIN)
    parts = splitting.random_split(len(train), SLICE, seed=1)
    fitted, held = train.take(parts["train"]), train.take(parts["valid"])
    table = Table(title=f"bayesmf, {len(held):,} training rows held out, {n_seeds} seeds")
    for heading in ("variant", "RMSE", "cold", "seconds"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name, changes in variants(sampling, train).items():
        found = mean(sampling, n_seeds, changes, fitted, held)
        figures = f"{found['rmse']:.4f}", f"{found['cold']:.4f}", f"{found['seconds']:.1f}"
        table.add_row(name, *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
