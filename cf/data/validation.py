"""Whether ratings can be used, and if not, the first row that cannot."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.errors import InputError

RATING_TYPES = {"user_id": "int64", "item_id": "int64", "rating": "float32", "timestamp": "int64"}
ITEM_TYPES = {"item_id": "int64", "title": "str", "year": "Int32", "genres": "str"}
TAG_TYPES = {"item_id": "int64", "tag": "str", "timestamp": "int64"}
FINEST_RANGE = 0.01  # of ratings, whose metrics have six decimals


def validate(
    ratings: pd.DataFrame,
    rating_range: tuple[float, float] | None,
    name: str,
    locate: Callable[[int], str],
    implicit: bool = False,
) -> None:
    """Refuse ratings that cannot be used.

    Args:
        ratings: columns user_id, item_id, rating and perhaps timestamp.
        rating_range: lowest and highest rating allowed; None for any.
        name: of the file, to begin messages with.
        locate: says where in the file a row is, given its number from 0.
        implicit: whether a rating counts interactions, which is any number above 0.

    Raises:
        InputError: no rows; a rating that is NaN, infinite or out of range; a (user, item) pair
            that occurs twice.
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

    values = ratings["rating"].to_numpy()
    raise_if_any(
        ~np.isfinite(values), "rating is not a finite number", "Correct or remove such rows."
    )
    if rating_range:
        lowest, highest = map(np.float32, rating_range)
        raise_if_any(
            (values < lowest) | (values > highest),
            f"rating is out of range: expected {rating_range[0]} to {rating_range[1]}",
            "Correct or remove such rows, or widen ingest.rating_range in params.yaml. If it means "
            "that there is no rating, add it to ingest.missing.",
        )
    elif implicit:
        raise_if_any(
            values <= 0,
            "expected a count of interactions, above 0",
            "Remove such rows, or if they mean that there is none, add them to ingest.missing.",
        )
    elif values.min() == values.max():
        raise InputError(
            f"{name}: all ratings are {values[0]:g}, so there is nothing to predict. State "
            "ingest.rating_range in params.yaml if they can be others, or if rows are "
            "interactions, ingest.feedback: implicit."
        )
    low, high = rating_range or (float(values.min()), float(values.max()))
    if not implicit and high - low < FINEST_RANGE:
        raise InputError(
            f"{name}: ratings are from {low:g} to {high:g}, but results are given to six decimals. "
            f"Multiply all ratings, so that they differ by {FINEST_RANGE} or more."
        )
    pairs = number_pairs(ratings)
    in_order = np.sort(pairs)
    if (in_order[1:] == in_order[:-1]).any():
        repeats = pd.Series(pairs).duplicated().to_numpy()
        row = int(repeats.argmax())
        earlier = int((pairs == pairs[row]).argmax())
        raise InputError(
            f"{name}, {locate(row)}: a user may rate an item once, got {_describe(ratings, row)} "
            f"though {locate(earlier)} has {_describe(ratings, earlier)} "
            f"({_n_rows(int(repeats.sum()))}). Keep one row of each user and item, or let "
            "ingest.repeats in params.yaml be last, first or mean."
        )


def merge_repeats(ratings: pd.DataFrame, how: Literal["last", "first", "mean"]) -> pd.DataFrame:
    """One row of each user and item: those that stay, with their index.

    `first` and `last` go by time, and at the same time, or without times, by the order of the
    rows. With `mean`, the last row stays, with the mean of all ratings.
    """
    pairs = pd.Series(number_pairs(ratings))
    if not pairs.duplicated().any():
        return ratings
    order = np.arange(len(ratings))
    if "timestamp" in ratings:
        order = ratings["timestamp"].to_numpy().argsort(kind="stable")
    kept = ~pairs.iloc[order].duplicated(keep="first" if how == "first" else "last")
    rows = np.sort(order[kept.to_numpy()])
    merged = ratings.iloc[rows]
    if how == "mean":
        means = ratings["rating"].astype("float64").groupby(pairs.to_numpy()).mean()
        merged = merged.assign(rating=means.loc[pairs.iloc[rows]].to_numpy(np.float32))
    return merged


def number_pairs(ratings: pd.DataFrame) -> NDArray[np.int64]:
    """(n,) a number for each user and item, the same for the same two."""
    pairs, _ = pd.factorize(ratings["user_id"])
    items, item_ids = pd.factorize(ratings["item_id"])
    pairs = pairs.astype(np.int64)  # fewer than 2**31 of each: fits in 63 bits
    pairs *= len(item_ids)
    pairs += items
    return pairs


def _describe(ratings: pd.DataFrame, row: int) -> str:
    user_id, item_id, rating = (ratings[name].iloc[row] for name in list(RATING_TYPES)[:3])
    return f"user_id {user_id}, item_id {item_id}, rating {rating:g}"


def _n_rows(n: int) -> str:
    return "one such row" if n == 1 else f"{n:,} such rows"
