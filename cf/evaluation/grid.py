"""Experiments over two parameters as a table of RMSE."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cf.core.errors import InputError
from cf.evaluation.experiments import finished


@dataclass(frozen=True)
class Grid:
    """The RMSE of a model over two of its parameters.

    Attributes:
        model: its name.
        keys: of the two parameters in the model's section, for rows and for columns.
        rows: (n_rows,) values of the first parameter, ascending.
        columns: (n_columns,) values of the second one, ascending.
        rmse: (n_rows, n_columns) in stars; NaN where no experiment succeeded.
    """

    model: str
    keys: tuple[str, str]
    rows: list[float]
    columns: list[float]
    rmse: NDArray[np.float64]


def grid(shown: list[dict[str, Any]], prefix: str, section: str) -> Grid:
    """The grid of the experiments whose names begin with `prefix`.

    Args:
        shown: what `dvc exp show --json` says.
        section: of params.yaml, in which two numbers differ among the experiments.

    Raises:
        InputError: no such experiments, or other than two parameters differ.
    """
    model = section.removeprefix("train_")
    points = [
        (dict(_numbers(experiment.params[section])), experiment.metrics[model]["rmse"])
        for experiment in finished(shown, prefix)
        if section in experiment.params and model in experiment.metrics
    ]
    if not points:
        raise InputError(
            f"no finished experiment is called {prefix}-…. `make grid` runs them; "
            "`dvc queue status` and `dvc queue logs` tell what became of them."
        )
    varying = [key for key in points[0][0] if len({values.get(key) for values, _ in points}) > 1]
    if len(varying) != 2:
        raise InputError(
            f"a grid is over two numbers of {section}, but the experiments {prefix}-… differ in "
            f"{', '.join(varying) or 'none'}. `dvc exp remove` the others."
        )
    first, second = varying
    rows = sorted({values[first] for values, _ in points})
    columns = sorted({values[second] for values, _ in points})
    rmse = np.full((len(rows), len(columns)), np.nan)
    for values, score in points:
        rmse[rows.index(values[first]), columns.index(values[second])] = score
    return Grid(model, (first, second), rows, columns, rmse)


def _numbers(section: dict[str, Any], inside: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a section by dotted key."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{inside}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{inside}{key}", value
