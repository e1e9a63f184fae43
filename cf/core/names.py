"""Names that reports and stages share."""

from collections.abc import Iterable
from typing import Any

from cf.core.errors import InputError

KEYS = ("row", "user", "item", "observed")
"""The columns of reports/predictions.parquet that are no model's."""

SD = "_sd"
"""The end of the name of a column with the standard deviations of a model's predictions."""

BASELINES = ("global_mean", "bias")
RANKING_BASELINES = ("popularity", "itemknn", "ease")


def models_of(predictions: Iterable[Any]) -> list[str]:
    """The models and baselines among the columns of reports/predictions.parquet."""
    return [name for name in map(str, predictions) if name not in KEYS and not name.endswith(SD)]


def check_model_name(name: str) -> None:
    """Nothing, if a model may have this name.

    Raises:
        InputError: it means something else in the reports.
    """
    if name in (*KEYS, *BASELINES, *RANKING_BASELINES) or name.endswith(SD):
        raise InputError(
            f"params.yaml: train_{name}: the name {name} has another meaning in the reports. Give "
            "the section and its stage in dvc.yaml another one."
        )
