"""Ratings as arrays, for models to be fitted to."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Stars = NDArray[np.float32]


@dataclass(frozen=True)
class Ratings:
    """Ratings by index, one per row.

    Attributes:
        users: (n,) in [0, n_users).
        items: (n,) in [0, n_items).
        values: (n,) in stars.
        timestamps: (n,) in seconds since 1970 UTC, or None where the data has none.
        rows: (n,) number of each rating in the ingested file, from 0.

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

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "Ratings":
        """The ratings of a frame with the columns user, item, rating, row and perhaps timestamp."""
        return cls(
            users=frame["user"].to_numpy(),
            items=frame["item"].to_numpy(),
            values=frame["rating"].to_numpy(),
            timestamps=frame["timestamp"].to_numpy() if "timestamp" in frame else None,
            rows=frame["row"].to_numpy(),
        )

    def to_frame(self) -> pd.DataFrame:
        """A frame that `from_frame` turns into these ratings."""
        columns = {"user": self.users, "item": self.items, "rating": self.values}
        if self.timestamps is not None:
            columns["timestamp"] = self.timestamps
        return pd.DataFrame({**columns, "row": self.rows})

    def __len__(self) -> int:
        return len(self.values)

    def take(self, positions: Indices) -> "Ratings":
        """The ratings at `positions`, in that order."""
        return Ratings.from_frame(self.to_frame().iloc[positions])


def is_cold(train: Ratings, ratings: Ratings) -> NDArray[np.bool_]:
    """(len(ratings),) whether each rating's user or item never occurs in `train`."""
    known_user = np.isin(ratings.users, pd.unique(train.users))
    known_item = np.isin(ratings.items, pd.unique(train.items))
    return ~(known_user & known_item)
