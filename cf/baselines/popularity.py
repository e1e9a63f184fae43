"""The most rated items, the same for everybody."""

import numpy as np

from cf.baselines.top_k import Scorer, Scores
from cf.core.ratings import Indices


def popularity(items: Indices, n_items: int) -> Scorer:
    """A scorer by the number of training ratings, whatever the user.

    Args:
        items: (n_train,) indices of the training ratings' items.

    Source:
        Cremonesi, Koren and Turrin 2010, "Performance of Recommender Algorithms on Top-N
        Recommendation Tasks": TopPop.
    """
    counts = np.bincount(items, minlength=n_items).astype(np.float32)

    def scores(users: Indices) -> Scores:
        return np.tile(counts, (len(users), 1))

    return scores
