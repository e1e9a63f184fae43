"""Models compared over the folds of a cross-validation."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cf.evaluation import rows

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Compared:
    """A model over all folds, in stars.

    Attributes:
        rmse: mean over folds and seeds.
        sd_folds: standard deviation over folds of the mean over seeds.
        sd_seeds: standard deviation over seeds within a fold; NaN with one seed.
        to_best: mean difference in RMSE to the best model; 0 for itself.
        low: end of the 95% interval of that difference; `high` is the other.
    """

    model: str
    rmse: float
    sd_folds: float
    sd_seeds: float
    to_best: float
    low: float
    high: float

    def figures(self) -> dict[str, float | None]:
        """What MLflow is to know of the model, under the names it has for a single training."""
        figures = {
            "rmse": self.rmse,
            "rmse_sd_folds": self.sd_folds,
            "rmse_sd_seeds": self.sd_seeds,
            "rmse_to_best": self.to_best,
        }
        return {name: value for name, value in figures.items() if not np.isnan(value)}

    @property
    def tied(self) -> bool:
        """Whether the interval contains no difference at all."""
        return self.low <= 0 <= self.high


def compare(rmse: Mapping[str, NDArray[np.float64]]) -> list[Compared]:
    """The models, the best first, each compared with the best, fold by fold.

    Folds share most of their training rows, so the variance of the mean difference is larger
    than that over independent folds: by 1 / (k - 1) of a fold's, k being their number.

    Args:
        rmse: of each model, (k, n_seeds) in stars, k >= 2.

    Raises:
        ValueError: shapes differ, or there are less than two folds.

    Source:
        Nadeau and Bengio 2003, "Inference for the Generalization Error", section 3: the
        corrected resampled t-test.
    """
    shapes = {values.shape for values in rmse.values()}
    if len(shapes) != 1 or min(shapes)[0] < 2:
        raise ValueError(f"expected arrays (folds >= 2, seeds) of one shape, got {shapes}")
    means = {model: float(values.mean()) for model, values in rmse.items()}
    best = min(means, key=lambda model: means[model])
    return [
        _compared(model, rmse[model], rmse[best]) for model in sorted(means, key=means.__getitem__)
    ]


COLUMNS: rows.Kinds = {
    "model": str,
    **dict.fromkeys(("rmse", "sd_folds", "sd_seeds", "to_best", "low", "high"), float),
    "tied": bool,
}


def write(path: Path, compared: list[Compared]) -> None:
    """Write the comparison as CSV; a model with one seed has no spread over seeds."""
    table = [{**asdict(row), "tied": row.tied} for row in compared]
    rows.write(path, COLUMNS, [{k: None if v != v else v for k, v in row.items()} for row in table])


def _compared(model: str, rmse: NDArray[np.float64], best: NDArray[np.float64]) -> Compared:
    k, n_seeds = rmse.shape
    difference = (rmse - best).mean(1)
    error = np.sqrt((1 / k + 1 / (k - 1)) * difference.var(ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, k - 1) * error)
    mean = float(difference.mean())
    return Compared(
        model,
        rmse=float(rmse.mean()),
        sd_folds=float(rmse.mean(1).std(ddof=1)),
        sd_seeds=float(np.sqrt(rmse.var(1, ddof=1).mean())) if n_seeds > 1 else float("nan"),
        to_best=mean,
        low=mean - half,
        high=mean + half,
    )
