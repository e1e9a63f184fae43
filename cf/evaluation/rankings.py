"""The table of how well models rank items: a row a model, as reports/ranking.csv has it."""

import csv
from collections.abc import Mapping
from pathlib import Path

from cf.errors import InputError
from cf.files import written

METRICS = ("ndcg", "recall", "map", "coverage", "novelty")
METHODS = ("time", "leave_last")
"""The splits that hold out what users rated last: lists are for what comes next."""


def columns(k: int) -> list[str]:
    """The columns of the table, for lists of `k` items."""
    return ["model", *(f"{name}_at_{k}" for name in METRICS), "n_users", "part", "execution"]


def write(
    path: Path,
    metrics: Mapping[str, Mapping[str, float]],
    k: int,
    part: str,
    executions: Mapping[str, str],
) -> None:
    """Write a row for each model as CSV, the highest NDCG first, figures to six decimals.

    Args:
        metrics: of each model, as `evaluation.ranking.judge` gives them for lists of `k` items.
        part: on which they were judged.
        executions: ids of the trainings behind models; baselines have none.
    """
    header = columns(k)
    with written(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for name, values in sorted(metrics.items(), key=lambda row: -row[1][header[1]]):
            figures = (f"{values[key]:.6f}" for key in header if "_at_" in key)
            about = (int(values["n_users"]), part, executions.get(name, ""))
            writer.writerow([name, *figures, *about])


def read(path: Path) -> list[dict[str, str]]:
    """The rows that `write` wrote, as text; none where the split does not lend itself to ranking.

    Raises:
        InputError: no such file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}). `dvc repro` makes it.") from None


def figures(row: Mapping[str, str]) -> dict[str, float]:
    """The five figures of a row that `read` gave, under their columns' names."""
    return {key: float(row[key]) for key in row if "_at_" in key}
