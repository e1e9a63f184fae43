"""What the parts of a split hold, and how much of that train does not know, or knows already."""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from cf.core.config import Split
from cf.core.provenance import SplitInfo
from cf.core.ratings import Ratings
from cf.data.split import Parts, unseen

Counts = dict[str, int]


def describe(ratings: Ratings, rows: Parts, split: Split) -> SplitInfo:
    """The facts of a split of the ratings into these rows."""
    train = ratings.take(rows["train"])
    found = {"train": counts(train)}
    identity = sha256()
    for part in [part for part in rows if part != "train"]:
        identity.update((b"" if part == "valid" else b"test") + rows[part].astype("<i8").tobytes())
        found[part] = held_out_counts(train, ratings.take(rows[part]))
    return SplitInfo(
        fraction=split.fraction,
        seed=split.seed,
        n_train=len(train),
        n_valid=found["valid"]["n"],
        n_cold=found["valid"]["n_cold"],
        sha256=identity.hexdigest(),
        method=split.method,
        settings=split.used,
        parts=found,
    )


def counts(ratings: Ratings) -> Counts:
    """The numbers of ratings, of distinct users and of distinct items: n, n_users, n_items.

    Where there are timestamps, also those of its earliest and latest rating: `earliest` and
    `latest`, in seconds since 1970 UTC.
    """
    found = {
        "n": len(ratings),
        "n_users": _distinct(ratings.users),
        "n_items": _distinct(ratings.items),
    }
    if ratings.timestamps is not None:
        found["earliest"] = int(ratings.timestamps.min())
        found["latest"] = int(ratings.timestamps.max())
    return found


def held_out_counts(train: Ratings, held_out: Ratings) -> Counts:
    """The counts of a held-out part, and how much of it train does not know, or knows already.

    Returns:
        As `counts`, and of the distinct users and items those that never occur in train:
        n_cold_users, n_cold_items; of the ratings those of such a user alone, of such an item
        alone, or both: n_cold_user_only, n_cold_item_only, n_cold_both, together n_cold; and
        n_leaked, those whose user rates the same item in train.
    """
    users, items = held_out.users, held_out.items
    no_user, no_item = unseen(train.users, users), unseen(train.items, items)
    return {
        **counts(held_out),
        "n_cold_users": _distinct(users[no_user]),
        "n_cold_items": _distinct(items[no_item]),
        "n_cold_user_only": int((no_user & ~no_item).sum()),
        "n_cold_item_only": int((no_item & ~no_user).sum()),
        "n_cold_both": int((no_user & no_item).sum()),
        "n_cold": int((no_user | no_item).sum()),
        "n_leaked": int(leaked(train, held_out).sum()),
    }


def leaked(train: Ratings, held_out: Ratings) -> NDArray[np.bool_]:
    """Whether each held-out rating's user rates the same item in train, (len(held_out),)."""
    n_items = 1 + max(train.items.max(initial=0), held_out.items.max(initial=0))
    known, asked = (ratings.users * n_items + ratings.items for ratings in (train, held_out))
    known.sort()
    places = np.searchsorted(known, asked)
    found: NDArray[np.bool_] = known.take(places, mode="clip") == asked
    return found  # np.isin says the same in twice the time


def _distinct(indices: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(np.bincount(indices)))
