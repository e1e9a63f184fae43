"""A linear model from the items that a user has rated to all items, in closed form."""

from typing import Self

import numpy as np
from scipy import linalg

from cf.baselines.base import Baseline, Scores, interaction_matrix
from cf.baselines.top_k import MEMORY, chunks
from cf.core.ratings import Indices, Ratings


class EASE(Baseline):
    """Scores X·B, where B best reconstructs X from itself with a diagonal of zeros.

    B_ij = -P_ij / P_jj off the diagonal, with P the inverse of Xᵀ·X + l2·I and X the matrix of
    ones where a user has rated an item.

    B is dense, so only the `max_items` most rated items take part, of equally rated ones those of
    the lower index; the others, and those that nobody has rated, are never recommended. The stars
    are not used.

    Args:
        l2: > 0, in users.
        max_items: the memory grows with its square, by 12 bytes; the time with its cube.
        memory: bytes for the products that Xᵀ·X is made of, in one chunk.

    Source:
        Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", equation 8.
    """

    def __init__(self, l2: float, max_items: int, memory: int = MEMORY) -> None:
        self.l2, self.max_items, self.memory = l2, max_items, memory

    def fit(self, train: Ratings, n_users: int, n_items: int) -> Self:
        """Itself, with the weights of the training ratings."""
        self.n_items = n_items
        rated = interaction_matrix(train, n_users, n_items)
        counts = np.bincount(rated.indices, minlength=n_items)
        items = np.sort(np.argsort(-counts, kind="stable")[: self.max_items])
        self.items = items[counts[items] > 0]
        self.rated = rated[:, self.items].tocsr()
        raters = self.rated.T.tocsr()
        m = len(self.items)
        gram = np.empty((m, m), order="F")  # LAPACK's order, so that it is inverted in place
        for rows in chunks(m, m, self.memory):
            gram[:, rows] = (raters[rows] @ self.rated).toarray().T
        gram[np.diag_indices(m)] += self.l2
        inverse = linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
        self.weights = np.empty((m, m), dtype=np.float32)
        np.divide(inverse, -inverse.diagonal(), out=self.weights, casting="same_kind")
        np.fill_diagonal(self.weights, 0)
        return self

    def score(self, users: Indices) -> Scores:
        """X·B, (B, n_items)."""
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        scores[:, self.items] = self.rated[users] @ self.weights
        return scores
