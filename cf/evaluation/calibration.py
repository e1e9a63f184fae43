"""Calibration: whether predicted standard deviations match the errors.

Deviations that are not above 0 raise ValueError. By model, `means` may have more models than `sds`:
those that predict no deviations are left out.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.ratings import Indices, Stars
from cf.evaluation import strata
from cf.evaluation.metrics import Summary, errors

COVERAGE = {level: f"coverage_{level}" for level in (50, 80, 95)}  # in percent: names in reports
METRICS = ("nll", *COVERAGE.values())

Floats = NDArray[np.float64]


def nll(mean: Stars, sd: Stars, observed: Stars) -> float:
    """Mean negative logarithm of the normal density at the observed ratings, in nats per rating.

    Ratings lie on a grid, but count as points of a line here. Where deviations are wide compared
    to the grid's step, the density times the step approximates the probability of each rating.

    Source:
        Gneiting and Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation",
        section 4: the logarithmic score, with the sign changed.
    """
    z = _standardized(mean, sd, observed)
    return float(np.mean(0.5 * z**2 + np.log(sd.astype(np.float64))) + 0.5 * np.log(2 * np.pi))


def coverage(mean: Stars, sd: Stars, observed: Stars, levels: Sequence[float]) -> Floats:
    """The fraction of ratings within the central normal interval of each level, (n_levels,).

    Levels are probabilities in (0, 1). The fraction is the level itself where the model is
    calibrated. Intervals may extend beyond the range of ratings.

    Source:
        Dawid 1984, "Statistical Theory: The Prequential Approach"; Gneiting, Balabdaoui and
        Raftery 2007, "Probabilistic Forecasts, Calibration and Sharpness".
    """
    z = np.sort(np.abs(_standardized(mean, sd, observed)))
    ends = [NormalDist().inv_cdf((1 + level) / 2) for level in levels]
    covered: Floats = np.searchsorted(z, ends, side="right") / len(z)
    return covered


def summary(mean: Stars, sd: Stars, observed: Stars) -> Summary:
    """The calibration of one model, with the keys `METRICS`."""
    covered = coverage(mean, sd, observed, [level / 100 for level in COVERAGE])
    return dict(zip(METRICS, [nll(mean, sd, observed), *covered.tolist()], strict=True))


def coverage_curves(
    means: Mapping[str, Stars], sds: Mapping[str, Stars], observed: Stars
) -> pd.DataFrame:
    """The coverage of the intervals of every level from 1% to 99%: model, level, coverage."""
    rows = []
    for name, sd in sds.items():
        covered = coverage(means[name], sd, observed, [level / 100 for level in range(1, 100)])
        rows += [(name, level, fraction) for level, fraction in enumerate(covered, start=1)]
    return pd.DataFrame(rows, columns=["model", "level", "coverage"])


def error_by_decile(
    means: Mapping[str, Stars], sds: Mapping[str, Stars], observed: Stars, users: Indices
) -> pd.DataFrame:
    """Predicted and actual error in each decile of the predicted standard deviations.

    The columns are model; decile, from 1 (fewer than ten rows are a decile each); predicted_sd, the
    root of the mean predicted variance, and rmse with the ends of its 95% interval, rmse_low and
    rmse_high, NaN where there are few users.
    """
    n, rows = len(observed), []
    for name, sd in sds.items():
        ranks = np.argsort(np.argsort(sd, kind="stable"))
        decile = 1 + ranks * min(n, 10) // n
        groups = pd.Series(decile, dtype="category")
        scores = strata.score([groups], {name: means[name]}, observed, users)
        variance = pd.Series(sd.astype(np.float64) ** 2).groupby(decile).mean()
        scores["predicted_sd"] = np.sqrt(variance.to_numpy())
        rows += scores.rename(columns={"label": "decile"}).to_dict("records")
    columns = ["model", "decile", "predicted_sd", "rmse", "rmse_low", "rmse_high"]
    return pd.DataFrame(rows, columns=columns)


def _standardized(mean: Stars, sd: Stars, observed: Stars) -> Floats:
    z = errors(mean, observed)
    if sd.shape != z.shape or not (sd > 0).all():
        found = f"shape {sd.shape}" if sd.shape != z.shape else sd.min()
        raise ValueError(f"expected deviations above 0, of shape {z.shape}, got {found}")
    return z / sd
