"""Names that reports and stages share."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cf.core.errors import InputError

KEYS = ("row", "user", "item", "observed")
"""The columns of reports/predictions.parquet that are no model's: numbers,"""
IDS = ("user_id", "item_id", "title")
"""and what these stand for."""
AT_K = ("ndcg", "recall", "map", "coverage", "novelty")
"""What reports/ranking.csv has of the first k items of lists, as `<name>_at_<k>`."""

SD = "_sd"
"""The end of the name of a column with the standard deviations of a model's predictions."""

BASELINES = ("global_mean", "bias")
RANKING_BASELINES = ("popularity", "itemknn", "ease")


def models_of(predictions: Iterable[Any]) -> list[str]:
    """The models and baselines among the columns of reports/predictions.parquet."""
    return [
        name
        for name in map(str, predictions)
        if name not in (*KEYS, *IDS) and not name.endswith(SD)
    ]


def parse_model_name(argv: Sequence[str]) -> str:
    """The name of the model that a training stage is called with, from `sys.argv`.

    Raises:
        InputError: there is none, or it means something else in the reports.
    """
    script, *arguments = argv
    if len(arguments) != 1:
        raise InputError(f"which model? Usage: python -m stages.{Path(script).stem} NAME.")
    name = arguments[0]
    if name in (*KEYS, *IDS, *BASELINES, *RANKING_BASELINES) or name.endswith(SD):
        raise InputError(
            f"params.yaml: train_{name}: the name {name} has another meaning in the reports. Give "
            "the section and its stage in dvc.yaml another one."
        )
    return name
