"""What is known of the items, by index."""

import numpy as np
from numpy.typing import NDArray

from cf.core import io, paths


def genres() -> NDArray[np.object_]:
    """(n_items,): the names of each item's genres, joined by "|"; "" where none are known."""
    return io.read_parquet(paths.ENCODED_ITEMS, ["genres"])["genres"].to_numpy(dtype=object)


def years() -> NDArray[np.float64]:
    """(n_items,): when each was released; NaN where that is unknown."""
    return io.read_parquet(paths.ENCODED_ITEMS, ["year"])["year"].to_numpy(np.float64)
