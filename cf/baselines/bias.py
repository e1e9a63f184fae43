"""Baselines in closed form, to which every model is compared."""

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices, Ratings, Stars

PASSES = 20


def damped_means(
    values: NDArray[np.float64], groups: Indices, n_groups: int, damping: float
) -> NDArray[np.float64]:
    """Mean of `values` in each group, shrunk towards zero.

    A group's sum is divided by its size plus `damping`, as if it held that many more zeros; an
    empty group gets 0.

    Args:
        values: (n,) in stars, centred on the global mean.
        groups: (n,) in [0, n_groups).
        damping: pseudo-ratings a group, >= 0.

    Returns:
        (n_groups,) in stars.

    Raises:
        ValueError: values and groups differ in length.
    """
    if len(values) != len(groups):
        raise ValueError(f"{len(values)} values for {len(groups)} groups")
    sums = np.bincount(groups, weights=values, minlength=n_groups)
    sizes = np.bincount(groups, minlength=n_groups) + damping
    means: NDArray[np.float64] = sums / np.maximum(sizes, np.finfo(float).tiny)
    return means


def global_mean(train: Ratings, users: Indices, items: Indices) -> Stars:
    """The mean training rating, in stars, whatever the (n,) users and items."""
    return np.full(len(users), train.values.mean(dtype=np.float64), dtype=np.float32)


def bias(train: Ratings, users: Indices, items: Indices, damping: float) -> Stars:
    """Global mean plus damped user and item biases, (n,) in stars.

    Users' and items' biases are fitted in turn, each to what the others leave, until they
    settle: that is ridge regression on the two ids.

    Args:
        train: what the biases are fitted to.
        users: (n,) indices to predict for.
        items: (n,) indices to predict for.
        damping: pseudo-ratings a user or item.

    Source:
        Koren, Bell and Volinsky 2009, "Matrix Factorization Techniques for Recommender
        Systems", equation 3.
    """
    n_users = 1 + max(train.users.max(), users.max(initial=0))
    n_items = 1 + max(train.items.max(), items.max(initial=0))
    mean = train.values.mean(dtype=np.float64)
    residual = train.values - mean
    user_bias = np.zeros(n_users)
    for _ in range(PASSES):
        left = residual - user_bias[train.users]
        item_bias = damped_means(left, train.items, n_items, damping)
        left = residual - item_bias[train.items]
        user_bias = damped_means(left, train.users, n_users, damping)
    predicted: Stars = (mean + user_bias[users] + item_bias[items]).astype(np.float32)
    return predicted
