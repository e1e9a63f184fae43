"""The order of recommended items: what people like this one rate, and how they would like it.

Ordered by predicted ratings alone, lists begin with items that hardly anybody comes to see; ordered
by who rates what alone, they leave taste aside. So both are put on one scale, a user's standard
deviations over all items that are new to the user, and added, the ratings with a weight that is
chosen on a part of train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file

from cf.baselines.base import FewWeights, Scorer
from cf.core import io
from cf.core.errors import InputError
from cf.core.ratings import Indices
from cf.inference.base import Answers, Floats, Person

By = Literal["both", "stars", "likely"]
ITEMS, WEIGHTS, OTHERS, BLEND = "items.npy", "weights.npy", "others.safetensors", "blend.json"
DIGESTS = "sha256.json"  # of the first three
HEAVIEST = 100.0  # a weight of predicted ratings: who rates what would no longer count
Weight = Annotated[float, Field(ge=0, le=HEAVIEST)]
NONE = FewWeights(np.zeros(0, np.int64), np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32))


@dataclass(frozen=True)
class Likely:
    """Who rates what: the scores of EASE, for people by the items they have rated.

    Attributes:
        items: (m,) indices of the items that add to scores, ascending.
        weights: (m, m): what a rated item, by row, adds to the score of another.
        others: what they add to the scores of other items.
    """

    items: Indices
    weights: Floats
    n_items: int
    others: FewWeights = NONE

    def score(self, rated: Sequence[Indices]) -> tuple[Floats, Floats]:
        """Of people by the items each has rated: (n, m) of `items`, and (n, n_items) of others.

        The latter are 0 elsewhere.
        """
        positions = [self._position[items] for items in rated]
        positions = [of_person[of_person >= 0] for of_person in positions]
        if len(rated) == 1:  # rows of one person are read from disk as they are
            of_items: Floats = self.weights[positions[0]].sum(0, dtype=np.float32)
            has, of_others = np.zeros(len(self.items), np.float32), np.zeros(self.n_items, "f4")
            has[positions[0]] = 1
            of_each = has[self.others.neighbors], self.others.weights
            of_others[self.others.items] = np.einsum("rk,rk->r", *of_each)
            return of_items[None], of_others[None]
        from scipy import sparse  # late: one person needs none

        ends = np.concatenate([[0], np.cumsum([len(of_person) for of_person in positions])])
        columns = np.concatenate([np.zeros(0, np.int64), *positions])
        ones = np.ones(len(columns), np.float32)
        matrix = sparse.csr_array((ones, columns, ends), shape=(len(rated), len(self.items)))
        return matrix @ self._floats, (matrix @ self._of_others).toarray()

    def add_to(self, found: Floats, rated: Sequence[Indices], seen: Sequence[Indices]) -> None:
        """Add, to (n, n_items), the scores, standardized over those of `items` not in `seen`.

        Items that nobody has rated are as low as the lowest of `items`.
        """
        of_seen = [self._position[items] for items in seen]
        mask = pairs([of_person[of_person >= 0] for of_person in of_seen])
        scores, of_others = self.score(rated)
        mean, deviation = standardize(scores, mask)
        scores[mask] = 0
        of_others -= mean
        of_others /= deviation
        of_others[:, self._unrated] = scores.min(1, keepdims=True, initial=0)
        of_others[:, self.items] = scores
        found += of_others

    @cached_property
    def _position(self) -> Indices:
        """(n_items,) where an item is in `items`, or -1."""
        found = np.full(self.n_items, -1)
        found[self.items] = np.arange(len(self.items))
        return found

    @cached_property
    def _unrated(self) -> Indices:
        """The items without scores."""
        scored = np.concatenate([self.items, self.others.items])
        return np.setdiff1d(np.arange(self.n_items), scored)

    @cached_property
    def _floats(self) -> Floats:
        return np.asarray(self.weights, np.float32)

    @cached_property
    def _of_others(self) -> Any:
        return self.others.matrix(len(self.items), self.n_items)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        halves = self.weights.astype(np.float16)  # of half the size, and precise enough
        for name, array in ((ITEMS, self.items), (WEIGHTS, halves)):
            io.write_array(folder / name, array)
        with io.atomic_write(folder / OTHERS) as tmp_path:
            save_file(vars(self.others), tmp_path)
        digests = {name: io.digest(folder / name) for name in (ITEMS, WEIGHTS, OTHERS)}
        io.write_json(folder / DIGESTS, digests)

    @classmethod
    def load(cls, folder: Path, n_items: int) -> "Likely":
        """What `save` wrote; the weights stay on disk until they are used.

        Raises:
            InputError: a file is missing, damaged, or of other items.
        """
        others = NONE
        try:
            if (folder / DIGESTS).is_file():  # an earlier cf has written none
                for name, digest in io.read_json(folder / DIGESTS, dict[str, str]).items():
                    if io.digest(folder / name) != digest:
                        raise ValueError(f"{name} is not what was written")
            items = np.load(folder / ITEMS, allow_pickle=False)
            weights = np.load(folder / WEIGHTS, mmap_mode="r", allow_pickle=False)
            if (folder / OTHERS).is_file():  # earlier versions had none
                others = FewWeights(**load_file(folder / OTHERS))
            if items.dtype.kind != "i" or weights.dtype.kind != "f" or items.ndim != 1:
                raise ValueError(f"got {items.ndim}-d {items.dtype} and {weights.dtype}")
            if len(items) and (items[0] < 0 or (items[1:] <= items[:-1]).any()):
                raise ValueError(f"{ITEMS} is not in ascending order")
            if not (folder / DIGESTS).is_file() and not np.isfinite(weights).all():
                raise ValueError(f"{WEIGHTS} holds what is no number")
        except io.DAMAGE as error:
            raise InputError(
                f"{folder}: cannot be read ({error}). Run `dvc repro blend`."
            ) from None
        last = max([-1, *items[-1:], *others.items[-1:]])
        if weights.shape != (len(items), len(items)) or last >= n_items:
            raise InputError(f"{folder}: is of other items. Run `dvc repro blend`.")
        return cls(items, weights, n_items, others)


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
    mask = pairs(seen)
    if likely is None or by == "stars":
        found = answers.table(people)
    elif by == "both" and weight:
        found = answers.table(people)
        standardize(found, mask)
        found *= np.float32(weight)
        likely.add_to(found, rated, seen)
    else:
        found = np.zeros((len(people), answers.n_items), np.float32)
        likely.add_to(found, rated, seen)
    found[mask] = -np.inf
    return found


def scorer(answers: Answers, train: Any, likely: Likely | None, weight: float) -> Scorer:
    """What `scores` gives users of the training ratings, sparse (n_users, n_items)."""

    def score(users: Indices) -> Floats:
        rated = [train.indices[train.indptr[u] : train.indptr[u + 1]] for u in users]
        people = [answers.person(int(user)) for user in users]
        return scores(answers, people, rated, rated, likely, weight)

    return score


def pairs(items: Sequence[Indices]) -> tuple[Indices, Indices]:
    """Rows and columns of each person's items in a table of all items, each pair once."""
    distinct = [np.unique(of_person) for of_person in items]
    rows = np.repeat(np.arange(len(distinct)), [len(of_person) for of_person in distinct])
    return rows, np.concatenate([np.zeros(0, np.int64), *distinct])


def standardize(values: Floats, mask: tuple[Indices, Indices]) -> tuple[Floats, Floats]:
    """Subtract each row's mean and divide by its standard deviation, in place: (n, 1) both.

    They are of the values outside of `mask`, rows and columns. A row without differences is 0; its
    deviation is infinite.
    """
    n_left = values.shape[1] - np.bincount(mask[0], minlength=len(values))
    n = np.maximum(1, n_left)[:, None]
    values[mask] = 0
    mean = (values.sum(1, keepdims=True, dtype=np.float64) / n).astype(np.float32)
    values -= mean
    values[mask] = 0
    deviation = np.sqrt(np.einsum("ij,ij->i", values, values)[:, None] / n)
    deviation = np.where(deviation > 0, deviation, np.inf).astype(np.float32)
    values /= deviation
    return mean, deviation
