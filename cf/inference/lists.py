"""The order of recommended items: what people like this one rate, and how they would like it.

Ordered by predicted ratings alone, lists begin with items that hardly anybody comes to see; ordered
by who rates what alone, they leave taste aside. So both are put on one scale, a user's standard
deviations over all items that are new to the user, and added, the ratings with a weight that is
chosen on a part of train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cf.baselines.base import Scorer
from cf.core import io
from cf.core.errors import InputError
from cf.core.ratings import Indices
from cf.inference.base import Answers, Floats, Person

By = Literal["both", "stars", "likely"]
ITEMS, WEIGHTS, BLEND = "items.npy", "weights.npy", "blend.json"


@dataclass(frozen=True)
class Likely:
    """Who rates what: the scores of EASE, for people by the items they have rated.

    Attributes:
        items: (m,) indices of the items that take part, ascending.
        weights: (m, m): what a rated item, by row, adds to the score of another.
    """

    items: Indices
    weights: Floats
    n_items: int

    def score(self, rated: Sequence[Indices]) -> Floats:
        """(n, n_items) of people by the items each has rated; NaN for items that take no part."""
        scores = np.full((len(rated), self.n_items), np.nan, np.float32)
        for row, items in enumerate(rated):
            positions = np.searchsorted(self.items, items).clip(max=max(0, len(self.items) - 1))
            positions = positions[self.items[positions] == items] if len(self.items) else positions
            scores[row, self.items] = self.weights[positions].sum(0, dtype=np.float32)
        return scores

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        halves = self.weights.astype(np.float16)  # of half the size, and precise enough
        for name, array in ((ITEMS, self.items), (WEIGHTS, halves)):
            with io.atomic_write(folder / name) as tmp_path, tmp_path.open("wb") as file:
                np.save(file, array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, n_items: int) -> "Likely":
        """What `save` wrote; the weights stay on disk until they are used.

        Raises:
            InputError: a file is missing, damaged, or of other items.
        """
        try:
            items = np.load(folder / ITEMS, allow_pickle=False)
            weights = np.load(folder / WEIGHTS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{folder}: cannot be read ({error}). Run `dvc repro blend`."
            ) from None
        if weights.shape != (len(items), len(items)) or (len(items) and items[-1] >= n_items):
            raise InputError(f"{folder}: is of other items. Run `dvc repro blend`.")
        return cls(items, weights, n_items)


def scores(
    answers: Answers,
    people: Sequence[Person],
    rated: Sequence[Indices],
    seen: Sequence[Indices],
    likely: Likely | None,
    weight: float,
    by: By = "both",
) -> Floats:
    """Scores of all items for people, (n, n_items), the higher, the better; -inf for those seen.

    Args:
        rated: the items of each person's ratings that the answers know of.
        seen: the items that are not to be recommended.
        likely: None where who rates what is not known: then ratings alone count.
        weight: of the predicted ratings.
    """
    mask = np.zeros((len(people), answers.n_items), bool)
    for row, items in enumerate(seen):
        mask[row, items] = True
    if likely is None or by == "stars":
        found = answers.table(people)
    else:
        found = standardized(likely.score(rated), mask)
        if by == "both" and weight:
            found += np.float32(weight) * standardized(answers.table(people), mask)
    found[mask] = -np.inf
    return found


def scorer(answers: Answers, train: Any, likely: Likely | None, weight: float) -> Scorer:
    """What `scores` gives users of the training ratings, sparse (n_users, n_items)."""

    def score(users: Indices) -> Floats:
        rated = [train.indices[train.indptr[u] : train.indptr[u + 1]] for u in users]
        people = [answers.person(int(user)) for user in users]
        return scores(answers, people, rated, rated, likely, weight)

    return score


def standardized(values: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Each row less its mean and divided by its standard deviation, over items that are not masked.

    What is NaN is as low as the lowest; a row without differences is 0.
    """
    kept = ~mask & np.isfinite(values)
    n = np.maximum(1, kept.sum(1, keepdims=True))
    filled = np.where(kept, values, 0).astype(np.float64)
    centered = filled - filled.sum(1, keepdims=True) / n
    deviation = np.sqrt(np.square(np.where(kept, centered, 0)).sum(1, keepdims=True) / n)
    found = centered / np.where(deviation > 0, deviation, np.inf)
    lowest = np.where(kept, found, np.inf).min(1, keepdims=True, initial=0)
    ends: Floats = np.where(np.isfinite(values), found, lowest).astype(np.float32)
    return ends
