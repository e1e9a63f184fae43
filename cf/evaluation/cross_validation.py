"""Models compared over the folds of a cross-validation."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from cf.core import io
from cf.evaluation.bootstrap import MIN_USERS


def compare(rmse: Mapping[str, NDArray[np.float64]], n_users: int = MIN_USERS) -> pd.DataFrame:
    """Each model compared with the best, fold by fold: a row per model, the best first.

    Of each model's RMSEs, (k, n_seeds); less than two folds raise ValueError. Folds share
    most of their training rows, so the variance of the mean difference is larger than over
    independent folds: by 1 / (k - 1) of the variance of one fold.

    The columns: rmse, the mean over folds and seeds; sd_folds, the standard deviation
    over folds of the mean over seeds; sd_seeds, the standard deviation over seeds within a fold,
    missing with one seed; to_best, the mean difference to the best model's RMSE, with its 95%
    interval from low to high, missing with fewer than `MIN_USERS` users; tied, whether that
    contains 0.

    Source:
        Nadeau and Bengio 2003, "Inference for the Generalization Error", section 3: the
        corrected resampled t-test.
    """
    shapes = {values.shape for values in rmse.values()}
    if len(shapes) != 1 or min(shapes)[0] < 2:
        raise ValueError(f"expected arrays (folds >= 2, seeds) of one shape, got {shapes}")
    k, n_seeds = shapes.pop()
    values = np.stack(list(rmse.values()))  # (n_models, k, n_seeds)
    folds = pd.DataFrame(values.mean(axis=2), index=list(rmse))
    mean = folds.mean(axis=1)
    differences = folds - folds.iloc[int(mean.argmin())]
    to_best = differences.mean(axis=1)
    half = stdtrit(k - 1, 0.975) * differences.std(axis=1) * np.sqrt(1 / k + 1 / (k - 1))
    if n_users < MIN_USERS:
        half *= np.nan
    seeds = np.sqrt(values.var(axis=2, ddof=1).mean(axis=1)) if n_seeds > 1 else np.nan
    columns = {"rmse": mean, "sd_folds": folds.std(axis=1), "sd_seeds": seeds, "to_best": to_best}
    columns |= {"low": to_best - half, "high": to_best + half}
    compared = pd.DataFrame(columns).sort_values("rmse", kind="stable")
    compared["tied"] = (compared["low"] <= 0) & (compared["high"] >= 0)
    return compared.reset_index(names="model")


def run_metrics(compared: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What each model's run over all folds has in MLflow, of the frame that `compare` returns."""
    names = {"rmse": "rmse"} | {key: f"rmse_{key}" for key in ("sd_folds", "sd_seeds", "to_best")}
    metrics = compared.set_index("model")[list(names)].rename(columns=names).round(io.DECIMALS)
    return {
        str(model): {str(name): float(value) for name, value in row.dropna().items()}
        for model, row in metrics.iterrows()
    }
