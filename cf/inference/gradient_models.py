"""The models that are trained with gradients, as NumPy: dot, dotbias, dotbias_ensemble, embnet.

A new person is folded in by Gauss-Newton steps on the squared errors of the ratings, with the
training users' rows as the prior: N(their mean, their covariance).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cf.core.ratings import Indices
from cf.inference.base import MODEL_RANGE, Doubles, Floats, Information, Person

N_STEPS, TOLERANCE = 8, 1e-6  # of Gauss-Newton, at most; and the last step's largest change
MAX_REFITS = 300
RIDGE = 1e-4  # added to the variances of the users' rows, which may be too few to have full rank
NOISE = 0.75  # variance of ratings about predictions, on the models' scale


class GradientModel:
    """Rows of users and items, and a formula of both.

    Attributes:
        user_rows: (n_members, n_users, d); item_rows alike, with another d.
        known_users: of which there are training ratings, as far as the model tells; else all.
    """

    user_rows: Floats
    item_rows: Floats
    known_users: Indices | slice = slice(None)

    def __init__(self, n_users: int, n_items: int, rating_range: tuple[float, float]) -> None:
        self.n_users, self.n_items = n_users, n_items
        low, high = rating_range
        self.factor = (high - low) / (MODEL_RANGE[1] - MODEL_RANGE[0])
        self.offset = low - MODEL_RANGE[0] * self.factor

    def member(self, rows: Floats, items: Floats) -> Floats:
        """Predictions of one member, (n,), on the models' scale.

        `rows` are (n, d) or (d,), of users; `items` (n, d').
        """
        return self.with_slopes(rows, items)[0]

    def with_slopes(self, rows: Floats, items: Floats) -> tuple[Floats, Floats]:
        """The same, and their derivatives by the users' rows, (n, d).

        Of all members at once where `rows` are (n_members, 1, d) and `items` (n_members, n, d').
        """
        raise NotImplementedError

    def grid(self, rows: Floats, items: Floats) -> Floats:
        """Predictions of one member for all pairs, (n, n_items), of users' and of items' rows."""
        return np.stack([self.member(row, items) for row in rows])

    def predict(
        self, users: Indices, items: Indices, times: Indices | None = None
    ) -> tuple[Floats, None]:
        """As `Answers.predict`; times are not used."""
        of_members = (
            self.member(rows[users], of_items[items])
            for rows, of_items in zip(self.user_rows, self.item_rows, strict=True)
        )
        return self._on_scale(of_members, len(users)), None

    def person(self, user: int) -> Person:
        """As `Answers.person`."""
        return Person(self.user_rows[:, user])

    def fold_in(self, items: Indices, ratings: Floats) -> Person:
        """As `Answers.fold_in`."""
        return Person(self._fit(items, ratings)[0].astype(np.float32))

    def _fit(self, items: Indices, ratings: Floats) -> tuple[Any, Any]:
        """A new person's row in each member, (n_members, d), and its precision, (..., d, d)."""
        targets = (ratings - self.offset) / self.factor
        of_items, (mean, prior) = self.item_rows[:, items], self._prior
        rows, systems = mean, prior
        for _ in range(N_STEPS if len(items) else 0):
            predicted, slopes = self.with_slopes(rows[:, None].astype(np.float32), of_items)
            across = slopes.swapaxes(1, 2)
            systems = prior + across.astype(np.float64) @ slopes / NOISE
            pull = across @ (targets - predicted)[..., None] / NOISE
            pull = pull + prior @ (mean - rows)[..., None]
            steps = np.linalg.solve(systems, pull)[..., 0]
            rows = rows + steps
            if np.abs(steps).max() < TOLERANCE:
                break
        return rows, systems

    @cached_property
    def _prior(self) -> tuple[Doubles, Doubles]:
        """Mean, (n_members, d), and precision, (..., d, d), of the known users' rows."""
        known = self.user_rows[:, self.known_users].astype(np.float64)
        ddof = min(1, known.shape[1] - 1)  # one user has no spread
        spread = np.stack([np.cov(rows.T, ddof=ddof).reshape(len(rows.T), -1) for rows in known])
        spread += RIDGE * np.eye(spread.shape[1])
        return known.mean(1), np.linalg.inv(spread)

    def without_each(
        self, items: Indices, ratings: Floats, targets: Indices
    ) -> tuple[Doubles, Doubles]:
        """As `Answers.without_each`, by one Newton step from the row with all ratings.

        Source:
            Koh and Liang 2017, "Understanding Black-box Predictions via Influence Functions",
            with the leverage of the rating that is left out.
        """
        values = (ratings - self.offset) / self.factor
        everything, without = np.zeros(len(targets)), np.zeros((len(targets), len(items)))
        for of_items, row, system in zip(self.item_rows, *self._fit(items, ratings), strict=True):
            predicted, slopes = self.with_slopes(row.astype(np.float32), of_items[items])
            steps = np.linalg.solve(system, slopes.T.astype(np.float64)).T / NOISE  # (m, d)
            leverages = (steps * slopes).sum(1)
            rows = row - ((values - predicted) / (1 - leverages))[:, None] * steps
            wanted = of_items[targets]
            everything += self.member(row.astype(np.float32), wanted)
            for column, without_one in enumerate(rows.astype(np.float32)):
                without[:, column] += self.member(without_one, wanted)
        n = len(self.user_rows)
        return everything / n * self.factor + self.offset, without / n * self.factor + self.offset

    def information(self, weights: Doubles, noise: Doubles, among: Indices) -> Information:
        """As `Answers.information`, with the formula made linear where the person is now."""

        def gain(items: Indices, ratings: Floats) -> Doubles:
            rows, of_members, variance = [], [], np.zeros(len(among))
            for of_items, row, system in zip(
                self.item_rows, *self._fit(items, ratings), strict=True
            ):
                slopes = self.with_slopes(row.astype(np.float32), of_items)[1].astype(np.float64)
                spread = slopes[among] @ np.linalg.inv(system)
                of_member = NOISE * noise[among] + (spread * slopes[among]).sum(1)
                rows.append(spread / of_member[:, None])
                of_members.append(slopes / len(self.item_rows))
                variance += of_member / len(self.item_rows)
            beside, moved = np.concatenate(of_members, axis=1), np.concatenate(rows, axis=1)
            scatter = (weights[:, None] * beside).T @ beside
            gains: Doubles = ((moved @ scatter) * moved).sum(1) * variance * self.factor**2
            return gains

        return gain

    def score(self, person: Person, items: Indices | None) -> tuple[Floats, None]:
        """As `Answers.score`."""
        chosen = slice(None) if items is None else items
        of_members = (
            self.member(row, of_items[chosen])
            for row, of_items in zip(person.row, self.item_rows, strict=True)
        )
        return self._on_scale(of_members, self.n_items if items is None else len(items)), None

    def table(self, people: Sequence[Person]) -> Floats:
        """As `Answers.table`."""
        rows = np.stack([person.row for person in people])  # (n, n_members, d)
        of_members = (self.grid(rows[:, k], items) for k, items in enumerate(self.item_rows))
        return self._on_scale(of_members, (len(people), self.n_items))

    def new_item(self, person: Person) -> tuple[float, None]:
        """As `Answers.new_item`: that of an item with the average row."""
        average = self.item_rows.mean(1, keepdims=True)
        of_members = (self.member(row, average[k]) for k, row in enumerate(person.row))
        return float(self._on_scale(of_members, 1)[0]), None

    def item_vectors(self) -> Floats:
        """As `Answers.item_vectors`."""
        return np.concatenate(list(self.item_rows), axis=1)

    def _on_scale(self, of_members: Any, shape: int | tuple[int, int]) -> Floats:
        total = np.zeros(shape, np.float32)
        for predicted in of_members:
            total += predicted
        total /= np.float32(len(self.user_rows))
        total *= np.float32(self.factor)
        total += np.float32(self.offset)
        return total


class Dot(GradientModel):
    """p_u · q_i"""

    def __init__(self, weights: Mapping[str, Floats], settings: Any, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.user_rows = weights["user_factors.weight"][None]
        self.item_rows = weights["item_factors.weight"][None]

    def with_slopes(self, rows: Floats, items: Floats) -> tuple[Floats, Floats]:
        """The products, and the items' factors."""
        return products(rows, items), items

    def grid(self, rows: Floats, items: Floats) -> Floats:
        """As `GradientModel.grid`."""
        return rows @ items.T


class DotBias(GradientModel):
    """low + (high - low) · sigmoid(p_u · q_i + b_u + c_i), the mean over members.

    An ensemble's fixed offset o_u is a part of b_u here. So a new person, as one whom training has
    not met, is the average user until there are ratings.
    """

    def __init__(self, weights: Mapping[str, Floats], settings: Any, *sizes: Any) -> None:
        super().__init__(*sizes)
        members = settings.get("n_members", 1)

        def rows(side: str) -> Floats:
            factors, bias = weights[f"{side}_factors.weight"], weights[f"{side}_bias.weight"]
            bias = bias + weights.get(f"{side}_offset", np.float32(0))
            by_member = factors.reshape(len(factors), members, -1)
            joined = np.concatenate([bias[:, :, None], by_member], axis=2)
            return np.ascontiguousarray(joined.transpose(1, 0, 2))

        self.user_rows, self.item_rows = rows("user"), rows("item")
        if (known := weights.get("user_known")) is not None and known.any():
            self.known_users = np.flatnonzero(known)

    def member(self, rows: Floats, items: Floats) -> Floats:
        """As `GradientModel.member`."""
        low, high = MODEL_RANGE
        logits = products(rows[..., 1:], items[..., 1:]) + rows[..., 0] + items[..., 0]
        return low + (high - low) * sigmoid(logits)

    def grid(self, rows: Floats, items: Floats) -> Floats:
        """As `GradientModel.grid`."""
        low, high = MODEL_RANGE
        logits = rows[:, 1:] @ items[:, 1:].T
        logits += rows[:, :1]
        logits += items[:, 0]
        ratings = sigmoid(logits)
        ratings *= high - low
        ratings += low
        return ratings

    def with_slopes(self, rows: Floats, items: Floats) -> tuple[Floats, Floats]:
        """The ratings, and the sigmoid's slope times 1 and the items' factors."""
        low, high = MODEL_RANGE
        level = (self.member(rows, items) - low) / (high - low)
        designs = np.concatenate([np.ones_like(items[..., :1]), items[..., 1:]], axis=-1)
        return low + (high - low) * level, ((high - low) * level * (1 - level))[..., None] * designs


class EmbNet(GradientModel):
    """low - m + (high - low + 2m) · sigmoid(w · relu(W [p_u, q_i] + a) + b)"""

    def __init__(self, weights: Mapping[str, Floats], settings: Any, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.user_rows = weights["user_factors.weight"][None]
        self.item_rows = weights["item_factors.weight"][None]
        width = self.user_rows.shape[2]
        self.of_user, self.of_item = np.split(weights["hidden.weight"].T, [width])
        self.shift = weights["hidden.bias"]
        self.output, self.output_bias = weights["output.weight"][0], weights["output.bias"][0]
        margin = settings["range_margin"]
        self.low, self.high = MODEL_RANGE[0] - margin, MODEL_RANGE[1] + margin

    def with_slopes(self, rows: Floats, items: Floats) -> tuple[Floats, Floats]:
        """The ratings, and their derivatives by the user's factors."""
        hidden = np.maximum(rows @ self.of_user + items @ self.of_item + self.shift, 0)
        level = sigmoid(hidden @ self.output + self.output_bias)
        through = ((hidden > 0) * self.output) @ self.of_user.T
        slope = (self.high - self.low) * level * (1 - level)
        return self.low + (self.high - self.low) * level, slope[..., None] * through

    def without_each(
        self, items: Indices, ratings: Floats, targets: Indices
    ) -> tuple[Doubles, Doubles]:
        """As `Answers.without_each`: exact for up to `MAX_REFITS` ratings, since relu has kinks."""
        everything, without = super().without_each(items, ratings, targets)
        if len(items) <= MAX_REFITS:
            for row in range(len(items)):
                person = self.fold_in(np.delete(items, row), np.delete(ratings, row))
                without[:, row] = self.score(person, targets)[0]
        return everything, without


def products(rows: Floats, items: Floats) -> Any:
    """Of users' and items' rows, in the shapes of `with_slopes`."""
    if rows.ndim == 1:  # a product of a matrix and a vector
        return items @ rows
    if rows.ndim == 3:
        return (items @ rows.swapaxes(1, 2))[..., 0]
    return (rows * items).sum(-1)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + e^-x); 0 where e^-x is too large for a float."""
    values = np.negative(logits)
    with np.errstate(over="ignore"):
        np.exp(values, out=values)
    values += 1
    return np.reciprocal(values, out=values)
