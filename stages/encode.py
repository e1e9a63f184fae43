"""Ids to indices: data/ingested to data/encoded."""

import numpy as np
import pandas as pd

from cf.core import io, paths
from cf.core.errors import exit_on_input_error


@exit_on_input_error
def main() -> None:
    """Number users and items in order of first appearance, and put items in that order."""
    ratings = io.read_parquet(paths.RATINGS, ["user_id", "item_id", "rating"])
    items = io.read_parquet(paths.ITEMS, ["item_id", "title", "year", "genres"])
    user_ids, item_ids = encode(ratings)
    encoded_items = items.set_index("item_id").reindex(item_ids).rename_axis("item_id")
    io.write_parquet(paths.ENCODED_RATINGS, ratings)
    io.write_parquet(paths.ENCODED_USERS, pd.DataFrame({"user_id": user_ids}))
    io.write_parquet(paths.ENCODED_ITEMS, encoded_items.fillna({"genres": ""}).reset_index())


def encode(ratings: pd.DataFrame) -> tuple[pd.Index, pd.Index]:
    """The id of each user and of each item by index, in order of first appearance.

    Changes `ratings` in place, as a copy of a large one would cost as much memory again: user
    and item, the indices, replace user_id and item_id, and row, the number from 0, is added.
    """
    user, user_ids = pd.factorize(ratings.pop("user_id"))
    item, item_ids = pd.factorize(ratings.pop("item_id"))
    ratings.insert(0, "user", user)
    ratings.insert(1, "item", item)
    ratings["row"] = np.arange(len(ratings))
    return user_ids, item_ids


if __name__ == "__main__":
    main()
