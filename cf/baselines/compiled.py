"""Counts of pairs of items, compiled by numba."""

from typing import Any

from cf.core.jit import compiled


@compiled
def count_pairs(
    raters: Any,
    rater_starts: Any,
    rated: Any,
    rated_starts: Any,
    items: Any,
    first: Any,
    counts: Any,
) -> None:
    """Count how many users rated both of two items, into (len(items), m - first) zeros.

    Args:
        raters, rater_starts: the users who rated each of m items, one item after the other, and
            where each item's begin: (m + 1,).
        rated, rated_starts: the items that each user rated, in the same way, ascending.
        items: (b,), by row.
        first: the columns are the items from this one on.
    """
    for row, item in enumerate(items):
        for of_item in range(rater_starts[item], rater_starts[item + 1]):
            user = raters[of_item]
            for of_user in range(rated_starts[user + 1] - 1, rated_starts[user] - 1, -1):
                other = rated[of_user]
                if other < first:
                    break
                counts[row, other - first] += 1
