"""Ids to indices: data/ingested to data/encoded."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import parquet

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.progress import working


@exit_on_input_error
@working("encode: numbering users and items")
def main() -> None:
    """Number users and items in order of first appearance, and put their tables in that order."""
    items = io.read_parquet(paths.ITEMS, ["item_id", "title", "year", "genres"])
    users = io.read_parquet(paths.USERS, ["user_id"])
    tags = io.read_parquet(paths.TAGS, ["item_id", "tag", "timestamp"])
    with io.reading(paths.RATINGS):
        if taken := {"user", "item", "row"}.intersection(parquet.read_schema(paths.RATINGS).names):
            raise ValueError(f"expected ids and ratings, got the column {min(taken)} of indices")
    if on_ray := config.ray(paths.PARAMS):
        from cf.distributed.encode import encode_on_ray

        user_ids, item_ids = encode_on_ray(on_ray, paths.RATINGS, paths.ENCODED_RATINGS)
    else:
        needed = ["user_id", "item_id", "rating"]
        ratings = io.read_parquet(paths.RATINGS, needed, categories=needed[:2])
        encoded, user_ids, item_ids = encode(ratings)
        io.write_parquet(paths.ENCODED_RATINGS, encoded)
    with io.reading(paths.USERS):
        encoded_users = in_order(users, "user_id", user_ids)
    with io.reading(paths.ITEMS):
        encoded_items = in_order(items, "item_id", item_ids).fillna({"genres": ""})
    io.write_parquet(paths.ENCODED_USERS, encoded_users)
    io.write_parquet(paths.ENCODED_ITEMS, encoded_items)
    io.write_parquet(paths.ENCODED_TAGS, encode_tags(tags, item_ids))


def encode(ratings: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index, pd.Index]:
    """The ratings by index, and the id of each user and of each item by index.

    Indices are given in order of first appearance. user_id and item_id are taken out of
    `ratings`, since both at once would cost half as much memory again.

    Returns:
        Ratings with user, item, the other columns, and row, the number from 0; user ids; item ids.
    """
    user, user_ids = number(ratings.pop("user_id"))
    item, item_ids = number(ratings.pop("item_id"))
    columns = {"user": user, "item": item, **ratings, "row": np.arange(len(ratings))}
    return pd.DataFrame(columns, copy=False), user_ids, item_ids


def in_order(table: pd.DataFrame, key: str, ids: pd.Index) -> pd.DataFrame:
    """The rows of a table of users or items by index; one that it lacks has nothing but its id."""
    return table.set_index(key).reindex(ids).rename_axis(key).reset_index()


def encode_tags(tags: pd.DataFrame, item_ids: pd.Index) -> pd.DataFrame:
    """The tags of the rated items, with item, the index, in place of item_id."""
    item = item_ids.get_indexer(pd.Index(tags["item_id"]))
    encoded = tags.drop(columns="item_id")
    encoded.insert(0, "item", item.astype(np.int64))
    return encoded[item >= 0].reset_index(drop=True)


def number(ids: pd.Series) -> tuple[NDArray[np.int64], pd.Index]:
    """Each id's index, and the ids by index: whole numbers, or text."""
    indices, unique = pd.factorize(ids)
    return indices, unique if ids.dtype == "int64" else pd.Index(unique.astype("str"))


if __name__ == "__main__":
    main()
