"""Which item to ask somebody for a rating of: the one whose rating tells most about all others."""

import numpy as np

from cf.core.ratings import Indices
from cf.inference.base import Answers, Doubles, Floats

SHRINKAGE = 20  # ratings of average noise, added to those of each item
MAX_RATINGS = 500_000  # from which the noise of items is found
N_CANDIDATES = 1000  # the items that most people know


class Questions:
    """What the rating of each item is worth, by a model and the ratings it was trained on.

    Attributes:
        items: (c,) those that are asked for: the ones that most people know.
        known: (n_items,) the share of users who have rated each item.
        noise: (n_items,) the variance of each item's ratings about their predictions, as a multiple
            of the average item's. Opinions on one film differ for reasons that a model does not
            know, those on another hardly do.
    """

    def __init__(
        self,
        answers: Answers,
        users: Indices,
        items: Indices,
        ratings: Floats,
        n_candidates: int = N_CANDIDATES,
    ) -> None:
        self.known = np.bincount(items, minlength=answers.n_items) / max(1, len(np.unique(users)))
        if len(items) > MAX_RATINGS:
            rows = np.random.default_rng(0).choice(len(items), MAX_RATINGS, replace=False)
            users, items, ratings = users[rows], items[rows], ratings[rows]
        squares = np.square(answers.predict(users, items)[0].astype(np.float64) - ratings)
        counts = np.bincount(items, minlength=answers.n_items)
        sums = np.bincount(items, squares, minlength=answers.n_items)
        mean = squares.mean() if squares.any() else 1.0
        self.noise: Doubles = (sums / mean + SHRINKAGE) / (counts + SHRINKAGE)
        self.items = np.argsort(-self.known, kind="stable")[:n_candidates]
        self._information = answers.information(self.known, self.noise, self.items)

    def gains(self, items: Indices, ratings: Floats) -> Doubles:
        """(c,): by how much the rating of each would lower the variance of all predictions.

        The predictions count as much as people come to need them: by the share who rate the item.

        Args:
            items: (m,) that somebody has rated.
            ratings: (m,) of those items.
        """
        return self._information(items, ratings)
