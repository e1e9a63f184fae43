"""The ratings that the most active users gave the most rated items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices


@dataclass(frozen=True)
class Crosstab:
    """Ratings as a table of users by items.

    Attributes:
        user_ids: (r,) raw ids of the rows, ascending.
        item_ids: (c,) raw ids of the columns, ascending.
        values: (r, c) in stars; NaN where the user has not rated the item.
    """

    user_ids: Indices
    item_ids: Indices
    values: NDArray[np.float64]


def most_frequent(ids: Indices, n_top: int) -> Indices:
    """The `n_top` ids that occur most often, the most frequent first.

    Of ids that occur equally often the lower one comes first.

    Args:
        ids: (n,) raw ids, one a rating.
        n_top: how many to return, >= 0; all of them where there are fewer.

    Returns:
        (min(n_top, distinct ids),) raw ids.
    """
    distinct, counts = np.unique(ids, return_counts=True)
    return distinct[np.lexsort((distinct, -counts))[:n_top]]


def top_crosstab(
    user_ids: Indices, item_ids: Indices, values: NDArray[np.floating], n_top: int
) -> Crosstab:
    """The table of the `n_top` most active users by the `n_top` most rated items.

    Both are counted over all the ratings given. Where a user rated an item more than once, the
    cell holds the sum.

    Args:
        user_ids: (n,) raw ids.
        item_ids: (n,) raw ids.
        values: (n,) in stars.
        n_top: rows and columns of the table, >= 0; fewer where there are fewer.

    Raises:
        ValueError: the arrays differ in length.

    Source: the notebook, `pd.crosstab(top_r.userId, top_r.movieId, top_r.rating, aggfunc=np.sum)`.
    """
    if not len(user_ids) == len(item_ids) == len(values):
        raise ValueError(
            "a crosstab needs arrays of one length, got "
            f"{len(user_ids)} user ids, {len(item_ids)} item ids and {len(values)} values"
        )
    rows = np.sort(most_frequent(user_ids, n_top))
    columns = np.sort(most_frequent(item_ids, n_top))
    inside = np.isin(user_ids, rows) & np.isin(item_ids, columns)
    cells = (
        np.searchsorted(rows, user_ids[inside]),
        np.searchsorted(columns, item_ids[inside]),
    )
    sums = np.zeros((len(rows), len(columns)))
    np.add.at(sums, cells, values[inside])
    rated = np.zeros(sums.shape, dtype=bool)
    rated[cells] = True
    return Crosstab(rows, columns, np.where(rated, sums, np.nan))
