"""How far predictions are from observed ratings."""

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Stars


def mse(predicted: Stars, observed: Stars) -> float:
    """Mean squared error in stars².

    Args:
        predicted: (n,) in stars.
        observed: (n,) in stars.

    Raises:
        ValueError: nothing to compare, or shapes differ.
    """
    return float(np.mean(_errors(predicted, observed) ** 2))


def rmse(predicted: Stars, observed: Stars) -> float:
    """Root of the mean squared error, in stars; arguments and errors as for `mse`."""
    return float(np.sqrt(mse(predicted, observed)))


def mae(predicted: Stars, observed: Stars) -> float:
    """Mean absolute error in stars; arguments and errors as for `mse`."""
    return float(np.mean(np.abs(_errors(predicted, observed))))


Summary = dict[str, float | None]
"""All metrics of one model, under their names in reports/metrics.json."""


def summary(predicted: Stars, observed: Stars, cold: NDArray[np.bool_]) -> Summary:
    """All metrics of one model, over all rows, and its RMSE over warm and over cold ones.

    Args:
        predicted: (n,) in stars.
        observed: (n,) in stars.
        cold: (n,) whether the row's user or item never occurs in train.

    Returns:
        rmse, mse, mae, rmse_warm, rmse_cold, n and n_cold; a stratum without rows is None.

    Raises:
        ValueError: nothing to compare, or shapes differ.
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


def prefix_of(part: str) -> str:
    """What the names of metrics on a part of the held-out rows begin with in MLflow."""
    return "" if part == "valid" else f"{part}/"


def _errors(predicted: Stars, observed: Stars) -> NDArray[np.float64]:
    if predicted.shape != observed.shape or predicted.ndim != 1:
        raise ValueError(
            f"expected two arrays of shape (n,), got {predicted.shape} and {observed.shape}"
        )
    if not len(observed):
        raise ValueError("no rows to compare")
    return predicted.astype(np.float64) - observed
