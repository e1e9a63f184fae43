"""Gibbs sampling of a matrix factorization: each part drawn in turn, given the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Gamma

from cf.bayes import row_blocks
from cf.bayes.row_blocks import RatingsByRow, Targets, cholesky
from cf.bayes.side_information import Feature
from cf.bayes.time_effects import TimeEffects
from cf.models.bayesmf import scores

try:
    from cf.bayes import compiled
except ImportError:  # numba is optional: by torch's operators a sweep takes twice as long
    compiled = None  # type: ignore[assignment]

CHUNK_SIZE = 16384  # ratings at a time: intermediate results then stay in the cache
GPU_CHUNK_SIZE = 2**22  # where launches take time
START_DEVIATION, START_PRECISION = 0.1, 20.0
"""Of all rows, and of their prior. On sparse data, where few ratings speak for factors, chains that
start with wide rows hardly leave them; where many do, chains soon leave narrow ones."""


@dataclass(frozen=True)
class Priors:
    """Hyperpriors, weak: a few hundred ratings dominate them.

    Ratings are in units of their standard deviation. A Gamma is its shape and its rate.
    """

    beta0: float = 1.0  # rows that the Normal-Wishart's prior of a side's mean counts for
    nu0: float = 1.0  # the Wishart's degrees of freedom beyond the number of dimensions d
    scale0: float = 1.0  # times the identity: the Wishart's scale matrix
    feature: tuple[float, float] = (1.0, 1.0)  # Gamma of the penalty on a feature's coefficients
    time: tuple[float, float] = (1.0, 1.0)  # Gamma of the precision of a time effect's process
    time_factor: float = 0.5  # standard deviation of the factor of that process
    noise: tuple[float, float] = (1.0, 1.0)  # Gamma of the noise precision if all users share it
    noise_rate: tuple[float, float] = (1.0, 0.1)  # Gamma of the rate of users' noise precisions
    noise_shapes: tuple[float, float] = (0.5, 50.0)  # ends of the grid of their shapes, log-uniform


class FeatureRegression(nn.Module):
    """What one feature adds to the prior means of a side's rows: F V coefficients.

    Each of the (r, d) coefficients has the prior N(0, (penalty · precision)⁻¹): the greater the
    penalty, the less the feature matters. `fitted` is the product, (n, d).
    """

    def __init__(self, feature: Feature, n: int, d: int) -> None:
        super().__init__()
        self.feature = feature
        self.coefficients: Tensor = nn.Buffer(torch.zeros(len(feature.eigenvalues), d))
        self.penalty: Tensor = nn.Buffer(torch.tensor(1.0))
        self.fitted: Tensor = nn.Buffer(torch.zeros(n, d))

    def draw(
        self, residuals: Tensor, chol: Tensor, prior: tuple[float, float], relaxation: float
    ) -> None:
        """Draw the coefficients, then their penalty, whose prior is a Gamma.

        The residuals, (n, d), are the side's rows less all other terms of their prior means; `chol`
        is the precision's lower Cholesky factor; `relaxation` as in `cf.bayes.row_blocks.draw`.

        Source:
            Simm et al. 2017, "Macau: Scalable Bayesian Factorization with High-Dimensional Side
            Information Using MCMC", section III, in the features' eigenvectors.
        """
        posterior_precision = (self.feature.eigenvalues + self.penalty)[:, None]
        noise = draw_normal(chol, len(posterior_precision))
        mean = self.feature.project(residuals) / posterior_precision
        noise *= (1 - relaxation**2) ** 0.5 / posterior_precision.sqrt()
        self.coefficients = mean.lerp(self.coefficients, relaxation) + noise
        self.fitted = self.feature.expand(self.coefficients)
        squared_norm = (self.coefficients @ chol).square().sum()
        shape, rate = prior
        self.penalty = draw_gamma(shape + self.coefficients.numel() / 2, rate + squared_norm / 2)


class EntitySide(nn.Module):
    """The rows of all users, or all items, and the prior that they share.

    Rows are (n, d), the bias first, then the factors: N(prior_means, precision⁻¹). Their mean,
    (d,), and precision, (d, d), are Normal-Wishart.
    """

    def __init__(self, n: int, n_factors: int, features: Sequence[Feature]) -> None:
        super().__init__()
        d = 1 + n_factors
        self.rows: Tensor = nn.Buffer(START_DEVIATION * torch.randn(n, d))
        self.rows[:, 0] = 0.0
        self.mean: Tensor = nn.Buffer(torch.zeros(d))
        self.precision: Tensor = nn.Buffer(START_PRECISION * torch.eye(d))
        regressions = nn.ModuleList(FeatureRegression(feature, n, d) for feature in features)
        self.regressions = cast(list[FeatureRegression], regressions)

    @property
    def prior_means(self) -> Tensor:
        """(n, d): the mean of all rows, plus what the features add."""
        return self.mean + self.feature_means()

    @property
    def designs(self) -> Tensor:
        """(n, d): the factors of the other side's rows: 1 for the bias, then these factors."""
        return torch.cat([torch.ones_like(self.rows[:, :1]), self.rows[:, 1:]], dim=1)

    def feature_means(self) -> Tensor:
        """(n, d): the sum of what the features add."""
        return sum((each.fitted for each in self.regressions), torch.zeros_like(self.rows))

    def draw_prior(self, priors: Priors, relaxation: float = 0.0) -> None:
        """Draw mean and precision, then the regressions, given the rows.

        Source:
            Salakhutdinov and Mnih 2008, equation 14, with the regressions subtracted.
        """
        residuals = self.rows - self.feature_means()
        n, d = residuals.shape
        row_mean = residuals.mean(0)
        centered = residuals - row_mean
        beta = priors.beta0 + n
        scatter = centered.T @ centered + priors.beta0 * n / beta * row_mean.outer(row_mean)
        scatter += torch.eye(d, device=scatter.device) / priors.scale0
        # The precision scales the coefficients of the regressions too, so they inform it.
        degrees = d + priors.nu0 + n
        for regression in self.regressions:
            scatter += regression.penalty * regression.coefficients.T @ regression.coefficients
            degrees += len(regression.coefficients)
        self.precision = draw_wishart(degrees, scatter)
        chol = cholesky(self.precision)
        self.mean = n / beta * row_mean + draw_normal(chol, 1)[0] / beta**0.5
        residuals -= self.mean
        for regression in self.regressions:
            residuals += regression.fitted
            regression.draw(residuals, chol, priors.feature, relaxation)
            residuals -= regression.fitted


