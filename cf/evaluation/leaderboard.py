"""All models side by side, and beside the notebook."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation import calibration
from cf.evaluation import rows as table
from cf.evaluation.bootstrap import Resampled, interval
from cf.evaluation.rows import DECIMALS, Row

NOTEBOOK_MSE = {
    "dot": 1.134128,
    "dotbias_sgd": 0.779400,
    "dotbias": 0.734226,
    "embnet": 0.772758,
}
"""Validation MSE after the last epoch, in stars², as the notebook prints it."""

NOTEBOOKS_BEST = "dotbias"
BOUNDS = ("rmse_low", "rmse_high")

COLUMNS = {
    "model": str,
    "rmse": float,
    "rmse_low": float,
    "rmse_high": float,
    "to_best": float,
    "to_best_low": float,
    "to_best_high": float,
    "tied": bool,
    "to_notebook": float,
    "to_notebook_low": float,
    "to_notebook_high": float,
    "mae": float,
    "rmse_warm": float,
    "rmse_cold": float,
    **dict.fromkeys(calibration.METRICS, float),
    "n": int,
    "n_cold": int,
    "mse": float,
    "notebook_mse": float,
    "dataset": str,
    "part": str,
    "n_leaked": int,
    "execution": str,
}
"""In stars but for the MSE, in stars², and what error bars are worth, of models that have some: nll
is in nats a rating, coverage a share.

Those that end in _low and _high are the ends of 95% intervals; to_best and to_notebook are the
RMSE less that of the first model and of `NOTEBOOKS_BEST`; tied says that the interval of the
difference to the first holds 0.
"""


def is_notebooks(provenance: Provenance, split: SplitInfo) -> bool:
    """Whether data set and split are the notebook's, so that its figures are comparable."""
    rows = (provenance.dataset, split.method, split.fraction, split.seed)
    return rows == ("ml-latest-small", "random", 0.2, 42) and "test" not in split.parts


def rank(
    metrics: Mapping[str, Mapping[str, float | None]],
    resampled: Resampled,
    dataset: str,
    notebook: bool,
    part: str = "valid",
    n_leaked: int = 0,
    executions: Mapping[str, str] | None = None,
) -> list[Row]:
    """One row a model, the lowest RMSE first.

    Args:
        metrics: of each model.
        resampled: the RMSE of each model on the same resamples.
        dataset: the data set's true name.
        notebook: whether the notebook's figures are comparable; else its column is empty.
        part: on which they are.
        n_leaked: of its ratings, those whose user rates the same item in train.
        executions: the id of the training that made the model; baselines have none.
    """
    rmse = {name: float(values["rmse"] or 0) for name, values in metrics.items()}
    order = sorted(rmse, key=lambda name: (rmse[name], name))
    of_all = {"dataset": dataset, "part": part, "n_leaked": n_leaked}
    rows = []
    for model in order:
        row: Row = dict.fromkeys(COLUMNS) | {"model": model, **metrics[model], **of_all}
        row |= _bounds("rmse", resampled[model])
        for name, reference in (("to_best", order[0]), ("to_notebook", NOTEBOOKS_BEST)):
            if reference in rmse:
                row[name] = rmse[model] - rmse[reference]
                row |= _bounds(name, resampled[model] - resampled[reference])
        row["tied"] = row["to_best_low"] <= 0 <= row["to_best_high"]
        row["notebook_mse"] = NOTEBOOK_MSE.get(model) if notebook else None
        row["execution"] = (executions or {}).get(model)
        rows.append(row)
    return rows


def with_bounds(
    metrics: Mapping[str, Mapping[str, float | None]], rows: Sequence[Row]
) -> dict[str, dict[str, float | None]]:
    """The metrics of each model of the leaderboard, and the ends of the interval of its RMSE."""
    return {
        row["model"]: {**metrics[row["model"]], **{key: row[key] for key in BOUNDS}}
        for row in rows
        if row["model"] in metrics
    }


def write(path: Path, rows: list[Row]) -> None:
    """Write the rows as CSV."""
    table.write(path, COLUMNS, rows)


def read(path: Path) -> list[Row]:
    """The rows that `write` wrote, the figures rounded.

    Raises:
        InputError: no leaderboard there.
    """
    return table.read(path, COLUMNS)


def _bounds(name: str, resampled: NDArray[np.float64]) -> Row:
    """The ends of a figure's interval, rounded as in the file, whose readers have the same."""
    low, high = (round(end, DECIMALS) for end in interval(resampled))
    return {f"{name}_low": low, f"{name}_high": high}
