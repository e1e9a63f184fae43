"""The global mean, and user and item biases around it."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from cf.baselines.base import Scores
from cf.core.ratings import Indices, RatingStats, Stars


class GlobalMean:
    """The mean training rating, for every user and item."""

    def fit(self, train: RatingStats, n_users: int, n_items: int) -> Self:
        """Itself, with the mean of the training ratings."""
        self.mean = mean_rating(train)
        return self

    def predict(self, users: Indices, items: Indices) -> Stars:
        """The mean, (n,)."""
        return np.full(len(users), self.mean, dtype=np.float32)


class Bias:
    """Global mean plus user and item biases, with `damping` as in `damped_means`.

    They are fitted in turn, 20 times, each to the residuals of the others: that is ridge regression
    on the two ids. Users and items without ratings have 0.

    Source:
        Koren, Bell and Volinsky 2009, "Matrix Factorization Techniques for Recommender
        Systems", equation 3.
    """

    def __init__(self, damping: float) -> None:
        self.damping = damping

    def fit(self, train: RatingStats, n_users: int, n_items: int) -> Self:
        """Itself, with the biases of the training ratings."""
        self.mean = mean_rating(train)
        self.user_bias, self.item_bias = np.zeros(n_users), np.zeros(n_items)
        n_of_user, n_of_item = train.user_counts(n_users), train.item_counts(n_items)
        for _ in range(20):
            sums = np.zeros(n_items)
            for users, items, values in train.blocks():
                np.add.at(sums, items, values - self.mean - self.user_bias[users])
            self.item_bias = damped_means(sums, n_of_item, self.damping)
            sums = np.zeros(n_users)
            for users, items, values in train.blocks():
                np.add.at(sums, users, values - self.mean - self.item_bias[items])
            self.user_bias = damped_means(sums, n_of_user, self.damping)
        return self

    def predict(self, users: Indices, items: Indices) -> Stars:
        """(n,) in the data's unit."""
        predicted = self.mean + self.user_bias[users] + self.item_bias[items]
        return np.asarray(predicted, dtype=np.float32)

    def score(self, users: Indices) -> Scores:
        """(B, n_items): user bias shifts all items equally, so all users have one ranking."""
        return np.tile((self.mean + self.item_bias).astype(np.float32), (len(users), 1))


def mean_rating(train: RatingStats) -> np.float64:
    """The mean training rating; float32 ratings minus this type of float are float64."""
    return np.float64(train.mean_of(lambda values: values))


def damped_means(sums: NDArray[np.float64], sizes: Indices, damping: float) -> NDArray[np.float64]:
    """Mean of the values in each group, (n_groups,), shrunk towards zero.

    The sum of a group's values is divided by its size plus `damping`, >= 0, as if it held that many
    more zeros; an empty group gets 0.
    """
    means: NDArray[np.float64] = sums / np.maximum(sizes + damping, np.finfo(float).tiny)
    return means
