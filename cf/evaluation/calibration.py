"""Whether a model knows how far off it is: what its error bars are worth."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices, Stars
from cf.evaluation import strata
from cf.evaluation.metrics import Summary
from cf.evaluation.strata import Strata

LEVELS = (50, 80, 95)
"""The intervals whose coverage is in the reports, in percent."""

COVERAGE = {level: f"coverage_{level}" for level in LEVELS}
METRICS = ("nll", *COVERAGE.values())
"""The names of what `summary` gives."""

N_TENTHS = 10

Floats = NDArray[np.float64]


def nll(mean: Stars, sd: Stars, observed: Stars) -> float:
    """Mean negative logarithm of the normal density at the observed ratings, in nats a rating.

    Ratings count as points of a line, although they lie on a grid. Where an error bar is wide
    beside the grid's step, the probability of the step around the rating would give this less
    the logarithm of the step.

    Args:
        mean: (n,) predicted, in stars.
        sd: (n,) standard deviation of the rating about it, in stars, above 0.
        observed: (n,) in stars.

    Raises:
        ValueError: nothing to compare, shapes differ, or a deviation is not above 0.

    Source:
        Gneiting and Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation",
        section 4: the logarithmic score, with the sign changed.
    """
    z = _standardised(mean, sd, observed)
    return float(np.mean(0.5 * z**2 + np.log(sd.astype(np.float64))) + 0.5 * np.log(2 * np.pi))


def coverage(mean: Stars, sd: Stars, observed: Stars, levels: Sequence[float]) -> Floats:
    """The share of ratings that lie within the central normal interval of each level.

    That an interval may go beyond the range of ratings changes nothing: no rating is there.

    Args:
        levels: (n_levels,) probabilities in (0, 1); the others, and errors, as for `nll`.

    Returns:
        (n_levels,) in [0, 1]; the levels themselves where error bars are right.

    Source:
        Dawid 1984, "Statistical Theory: The Prequential Approach"; Gneiting, Balabdaoui and
        Raftery 2007, "Probabilistic Forecasts, Calibration and Sharpness".
    """
    z = np.sort(np.abs(_standardised(mean, sd, observed)))
    ends = [NormalDist().inv_cdf((1 + level) / 2) for level in levels]
    shares: Floats = np.searchsorted(z, ends, side="right") / len(z)
    return shares


def summary(mean: Stars, sd: Stars, observed: Stars) -> Summary:
    """What the error bars of one model are worth, under the names `METRICS`.

    Arguments and errors as for `nll`; coverage is a share, in [0, 1].
    """
    shares = coverage(mean, sd, observed, [level / 100 for level in LEVELS])
    named = dict(zip(COVERAGE.values(), shares.tolist(), strict=True))
    return {"nll": nll(mean, sd, observed), **named}


def by_tenth(mean: Stars, sd: Stars, observed: Stars, users: Indices) -> Floats:
    """What was predicted of the error, and the error, of each tenth of the rows.

    Rows are put into tenths by their deviations, the smallest first; fewer than ten rows make a
    tenth each.

    Args:
        users: (n,) indices; the others as for `nll`.

    Returns:
        (4, n_tenths) in stars: the root of the mean squared deviation, the RMSE, and the ends of
        its 95% interval, NaN where there are few users.
    """
    n = len(observed)
    n_tenths = min(n, N_TENTHS)
    tenths = np.empty(n, dtype=np.int64)
    tenths[np.argsort(sd, kind="stable")] = np.arange(n) * n_tenths // n
    groups = Strata("sd", [str(tenth) for tenth in range(n_tenths)], np.arange(n), tenths)
    rows = strata.score([groups], {"model": mean}, observed, users)
    errors = np.array(
        [[row[key] for row in rows] for key in ("rmse", "rmse_low", "rmse_high")], dtype=np.float64
    )
    variance = np.bincount(tenths, sd.astype(np.float64) ** 2) / np.bincount(tenths)
    return np.vstack([np.sqrt(variance), errors])


def _standardised(mean: Stars, sd: Stars, observed: Stars) -> Floats:
    if not mean.shape == sd.shape == observed.shape or mean.ndim != 1:
        shapes = f"{mean.shape}, {sd.shape} and {observed.shape}"
        raise ValueError(f"expected three arrays of shape (n,), got {shapes}")
    if not len(observed):
        raise ValueError("no rows to compare")
    if not (sd > 0).all():
        raise ValueError(f"expected deviations above 0, got {sd.min()}")
    return (observed.astype(np.float64) - mean) / sd
