"""Whether ratings can be used, and if not, the first row that cannot."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cf.core.errors import InputError

RATING_TYPES = {"user_id": "int64", "item_id": "int64", "rating": "float32", "timestamp": "int64"}
ITEM_TYPES = {"item_id": "int64", "title": "str", "year": "Int32", "genres": "str"}


def validate(
    ratings: pd.DataFrame,
    rating_range: tuple[float, float],
    name: str,
    locate: Callable[[int], str],
) -> None:
    """Refuse ratings that cannot be used, and give the others the types `RATING_TYPES`.

    `ratings` has the columns user_id, item_id, rating and perhaps timestamp, NA where empty. The
    types change in place, as a copy of many ratings would cost as much memory again. `rating_range`
    is the lowest and highest rating allowed, in stars. Messages begin with `name`, the file's, and
    `locate` says where in it a row is, given its number from 0.

    Raises:
        InputError: no rows; an empty value; a rating that is NaN, infinite or out of range; a
            (user, item) pair that occurs twice.
    """
    if ratings.empty:
        raise InputError(f"{name}: holds no ratings. It needs at least one.")

    def raise_if_any(wrong: NDArray[np.bool_], what: str, hint: str) -> None:
        if n_wrong := int(wrong.sum()):
            row = int(wrong.argmax())
            raise InputError(
                f"{name}, {locate(row)}: {what}, got {_describe(ratings, row)} "
                f"({_n_rows(n_wrong)}). {hint}"
            )

    for column in [name for name in RATING_TYPES if name in ratings]:
        raise_if_any(
            ratings[column].isna().to_numpy(bool),
            f"{column} is empty",
            "Fill in or remove such rows; for a timestamp, or set ingest.columns.timestamp: null.",
        )
        ratings[column] = ratings[column].astype(np.dtype(RATING_TYPES[column]))
        pa.default_memory_pool().release_unused()  # what the column was read into
    values = ratings["rating"].to_numpy()
    lowest, highest = map(np.float32, rating_range)
    raise_if_any(
        ~np.isfinite(values), "rating is not a finite number", "Correct or remove such rows."
    )
    raise_if_any(
        (values < lowest) | (values > highest),
        f"rating is out of range: expected {rating_range[0]} to {rating_range[1]}",
        "Correct or remove such rows, or widen ingest.rating_range in params.yaml.",
    )
    pairs, _ = pd.factorize(ratings["user_id"])  # a number for each user and item
    items, item_ids = pd.factorize(ratings["item_id"])
    pairs *= len(item_ids)  # fewer than 2**31 distinct users and items each: fits in 63 bits
    pairs += items
    in_order = np.sort(pairs)
    if (in_order[1:] == in_order[:-1]).any():
        repeats = pd.Series(pairs).duplicated().to_numpy()
        row = int(repeats.argmax())
        earlier = int((pairs == pairs[row]).argmax())
        raise InputError(
            f"{name}, {locate(row)}: a user may rate an item once, got {_describe(ratings, row)} "
            f"though {locate(earlier)} has {_describe(ratings, earlier)} "
            f"({_n_rows(int(repeats.sum()))}). Keep one row of each user and item."
        )


def _describe(ratings: pd.DataFrame, row: int) -> str:
    user_id, item_id, rating = (ratings[name].iloc[row] for name in list(RATING_TYPES)[:3])
    return f"user_id {user_id}, item_id {item_id}, rating {rating:g}"


def _n_rows(n: int) -> str:
    return "one such row" if n == 1 else f"{n:,} such rows"
