"""Features of items and users as columns of numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cf.core.errors import InputError

KNOWN = ("user_id", "item_id", "title", "year", "genres")
MAX_CATEGORIES = 200


def genre_columns(items: pd.DataFrame) -> pd.DataFrame:
    """(n_items, n_genres) float32, 1 for items of that genre and else 0, centered.

    `items` has the column genres, names joined by "|". They are in alphabetical order, the
    `MAX_CATEGORIES` most frequent.
    """
    names = items["genres"].reset_index(drop=True).str.split("|").explode()
    names = names[names != ""]
    top = np.sort(names.value_counts().index[:MAX_CATEGORIES].to_numpy(object))
    names = names[names.isin(top)]
    numbers = np.zeros((len(items), len(top)), np.float32)
    numbers[names.index, np.searchsorted(top, names.to_numpy(object))] = 1
    return pd.DataFrame(numbers - numbers.mean(0), columns=top)


def year_column(items: pd.DataFrame) -> pd.DataFrame:
    """The year of release standardized, (n_items, 1) float32, 0 where it is missing in `items`.

    (n_items, 0) if none is known.
    """
    years = items[["year"]].astype(np.float64)
    deviation = years.std(ddof=0).replace(0.0, 1.0)
    return ((years - years.mean()) / deviation).dropna(axis=1, how="all").fillna(0.0).astype("f4")


def feature_columns(table: pd.DataFrame) -> pd.DataFrame:
    """All further columns of items or users as numbers, (n, n_columns) float32, centered.

    Numbers are standardized, those beyond three standard deviations count as three; each category
    has a column, 1 for its rows and else 0, but of a column's categories those of a single row and
    all but the `MAX_CATEGORIES` most frequent have none. What is missing is taken for the average.
    """
    columns = {}
    for name in further(table):
        values = table[name]
        if pd.api.types.is_numeric_dtype(values):
            deviation = values.std(ddof=0)
            if deviation > 0:
                standardized = ((values - values.mean()) / deviation).clip(-3, 3)
                columns[name] = standardized - standardized.mean()
        else:
            counts = values.value_counts()
            for category in sorted(counts[counts > 1].index[:MAX_CATEGORIES]):
                is_it = (values == category).astype(float).where(values.notna())
                columns[f"{name}={category}"] = is_it - is_it.mean()
    return pd.DataFrame(columns, index=table.index).fillna(0.0).astype(np.float32)


def further(table: pd.DataFrame) -> list[str]:
    """The columns of items or users that are neither ids nor title, year or genres."""
    return [str(name) for name in table if name not in KNOWN]


FEATURES = {"genres": genre_columns, "year": year_column, "features": feature_columns}


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
