"""Gibbs sampling of a matrix factorisation: each part drawn in turn, given the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cf.bayes import row_blocks as blocks
from cf.bayes.side_information import Feature
from cf.models.bayesmf import scores

PART = 16384  # ratings at a time: what is made on the way then stays in the cache


@dataclass(frozen=True)
class Priors:
    """What is believed before any rating is seen, weak enough for a few hundred to overrule it.

    Precisions are in 1/stars². A Gamma has a shape and a rate.

    Attributes:
        strength: β of the Normal-Wishart: rows that the prior of a side's mean counts for.
        degrees: of freedom of the Wishart, beyond the number of dimensions d.
        spread: the Wishart's scale matrix is I/spread.
        feature: Gamma of the precision of a feature's coefficients.
        day: Gamma of the precision of the user-day effects.
        noise: Gamma of the noise precision where all users share it.
        noise_rate: Gamma of the rate of the users' noise precisions.
        noise_shapes: lowest and highest shape of the users' noise precisions, uniform in its
            logarithm on a grid.
    """

    strength: float = 1.0
    degrees: float = 1.0
    spread: float = 1.0
    feature: tuple[float, float] = (1.0, 1.0)
    day: tuple[float, float] = (1.0, 0.1)
    noise: tuple[float, float] = (1.0, 1.0)
    noise_rate: tuple[float, float] = (1.0, 0.1)
    noise_shapes: tuple[float, float] = (0.5, 50.0)


class Effect:
    """What one feature adds to the prior means of a side's rows: F V coefficients.

    Attributes:
        coefficients: (r, d), with prior N(0, (scale · precision)⁻¹) each.
        scale: how little the feature matters.
        rows: (n, d), the sum F V coefficients.
    """

    def __init__(self, feature: Feature, n: int, d: int) -> None:
        self.feature = feature
        self.coefficients = torch.zeros(len(feature.squares), d)
        self.scale = torch.tensor(1.0)
        self.rows = torch.zeros(n, d)

    def draw(self, left: Tensor, root: Tensor, prior: tuple[float, float]) -> None:
        """Draw the coefficients, then their scale.

        Args:
            left: (n, d), the side's rows less all else in their prior means.
            root: (d, d), lower triangular: precision = root rootᵀ.
            prior: Gamma of the scale.

        Source:
            Simm et al. 2017, "Macau: Scalable Bayesian Factorization with High-Dimensional Side
            Information Using MCMC", section III, in the features' eigenvectors.
        """
        certainty = (self.feature.squares + self.scale)[:, None]
        noise = normal(root, len(certainty))
        self.coefficients = self.feature.project(left) / certainty + noise / certainty.sqrt()
        self.rows = self.feature.spread(self.coefficients)
        size = (self.coefficients @ root).square().sum()
        self.scale = gamma(prior[0] + self.coefficients.numel() / 2, prior[1] + size / 2)


class Side:
    """The rows of all users, or all items, and the prior that they share.

    Attributes:
        rows: (n, d), the bias first, then the factors; N(prior_means, precision⁻¹).
        mean: (d,), with the precision: Normal-Wishart.
        precision: (d, d).
        effects: of the side's features.
    """

    def __init__(self, n: int, n_factors: int, features: Sequence[Feature]) -> None:
        d = 1 + n_factors
        self.rows = 0.3 * torch.randn(n, d)
        self.rows[:, 0] = 0.0
        self.mean, self.precision = torch.zeros(d), 5.0 * torch.eye(d)
        self.effects = [Effect(feature, n, d) for feature in features]

    @property
    def prior_means(self) -> Tensor:
        """(n, d): the mean of all, plus what the features add."""
        return self.mean + self._explained()

    @property
    def designs(self) -> Tensor:
        """(n, d): what the other side's rows are multiplied by: 1 for the bias, and factors."""
        return torch.cat([torch.ones_like(self.rows[:, :1]), self.rows[:, 1:]], dim=1)

    def draw_prior(self, priors: Priors) -> None:
        """Draw mean and precision, then the effects, given the rows.

        Source:
            Salakhutdinov and Mnih 2008, equation 14, with the effects subtracted.
        """
        left = self.rows - self._explained()
        n, d = left.shape
        average = left.mean(0)
        apart = left - average
        strength = priors.strength + n
        scatter = apart.T @ apart + priors.strength * n / strength * average.outer(average)
        scatter += priors.spread * torch.eye(d)
        # Given the effects' coefficients too, which the precision scales as well.
        count = float(n)
        for effect in self.effects:
            scatter += effect.scale * effect.coefficients.T @ effect.coefficients
            count += len(effect.coefficients)
        self.precision = wishart(d + priors.degrees + count, scatter)
        root = torch.linalg.cholesky(self.precision)
        self.mean = n / strength * average + normal(root, 1)[0] / strength**0.5
        left -= self.mean
        for effect in self.effects:
            left += effect.rows
            effect.draw(left, root, priors.feature)
            left -= effect.rows

    def _explained(self) -> Tensor:
        total = torch.zeros_like(self.rows)
        for effect in self.effects:
            total += effect.rows
        return total


