"""A linear model from the items that a user has rated to all items, in closed form."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from cf.baselines.top_k import MEMORY, Scorer, Scores, chunks
from cf.core.ratings import Indices


def ease(rated: Any, l2: float, max_items: int, memory: int = MEMORY) -> Scorer:
    """A scorer by X·B, where B best rebuilds X from itself without using an item for itself.

    B_ij = -P_ij / P_jj off the diagonal and 0 on it, with P the inverse of Xᵀ·X + l2·I.

    B is dense, so only the `max_items` most rated items take part, of equally rated ones those of
    the lower index; the others, and those that nobody has rated, are never recommended. The stars
    play no part.

    Args:
        rated: X, sparse (n_users, n_items) of ones, as `scores.rated` gives it.
        l2: > 0, in users.
        max_items: the memory grows with its square, by 12 bytes; the time with its cube.
        memory: bytes for the scores that Xᵀ·X is made of at once.

    Source:
        Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", equation 8.
    """
    n_items = rated.shape[1]
    counts = np.bincount(rated.indices, minlength=n_items)
    items = np.sort(np.argsort(-counts, kind="stable")[:max_items])
    items = items[counts[items] > 0]
    columns = rated[:, items].tocsr()
    weights = _weights(columns, l2, memory)

    def scores(users: Indices) -> Scores:
        scored = np.full((len(users), n_items), -np.inf, dtype=np.float32)
        scored[:, items] = columns[users] @ weights
        return scored

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
