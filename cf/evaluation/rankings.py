"""The table of how well models rank items: a row a model, as reports/ranking.csv has it."""

import re
from collections.abc import Mapping
from pathlib import Path

from cf.evaluation import rows
from cf.evaluation.rows import Row

METRICS = ("ndcg", "recall", "map", "coverage", "novelty")
METHODS = ("time", "leave_last")
"""The splits that hold out what users rated last: lists are for what comes next."""


def columns(k: int) -> rows.Kinds:
    """The columns of the table and what they hold, for lists of `k` items."""
    figures = {f"{name}_at_{k}": float for name in METRICS}
    behind = dict.fromkeys(("behind", "behind_low", "behind_high"), float)
    users = {"n_users": int, "n_left_out": int}
    return {"model": str, **figures, **behind, **users, "part": str, "execution": str}


def write(
    path: Path,
    metrics: Mapping[str, Mapping[str, float]],
    k: int,
    part: str,
    executions: Mapping[str, str],
) -> None:
    """Write a row for each model as CSV, the highest NDCG first, figures to six decimals.

    Args:
        metrics: of each model, as `evaluation.ranking` gives them for lists of `k` items.
        part: on which they were judged.
        executions: ids of the trainings behind models; baselines have none.
    """
    kinds = columns(k)
    best_first = sorted(metrics.items(), key=lambda row: -row[1][f"{METRICS[0]}_at_{k}"])
    rows.write(
        path,
        kinds,
        [
            {"model": name, **values, "part": part, "execution": executions.get(name)}
            for name, values in best_first
        ],
    )


def read(path: Path) -> list[Row]:
    """The rows that `write` wrote; none where the split does not lend itself to ranking.

    Raises:
        InputError: no such table.
    """
    header = path.read_text(encoding="utf-8").partition("\n")[0] if path.exists() else ""
    k = re.search(r"_at_(\d+)", header)
    return rows.read(path, columns(int(k[1]) if k else 10), empty=True)


def figures(row: Row) -> dict[str, float]:
    """The five figures of a row that `read` gave, under their columns' names."""
    return {key: figure for key, figure in row.items() if "_at_" in key}
