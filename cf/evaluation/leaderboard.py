"""All models side by side, and beside the notebook."""

from collections.abc import Mapping

import pandas as pd

from cf.core import io
from cf.core.ratings import Provenance, SplitInfo
from cf.evaluation import calibration
from cf.evaluation.bootstrap import intervals
from cf.evaluation.metrics import Summary, of_run

NOTEBOOK_MSE = {"dot": 1.134128, "dotbias_sgd": 0.7794, "dotbias": 0.734226, "embnet": 0.772758}
"""Validation MSE after the last epoch, in stars², as the notebook prints it."""

NOTEBOOKS_BEST = "dotbias"

DTYPES = {
    "model": str,
    **dict.fromkeys(("rmse", "rmse_low", "rmse_high"), float),
    **dict.fromkeys(("to_best", "to_best_low", "to_best_high"), float),
    "tied": bool,
    **dict.fromkeys(("to_notebook", "to_notebook_low", "to_notebook_high"), float),
    **dict.fromkeys(("mae", "rmse_warm", "rmse_cold", "rmse_no_time", *calibration.METRICS), float),
    **dict.fromkeys(("n", "n_cold"), int),
    **dict.fromkeys(("mse", "notebook_rmse"), float),
    **dict.fromkeys(("dataset", "part"), str),
    "n_leaked": int,
}
"""The columns of reports/leaderboard.csv, in the data's unit; mse in its square, nll in nats.

_low and _high are the ends of 95% intervals; to_best and to_notebook are the RMSE minus the RMSE of
the first model and of `NOTEBOOKS_BEST`; tied says that the interval of to_best contains 0;
notebook_rmse is missing where the notebook's is not comparable, and rmse_no_time, which is without
the times of the held-out ratings, for models that do not use any.
"""


def is_notebooks(provenance: Provenance, split: SplitInfo) -> bool:
    """Whether data set and split are the notebook's, so that its RMSE is comparable."""
    rows = (provenance.dataset, split.method, split.fraction, split.seed)
    return rows == ("ml-latest-small", "random", 0.2, 42) and "test" not in split.parts


def build(
    metrics: Mapping[str, Summary],
    bootstrap: pd.DataFrame,
    dataset: str,
    notebook: bool,
    part: str = "valid",
    n_leaked: int = 0,
) -> pd.DataFrame:
    """One row per model with the columns of `DTYPES`, the lowest RMSE first.

    `bootstrap` is what `bootstrap.resample` returns, `notebook` whether the notebook's RMSE is
    comparable, and `n_leaked` the number of held-out rows that are in train as well.
    """
    board = pd.DataFrame(metrics.values(), index=list(metrics), columns=list(DTYPES))
    board["model"] = board.index
    board = board.sort_values(["rmse", "model"])
    board[["rmse_low", "rmse_high"]] = intervals(bootstrap)
    for name, reference in (("to_best", board.index[0]), ("to_notebook", NOTEBOOKS_BEST)):
        if reference in board.index:
            board[name] = board["rmse"] - board["rmse"][reference]
            differences = bootstrap.sub(bootstrap[reference], axis="index")
            board[[f"{name}_low", f"{name}_high"]] = intervals(differences)
    if notebook:
        board["notebook_rmse"] = pd.Series(NOTEBOOK_MSE) ** 0.5
    board = board.round(io.DECIMALS)  # as in the file, so that tied agrees with it
    board["tied"] = (board["to_best_low"] <= 0) & (board["to_best_high"] >= 0)
    board = board.assign(dataset=dataset, part=part, n_leaked=n_leaked)
    return pd.DataFrame(board.astype(DTYPES)).reset_index(drop=True)


def run_metrics(metrics: Mapping[str, Summary], board: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What each model's run has in MLflow: metrics and the RMSE's interval; test/rmse on test."""
    rows = board[["model", "part", "rmse_low", "rmse_high"]].itertuples(index=False)
    return {
        name: of_run(metrics[name] | {"rmse_low": low, "rmse_high": high}, part)
        for name, part, low, high in rows
    }
