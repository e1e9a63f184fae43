"""All models side by side, and beside the notebook."""

import csv
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path

from cf.data.tables import Provenance, SplitFacts
from cf.errors import InputError
from cf.files import written

NOTEBOOK_MSE = {
    "dot": 1.134128,
    "dotbias_sgd": 0.779400,
    "dotbias": 0.734226,
    "embnet": 0.772758,
}
"""Validation MSE after the last epoch, in stars², as the notebook prints it."""

COLUMNS = (
    "model",
    "rmse",
    "mae",
    "rmse_warm",
    "rmse_cold",
    "n",
    "n_cold",
    "mse",
    "notebook_mse",
    "dataset",
    "part",
    "n_leaked",
    "execution",
)

Row = dict[str, float | str | None]


def is_notebooks(provenance: Provenance, split: SplitFacts) -> bool:
    """Whether data set and split are the notebook's, so that its figures are comparable."""
    rows = (provenance.dataset, split.method, split.fraction, split.seed)
    return rows == ("ml-latest-small", "random", 0.2, 42) and "test" not in split.parts


def rank(
    metrics: Mapping[str, Mapping[str, float | None]],
    dataset: str,
    notebook: bool,
    part: str = "valid",
    n_leaked: int = 0,
    executions: Mapping[str, str] | None = None,
) -> list[Row]:
    """One row a model, the lowest RMSE first.

    Args:
        metrics: of each model.
        dataset: the data set's true name.
        notebook: whether the notebook's figures are comparable; else its column is empty.
        part: on which they are.
        n_leaked: of its ratings, those whose user rates the same item in train.
        executions: the id of the training that made the model; baselines have none.

    Returns:
        Rows with the keys `COLUMNS`.
    """
    rows: list[Row] = [
        {
            "model": model,
            **values,
            "notebook_mse": NOTEBOOK_MSE.get(model) if notebook else None,
            "dataset": dataset,
            "part": part,
            "n_leaked": n_leaked,
            "execution": (executions or {}).get(model),
        }
        for model, values in sorted(metrics.items())
    ]
    return sorted(rows, key=itemgetter("rmse"))


def write(path: Path, rows: list[Row]) -> None:
    """Write the rows as CSV, figures to six decimals."""
    with written(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: f"{row[key]:.6f}" if isinstance(row[key], float) else row[key] for key in COLUMNS}
            for row in rows
        )


def read(path: Path) -> list[dict[str, str]]:
    """The rows that `write` wrote, as text; an empty one where there is no figure.

    Raises:
        InputError: no leaderboard there.
    """
    rows = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    if not rows or set(rows[0]) != set(COLUMNS):
        raise InputError(f"{path}: no leaderboard yet. `dvc repro` makes it.")
    return rows
