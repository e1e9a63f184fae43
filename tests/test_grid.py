from typing import Any

import numpy as np
import pytest

from cf.core.errors import InputError
from cf.evaluation.grid import grid


def experiment(name: str, n_factors: int, decay: float, rmse: float | None) -> dict[str, Any]:
    section = {"model": {"n_factors": n_factors}, "optimizer": {"weight_decay": decay}, "seed": 1}
    metrics = {"reports/metrics.json": {"data": {"dotbias": {"rmse": rmse}}}} if rmse else {}
    data = {"params": {"params.yaml": {"data": {"train_dotbias": section}}}, "metrics": metrics}
    return {"revs": [{"name": name, "rev": "5e", "data": data}]}


def shown(*experiments: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"rev": "workspace", "experiments": None}, {"rev": "a", "experiments": experiments}]


FOUND = shown(
    experiment("grid-1", 50, 0.001, 0.875),
    experiment("grid-2", 10, 0.001, 0.85),
    experiment("grid-3", 50, 0.0001, None),
    experiment("grid-4", 10, 0.0001, 0.9),
    experiment("other", 99, 0.5, 0.1),
    {"revs": [{"name": "grid-5", "rev": "5f", "data": None}]},
)


def test_values_are_sorted_and_what_failed_is_missing() -> None:
    found = grid(FOUND, "grid", "train_dotbias")
    assert found.model == "dotbias"
    assert found.keys == ("model.n_factors", "optimizer.weight_decay")
    assert found.rows == [10, 50]
    assert found.columns == [0.0001, 0.001]
    np.testing.assert_array_equal(found.rmse, [[0.9, 0.85], [np.nan, 0.875]])


def test_without_experiments_it_says_how_to_run_them() -> None:
    with pytest.raises(InputError, match="make grid"):
        grid(shown(), "grid", "train_dotbias")


def test_one_parameter_is_no_grid() -> None:
    line = shown(experiment("grid-1", 50, 0.1, 0.9), experiment("grid-2", 10, 0.1, 0.9))
    with pytest.raises(InputError, match=r"differ in model.n_factors"):
        grid(line, "grid", "train_dotbias")
