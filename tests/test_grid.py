from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cf.core.errors import InputError
from cf.evaluation.grid import grid
from cf.reporting.heatmap import grid_heatmap
from cf.reporting.save import save


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


def test_the_picture_says_what_is_where(tmp_path: Path) -> None:
    figure = grid_heatmap(grid(FOUND, "grid", "train_dotbias"), "RMSE: toy")
    axes = figure.axes[0]
    texts = {text.get_text(): text for text in axes.texts}
    assert set(texts) == {"0.9000", "0.8500", "0.8750"}
    assert [t for t, text in texts.items() if text.get_weight() == "bold"] == ["0.8500"]
    assert texts["0.8500"].get_position() == (1.5, 0.5)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.0001", "0.001"]
    assert axes.get_ylabel() == "model.n_factors"
    assert figure.axes[1].get_ylabel() == "validation RMSE (stars)"
    save(figure, tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
