"""A grid of experiments over two parameters of a model, as a heat map: cf grid."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd
import yaml

from cf.cli import experiments
from cf.core import config, io, paths
from cf.core.errors import InputError
from cf.reporting.figures import grid_heatmap
from cf.reporting.style import save
from cf.tracking.record import group, recording

PREFIX = "grid"
DEFAULT_AXES = [
    "train_dotbias.model.n_factors=10,25,50",
    "train_dotbias.optimizer.weight_decay=0.00005,0.0001,0.0002",
]


def main(axes: Sequence[str] | None, jobs: int) -> None:
    """Run the experiments, draw the model's RMSE, and give the grid a run over theirs in MLflow.

    Raises `InputError` if experiments failed; those that finished are drawn.
    """
    axes = axes or DEFAULT_AXES
    if len(axes) != 2:
        raise InputError(
            f"expected two parameters, got {len(axes)}. `cf grid --help` has examples."
        )
    (first, rows), (second, columns) = map(parse_axis, axes)
    section = first.partition(".")[0]
    if first == second or not second.startswith(f"{section}."):
        raise InputError(f"expected two parameters of one section, got {first} and {second}.")
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    points = {
        f"{PREFIX}-{row}-{column}": {first: row, second: column, "evaluate.part": "valid"}
        for row, column in product(rows, columns)
    }
    failures = experiments.run(points, jobs, PREFIX)
    found = experiments.results(points)
    if not found.empty:
        model = section.removeprefix("train_")
        keys = [key.partition(".")[2] for key in (first, second)]
        rmse = pd.Series(
            found[f"{model}.rmse"].reindex(list(points)).to_numpy(),
            pd.MultiIndex.from_product([rows, columns], names=keys),
        ).unstack()
        title = f"Validation RMSE of {model}: {found['dataset'].iloc[0]}"
        save(grid_heatmap(rmse, found["unit"].iloc[0], title), paths.GRID)
        path = paths.RUNS / f"{model}.json"
        current = io.read_json(path, dict[str, Any]).get("id") if path.exists() else None
        records = [experiments.read_record(revision, model) for revision in found["rev"]]
        # An experiment with the values of params.yaml trained nothing: it has dvc repro's record.
        if trained := [record for record in records if record.id != current]:
            with recording(settings, timeout_s=None) as recorder:
                for record in group(f"grid {model}", trained, paths.GRID, {}):
                    recorder.upsert(record)
        print(f"{paths.GRID}: RMSE of {model} over {' and '.join(keys)}")
    if failures:
        raise InputError(failures)


def parse_axis(text: str) -> tuple[str, list[float]]:
    """The dotted key of a parameter and its values, ascending, from `key=value,value,...`.

    Raises `InputError` if it is no parameter of a training section or a value is no number.
    """
    key, _, listed = text.partition("=")
    try:
        values = config.parse_yaml(f"[{listed}]")
    except yaml.YAMLError:
        values = []
    is_number = all(type(value) in (int, float) for value in values)
    if not (key.startswith("train_") and "." in key and values and is_number):
        raise InputError(
            "expected a parameter of a training section and numbers, such as "
            f"train_dotbias.model.n_factors=10,25,50; got {text}."
        )
    return key, sorted(set(values))
