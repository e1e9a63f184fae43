"""What a user's ratings say of an item beyond a model: residuals, averaged over similar items.

A matrix factorization explains what many items have in common. What a few items share, and how a
user felt for a few minutes, is left in the residuals of the user's ratings: rating less prediction.
A prediction is corrected by their weighted mean, shrunk towards 0:

    Σ_j w_j · residual_j / (SHRINKAGE + Σ_j w_j)
    w_j = s_j⁸ + RECENT_WEIGHT · s_j² · exp(-gap_j / TIME_SCALE)

where j goes through the user's other rated items, s_j is the product of the two items' directions,
0 where it is negative, and gap_j is the time between the two ratings; without times the second term
of the weight is left out. All four constants were chosen on slices of MovieLens' training rows.

This is neither torch nor of one model, since models and `cf.inference` both need it.

Source:
    Koren 2008, "Factorization Meets the Neighborhood", section 2.2, for residuals of neighbors and
    shrinkage; Bell and Koren 2007, "Scalable Collaborative Filtering with Jointly Derived
    Neighborhood Interpolation Weights", section 5, for neighbors after factors. The similarity of
    items is here a model's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices

Floats = NDArray[np.float32]
SHRINKAGE = 0.1
RECENT_WEIGHT = 0.1
TIME_SCALE = 600.0  # seconds
CHUNK = 2**22  # weights at a time


@dataclass(frozen=True)
class UserResiduals:
    """The training ratings by user, one user's after the other's, and what a model leaves of them.

    Attributes:
        starts: (n_users + 1,) where each user's ratings begin.
        items: (n,) indices.
        residuals: (n,) rating less prediction.
        directions: (n_items, k), as for `weights`.
        times: (n,) in seconds; None where they play no part.
    """

    starts: Indices
    items: Indices
    residuals: Floats
    directions: Floats
    times: Indices | None = None

    def of(self, user: int) -> tuple[Indices, Floats]:
        """A user's items and residuals, (m,) each."""
        rows = slice(self.starts[user], self.starts[user + 1])
        return self.items[rows], self.residuals[rows].astype(np.float32)

    def corrections(self, users: Indices, items: Indices, times: Indices | None = None) -> Floats:
        """What to add to predictions for (n,) users and items, perhaps with times: (n,)."""
        found = np.zeros(len(users), np.float32)
        if not len(self.items) or not len(users):
            return found
        order = np.argsort(users, kind="stable")
        distinct, firsts = np.unique(users[order], return_index=True)
        for user, rows in zip(distinct, np.split(order, firsts[1:]), strict=True):
            rated, residuals = self.of(int(user))
            of_user = self.directions, items[rows], rated, residuals
            if times is None or self.times is None:
                found[rows] = corrections(*of_user)
            else:
                rated_times = self.times[self.starts[user] : self.starts[user + 1]]
                found[rows] = corrections(*of_user, times[rows], rated_times)
        return found


def corrections(
    directions: Floats,
    wanted: Indices,
    rated: Indices,
    residuals: Floats,
    times: Indices | None = None,
    rated_times: Indices | None = None,
) -> Floats:
    """What to add to one user's predictions for (n,) wanted items: (n,).

    Args:
        directions: as for `weights`.
        rated, residuals: (m,) the user's items, and rating less prediction.
        times, rated_times: (n,) and (m,) in seconds; None where they play no part.
    """
    found = np.empty(len(wanted), np.float32)
    step = max(1, CHUNK // max(1, len(rated)))
    for start in range(0, len(wanted), step):
        part = slice(start, start + step)
        gaps = None
        if times is not None and rated_times is not None:
            gaps = np.abs(times[part, None] - rated_times)
        w = weights(directions, wanted[part], rated, gaps)
        found[part] = w @ residuals / (w.sum(1) + np.float32(SHRINKAGE))
    return found


def weights(
    directions: Floats, wanted: Indices, rated: Indices, gaps: Indices | None = None
) -> Floats:
    """How much each rated item counts for each wanted one, (n, m); an item not for itself.

    Args:
        directions: (n_items, k), whose products are the items' similarities, at most 1.
        wanted: (n,) items.
        rated: (m,) items.
        gaps: (n, m) seconds between the ratings; None where a time is not known.
    """
    similarity = np.maximum(directions[wanted] @ directions[rated].T, 0)
    squared = np.square(similarity)
    found: Floats = np.square(np.square(squared))
    if gaps is not None:
        found += RECENT_WEIGHT * squared * np.exp(gaps / np.float32(-TIME_SCALE), dtype=np.float32)
    found[wanted[:, None] == rated] = 0
    return found