class Sampler(nn.Module):
    """The chain: its `state_dict` is all that a sweep begins with, and `sweep` moves it on.

    It is on the device of the ratings that it is given, but for the time effects, which are on the
    CPU. Without these a sweep on a GPU reads nothing from it.

    rating(u, i, t) = mean + b_u + c_i + p_u · q_i + e_u(t) + noise of precision a_u

    where (b_u, p_u) is the user's row, (c_i, q_i) the item's, and e_u(t) what the user's ratings at
    about the same time have in common. The precisions a_u are `noise`, (n_users,).
    """

    def __init__(
        self,
        users: Tensor,  # (n,) indices
        items: Tensor,  # (n,) indices
        values: Tensor,  # (n,) centered, of about unit variance
        user_side: EntitySide,
        item_side: EntitySide,
        user_noise: bool,  # whether each user has a noise precision; else all share one
        priors: Priors,
        time_effects: TimeEffects | None = None,
        by_row: tuple[RatingsByRow, RatingsByRow] | None = None,  # of `by_users_and_items`
    ) -> None:
        super().__init__()
        self.users, self.items, self.values = users, items, values
        self.time_effects = time_effects
        self.user_side, self.item_side = user_side, item_side
        self.user_noise, self.priors = user_noise, priors
        n_users, n_items = len(user_side.rows), len(item_side.rows)
        if by_row is None:
            by_row = by_users_and_items(users, items, n_users, n_items)
        self._of_users, self._of_items = by_row
        self._counts = torch.bincount(users, minlength=n_users)
        self.noise: Tensor = nn.Buffer(values.new_ones(n_users))
        self.noise_shape: Tensor = nn.Buffer(values.new_full((), 5.0))
        self.noise_rate: Tensor = nn.Buffer(values.new_full((), 5.0))
        low, high = priors.noise_shapes  # of the noise's Gamma
        self.shape_grid = torch.logspace(0, 1, 200, base=high / low).to(values.device) * low

    def sweep(self, relaxation: float = 0.0) -> Tensor:
        """Draw everything once, and return the residuals, (n,).

        `relaxation` is of all draws that are normal: see `cf.bayes.row_blocks.draw`.
        """
        values = self.values
        if self.time_effects is not None:
            values = values - self.time_terms()
        self.draw_users(values, relaxation)
        self.user_side.draw_prior(self.priors, relaxation)
        self.draw_items(values, relaxation)
        self.item_side.draw_prior(self.priors, relaxation)
        residuals = self.values - self.factor_terms()
        if self.time_effects is not None:
            priors = self.priors.time, self.priors.time_factor
            self.time_effects.draw(residuals.cpu(), self.noise.cpu(), *priors, relaxation)
            residuals -= self.time_terms()
        self.draw_noise(residuals)
        return residuals

    def draw_users(self, values: Tensor, relaxation: float = 0.0) -> None:
        """Draw the users' rows; `values` are the ratings less the effects of time."""
        side, items = self.user_side, self.item_side
        targets = Targets(values, items.rows[:, 0])
        prior = side.prior_means, side.precision
        ratings = items.designs, targets, self.noise
        side.rows = row_blocks.draw(self._of_users, *ratings, *prior, side.rows, relaxation)

    def draw_items(self, values: Tensor, relaxation: float = 0.0) -> None:
        """Draw the items' rows; a user's noise precision is a factor of designs and targets."""
        side, users = self.item_side, self.user_side
        roots = self.noise.sqrt()
        targets = Targets(values, users.rows[:, 0], roots)
        designs = users.designs * roots[:, None]
        prior = side.prior_means, side.precision
        ratings = designs, targets, values.new_ones(len(side.rows))
        side.rows = row_blocks.draw(self._of_items, *ratings, *prior, side.rows, relaxation)

    def draw_noise(self, residuals: Tensor) -> None:
        """Draw the noise precisions from the residuals, then the prior that users share."""
        if not self.user_noise:
            shape, rate = self.priors.noise
            shared = draw_gamma(shape + len(residuals) / 2, rate + residuals.square().sum() / 2)
            self.noise = shared.expand(len(self.noise))
            return
        squares = torch.zeros_like(self.noise).index_add_(0, self.users, residuals.square())
        self.noise = draw_gamma(self.noise_shape + self._counts / 2, self.noise_rate + squares / 2)
        n = len(self.noise)
        logs = self.shape_grid * (n * self.noise_rate.log() + self.noise.log().sum())
        logs = (logs - n * torch.lgamma(self.shape_grid)).double()
        self.noise_shape = self.shape_grid.index_select(0, draw_index(torch.softmax(logs, 0)))[0]
        shape, rate = self.priors.noise_rate
        self.noise_rate = draw_gamma(shape + n * self.noise_shape, rate + self.noise.sum())

    @property
    def noise_prior(self) -> tuple[Tensor, Tensor]:
        """Shape and rate of the Gamma of a user's noise precision; sharp where all share one."""
        if self.user_noise:
            return self.noise_shape, self.noise_rate
        shape = self.noise.new_full((), 1e6)
        return shape, shape / self.noise[0]

    def factor_terms(self) -> Tensor:
        """b_u + c_i + p_u · q_i of each rating, (n,)."""
        return self.scores(self.users, self.items)

    def scores(self, users: Tensor, items: Tensor) -> Tensor:
        """b_u + c_i + p_u · q_i of (B,) users and items."""
        rows = self.user_side.rows, self.item_side.rows
        on_cpu = users.device.type == "cpu"
        if compiled and on_cpu:
            return compiled.scores(*rows, users, items)
        size = CHUNK_SIZE if on_cpu else GPU_CHUNK_SIZE
        chunks = zip(users.split(size), items.split(size), strict=True)  # type: ignore[no-untyped-call]
        return torch.cat([scores(*rows, *chunk) for chunk in chunks])

    def time_terms(self) -> Tensor:
        """e_u(t) of each rating, (n,); a scalar 0 without such effects."""
        effects = self.time_effects
        if effects is None:
            return self.values.new_zeros(())
        return effects.terms().to(self.values.device)


