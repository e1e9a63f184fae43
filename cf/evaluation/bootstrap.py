"""Confidence intervals: the paired bootstrap over users."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cf.core.ratings import Indices, Stars

CELLS_PER_CHUNK = 2**22  # users times resamples worked on at once: about 100 MB

MIN_USERS = 10
"""Fewer users give no intervals: they say too little about others."""

ROUNDING = 2**20
"""Sums of squared errors are rounded to 1/2²⁰, far below what matters. Their sums are then
exact up to 8·10⁹, whatever the order in which a machine adds them: models with equal
predictions get equal RMSEs to the bit, on any number of threads."""


def resample(
    predictions: Mapping[str, Stars], observed: Stars, users: Indices, n_resamples: int, seed: int
) -> pd.DataFrame:
    """The RMSE of each model (columns) on each resample of the users (rows).

    A resample draws as many users as there are, with replacement, each with all their rows, which
    are not independent: resampling rows would make intervals too narrow. All models are scored on
    the same resamples, so that their differences are paired. The order of rows does not matter;
    other indices for the same users act like another seed. With fewer users than `MIN_USERS` all
    are missing.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 (draw what is
        independent) and 13 (percentile intervals).
    """
    lengths = {len(observed), len(users), *map(len, predictions.values())}
    if len(lengths) > 1 or not len(observed):
        raise ValueError(f"expected arrays of one length, not 0, got lengths {sorted(lengths)}")
    _, positions, counts = np.unique(users, return_inverse=True, return_counts=True)
    errors = (predicted.astype(np.float64) - observed for predicted in predictions.values())
    squares = np.array([np.bincount(positions, error**2) for error in errors])
    table = np.column_stack([*(np.round(squares * ROUNDING) / ROUNDING), counts])
    n_users = len(counts)
    if n_users < MIN_USERS:
        return pd.DataFrame(np.nan, index=range(n_resamples), columns=list(predictions))
    rng = np.random.default_rng(seed)
    sums = np.empty((n_resamples, table.shape[1]))
    step = max(1, CELLS_PER_CHUNK // n_users)
    for start in range(0, n_resamples, step):
        rows = min(step, n_resamples - start)
        drawn = rng.integers(n_users, size=(rows, n_users))
        drawn += n_users * np.arange(rows)[:, np.newaxis]
        times = np.bincount(drawn.ravel(), minlength=rows * n_users).reshape(rows, n_users)
        sums[start : start + rows] = times.astype(np.float64) @ table
    return pd.DataFrame(np.sqrt(sums[:, :-1] / sums[:, -1:]), columns=list(predictions))


def intervals(resampled: pd.DataFrame) -> pd.DataFrame:
    """The ends of each column's 95% percentile interval: a row per column, low and high."""
    return resampled.quantile([0.025, 0.975]).set_axis(["low", "high"]).T
