"""What a user's ratings say of an item beyond a model: residuals, averaged over similar items.

A matrix factorization explains what many items have in common. What a few items share, and how a
user felt for a few minutes, is left in the residuals of the user's ratings: rating less prediction.
A prediction is corrected by their weighted mean, shrunk towards 0:

    Σ_j w_j · residual_j / (SHRINKAGE + Σ_j w_j)
    w_j = s_j⁸ + RECENT · s_j² · exp(-gap_j / SECONDS)

where j goes through the user's rated items, s_j is the cosine of the two items' directions, 0 where
it is negative, and gap_j is the time between the two ratings; without times the second term of the
weight is left out. All four constants were chosen on slices of MovieLens' training rows.

Source:
    Koren 2008, "Factorization Meets the Neighborhood", section 2.2, for residuals of neighbors and
    shrinkage; Bell and Koren 2007, "Scalable Collaborative Filtering with Jointly Derived
    Neighborhood Interpolation Weights", section 5, for neighbors after factors. The items' likeness
    is here a model's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices

Floats = NDArray[np.float32]
SHRINKAGE = 0.1
RECENT = 0.1
SECONDS = 600.0
CHUNK = 2**22  # weights at a time


@dataclass(frozen=True)
class Rated:
    """The training ratings by user, one user's after the other's, and what a model leaves of them.

    Attributes:
        starts: (n_users + 1,) where each user's ratings begin.
        items: (n,) indices.
        residuals: (n,) rating less prediction.
        times: (n,) in seconds; None where they play no part.
    """

    starts: Indices
    items: Indices
    residuals: Floats
    times: Indices | None = None

    def of(self, user: int) -> tuple[Indices, Floats]:
        """A user's items and residuals, (m,) each."""
        rows = slice(self.starts[user], self.starts[user + 1])
        return self.items[rows], self.residuals[rows].astype(np.float32)

    def corrections(
        self, directions: Floats, users: Indices, items: Indices, times: Indices | None = None
    ) -> Floats:
        """What to add to predictions for (n,) users and items, and times if these have any: (n,).

        `directions`, (n_items, k), has rows of length 1 or less.
        """
        found = np.zeros(len(users), np.float32)
        if not len(self.items) or not len(users):
            return found
        order = np.argsort(users, kind="stable")
        distinct, firsts = np.unique(users[order], return_index=True)
        for user, rows in zip(distinct, np.split(order, firsts[1:]), strict=True):
            rated, residuals = self.of(int(user))
            for part in np.array_split(rows, 1 + len(rows) * len(rated) // CHUNK):
                gaps = None
                if times is not None and self.times is not None:
                    of_user = self.times[self.starts[user] : self.starts[user + 1]]
                    gaps = np.abs(times[part, None] - of_user)
                w = weights(directions[items[part]], directions[rated], gaps)
                found[part] = correction(w, residuals)
        return found


def weights(wanted: Floats, rated: Floats, gaps: Indices | None = None) -> Floats:
    """How much each rated item counts for each wanted one, (n, m), by their directions.

    Args:
        wanted: (n, k) directions.
        rated: (m, k) directions.
        gaps: (n, m) seconds between the ratings; None where a time is not known.
    """
    likeness = np.maximum(wanted @ rated.T, 0)
    squared = np.square(likeness)
    found: Floats = np.square(np.square(squared))
    if gaps is not None:
        found += RECENT * squared * np.exp(gaps / np.float32(-SECONDS), dtype=np.float32)
    return found


def correction(weights: Floats, residuals: Floats) -> Floats:
    """(n,) of (n, m) weights and (m,) residuals: their mean, shrunk towards 0."""
    shrunk: Floats = weights @ residuals / (weights.sum(1) + np.float32(SHRINKAGE))
    return shrunk
