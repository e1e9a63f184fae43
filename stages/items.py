"""What is known of the items, by index."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cf.data import tables
from stages import paths


def genres() -> NDArray[np.object_]:
    """(n_items,): the names of each item's genres, joined by "|"; "" where none are known."""
    return np.array(_by_index("genres", ""), dtype=object)


def years() -> NDArray[np.float64]:
    """(n_items,): when each was released; NaN where that is unknown."""
    return np.array(_by_index("year", np.nan), dtype=np.float64)


def _by_index(column: str, unknown: Any) -> list[Any]:
    items = tables.read_columns(paths.ITEMS, "item_id", column)
    known = dict(zip(items["item_id"].tolist(), items[column].tolist(), strict=True))
    ids = tables.read_columns(paths.ITEM_VOCABULARY, "item_id")["item_id"]
    return [known.get(item, unknown) for item in ids.tolist()]
