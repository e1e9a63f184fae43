"""How far predictions are from observed ratings.

In all of `cf.evaluation`, predicted (or mean), observed and sd, the predicted standard deviation,
are (n,) in the data's unit, and users (n,) indices: one a held-out row. Arrays of other or
differing shapes, or without rows, raise ValueError.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.ratings import Stars

Summary = dict[str, float | None]
"""All metrics of one model, under their names in reports/metrics.json."""


def errors(predicted: Stars, observed: Stars) -> NDArray[np.float64]:
    """Predicted minus observed, (n,)."""
    shapes = predicted.shape, observed.shape
    if shapes[0] != shapes[1] or predicted.ndim != 1:
        raise ValueError(f"expected two arrays of shape (n,), got {shapes[0]} and {shapes[1]}")
    if not len(observed):
        raise ValueError("no rows to compare")
    return predicted.astype(np.float64) - observed


def mse(predicted: Stars, observed: Stars) -> float:
    """Mean squared error."""
    return float(np.mean(errors(predicted, observed) ** 2))


def rmse(predicted: Stars, observed: Stars) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mse(predicted, observed)))


def mae(predicted: Stars, observed: Stars) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(errors(predicted, observed))))


def summary(predicted: Stars, observed: Stars, cold: NDArray[np.bool_]) -> Summary:
    """All metrics of one model; its RMSE over warm or cold rows is None where there are no such.

    `cold`, (n,), says whether the row's user or item never occurs in train.
    """
    return {
        "rmse": rmse(predicted, observed),
        "mse": mse(predicted, observed),
        "mae": mae(predicted, observed),
        "rmse_warm": rmse(predicted[~cold], observed[~cold]) if not cold.all() else None,
        "rmse_cold": rmse(predicted[cold], observed[cold]) if cold.any() else None,
        "n": len(observed),
        "n_cold": int(cold.sum()),
    }


def of_run(metrics: Summary, part: str) -> dict[str, float]:
    """What a model's run has in MLflow: test/rmse on the part test of the held-out rows."""
    prefix = "" if part == "valid" else f"{part}/"
    return {f"{prefix}{name}": float(value) for name, value in metrics.items() if pd.notna(value)}
