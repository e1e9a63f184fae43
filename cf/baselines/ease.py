"""A linear model from the items that a user has rated to all items, in closed form."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

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
        self.weights = _weights(self.rated, self.l2, self.memory)
        return self

    def score(self, users: Indices) -> Scores:
        """X·B, (B, n_items)."""
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        scores[:, self.items] = self.rated[users] @ self.weights
        return scores


def _weights(columns: Any, l2: float, memory: int) -> NDArray[np.float32]:
    """B, (m, m), for the (n_users, m) `columns` of X."""
    n = columns.shape[1]
    transposed = columns.T.tocsr()
    gram = np.empty((n, n), order="F")  # LAPACK's order: it then works in place
    for part in chunks(n, n, memory):
        gram[:, part] = (transposed[part] @ columns).toarray().T
    gram[np.diag_indices(n)] += l2
    # Cholesky takes half the time of a general inverse. A positive l2 leaves it nothing to refuse.
    factor, _ = lapack.dpotrf(gram, lower=True, overwrite_a=True)
    inverse, _ = lapack.dpotri(factor, lower=True, overwrite_c=True)
    diagonal = inverse.diagonal().copy()
    weights = np.empty((n, n), dtype=np.float32)
    for part in chunks(n, n, memory):  # only the triangle below is the inverse's
        rows = inverse[part, : part.stop]
        weights[part, : part.stop] = rows
        weights[: part.stop, part] = rows.T
        weights[part, part] = np.tril(inverse[part, part]) + np.tril(inverse[part, part], -1).T
    for part in chunks(n, n, memory):
        weights[part] /= -diagonal
    np.fill_diagonal(weights, 0)
    return weights
