"""Ratings out of the user's own CSV, TSV or Parquet file."""

from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from cf.core.config import Columns
from cf.core.errors import InputError
from cf.data import user_file
from cf.data.user_file import Column
from cf.data.validation import ITEM_TYPES, validate

NUMBER_IDS = "; ids that are not 64-bit whole numbers must be numbered first"
NO_TIMES = ", or leave timestamps out: ingest.columns.timestamp: null in params.yaml"
KINDS = {  # type, what a value is, and what else to do about a wrong one
    "user_id": (pa.int64(), "a whole number", NUMBER_IDS),
    "item_id": (pa.int64(), "a whole number", NUMBER_IDS),
    "rating": (pa.float32(), "a number", ""),
    "timestamp": (pa.int64(), "whole seconds since 1970", NO_TIMES),
}


def read(
    path: Path, names: Columns, rating_range: tuple[float, float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ratings of the user's own file, and the items that occur in them.

    As `movielens.read` returns them, but without timestamp where the file has none, and of items,
    in order of first appearance, only the ids are known.

    Args:
        names: what the file calls its columns.
        rating_range: lowest and highest rating allowed, in stars.

    Raises:
        InputError: as `user_file.read` and `validate`.
    """
    given = {key: name for key, name in names.model_dump().items() if name is not None}
    if len(set(given.values())) < len(given):
        raise InputError(
            f"params.yaml: ingest.columns: expected a different column for each, got {given}."
        )
    columns = {}
    for key, name in given.items():
        null = " (null if there is none)" if key == "timestamp" else ""
        if_missing = f"Name the column in params.yaml: ingest.columns.{key}{null}."
        columns[key] = Column(name, *KINDS[key], if_missing)
    ratings = user_file.read(path, columns)
    validate(ratings, rating_range, str(path), partial(user_file.locate, path))
    items = pd.DataFrame({"item_id": ratings["item_id"].unique(), "title": None, "year": None})
    return ratings, items.assign(genres="").astype(ITEM_TYPES)
