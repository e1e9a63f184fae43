"""Counts of pairs of items, compiled by numba."""

from typing import Any

from cf.core.jit import compiled


@compiled
def count_pairs(
    raters: Any, starts: Any, others: Any, of_user: Any, items: Any, first: Any, counts: Any
) -> None:
    """Count how many users rated both of two items, into (b, n - first) zeros.

    Args:
        raters: the users who rated each item, one item after the other.
        starts: where each item's raters begin, and the end.
        others: the items that each user rated, ascending, one user after the other.
        of_user: where each user's items begin, and the end.
        items: (b,), by row.
        first: the columns are the other items from this one on.
    """
    for row, item in enumerate(items):
        for rater in raters[starts[item] : starts[item + 1]]:
            for i in range(of_user[rater + 1] - 1, of_user[rater] - 1, -1):
                other = others[i]
                if other < first:
                    break
                counts[row, other - first] += 1
