"""Item features as columns of numbers, for models that are trained with gradients."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cf.core.errors import InputError


def genre_columns(items: pd.DataFrame) -> pd.DataFrame:
    """(n_items, n_genres) float32, 1 for items of that genre and else 0, centered.

    `items` has the column genres, names joined by "|". They are in alphabetical order.
    """
    columns = items["genres"].str.get_dummies("|").drop(columns="", errors="ignore")
    numbers = columns.to_numpy(np.float32)
    return pd.DataFrame(numbers - numbers.mean(0), columns=columns.columns)


def year_column(items: pd.DataFrame) -> pd.DataFrame:
    """The year of release standardized, (n_items, 1) float32, 0 where it is missing in `items`.

    (n_items, 0) if none is known.
    """
    years = items[["year"]].astype(np.float64)
    deviation = years.std(ddof=0).replace(0.0, 1.0)
    return ((years - years.mean()) / deviation).dropna(axis=1, how="all").fillna(0.0).astype("f4")


FEATURES = {"genres": genre_columns, "year": year_column}


def item_columns(items: pd.DataFrame, features: Sequence[str], context: str) -> Tensor:
    """The columns of the features that a model declares, side by side: (n_items, n_columns).

    A feature that the data set knows nothing of has no columns, so the model is trained without.
    `items` is data/encoded/items.parquet: genres and year by index.

    Raises:
        InputError: there is no such feature; `context` begins the message.
    """
    if isinstance(features, str):
        raise InputError(
            f"{context}: item_features: expected names in a tuple, got text: write ({features!r},)."
        )
    if unknown := [name for name in features if name not in FEATURES]:
        raise InputError(
            f"{context}: item_features: there is no feature {unknown[0]!r}. Choose from "
            f"{', '.join(FEATURES)}, or add one to cf/training/item_features.py."
        )
    columns = [FEATURES[name](items) for name in features]
    return torch.tensor(np.concatenate(columns, axis=1), dtype=torch.float32).contiguous()
