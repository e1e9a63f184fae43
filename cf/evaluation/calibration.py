"""Calibration: whether predicted standard deviations match the errors."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.ratings import Indices, Stars
from cf.evaluation import strata
from cf.evaluation.metrics import Summary

LEVELS = (50, 80, 95)
"""The intervals whose coverage is in the reports, in percent."""

COVERAGE = {level: f"coverage_{level}" for level in LEVELS}
METRICS = ("nll", *COVERAGE.values())
"""The keys of a `summary`."""

N_DECILES = 10

Floats = NDArray[np.float64]


def nll(mean: Stars, sd: Stars, observed: Stars) -> float:
    """Mean negative logarithm of the normal density at the observed ratings, in nats per rating.

    Ratings lie on a grid, but count as points of a line here. Where deviations are wide compared
    to the grid's step, the density times the step approximates the probability of each rating.

    Args:
        mean: (n,) predicted, in stars.
        sd: (n,) predicted standard deviation, in stars, above 0.
        observed: (n,) in stars.

    Raises:
        ValueError: nothing to compare, shapes differ, or a deviation is not above 0.

    Source:
        Gneiting and Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation",
        section 4: the logarithmic score, with the sign changed.
    """
    z = _standardized(mean, sd, observed)
    return float(np.mean(0.5 * z**2 + np.log(sd.astype(np.float64))) + 0.5 * np.log(2 * np.pi))


def coverage(mean: Stars, sd: Stars, observed: Stars, levels: Sequence[float]) -> Floats:
    """The fraction of ratings that lie within the central normal interval of each level.

    An interval may extend beyond the range of ratings: no rating is there.

    Args:
        levels: (n_levels,) probabilities in (0, 1); the others, and errors, as for `nll`.

    Returns:
        (n_levels,) in [0, 1]: the levels themselves where the model is calibrated.

    Source:
        Dawid 1984, "Statistical Theory: The Prequential Approach"; Gneiting, Balabdaoui and
        Raftery 2007, "Probabilistic Forecasts, Calibration and Sharpness".
    """
    z = np.sort(np.abs(_standardized(mean, sd, observed)))
    ends = [NormalDist().inv_cdf((1 + level) / 2) for level in levels]
    covered: Floats = np.searchsorted(z, ends, side="right") / len(z)
    return covered


def summary(mean: Stars, sd: Stars, observed: Stars) -> Summary:
    """The calibration of one model, with the keys `METRICS`.

    Arguments and errors as for `nll`; coverage is a fraction, in [0, 1].
    """
    covered = coverage(mean, sd, observed, [level / 100 for level in LEVELS])
    return {
        "nll": nll(mean, sd, observed),
        **dict(zip(COVERAGE.values(), covered.tolist(), strict=True)),
    }


def coverage_curves(
    means: Mapping[str, Stars], sds: Mapping[str, Stars], observed: Stars
) -> pd.DataFrame:
    """The coverage of the intervals of every level from 1% to 99%: model, level, coverage.

    Args:
        means: (n,) predicted in stars, by model.
        sds: (n,) standard deviations in stars, by model; others of `means` are left out.
        observed: (n,) in stars.
    """
    levels = range(1, 100)
    curves = pd.DataFrame(
        {
            name: coverage(means[name], sd, observed, [level / 100 for level in levels])
            for name, sd in sds.items()
        },
        index=pd.Index(levels, name="level"),
    )
    melted = curves.melt(ignore_index=False, var_name="model", value_name="coverage")
    return melted.reset_index()[["model", "level", "coverage"]]


def error_by_decile(
    means: Mapping[str, Stars], sds: Mapping[str, Stars], observed: Stars, users: Indices
) -> pd.DataFrame:
    """Predicted and actual error in each decile of the predicted standard deviations.

    Fewer than ten rows are a decile each.

    Args:
        users: (n,) indices; the others as for `coverage_curves`.

    Returns:
        model; decile, from 1; in stars predicted_sd, the root of the mean predicted variance, and
        rmse with the ends of its 95% interval, rmse_low and rmse_high, NaN where there are few
        users.
    """
    n, rows = len(observed), []
    for name, sd in sds.items():
        ranks = np.empty(n, dtype=np.int64)
        ranks[np.argsort(sd, kind="stable")] = np.arange(n)
        deciles = pd.Series(1 + ranks * min(n, N_DECILES) // n, name="decile", dtype="category")
        scores = strata.score([deciles], {name: means[name]}, observed, users)
        variance = pd.Series(sd.astype(np.float64) ** 2).groupby(deciles, observed=True).mean()
        scores["predicted_sd"] = np.sqrt(variance.to_numpy())
        rows += scores.rename(columns={"label": "decile"}).to_dict("records")
    return pd.DataFrame(
        rows, columns=["model", "decile", "predicted_sd", "rmse", "rmse_low", "rmse_high"]
    )


def _standardized(mean: Stars, sd: Stars, observed: Stars) -> Floats:
    if not mean.shape == sd.shape == observed.shape or mean.ndim != 1:
        shapes = f"{mean.shape}, {sd.shape} and {observed.shape}"
        raise ValueError(f"expected three arrays of shape (n,), got {shapes}")
    if not len(observed):
        raise ValueError("no rows to compare")
    if not (sd > 0).all():
        raise ValueError(f"expected deviations above 0, got {sd.min()}")
    return (observed.astype(np.float64) - mean) / sd
