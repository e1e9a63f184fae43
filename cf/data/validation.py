"""Whether ratings can be used, and if not, the first row that stands in the way."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cf.core.errors import InputError

RATING_TYPES = {
    "user_id": pa.int64(),
    "item_id": pa.int64(),
    "rating": pa.float32(),
    "timestamp": pa.int64(),
}
FILL_IN = "Fill in or remove such rows; for a timestamp, or set ingest.columns.timestamp: null."


def validate(
    ratings: pa.Table,
    rating_range: tuple[float, float],
    name: str,
    place: Callable[[int], str],
) -> None:
    """Nothing, if every rating can be used.

    Args:
        ratings: columns user_id, item_id, rating and perhaps timestamp.
        rating_range: lowest and highest rating allowed, in stars.
        name: of the file, to begin messages with.
        place: says where in the file a row is, given its number from 0.

    Raises:
        InputError: no rows; an empty value; a rating that is NaN, infinite or out of range; a
            (user, item) pair that occurs twice.
    """
    if not ratings.num_rows:
        raise InputError(f"{name}: holds no ratings. It needs at least one.")
    for column in ratings.column_names:
        _refuse(ratings, pc.is_null(ratings[column]), name, place, f"{column} is empty", FILL_IN)
    values = ratings["rating"]
    lowest, highest = (pa.scalar(limit, values.type) for limit in rating_range)
    _refuse(
        ratings,
        pc.invert(pc.is_finite(values)),
        name,
        place,
        "rating is not a finite number",
        "Correct or remove such rows.",
    )
    _refuse(
        ratings,
        pc.or_(pc.less(values, lowest), pc.greater(values, highest)),
        name,
        place,
        f"rating is out of range: expected {rating_range[0]} to {rating_range[1]}",
        "Correct or remove such rows, or widen ingest.rating_range in params.yaml.",
    )
    _refuse_duplicates(ratings, name, place)


def _refuse(
    ratings: pa.Table,
    wrong: pa.ChunkedArray,
    name: str,
    place: Callable[[int], str],
    what: str,
    remedy: str,
) -> None:
    n_wrong = pc.sum(wrong).as_py()
    if n_wrong:
        row = pc.index(wrong, True).as_py()
        raise InputError(
            f"{name}, {place(row)}: {what}, got {_described(ratings, row)} "
            f"({_rows(n_wrong)}). {remedy}"
        )


def _refuse_duplicates(ratings: pa.Table, name: str, place: Callable[[int], str]) -> None:
    pairs = _pairs(ratings)
    ordered = np.sort(pairs)
    if not (ordered[1:] == ordered[:-1]).any():
        return
    _, first = np.unique(pairs, return_index=True)
    repeats = np.ones(len(pairs), bool)
    repeats[first] = False
    row = int(repeats.argmax())
    earlier = int((pairs == pairs[row]).argmax())
    raise InputError(
        f"{name}, {place(row)}: a user may rate an item once, got {_described(ratings, row)} "
        f"though {place(earlier)} has {_described(ratings, earlier)} "
        f"({_rows(int(repeats.sum()))}). Keep one row of each user and item."
    )


def _pairs(ratings: pa.Table) -> NDArray[np.int64]:
    """(n,) a number for each rating's user and item, the same for the same pair only."""
    users, items = (
        ratings[column].combine_chunks().dictionary_encode() for column in ("user_id", "item_id")
    )
    # fewer than 2**31 distinct users and items each: the product fits in 63 bits
    pairs: NDArray[np.int64] = users.indices.to_numpy().astype(np.int64)
    pairs *= len(items.dictionary)
    pairs += items.indices.to_numpy()
    return pairs


def _described(ratings: pa.Table, row: int) -> str:
    [values] = ratings.slice(row, 1).to_pylist()
    shown = {name: f"{v:g}" if isinstance(v, float) else v for name, v in values.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items() if name != "timestamp")


def _rows(n: int) -> str:
    return "one such row" if n == 1 else f"{n:,} such rows"