class Sampler:
    """The state of the chain; `sweep` moves it on.

    stars(u, i, t) = mean + b_u + c_i + p_u · q_i + d_{u,t} + noise of precision a_u

    where (b_u, p_u) is the user's row, (c_i, q_i) the item's, and d_{u,t} ~ N(0, 1/day_precision)
    what is peculiar to all that user u rates on day t.

    Attributes:
        values: (n,) the ratings less their mean.
        days: (n_days,) effect of each user-day.
        noise: (n_users,) the precisions a_u.
        shapes: (200,) that the users' Gamma may have.
    """

    def __init__(
        self,
        users: Tensor,
        items: Tensor,
        values: Tensor,
        user_days: Tensor | None,
        user_side: Side,
        item_side: Side,
        user_noise: bool,
        priors: Priors,
    ) -> None:
        """Start a chain.

        Args:
            users: (n,) indices.
            items: (n,) indices.
            values: (n,) in stars, centred.
            user_days: (n,) in [0, n_days) the user-day of each rating; None for no such effects.
            user_noise: whether each user has a noise precision; else all share one.
        """
        self.users, self.items, self.values, self.user_days = users, items, values, user_days
        self.user_side, self.item_side = user_side, item_side
        self.user_noise, self.priors = user_noise, priors
        n_users, n_items = len(user_side.rows), len(item_side.rows)
        self._user_blocks = blocks.divide(users, items, n_users, n_items)
        self._item_blocks = blocks.divide(items, users, n_items, n_users)
        self._sizes = torch.bincount(users, minlength=n_users)
        n_days = 0 if user_days is None else 1 + int(user_days.max())
        self.days, self.day_precision = torch.zeros(n_days), torch.tensor(10.0)
        self.noise = torch.ones(n_users)
        self.noise_shape, self.noise_rate = torch.tensor(5.0), torch.tensor(5.0)
        low, high = priors.noise_shapes
        self.shapes = torch.logspace(0, 1, 200, base=high / low) * low

    def state(self) -> dict[str, Tensor]:
        """All that a sweep begins with, by name."""
        return {name: getattr(owner, key) for name, owner, key in self._parts()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Be where a chain of the same data was when `state` was taken."""
        for name, owner, key in self._parts():
            setattr(owner, key, state[name])
        for effect in (*self.user_side.effects, *self.item_side.effects):
            effect.rows = effect.feature.spread(effect.coefficients)

    def _parts(self) -> Iterator[tuple[str, object, str]]:
        for side_name, side in (("users", self.user_side), ("items", self.item_side)):
            for key in ("rows", "mean", "precision"):
                yield f"{side_name}.{key}", side, key
            for effect in side.effects:
                for key in ("coefficients", "scale"):
                    yield f"{side_name}.{effect.feature.name}.{key}", effect, key
        for key in ("days", "day_precision", "noise", "noise_shape", "noise_rate"):
            yield key, self, key

    def sweep(self) -> Tensor:
        """Draw everything once, and return the residuals, (n,) in stars."""
        values = self.values - self._of_days()
        self.draw_users(values)
        self.user_side.draw_prior(self.priors)
        self.draw_items(values)
        self.item_side.draw_prior(self.priors)
        left = self.values - self._of_rows()
        if self.user_days is not None:
            self.draw_days(left, self.user_days)
            left -= self._of_days()
        self.draw_noise(left)
        return left

    def predicted(self) -> Tensor:
        """The ratings less their mean, as the state has them without noise: (n,)."""
        return self._of_rows() + self._of_days()

    def draw_users(self, values: Tensor) -> None:
        """Draw the users' rows; `values` are the ratings less the effects of days."""
        side, items = self.user_side, self.item_side
        targets = values - items.rows[:, 0].index_select(0, self.items)
        side.rows = blocks.draw(
            self._user_blocks, items.designs, targets, self.noise, side.prior_means, side.precision
        )

    def draw_items(self, values: Tensor) -> None:
        """Draw the items' rows; a user's noise precision goes into designs and targets."""
        side, users = self.item_side, self.user_side
        roots = self.noise.sqrt()
        targets = (values - users.rows[:, 0].index_select(0, self.users)) * roots.index_select(
            0, self.users
        )
        designs = users.designs * roots[:, None]
        weights = torch.ones(len(side.rows))
        side.rows = blocks.draw(
            self._item_blocks, designs, targets, weights, side.prior_means, side.precision
        )

    def draw_days(self, left: Tensor, user_days: Tensor) -> None:
        """Draw the effects of user-days from what the rows leave, then their precision."""
        weights = self.noise.index_select(0, self.users)
        precision = torch.zeros_like(self.days).index_add_(0, user_days, weights)
        precision += self.day_precision
        sums = torch.zeros_like(self.days).index_add_(0, user_days, left * weights)
        self.days = sums / precision + torch.randn(len(self.days)) / precision.sqrt()
        shape, rate = self.priors.day
        self.day_precision = gamma(shape + len(self.days) / 2, rate + self.days.square().sum() / 2)

    def draw_noise(self, left: Tensor) -> None:
        """Draw the noise precisions from the residuals, then the prior that users share."""
        if not self.user_noise:
            shape, rate = self.priors.noise
            shared = gamma(shape + len(left) / 2, rate + left.square().sum() / 2)
            self.noise = shared.expand(len(self.noise))
            return
        squares = torch.zeros_like(self.noise).index_add_(0, self.users, left.square())
        self.noise = gamma(self.noise_shape + self._sizes / 2, self.noise_rate + squares / 2)
        n = len(self.noise)
        logs = self.shapes * (n * self.noise_rate.log() + self.noise.log().sum())
        logs = (logs - n * torch.lgamma(self.shapes)).double()
        self.noise_shape = self.shapes[torch.multinomial(torch.softmax(logs, 0), 1)[0]]
        shape, rate = self.priors.noise_rate
        self.noise_rate = gamma(shape + n * self.noise_shape, rate + self.noise.sum())

    def _of_rows(self) -> Tensor:
        users, items = self.user_side.rows, self.item_side.rows
        parts = zip(*(torch.split(ids, PART) for ids in (self.users, self.items)), strict=True)
        return torch.cat(
            [scores(users.index_select(0, u), items.index_select(0, i)) for u, i in parts]
        )

    def _of_days(self) -> Tensor:
        return (
            torch.zeros(()) if self.user_days is None else self.days.index_select(0, self.user_days)
        )


def normal(root: Tensor, n: int) -> Tensor:
    """(n, d) draws from N(0, (root rootᵀ)⁻¹); `root` is lower triangular."""
    noise = torch.randn(len(root), n)
    drawn: Tensor = torch.linalg.solve_triangular(root.T, noise, upper=True)
    return drawn.T


def gamma(shape: Tensor | float, rate: Tensor) -> Tensor:
    """A draw from the Gamma of each shape and rate."""
    drawn: Tensor = torch._standard_gamma(torch.as_tensor(shape, dtype=torch.float32))
    return drawn / rate


def wishart(degrees: float, inverse_scale: Tensor) -> Tensor:
    """A (d, d) draw from the Wishart of this inverse scale matrix; its mean is degrees · scale.

    Source:
        Bartlett's decomposition; Smith and Hocking 1972, "Algorithm AS 53".
    """
    d = len(inverse_scale)
    factor = torch.randn(d, d, dtype=torch.float64).tril(-1)
    shapes = (degrees - torch.arange(d, dtype=torch.float64)) / 2
    factor += (2 * torch._standard_gamma(shapes)).sqrt().diag()
    # inverse_scale = L Lᵀ, so scale = L⁻ᵀ L⁻¹, and L⁻ᵀ times the factor is a root of the draw.
    lower = torch.linalg.cholesky(inverse_scale.double())
    root = torch.linalg.solve_triangular(lower.T, factor, upper=True)
    return torch.mm(root, root.T).float()