Divide = Callable[[Tensor, Tensor, int, int], tuple[RatingsByRow, RatingsByRow]]
"""From users and items, (n,) each, and how many there are: see `by_users_and_items`."""


def by_users_and_items(
    users: Tensor, items: Tensor, n_users: int, n_items: int
) -> tuple[RatingsByRow, RatingsByRow]:
    """The ratings by user and by item, for all chains that draw from them."""
    return (
        ratings_by_row(users, items, n_users, n_items),
        ratings_by_row(items, users, n_items, n_users),
    )


def ratings_by_row(rows: Tensor, others: Tensor, n_rows: int, n_others: int) -> RatingsByRow:
    """The ratings of each row, compiled where that can be."""
    if compiled and rows.device.type == "cpu":
        return compiled.CompiledRows(rows, others, n_rows)
    return row_blocks.RowBlocks(rows, others, n_rows, n_others)


def draw_normal(chol: Tensor, n: int) -> Tensor:
    """(n, d) draws from N(0, (chol cholᵀ)⁻¹), with `chol` lower triangular.

    torch's MultivariateNormal takes a precision, of which it would invert the Cholesky factor.
    """
    noise = torch.randn(len(chol), n, device=chol.device)
    drawn: Tensor = torch.linalg.solve_triangular(chol.T, noise, upper=True)
    return drawn.T


