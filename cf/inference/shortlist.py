"""The best of very many items for one person: roughly at first, and then exactly.

bayesmf predicts with the product of two vectors that have the factors of all samples: with 100
samples of 10 factors and 87,585 items, these are 350 MB to read for each list. But the samples are
much alike, so that the users' vectors are nearly in a space of few dimensions, in which the items'
vectors are small. Products there find a few hundred items that hold the best, and the products of
all samples' factors put these in order.
"""

import numpy as np
from numpy.typing import NDArray

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
        person: Person,
        rated: Indices,
        seen: Indices,
        wanted: NDArray[np.bool_],
        likely: Likely | None,
        weight: float,
        by: By,
        n: int,
    ) -> tuple[Indices, Floats]:
        """A few of the wanted items that hold the `n` best, and `lists.scores` but for a constant.

        Args:
            rated, seen, likely, weight, by: as for `lists.scores`.
        """
        stars = self._rough(person)
        if likely is None or by == "stars":
            slope, base = np.float32(1), np.zeros(len(stars), np.float32)
        else:
            deviation = self._deviation(person, self._exact(person, seen))
            slope = np.float32(weight / deviation if by == "both" else 0)
            base = self._likely(likely, rated, seen)
        base[seen] = -np.inf
        found = base + slope * stars
        found[~wanted] = -np.inf
        n_exact = min(max(N_EXACT, 2 * n), len(found))
        top = np.argpartition(found, -n_exact)[-n_exact:]
        top = top[np.isfinite(found[top])]
        return top, base[top] + slope * self._exact(person, top)

    def _likely(self, likely: Likely, rated: Indices, seen: Indices) -> Floats:
        """(n_items,) what `lists.standardized` makes of who rates what; not all items are in it."""
        mask = np.isin(likely.items, seen)[None]
        scores = lists.standardized(likely.score([rated])[:, likely.items], mask)
        base = np.full(self.answers.n_items, scores[~mask].min(initial=0), np.float32)
        base[likely.items] = scores[0]
        return base

    def _rough(self, person: Person) -> Floats:
        """(n_items,) what `BayesMF.table` has, nearly, but for a constant."""
        point = np.einsum("dk,k->d", self._basis, person.row[:, 1:].ravel())
        products = np.einsum("nd,d->n", self._items, point)
        stars: Floats = (products + self._bias) * np.float32(self.answers.factor)
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
