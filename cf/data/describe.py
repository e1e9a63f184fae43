"""What the subsets of a split hold, and how much of a held-out one is cold or leaked."""

from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import pandas as pd

from cf.core.config import Split
from cf.core.ratings import SplitInfo

Counts = dict[str, int]


def describe(subsets: Mapping[str, pd.DataFrame], settings: Split) -> SplitInfo:
    """The facts of a split into train, valid and perhaps test.

    Each subset has the columns user, item, row and perhaps timestamp.
    """
    train = subsets["train"]
    counts = {"train": count(train)}
    identity = sha256()
    for name in list(subsets)[1:]:
        identity.update(b"" if name == "valid" else b"test")
        identity.update(subsets[name]["row"].to_numpy("<i8").tobytes())
        counts[name] = count_held_out(train, subsets[name])
    return SplitInfo(
        fraction=settings.fraction,
        seed=settings.seed,
        sha256=identity.hexdigest(),
        method=settings.method,
        settings=settings.used,
        parts=counts,
    )


def count(ratings: pd.DataFrame) -> Counts:
    """The numbers of ratings, of distinct users and of distinct items: n, n_users, n_items.

    Where there are timestamps, also the `earliest` and the `latest`, in seconds since 1970 UTC.
    """
    counts = {"n": len(ratings)}
    counts |= {f"n_{name}s": ratings[name].nunique() for name in ("user", "item")}
    if "timestamp" in ratings:
        times = ratings["timestamp"]
        counts |= {"earliest": int(times.min()), "latest": int(times.max())}
    return counts


def count_held_out(train: pd.DataFrame, held_out: pd.DataFrame) -> Counts:
    """The counts of a held-out subset, and how much of it is cold or leaked.

    n_cold_users and n_cold_items never occur in train. Ratings of such a user alone, of such an
    item alone, or of both are n_cold_user_only, n_cold_item_only and n_cold_both, together n_cold.
    """
    users, items = held_out["user"], held_out["item"]
    new_user = ~users.isin(train["user"].unique())
    new_item = ~items.isin(train["item"].unique())
    return {
        **count(held_out),
        "n_cold_users": users[new_user].nunique(),
        "n_cold_items": items[new_item].nunique(),
        "n_cold_user_only": int((new_user & ~new_item).sum()),
        "n_cold_item_only": int((new_item & ~new_user).sum()),
        "n_cold_both": int((new_user & new_item).sum()),
        "n_cold": int((new_user | new_item).sum()),
        "n_leaked": count_leaked(train, held_out),
    }


def count_leaked(train: pd.DataFrame, held_out: pd.DataFrame) -> int:
    """The number of held-out ratings whose user rates the same item in train."""
    n_items = 1 + max(train["item"].max(), held_out["item"].max())
    known, asked = (np.sort(rows["user"] * n_items + rows["item"]) for rows in (train, held_out))
    positions = np.searchsorted(known, asked)  # sorted, it takes a tenth of the time
    return int((known.take(positions, mode="clip") == asked).sum())
