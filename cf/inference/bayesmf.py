"""bayesmf as NumPy: the mean over samples of its posterior, and the same for new people.

A new person's row has, given the items of a sample, a Gaussian posterior in closed form: nothing
is drawn or trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cf.core import neighbors
from cf.core.neighbors import SHRINKAGE, UserResiduals
from cf.core.ratings import Indices
from cf.inference.base import MODEL_RANGE, Doubles, Floats, Information, Person

N_STEPS = 3  # between the row and the noise precision; more change nothing
N_SAMPLES = 20  # of the posterior's, to find what to ask
MAX_VARIANCE = ((MODEL_RANGE[1] - MODEL_RANGE[0]) / 2) ** 2  # no ratings vary more
CHUNK = 4096  # pairs at a time
DAY, DAYS_PER_USER = 86400, 2**20  # in models of earlier versions
TIMED = (
    *("user_rows", "user_steps", "item_rows", "item_steps", "noise"),
    *("scales", "effects", "variances"),
)
"""The weights of the chain that knows times: see `TimedSamples` in `cf.models.bayesmf`."""


@dataclass(frozen=True)
class Posterior:
    """What the ratings of a new person say of their row and noise, for each of s samples.

    Attributes:
        row: its mean, (s, d).
        covariance: of the row, (s, d, d).
        noise_precision: the expected one, (s,).
        precision: the noise precision that the row was computed with, (s,).
        designs: (s, m, d), 1 and the factors of each rated item.
        targets: (s, m), the ratings less the mean and the items' biases.
    """

    row: Any
    covariance: Any
    noise_precision: Any
    precision: Any
    designs: Any
    targets: Any

    @property
    def residuals(self) -> Any:
        """(m,) the ratings less their predictions, before these are clamped."""
        expected = np.matmul(self.designs, self.row[:, :, None])[..., 0]
        return (self.targets - expected).mean(0)


class BayesMF:
    """clamp(m + b_u + c_i + p_u · q_i), the mean over samples, and near a user's times more."""

    def __init__(
        self,
        weights: Mapping[str, Floats],
        settings: Any,
        n_users: int,
        n_items: int,
        rating_range: tuple[float, float],
    ) -> None:
        self.n_users, self.n_items = n_users, n_items
        self.weights = weights
        self.day_variance = 0.0
        if "day_variance" in weights:  # of a model of an earlier version
            self.user_rows, self.item_rows = weights["user_rows"], weights["item_rows"]
            self.noise = weights["noise"].mean(0)
            self.day_variance = float(weights["day_variance"].mean())
        else:
            self.user_rows = weights["timeless.user_rows"] * weights["timeless.user_steps"]
            self.item_rows = weights["timeless.item_rows"] * weights["timeless.item_steps"]
            self.noise = weights["timeless.noise"]
        self.mean = float(weights["mean"])
        self.range = low, high = rating_range
        self.factor = (high - low) / (MODEL_RANGE[1] - MODEL_RANGE[0])
        self.offset = low - MODEL_RANGE[0] * self.factor

    def predict(
        self, users: Indices, items: Indices, times: Indices | None = None
    ) -> tuple[Floats, Floats]:
        """As `Answers.predict`; a time far from all of the user's is as if it were not given."""
        means, deviations = [], []
        for start in range(0, max(1, len(users)), CHUNK):
            rows = slice(start, start + CHUNK)
            pairs = users[rows], items[rows]
            mean, variance = self._timeless(*pairs)
            mean = np.clip(mean + self._corrections("timeless", *pairs), *MODEL_RANGE)
            if times is not None and len(self.weights.get("days", ())):
                on_day = self._on_day(*pairs, times[rows])
                mean, variance = (
                    np.where(on_day[0], *pair)
                    for pair in zip(on_day[1:], (mean, variance), strict=True)
                )
            elif times is not None and "timed.scales" in self.weights:
                known, timed, of_timed = self._timed(*pairs, times[rows])
                timed += self._corrections("timed", *pairs, times[rows])
                timed = np.clip(timed, *MODEL_RANGE)
                mean += known * (timed - mean)
                variance += known * (of_timed - variance)
            means.append((mean * self.factor + self.offset).astype(np.float32))
            deviations.append((np.sqrt(variance) * self.factor).astype(np.float32))
        return np.concatenate(means), np.concatenate(deviations)

    def _timeless(self, users: Indices, items: Indices) -> tuple[Any, Any]:
        noise = self.noise[users] + self.day_variance
        return self._pairs(self.user_rows[:, users], self.item_rows[:, items], noise)

    def _on_day(self, users: Indices, items: Indices, times: Indices) -> tuple[Any, Any, Any]:
        """Of an earlier version's model: whether it knows the day, mean and variance then."""
        days = self.weights["days"]
        wanted = users * DAYS_PER_USER + (times // DAY) % DAYS_PER_USER
        day = np.searchsorted(days, wanted).clip(max=len(days) - 1)
        effects = self.weights["day_effects"][:, day]
        rows = self.user_rows[:, users], self.item_rows[:, items]
        return days[day] == wanted, *self._pairs(*rows, self.noise[users], effects)

    def _timed(self, users: Indices, items: Indices, times: Indices) -> tuple[Any, Any, Any]:
        """How much is known of the time's effect, and the mean and variance of ratings then.

        As `TimedSamples.at` and `predict_mean_and_std` in `cf.models.bayesmf`.
        """
        w = {name: self.weights[f"timed.{name}"] for name in TIMED}
        before, since, after, until = self._nearest(users, times)
        with np.errstate(invalid="ignore"):
            since, until = since / w["scales"][:, None], until / w["scales"][:, None]
        left, right, both = (-np.expm1(-2 * gap) for gap in (since, until, since + until))
        effect = np.exp(-since) * right * w["effects"][:, before]
        effect += np.exp(-until) * left * w["effects"][:, after]
        unknown = (left * right / both * w["variances"][:, None]).sum(0)
        p = w["user_rows"][:, users] * w["user_steps"]
        q = w["item_rows"][:, items] * w["item_steps"]
        sums = (effect / both).sum(0).astype(np.float32)
        mean, variance = self._pairs(p, q, w["noise"][users] + unknown, sums)
        return 1 - unknown / max(w["variances"].sum(), 1e-30), mean, variance

    def _pairs(self, p: Floats, q: Floats, noise: Any, effect: Any = 0) -> tuple[Any, Any]:
        """Mean and variance, (n,), of the rows' clamped products, (s, n, d) each, with noise."""
        sums = np.einsum("snd,snd->sn", p[..., 1:], q[..., 1:]) + p[..., 0] + q[..., 0]
        sums += self.mean + effect
        clamped = np.clip(sums, *MODEL_RANGE)
        return clamped.mean(0), clamped.var(0) + noise

    def _corrections(
        self, chain: str, users: Indices, items: Indices, times: Indices | None = None
    ) -> Floats:
        """(n,) what a chain's residuals add, on the model's scale, to the means of pairs."""
        return self._rated[chain].corrections(users, items, times)

    @cached_property
    def _rated(self) -> dict[str, UserResiduals]:
        """The residuals of each chain; empty ones of models that have none."""
        w: Mapping[str, Any] = self.weights
        starts = w.get("rated_starts", np.zeros(self.n_users + 1, np.int64))
        items = w.get("rated_items", np.zeros(0, np.int32))
        found = {}
        for chain in ("timeless", "timed"):
            residuals = w.get(f"{chain}.residuals", np.zeros(0, np.float16))
            times = None
            if f"{chain}.opens_moment" in w:
                times = w["timed.times"][w["timed.opens_moment"].cumsum() - 1]
            elif f"{chain}.moments" in w:  # of an earlier version
                times = w["timed.times"][w["timed.moments"]]
            found[chain] = UserResiduals(starts, items, residuals, self._directions, times)
        return found

    @cached_property
    def _directions(self) -> Floats:
        directions = self.weights.get("item_directions", np.zeros((self.n_items, 0)))
        return directions.astype(np.float32)

    def _nearest(self, users: Indices, times: Indices) -> tuple[Indices, Any, Indices, Any]:
        """As `nearest_moments` in `cf.models.bayesmf`."""
        moments, starts = self.weights["timed.times"], self.weights["timed.starts"]
        first, span, keys = self._moment_keys
        wanted = users * span + (times - first).clip(-1, span - 2) + 1
        after = np.searchsorted(keys, wanted, side="right")
        has_before, has_after = after > starts[users], after < starts[users + 1]
        before, after = (after - 1).clip(0), after.clip(max=len(moments) - 1)
        since = np.where(has_before, times - moments[before], np.inf)
        until = np.where(has_after, moments[after] - times, np.inf)
        return before, since, after, until

    @cached_property
    def _moment_keys(self) -> tuple[int, int, Indices]:
        """The first time of all, the numbers that a user takes, and one for each moment."""
        moments: Any = self.weights["timed.times"].astype(np.int64)
        counts: Any = np.diff(self.weights["timed.starts"])
        first, span = int(moments.min()), int(np.ptp(moments)) + 3
        keys: Indices = np.repeat(np.arange(len(counts)), counts) * span + (moments - first) + 1
        return first, span, keys

    def person(self, user: int) -> Person:
        """As `Answers.person`."""
        rated = self._rated["timeless"].of(user) if len(self._rated["timeless"].items) else None
        return Person(self.user_rows[:, user], None, self.noise[user, None], rated)

    def fold_in(self, items: Indices, ratings: Floats) -> Person:
        """As `Answers.fold_in`: the row's posterior given each sample's items, and the noise's.

        The two depend on each other, so they take turns, from the noise that is expected.

        Source:
            Salakhutdinov and Mnih 2008, equations 11 to 13, as in `cf.bayes.row_blocks`.
        """
        posterior = self._fit(items, ratings)
        noise = np.minimum(1 / posterior.noise_precision, MAX_VARIANCE)
        parts = posterior.row, posterior.covariance, noise, posterior.residuals
        row, covariance, variance, residuals = (part.astype(np.float32) for part in parts)
        rated = (items, residuals) if self._directions.size else None
        return Person(row, covariance, variance, rated)

    def _fit(self, items: Indices, ratings: Floats) -> "Posterior":
        w, m = self.weights, len(items)
        precision = w["prior_precision"].astype(np.float64)
        noise_precision = (w["noise_shape"] / w["noise_rate"]).astype(np.float64)
        designs, offsets = self._designs(items)
        targets = (ratings - self.offset) / self.factor - self.mean - offsets
        gram = np.matmul(designs.transpose(0, 2, 1), designs).astype(np.float64)
        products = np.matmul(targets[:, None], designs)[:, 0].astype(np.float64)
        pull = np.einsum("sde,se->sd", precision, w["prior_mean"] + self._added(items))
        for _ in range(N_STEPS if m else 1):
            covariance = np.linalg.inv(precision + noise_precision[:, None, None] * gram)
            right = pull + noise_precision[:, None] * products
            row = np.einsum("sde,se->sd", covariance, right)
            used = noise_precision
            residuals = targets - np.matmul(designs, row[:, :, None])[..., 0]
            expected = np.square(residuals).sum(1) + np.einsum("sde,sde->s", gram, covariance)
            noise_precision = (w["noise_shape"] + m / 2) / (w["noise_rate"] + expected / 2)
        return Posterior(row, covariance, noise_precision, used, designs, targets)

    def without_each(
        self, items: Indices, ratings: Floats, targets: Indices
    ) -> tuple[Doubles, Doubles]:
        """As `Answers.without_each`: removing a rating is a rank-one update of the posterior.

        The noise's precision stays as it is with all ratings.

        Source:
            Sherman and Morrison 1950, "Adjustment of an Inverse Matrix".
        """
        fit = self._fit(items, ratings)
        a = fit.precision[:, None]
        steps = np.matmul(fit.designs, fit.covariance)  # (s, m, d), C x
        leverages = a * (steps * fit.designs).sum(2)
        less = self._added_without_each(items) - self._added(items)[:, None]  # (s, m, d)
        pulled = np.matmul(less, np.matmul(self.weights["prior_precision"], fit.covariance))
        rows = fit.row[:, None] - (a * fit.targets)[..., None] * steps + pulled
        scaled = a * (rows * fit.designs).sum(2) / (1 - leverages)
        rows += scaled[..., None] * steps
        designs, biases = self._designs(targets)  # (s, n, d), (s, n)
        levels = biases + self.mean
        of_all = np.matmul(designs, fit.row[:, :, None])[..., 0] + levels
        of_each = np.matmul(designs, rows.transpose(0, 2, 1)) + levels[..., None]  # (s, n, m)
        everything, without = (np.clip(sums, *MODEL_RANGE).mean(0) for sums in (of_all, of_each))
        if self._directions.size:
            everything += neighbors.corrections(self._directions, targets, items, fit.residuals)
            w = neighbors.weights(self._directions, targets, items)  # (n, m)
            without += _corrections_without_each(w, fit, rows)
        return tuple(
            np.clip(mean, *MODEL_RANGE) * self.factor + self.offset
            for mean in (everything, without)
        )

    def information(self, weights: Doubles, noise: Doubles, among: Indices) -> Information:
        """As `Answers.information`.

        A rating moves the predictions of all samples at once, so that what it says of an item whose
        own factors are not known well, a different thing in each sample, cancels out.

        Source:
            Cohn, Ghahramani and Jordan 1996, "Active Learning with Statistical Models", section 2,
            for a linear regression.
        """
        chosen = np.arange(0, len(self.item_rows), max(1, len(self.item_rows) // N_SAMPLES))
        width = self.item_rows.shape[2]
        scatter = np.zeros((len(chosen) * width,) * 2)
        for start in range(0, self.n_items, CHUNK):
            part = self.item_rows[chosen, start : start + CHUNK].astype(np.float64)
            part[..., 0] = 1
            beside = part.transpose(1, 0, 2).reshape(part.shape[1], -1) / len(chosen)
            scatter += (weights[start : start + CHUNK, None] * beside).T @ beside
        designs, biases = (part[chosen].astype(np.float64) for part in self._designs(among))

        def gain(items: Indices, ratings: Floats) -> Doubles:
            fit = self._fit(items, ratings)
            spread = np.matmul(designs, fit.covariance[chosen])  # (s, c, d)
            variance = noise[among] / fit.noise_precision[chosen, None] + (spread * designs).sum(2)
            rows = (spread / variance[..., None]).transpose(1, 0, 2).reshape(len(among), -1)
            means = np.matmul(designs, fit.row[chosen, :, None])[..., 0] + biases
            total = variance.mean(0) + means.var(0)
            gains: Doubles = ((rows @ scatter) * rows).sum(1) * total * self.factor**2
            return gains

        return gain

    def score(self, person: Person, items: Indices | None) -> tuple[Floats, Floats]:
        """As `Answers.score`."""
        every = np.arange(self.n_items) if items is None else items
        starts = range(0, max(1, len(every)), CHUNK)
        parts = [self._of_items(person, every[start : start + CHUNK]) for start in starts]
        means, deviations = map(np.concatenate, zip(*parts, strict=True))
        if person.rated is not None:
            added = neighbors.corrections(self._directions, every, *person.rated)
            means = (means + added * np.float32(self.factor)).clip(*self.range)
        return means, deviations

    def table(self, people: Sequence[Person]) -> Floats:
        """As `Answers.table`: one product of all samples' factors, without clamping.

        And without the correction by residuals, which takes a product for each rated item.
        """
        rows = np.stack([person.row for person in people])  # (n, s, d)
        sums = rows[..., 1:].reshape(len(rows), -1) @ self.item_vectors().T
        sums /= len(self.item_rows)
        sums += rows[..., 0].mean(1)[:, None] + np.float32(self.mean)
        sums += self.item_rows[..., 0].mean(0)
        sums *= np.float32(self.factor)
        sums += np.float32(self.offset)
        return sums

    def new_item(self, person: Person) -> tuple[float, float]:
        """As `Answers.new_item`: of an item drawn from all, which varies as they do."""
        p, (means, products) = person.row.astype(np.float64), self._item_moments
        ahead = np.concatenate([p, np.ones_like(p[:, :1])], axis=1)  # of 1, factors and bias
        of_samples = np.einsum("sd,sd->s", ahead, means)
        between = np.einsum("sd,sde,se->s", ahead, products, ahead) - np.square(of_samples)
        if person.covariance is not None:
            between += np.einsum("sde,sde->s", person.covariance, products[:, :-1, :-1])
        noise = self.day_variance + (0 if person.noise is None else person.noise.mean())
        variance = between.mean() + of_samples.var() + noise
        mean = np.clip(of_samples.mean() + self.mean, *MODEL_RANGE)
        deviation = np.sqrt(min(variance, MAX_VARIANCE)) * self.factor
        return float(mean * self.factor + self.offset), float(deviation)

    @cached_property
    def _item_moments(self) -> tuple[Doubles, Doubles]:
        """Means of (1, factors, bias) over items, (s, d + 1), and of their products, by sample."""
        width = self.item_rows.shape[2] + 1
        means = np.empty((len(self.item_rows), width))
        products = np.empty((len(self.item_rows), width, width))
        for s, rows in enumerate(self.item_rows):
            designs = np.concatenate([rows, rows[:, :1]], axis=1).astype(np.float64)
            designs[:, 0] = 1
            means[s], products[s] = designs.mean(0), designs.T @ designs / len(designs)
        return means, products

    def item_vectors(self) -> Floats:
        """As `Answers.item_vectors`: the factors of all samples side by side, without biases."""
        return self._vectors

    @cached_property
    def _vectors(self) -> Floats:
        factors = self.item_rows[..., 1:]
        return factors.transpose(1, 0, 2).reshape(self.n_items, -1)

    def _of_items(self, person: Person, items: Indices) -> tuple[Floats, Floats]:
        item_rows = self.item_rows[:, items]
        p = person.row
        sums = np.matmul(item_rows[..., 1:], p[:, 1:, None])[..., 0]
        sums += item_rows[..., 0] + (p[:, :1] + np.float32(self.mean))
        of_person = 0 if person.noise is None else person.noise.mean()
        noise = np.full(sums.shape[1], self.day_variance + of_person)
        if person.covariance is not None:
            roots = np.linalg.cholesky(person.covariance)
            for rows, root in zip(item_rows, roots, strict=True):
                designs = rows.copy()
                designs[:, 0] = 1
                noise += np.square(designs @ root).sum(1) / len(item_rows)
        return self._summary(sums, noise)

    def _summary(self, sums: Floats, noise: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation over samples, (s, n), with the noise's variance, (n,)."""
        clamped = np.clip(sums, *MODEL_RANGE)
        mean, variance = clamped.mean(0), clamped.var(0) + noise
        scale, shift = np.float32(self.factor), np.float32(self.offset)
        return mean * scale + shift, np.sqrt(variance).astype(np.float32) * scale

    def _added(self, items: Indices) -> Any:
        """(n_samples, d): what the items that somebody rates add to the mean of their row."""
        basis, center = self.weights["interaction_basis"], self.weights["interaction_center"]
        m = max(1, len(items))
        row = (m - 1) / m**1.5 * basis[items].sum(0) - (m - 1) / m * center
        return np.einsum("r,srd->sd", row, self.weights["prior_coefficients"])

    def _added_without_each(self, items: Indices) -> Any:
        """(n_samples, m, d): the same without each of the items."""
        basis, center = self.weights["interaction_basis"], self.weights["interaction_center"]
        m = max(1, len(items) - 1)
        left = basis[items].sum(0) - basis[items]
        rows = (m - 1) / m**1.5 * left - (m - 1) / m * center
        return np.matmul(rows, self.weights["prior_coefficients"])

    def _designs(self, items: Indices) -> tuple[Floats, Floats]:
        """Of each sample and item: 1 and the item's factors, (s, m, d), and its bias, (s, m)."""
        designs = self.item_rows[:, items].copy()
        biases = designs[..., 0].copy()
        designs[..., 0] = 1
        return designs, biases


def _corrections_without_each(weights: Floats, fit: Posterior, rows: Any) -> Any:
    """(n, m): the corrections of n items without each of m ratings.

    `rows` are the person's without each, (s, m, d): the residuals of the other ratings change too.
    """
    s, m, d = rows.shape
    designs, without = (part.transpose(1, 0, 2).reshape(m, s * d) for part in (fit.designs, rows))
    # The residual of i without j is target_i - design_i · without_j / s; weighted, all i at once.
    targets = fit.targets.mean(0)
    own = targets - (designs * without).sum(1) / s
    sums = (weights @ targets)[:, None] - (weights @ designs) @ without.T / s
    total = weights.sum(1, keepdims=True) - weights + SHRINKAGE
    return (sums - weights * own) / total
