"""What the subsets of a split hold, and how much of a held-out one is cold or leaked."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core.config import Split
from cf.core.ratings import Indices, SplitInfo

Counts = dict[str, int]


@dataclass(frozen=True)
class Train:
    """What held-out ratings are compared with.

    Attributes:
        counts: as of `count`.
        users: the distinct ones; items alike.
    """

    counts: Counts
    users: Indices
    items: Indices

    @classmethod
    def of(cls, train: pd.DataFrame) -> "Train":
        """Of ratings with the columns user, item and perhaps timestamp."""
        return cls(count(train), train["user"].unique(), train["item"].unique())


def describe(subsets: Mapping[str, pd.DataFrame], settings: Split) -> SplitInfo:
    """The facts of a split into train, valid and perhaps test.

    Each subset has the columns user, item, row and perhaps timestamp.
    """
    train, held_out = subsets["train"], {**subsets}
    del held_out["train"]
    n_leaked = {name: int(is_leaked(train, ratings).sum()) for name, ratings in held_out.items()}
    return describe_held_out(Train.of(train), held_out, n_leaked, settings)


def describe_held_out(
    train: Train,
    held_out: Mapping[str, pd.DataFrame],
    n_leaked: Mapping[str, int],
    settings: Split,
) -> SplitInfo:
    """As `describe`, where train is summed up and it is known how many ratings have leaked."""
    counts = {"train": train.counts}
    identity = sha256()
    for name, ratings in held_out.items():
        identity.update(b"" if name == "valid" else b"test")
        identity.update(ratings["row"].to_numpy("<i8").tobytes())
        counts[name] = count_held_out(train, ratings) | {"n_leaked": n_leaked[name]}
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


def count_held_out(train: Train, held_out: pd.DataFrame) -> Counts:
    """The counts of a held-out subset, and how much of it is cold.

    n_cold_users and n_cold_items never occur in train. Ratings of such a user alone, of such an
    item alone, or of both are n_cold_user_only, n_cold_item_only and n_cold_both, together n_cold.
    """
    users, items = held_out["user"], held_out["item"]
    new_user = ~users.isin(train.users)
    new_item = ~items.isin(train.items)
    return {
        **count(held_out),
        "n_cold_users": users[new_user].nunique(),
        "n_cold_items": items[new_item].nunique(),
        "n_cold_user_only": int((new_user & ~new_item).sum()),
        "n_cold_item_only": int((new_item & ~new_user).sum()),
        "n_cold_both": int((new_user & new_item).sum()),
        "n_cold": int((new_user | new_item).sum()),
    }


def is_leaked(train: pd.DataFrame, held_out: pd.DataFrame) -> NDArray[np.bool_]:
    """(len(held_out),) whether a rating's user rates the same item in train."""
    n_items = 1 + max(train["item"].max(), held_out["item"].max())
    known, asked = (
        (rows["user"] * n_items + rows["item"]).to_numpy() for rows in (train, held_out)
    )
    known = np.sort(known)
    order = np.argsort(asked)  # sorted, searching takes a tenth of the time
    found = np.empty(len(asked), bool)
    positions = np.searchsorted(known, asked[order])
    found[order] = known.take(positions, mode="clip") == asked[order]
    return found
