"""The best of very many items for one person: roughly at first, and then exactly.

bayesmf predicts with the product of two vectors that have the factors of all samples: with 100
samples of 10 factors and 87,585 items, these are 350 MB to read for each list. But the samples are
much alike, so that the users' vectors are nearly in a space of few dimensions, in which the items'
vectors are small. Products there find a few hundred items that hold the best, and the products of
all samples' factors put these in order.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cf.baselines.base import top_k
from cf.core.ratings import Indices
from cf.inference import lists
from cf.inference.base import Floats, Person
from cf.inference.bayesmf import BayesMF
from cf.inference.lists import By, Likely

N_DIMENSIONS = 32
N_USERS = 512  # who show which dimensions matter
N_EXACT = 200  # items that are put in order exactly
MIN_SIZE = 2**22  # numbers in the items' rows; fewer are read fast enough
CHUNK = 8192  # items at a time


class Shortlist:
    """The items of a model in few dimensions, and how much they vary in all.

    For one person, NumPy's own sums are as fast as those of BLAS, whose threads wait for each other
    where the processor has other work as well.
    """

    def __init__(self, answers: BayesMF) -> None:
        self.answers = answers
        n_samples, n_users, width = answers.user_rows.shape
        chosen = np.unique(np.linspace(0, n_users - 1, N_USERS).astype(np.int64))
        people = answers.user_rows[:, chosen, 1:].transpose(1, 0, 2).reshape(len(chosen), -1)
        basis = np.linalg.svd(people, full_matrices=False)[2][:N_DIMENSIONS]
        self._basis = basis / np.float32(n_samples)
        self._items = np.empty((answers.n_items, len(basis)), np.float32)
        self._bias = answers.item_rows[..., 0].mean(0)
        size = n_samples * (width - 1) + 1
        total, products = np.zeros(size, np.float32), np.zeros((size, size), np.float32)
        for start in range(0, answers.n_items, CHUNK):
            part = answers.item_rows[:, start : start + CHUNK]
            vectors = np.empty((part.shape[1], size), np.float32)
            vectors[:, 0] = self._bias[start : start + CHUNK]
            vectors[:, 1:] = part[..., 1:].transpose(1, 0, 2).reshape(len(vectors), -1)
            self._items[start : start + CHUNK] = vectors[:, 1:] @ basis.T
            total += vectors.sum(0)
            products += vectors.T @ vectors
        self._mean = total / np.float32(answers.n_items)
        self._scatter = products - np.outer(total, self._mean)

    def best(
        self,
        people: Sequence[Person],
        rated: Sequence[Indices],
        seen: Sequence[Indices],
        wanted: NDArray[np.bool_],
        likely: Likely | None,
        weight: float,
        by: By,
        n: int,
    ) -> list[tuple[Indices, Floats]]:
        """For each person, a few of the wanted items that hold the `n` best, and their scores.

        These are `lists.scores` but for a constant.

        Args:
            people, rated, seen, likely, weight, by: as for `lists.scores`.
        """
        found = self._rough(people)
        base = np.zeros_like(found)
        slopes = np.ones((len(people), 1), np.float32)
        if likely is not None and by != "stars":
            slopes[:] = 0
            if by == "both":
                for row, (person, items) in enumerate(zip(people, seen, strict=True)):
                    of_seen = self._exact(person, np.unique(items))
                    slopes[row] = weight / self._deviation(person, of_seen)
            likely.add_to(base, rated, seen)
        found *= slopes
        found += base
        found[lists.pairs(seen)] = -np.inf
        if not wanted.all():
            found[:, ~wanted] = -np.inf
        tops = top_k(found, min(max(N_EXACT, 2 * n), found.shape[1]))
        best = []
        for row, (person, top) in enumerate(zip(people, tops, strict=True)):
            top = top[top >= 0]
            best.append((top, base[row, top] + slopes[row] * self._exact(person, top)))
        return best

    def _rough(self, people: Sequence[Person]) -> Floats:
        """(n, n_items) what `BayesMF.table` has, nearly, but for a constant in each row."""
        rows = np.stack([person.row[:, 1:].ravel() for person in people])
        if len(people) == 1:
            point = np.einsum("dk,k->d", self._basis, rows[0])
            stars: Floats = np.einsum("nd,d->n", self._items, point)[None]
        else:
            stars = np.matmul(rows @ self._basis.T, self._items.T, dtype=np.float32)
        stars += self._bias
        stars *= np.float32(self.answers.factor)
        return stars

    def _exact(self, person: Person, items: Indices) -> Floats:
        """(n,) what `BayesMF.table` has of these items, but for the same constant."""
        rows = np.take(self.answers.item_rows, items, axis=1)[..., 1:]
        products = np.matmul(rows, person.row[:, 1:, None])[..., 0].mean(0)
        stars: Floats = (products + self._bias[items]) * np.float32(self.answers.factor)
        return stars

    def _deviation(self, person: Person, of_seen: Floats) -> float:
        """The standard deviation of what `BayesMF.table` has of all items but those seen."""
        factor, n = self.answers.factor, self.answers.n_items
        row = person.row[:, 1:].ravel() / np.float32(len(person.row))
        vector = np.concatenate([[np.float32(1)], row])
        centered = of_seen.astype(np.float64) - float(vector @ self._mean) * factor
        squares = float(vector @ np.einsum("jk,k->j", self._scatter, vector)) * factor**2
        squares -= np.square(centered).sum()
        n_new = max(1, n - len(centered))
        variance = squares / n_new - (centered.sum() / n_new) ** 2
        return float(np.sqrt(variance)) if variance > 0 else np.inf
