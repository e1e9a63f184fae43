"""What flows between stages: ratings as arrays, and the vocabularies that name their indices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Stars = NDArray[np.float32]


@dataclass(frozen=True)
class Ratings:
    """Ratings by index, one a row.

    Attributes:
        users: (n,) in [0, n_users).
        items: (n,) in [0, n_items).
        values: (n,) in stars.
        timestamps: (n,) in seconds since 1970 UTC, or None where the data has none.
        rows: (n,) place of each rating in the ingested file, from 0.

    Raises:
        ValueError: the arrays differ in length, or an index is negative.
    """

    users: Indices
    items: Indices
    values: Stars
    timestamps: Indices | None
    rows: Indices

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in vars(self).items() if array is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"ratings need arrays of one length, got {lengths}")
        for name in ("users", "items"):
            indices = getattr(self, name)
            if len(indices) and indices.min() < 0:
                raise ValueError(f"{name} must be indices >= 0, got {indices.min()}")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, places: Indices) -> "Ratings":
        """The ratings at `places`, in that order."""
        return Ratings(
            users=self.users[places],
            items=self.items[places],
            values=self.values[places],
            timestamps=None if self.timestamps is None else self.timestamps[places],
            rows=self.rows[places],
        )


@dataclass(frozen=True)
class Vocabulary:
    """The raw id of each index.

    Attributes:
        ids: (n,) distinct raw ids; the id at place i has index i.
    """

    ids: Indices

    def __len__(self) -> int:
        return len(self.ids)
