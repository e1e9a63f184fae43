"""What every model answers, whatever it is: a person's ratings of items, known or new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
MODEL_RANGE = (0.5, 5.0)
"""The range of ratings on the models' own scale, as in `cf.models.base`, which imports torch."""


@dataclass(frozen=True)
class Person:
    """Somebody whose ratings can be predicted.

    Attributes:
        row: bias and factors, (s, d), for each of s samples or members.
        covariance: of the row, (s, d, d); None where the row is known, or the model has none.
        noise: variance of the person's ratings about their expected values, (s,), or None.
        rated: items, and on the model's scale the residuals of their ratings, (m,) each, or None.
    """

    row: Floats
    covariance: Floats | None = None
    noise: Floats | None = None
    rated: tuple[Indices, Floats] | None = None


Information = Callable[[Indices, Floats], Doubles]


class Answers(Protocol):
    """A trained model. Ratings and predictions are on the scale of the data."""

    n_users: int
    n_items: int

    def predict(
        self, users: Indices, items: Indices, times: Indices | None = None
    ) -> tuple[Floats, Floats | None]:
        """The predicted ratings of pairs, (n,), and their standard deviations, if there are any.

        `times` are in seconds since 1970 UTC, for models that use them.
        """

    def person(self, user: int) -> Person:
        """A user of the training data."""

    def fold_in(self, items: Indices, ratings: Floats) -> Person:
        """Somebody new, from their ratings, (m,) each; from none, the average person."""

    def score(self, person: Person, items: Indices | None) -> tuple[Floats, Floats | None]:
        """As `predict`, for one person and these items, or all items."""

    def table(self, people: Sequence[Person]) -> Floats:
        """(n, n_items): how people would rate all items, to order them; not within the range."""

    def without_each(
        self, items: Indices, ratings: Floats, targets: Indices
    ) -> tuple[Doubles, Doubles]:
        """Predictions for somebody new, (n,) of items, and those without each rating, (n, m)."""

    def information(self, weights: Doubles, noise: Doubles, among: Indices) -> Information:
        """How much less uncertain the predictions for somebody new become with one more rating.

        Args:
            weights: (n_items,), how much the prediction of each item counts.
            noise: (n_items,), the variance of an item's ratings about their predictions, as a
                multiple of the average item's.
            among: (c,), the items that could be rated.

        Returns:
            A function of somebody's items and ratings, (m,) each, to (c,): the expected fall in the
            variance of all predictions, once each of these items is rated, too.
        """

    def new_item(self, person: Person) -> tuple[float, float | None]:
        """The prediction and its standard deviation for an item that is not in the data."""

    def item_vectors(self) -> Floats:
        """(n_items, k): items liked by the same people point in the same direction."""
