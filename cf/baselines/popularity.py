"""The most rated items, the same for everybody."""

from typing import Self

import numpy as np

from cf.baselines.base import Baseline, Scores
from cf.core.ratings import Indices, Ratings


class Popularity(Baseline):
    """The number of training ratings of each item, whoever the user is.

    Source:
        Cremonesi, Koren and Turrin 2010, "Performance of Recommender Algorithms on Top-N
        Recommendation Tasks": TopPop.
    """

    def fit(self, train: Ratings, n_users: int, n_items: int) -> Self:
        """Itself, with the counts of the training ratings."""
        self.counts = np.bincount(train.items, minlength=n_items).astype(np.float32)
        return self

    def score(self, users: Indices) -> Scores:
        """The counts, (B, n_items)."""
        return np.tile(self.counts, (len(users), 1))
