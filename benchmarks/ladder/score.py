"""bayesmf's chains on a row of the ladder, and what they come to."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bayesmf import changed, sampled
from benchmarks.ladder.rows import LADDER, Row, read
from cf.baselines.bias import Bias
from cf.core import config, paths
from cf.core.config import Sampling
from cf.core.ratings import Stars
from cf.evaluation import bootstrap, metrics
from cf.models import base

N_RESAMPLES = 2000


class Chain(NamedTuple):
    """One chain: RMSE with and without the times of the held-out rows, and seconds to fit.

    Attributes:
        predicted: (n,) for the held-out rows.
    """

    rmse: float
    no_times: float
    seconds: float
    predicted: Stars


@dataclass(frozen=True)
class Result:
    """What cf has on a row: medians over the sampler's seeds.

    Attributes:
        no_times: asked without the times of the held-out rows; None where the data has none.
        interval: 95%, over users, of the chain in the middle.
        ahead: of the baseline: the 95% interval of its RMSE less that chain's, paired.
        seconds: to fit, side information included.
    """

    row: str
    n_train: int
    n_test: int
    bias: float
    no_times: float | None
    rmse: float
    rmse_of_seeds: list[float]
    interval: list[float]
    ahead: list[float]
    seconds: float


def run(name: str, path: Path, changes: dict[str, Any], seed: int) -> Chain:
    """A chain on a row of the ladder."""
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    train, held, data = read(LADDER[name], path)
    started = time.perf_counter()
    model = sampled(changed(sampling, seed, **changes), train, data)
    seconds = time.perf_counter() - started
    predicted = base.predict(model, held.users, held.items, held.timestamps)
    no_times = metrics.rmse(base.predict(model, held.users, held.items), held.values)
    return Chain(metrics.rmse(predicted, held.values), no_times, seconds, predicted)


def summarize(row: Row, path: Path, chains: list[Chain], damping: float) -> Result:
    """The row's result out of its chains, one a seed."""
    train, held, data = read(row, path)
    baseline = Bias(damping).fit(train, len(data.users), len(data.items))
    bias = baseline.predict(held.users, held.items)
    middle = sorted(chains, key=lambda chain: chain.rmse)[(len(chains) - 1) // 2]
    predictions = {"cf": middle.predicted, "bias": bias}
    resampled = bootstrap.resample(predictions, held.values, held.users, N_RESAMPLES, seed=1)
    resampled["ahead"] = resampled["bias"] - resampled["cf"]
    ends = bootstrap.intervals(resampled).T
    no_times = float(np.median([chain.no_times for chain in chains]))
    return Result(
        row=row.name,
        n_train=len(train),
        n_test=len(held),
        bias=metrics.rmse(bias, held.values),
        no_times=None if held.timestamps is None else no_times,
        rmse=middle.rmse,
        rmse_of_seeds=[chain.rmse for chain in chains],
        interval=ends["cf"].tolist(),
        ahead=ends["ahead"].tolist(),
        seconds=float(np.median([chain.seconds for chain in chains])),
    )
