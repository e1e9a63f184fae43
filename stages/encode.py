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
    user, user_ids = pd.factorize(ratings.pop("user_id"))
    item, item_ids = pd.factorize(ratings.pop("item_id"))
    ratings.insert(0, "user", user.astype(np.int64, copy=False))
    ratings.insert(1, "item", item.astype(np.int64, copy=False))
    ratings["row"] = np.arange(len(ratings))
    io.write_parquet(paths.ENCODED_RATINGS, ratings)
    io.write_parquet(paths.ENCODED_USERS, pd.DataFrame({"user_id": user_ids}))
    encoded_items = pd.DataFrame({"item_id": item_ids}).merge(items, how="left", on="item_id")
    encoded_items["genres"] = encoded_items["genres"].fillna("")
    io.write_parquet(paths.ENCODED_ITEMS, encoded_items)


if __name__ == "__main__":
    main()
