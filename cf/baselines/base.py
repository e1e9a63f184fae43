"""What every baseline is: fitted once, then asked for ratings or for scores of all items."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices, Ratings, Stars

Scores = NDArray[np.float32]

Scorer = Callable[[Indices], Scores]
"""Users, (B,), to a new array of scores, (B, n_items): the higher, the better.

They compare within a user only. An item with the score -inf is never recommended; NaN is an error.
"""


class Baseline(ABC):
    """What predicts ratings, ranks items, or both."""

    @abstractmethod
    def fit(self, train: Ratings, n_users: int, n_items: int) -> Self:
        """The baseline itself, fitted to the ratings of users and items below these numbers."""

    def predict(self, users: Indices, items: Indices) -> Stars:
        """The ratings predicted for pairs of users and items, (n,) each, in stars."""
        raise NotImplementedError(f"{type(self).__name__} does not predict ratings")

    def score(self, users: Indices) -> Scores:
        """A `Scorer`."""
        raise NotImplementedError(f"{type(self).__name__} does not rank items")


def rating_scorer(predict: Callable[[Indices, Indices], Stars], n_items: int) -> Scorer:
    """A scorer that ranks items by their predicted ratings."""

    def score(users: Indices) -> Scores:
        predicted = predict(np.repeat(users, n_items), np.tile(np.arange(n_items), len(users)))
        return predicted.reshape(len(users), n_items)

    return score


def interaction_matrix(ratings: Ratings, n_users: int, n_items: int) -> Any:
    """Who rated what: sparse (n_users, n_items) float32 ones in CSR form, once for each pair."""
    from scipy import sparse  # late: not every user of this module ranks

    ones = np.ones(len(ratings), dtype=np.float32)
    pairs = ratings.users.astype(np.int32), ratings.items.astype(np.int32)
    matrix = sparse.csr_array((ones, pairs), shape=(n_users, n_items))
    matrix.data[:] = 1  # repeated pairs were summed
    return matrix
