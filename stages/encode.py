"""Ids to indices: data/ingested to data/encoded."""

import numpy as np

from cf.data import encoding, tables
from cf.ratings import Ratings
from stages import paths
from stages.stage import stage


@stage
def main() -> None:
    """Encode users and items in order of first appearance."""
    columns = tables.read_columns(paths.RATINGS, "user_id", "item_id", "rating")
    users, user_vocabulary = encoding.encode(columns["user_id"])
    items, item_vocabulary = encoding.encode(columns["item_id"])
    ratings = Ratings(
        users=users,
        items=items,
        values=columns["rating"],
        timestamps=columns.get("timestamp"),
        rows=np.arange(len(users)),
    )
    tables.write_ratings(paths.ENCODED_RATINGS, ratings)
    tables.write_columns(paths.USER_VOCABULARY, {"user_id": user_vocabulary.ids})
    tables.write_columns(paths.ITEM_VOCABULARY, {"item_id": item_vocabulary.ids})


if __name__ == "__main__":
    main()
