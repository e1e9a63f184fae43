"""How sure a score is: the paired bootstrap over users."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices, Stars

CELLS_A_CHUNK = 2**22
"""Users times resamples worked on at once: about 100 MB, whatever the number of users."""

GRAIN = 2**20
"""Sums of squared errors are rounded to 1/2²⁰ stars², far below what matters.

Their sums are then exact up to 8·10⁹ stars², so that the order in which a machine adds them does
not matter: models that predict the same get the same to the bit, on any number of threads.
"""

Resampled = dict[str, NDArray[np.float64]]
"""Each model's RMSE on each resample, (n_resamples,) in stars; place i is the same users in all."""


def resample(
    predictions: Mapping[str, Stars], observed: Stars, users: Indices, n_resamples: int, seed: int
) -> Resampled:
    """Each model's RMSE on resamples of the users, the same resamples for all models.

    A resample draws as many users as there are, with replacement; a user brings all their rows, as
    often as they were drawn. Whoever rates generously, or much, does so in every row of theirs, so
    rows are no independent draws and resampling them would make the intervals too narrow.

    The draw goes by place, users in ascending order: other names for the same users give other
    draws, which differ by as much as two seeds do. The order of rows does not matter.

    Args:
        predictions: of each model, (n,) in stars.
        observed: (n,) in stars.
        users: (n,) indices, whose rows stay together.
        n_resamples: how many to draw, > 0.
        seed: of the draws.

    Raises:
        ValueError: no rows, or arrays differ in length.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 (draw what is
        independent) and 13 (percentile intervals).
    """
    lengths = {len(observed), len(users), *map(len, predictions.values())}
    if len(lengths) > 1 or not len(observed):
        raise ValueError(f"expected arrays of one length, not 0, got lengths {sorted(lengths)}")
    _, places, counts = np.unique(users, return_inverse=True, return_counts=True)
    squares = [
        np.bincount(places, (predicted.astype(np.float64) - observed) ** 2)
        for predicted in predictions.values()
    ]
    table = np.column_stack([*(np.round(column * GRAIN) / GRAIN for column in squares), counts])
    n_users = len(counts)
    draw = np.random.default_rng(seed)
    sums = np.empty((n_resamples, table.shape[1]))
    step = max(1, CELLS_A_CHUNK // n_users)
    for start in range(0, n_resamples, step):
        rows = min(step, n_resamples - start)
        drawn = draw.integers(n_users, size=(rows, n_users))
        drawn += n_users * np.arange(rows)[:, np.newaxis]
        times = np.bincount(drawn.ravel(), minlength=rows * n_users).reshape(rows, n_users)
        sums[start : start + rows] = times.astype(np.float64) @ table
    rmse = np.sqrt(sums[:, :-1] / sums[:, -1:])
    return dict(zip(predictions, rmse.T, strict=True))


def interval(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the percentile interval of 95 % of a figure, or of a difference of two.

    Args:
        resampled: (n_resamples,) the figure on each resample.
    """
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)
