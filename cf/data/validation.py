"""Whether ratings can be used, and if not, the first row that cannot."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.errors import InputError

RATING_TYPES = {"user_id": "int64", "item_id": "int64", "rating": "float32", "timestamp": "int64"}
ITEM_TYPES = {"item_id": "int64", "title": "str", "year": "Int32", "genres": "str"}
TAG_TYPES = {"item_id": "int64", "tag": "str", "timestamp": "int64"}
FINEST_RANGE = 0.01  # of ratings, whose metrics have six decimals


class Wrong(NamedTuple):
    """Rows that cannot be used, for one reason.

    Attributes:
        n: how many.
        row: the first one's number.
        shown: what it has.
    """

    n: int
    row: int
    shown: str


class Summary(NamedTuple):
    """What `validate` needs to know of ratings, or of a part of them, but for repeats.

    Attributes:
        wrong: rows by what is wrong with them: not_finite, out_of_range or no_count.
    """

    n_rows: int
    lowest: float
    highest: float
    wrong: dict[str, Wrong]


class Repeats(NamedTuple):
    """Rows of a user and item that an earlier row has.

    Attributes:
        rows: of these, how many there are, and the first.
        earlier: the row that the first of them repeats.
    """

    rows: Wrong
    earlier: Wrong


def validate(
    ratings: pd.DataFrame,
    rating_range: tuple[float, float] | None,
    name: str,
    locate: Callable[[int], str],
    implicit: bool = False,
) -> None:
    """Refuse ratings that cannot be used.

    Args:
        ratings: columns user_id, item_id, rating and perhaps timestamp; the index numbers rows.
        rating_range: lowest and highest rating allowed; None for any.
        name: of the file, to begin messages with.
        locate: says where in the file a row is, given its number.
        implicit: whether a rating counts interactions, which is any number above 0.

    Raises:
        InputError: no rows; a rating that is NaN, infinite or out of range; a (user, item) pair
            that occurs twice.
    """
    summary = summarize(ratings, rating_range, implicit)
    require_usable(summary, rating_range, name, locate, implicit)
    require_once(find_repeats(ratings), name, locate)


def summarize(
    ratings: pd.DataFrame, rating_range: tuple[float, float] | None, implicit: bool
) -> Summary:
    """What ratings, or a part of them, have; arguments as for `validate`."""
    if ratings.empty:
        return Summary(0, np.inf, -np.inf, {})
    values = ratings["rating"].to_numpy()
    masks = {"not_finite": ~np.isfinite(values)}
    if rating_range:
        lowest, highest = map(np.float32, rating_range)
        masks["out_of_range"] = (values < lowest) | (values > highest)
    elif implicit:
        masks["no_count"] = values <= 0
    wrong = {why: _wrong(ratings, mask) for why, mask in masks.items() if mask.any()}
    return Summary(len(values), float(values.min()), float(values.max()), wrong)


def combine(parts: Sequence[Summary]) -> Summary:
    """The summary of all parts, given in the order of their rows."""
    wrong: dict[str, Wrong] = {}
    for part in parts:
        for why, rows in part.wrong.items():
            first = wrong.get(why, rows._replace(n=0))
            wrong[why] = first._replace(n=first.n + rows.n)
    return Summary(
        sum(part.n_rows for part in parts),
        min((part.lowest for part in parts), default=np.inf),
        max((part.highest for part in parts), default=-np.inf),
        wrong,
    )


def require_usable(
    summary: Summary,
    rating_range: tuple[float, float] | None,
    name: str,
    locate: Callable[[int], str],
    implicit: bool,
) -> None:
    """Raise `InputError` as `validate` does, but for repeats; arguments as there."""
    if not summary.n_rows:
        raise InputError(f"{name}: holds no ratings. It needs at least one.")

    def raise_if_any(why: str, what: str, hint: str) -> None:
        if rows := summary.wrong.get(why):
            raise InputError(
                f"{name}, {locate(rows.row)}: {what}, got {rows.shown} ({_n_rows(rows.n)}). {hint}"
            )

    raise_if_any("not_finite", "rating is not a finite number", "Correct or remove such rows.")
    if rating_range:
        raise_if_any(
            "out_of_range",
            f"rating is out of range: expected {rating_range[0]} to {rating_range[1]}",
            "Correct or remove such rows, or widen ingest.rating_range in params.yaml. If it means "
            "that there is no rating, add it to ingest.missing.",
        )
    elif implicit:
        raise_if_any(
            "no_count",
            "expected a count of interactions, above 0",
            "Remove such rows, or if they mean that there is none, add them to ingest.missing.",
        )
    elif summary.lowest == summary.highest:
        raise InputError(
            f"{name}: all ratings are {summary.lowest:g}, so there is nothing to predict. State "
            "ingest.rating_range in params.yaml if they can be others, or if rows are "
            "interactions, ingest.feedback: implicit."
        )
    low, high = rating_range or (summary.lowest, summary.highest)
    if not implicit and high - low < FINEST_RANGE:
        raise InputError(
            f"{name}: ratings are from {low:g} to {high:g}, but results are given to six decimals. "
            f"Multiply all ratings, so that they differ by {FINEST_RANGE} or more."
        )


def find_repeats(ratings: pd.DataFrame) -> Repeats | None:
    """The rows of a user and item that an earlier row has."""
    pairs = number_pairs(ratings)
    in_order = np.sort(pairs)
    if not (in_order[1:] == in_order[:-1]).any():
        return None
    is_repeat = pd.Series(pairs).duplicated().to_numpy()
    is_same = pairs == pairs[is_repeat.argmax()]
    return Repeats(_wrong(ratings, is_repeat), _wrong(ratings, is_same))


def require_once(repeats: Repeats | None, name: str, locate: Callable[[int], str]) -> None:
    """Raise `InputError` where there are repeats; arguments as for `validate`."""
    if repeats:
        rows, earlier = repeats
        raise InputError(
            f"{name}, {locate(rows.row)}: a user may rate an item once, got {rows.shown} "
            f"though {locate(earlier.row)} has {earlier.shown} "
            f"({_n_rows(rows.n)}). Keep one row of each user and item, or let "
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


def _wrong(ratings: pd.DataFrame, mask: NDArray[np.bool_]) -> Wrong:
    row = int(mask.argmax())
    user_id, item_id, rating = (ratings[name].iloc[row] for name in list(RATING_TYPES)[:3])
    shown = f"user_id {user_id}, item_id {item_id}, rating {rating:g}"
    return Wrong(int(mask.sum()), int(ratings.index[row]), shown)


def _n_rows(n: int) -> str:
    return "one such row" if n == 1 else f"{n:,} such rows"