def draw_gamma(shape: Tensor | float, rate: Tensor) -> Tensor:
    """A draw from the Gamma of each shape and rate."""
    if not isinstance(shape, Tensor):
        shape = torch.full_like(rate, shape)
    return Gamma(shape, rate, validate_args=False).sample()


def draw_index(probabilities: Tensor) -> Tensor:
    """(1,): an index with these probabilities, as torch.multinomial draws it.

    That one checks them, so that a GPU has to be waited for.
    """
    times = torch.empty_like(probabilities).exponential_()
    return (probabilities / times).argmax(0, keepdim=True)


def draw_wishart(degrees: float, inverse_scale: Tensor) -> Tensor:
    """A (d, d) draw from the Wishart of this inverse scale matrix; its mean is degrees · scale.

    torch's Wishart takes ten times as long, and takes samples of many degrees for singular.

    Source:
        Bartlett's decomposition; Smith and Hocking 1972, "Algorithm AS 53".
    """
    d = len(inverse_scale)
    scatter = inverse_scale.double()
    factor = torch.randn(d, d, dtype=scatter.dtype, device=scatter.device).tril(-1)
    shapes = (degrees - torch.arange(d, dtype=scatter.dtype, device=scatter.device)) / 2
    factor += (2 * draw_gamma(shapes, torch.ones_like(shapes))).sqrt().diag()
    # inverse_scale = L Lᵀ, so scale = L⁻ᵀ L⁻¹, and L⁻ᵀ times the factor is a root of the draw.
    chol = cholesky(scatter)
    root = torch.linalg.solve_triangular(chol.T, factor, upper=True)
    return torch.mm(root, root.T).float()
