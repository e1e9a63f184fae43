"""Items similar to those that a user has rated."""

from typing import Any

import numpy as np
from scipy import sparse

from cf.baselines.top_k import MEMORY, Scorer, Scores, best, chunks
from cf.core.ratings import Indices


def itemknn(rated: Any, n_neighbours: int, shrinkage: float, memory: int = MEMORY) -> Scorer:
    """A scorer by the sum of an item's similarities to what the user has rated.

    s(u, i) = sum of sim(i, j) over the j that u has rated among the nearest neighbours of i, with
    sim(i, j) = n_ij / (sqrt(n_i · n_j) + shrinkage), where n_i users have rated i, and n_ij both.
    That is the cosine of the two items' columns, less for those that few have rated.

    It takes no notice of the stars, and an item that nobody has rated scores 0.

    Args:
        rated: sparse (n_users, n_items) of ones, as `scores.rated` gives it.
        n_neighbours: kept for each item; of equally similar ones those of the lower index.
        shrinkage: >= 0, in users.
        memory: bytes for the similarities that are looked at at once.

    Source:
        Sarwar, Karypis, Konstan and Riedl 2001, "Item-Based Collaborative Filtering
        Recommendation Algorithms", sections 3.1.1 and 3.2.1; the shrinkage as in Ferrari Dacrema,
        Cremonesi and Jannach 2019, "Are We Really Making Much Progress?".
    """
    n_items = rated.shape[1]
    raters = rated.T.tocsr()
    length = np.sqrt(np.diff(raters.indptr)).astype(np.float32)
    near = [np.empty((0, n_neighbours), dtype=np.int64)]
    similar = [np.empty((0, n_neighbours), dtype=np.float32)]
    for rows in chunks(n_items, n_items, memory):
        cosine = (raters[rows] @ rated).toarray()
        cosine /= np.maximum(length[rows, None] * length + np.float32(shrinkage), 1e-9)
        cosine[np.arange(rows.stop - rows.start), np.arange(rows.start, rows.stop)] = 0
        cosine[cosine == 0] = -np.inf
        near.append(best(cosine, n_neighbours))
        similar.append(np.take_along_axis(cosine, near[-1], axis=1))
    neighbours, similarities = np.concatenate(near), np.concatenate(similar)
    items, places = np.nonzero(neighbours >= 0)
    weights = sparse.csr_array(
        (similarities[items, places], (neighbours[items, places], items)), shape=(n_items, n_items)
    )

    def scores(users: Indices) -> Scores:
        scored: Scores = (rated[users] @ weights).toarray()
        return scored

    return scores
