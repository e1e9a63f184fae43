"""What a user's ratings have in common because they were given at about the same time."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor, nn
from torch.distributions import Gamma


class Moments:
    """The distinct times at which each user rates, one user's after the other's.

    Attributes:
        users, times: (n_moments,), times in seconds.
        starts: (n_users + 1,) where each user's moments begin.
        of_ratings: (n,) the moment of each rating.
        counts: (n_moments,) ratings at a moment, in float64.
        gaps: (n_moments,) seconds since the user's moment before, infinite for the first one.
    """

    def __init__(self, users: Tensor, times: Tensor, n_users: int) -> None:
        order = torch.from_numpy(np.lexsort((times.numpy(), users.numpy())))
        u, t = users[order], times[order]
        new = torch.ones(len(u), dtype=torch.bool)
        new[1:] = (u[1:] != u[:-1]) | (t[1:] != t[:-1])
        self.of_ratings = torch.empty_like(order)
        self.of_ratings[order] = new.cumsum(0) - 1
        self.users, self.times = u[new], t[new]
        self.counts = torch.bincount(self.of_ratings).double()
        self.starts = torch.zeros(n_users + 1, dtype=torch.int64)
        self.starts[1:] = torch.bincount(self.users, minlength=n_users).cumsum(0)
        self.gaps = torch.full((len(self.users),), torch.inf, dtype=torch.float64)
        same = self.users[1:] == self.users[:-1]
        self.gaps[1:][same] = (self.times[1:] - self.times[:-1])[same].double()


class TimeEffect(nn.Module):
    """An Ornstein-Uhlenbeck process for each user, which forgets at one time scale.

    Its values at two moments of a user have the covariance variance · exp(-gap / scale), so given
    the moment before, earlier ones say nothing, and the precision matrix of all is tridiagonal:
    they are drawn at once, in as many steps as there are moments, without bins or their edges.

    effects = factor · unit, where the factor is normal and the process `unit` has a precision
    with a Gamma prior. One of the two is redundant, but the chain mixes much faster with both.

    Source:
        Rue and Held 2005, "Gaussian Markov Random Fields", sections 1.1 and 2.4; Gelman 2006,
        "Prior distributions for variance parameters in hierarchical models", section 3.2.
    """

    def __init__(self, scale: float, moments: Moments) -> None:
        super().__init__()
        forgotten = -torch.expm1(-2 * moments.gaps / scale)  # 1 - kept²
        self._kept = torch.exp(-moments.gaps / scale).numpy()[1:]
        self._root = forgotten.rsqrt().numpy()
        inverse = np.square(self._root)
        # The prior's precision: for one more moment, (value - kept · value before)² / forgotten.
        self._diagonal = inverse.copy()
        self._diagonal[:-1] += np.square(self._kept) * inverse[1:]
        self._beside = -self._kept * inverse[1:]
        self.unit: Tensor = nn.Buffer(torch.zeros(len(inverse), dtype=torch.float64))
        self.factor: Tensor = nn.Buffer(torch.tensor(0.2, dtype=torch.float64))
        self.precision: Tensor = nn.Buffer(torch.tensor(1.0, dtype=torch.float64))

    @property
    def effects(self) -> Tensor:
        """(n_moments,)."""
        return self.factor * self.unit

    @property
    def variance(self) -> Tensor:
        """Of an effect, where nothing else is known."""
        return self.factor.square() / self.precision

    def draw(
        self,
        sums: Tensor,
        weights: Tensor,
        prior: tuple[float, float],
        deviation: float,
        relaxation: float,
    ) -> None:
        """Draw the process, its precision and its factor, given all else.

        Args:
            sums: (n_moments,) of noise precision times residual, over the ratings of a moment.
            weights: (n_moments,) of noise precision, over the same.
            prior: the Gamma of the precision.
            deviation: the factor's standard deviation in the prior.
            relaxation: as in `cf.bayes.row_blocks.draw`.
        """
        factor, precision = float(self.factor), float(self.precision)
        w = factor**2 * weights.numpy()
        # x = A⁻¹ (b + a draw from N(0, A)) is a draw from N(A⁻¹ b, A⁻¹): Papandreou and Yuille
        # 2010, "Gaussian sampling by local perturbations", section 2.
        observed, steps = torch.randn(2, len(sums)).double().numpy()
        steps *= precision**0.5 * self._root
        noise = np.sqrt(w) * observed + steps
        noise[:-1] -= self._kept * steps[1:]
        right = (1 - relaxation) * factor * sums.numpy() + (1 - relaxation**2) ** 0.5 * noise
        diagonal, beside = precision * self._diagonal + w, precision * self._beside
        if len(diagonal) == 1:  # for which LAPACK's wrapper has no shape
            solved, failed = right / diagonal, bool(diagonal[0] <= 0)
        else:
            solved, failed = lapack.dptsv(diagonal, beside, right, True, True, True)[2:]
        if failed:
            raise torch.linalg.LinAlgError("the precision of a time effect is not positive")  # type: ignore[attr-defined]
        self.unit = relaxation * self.unit + torch.from_numpy(solved)
        self.precision = self._draw_precision(prior)
        regression = self.unit.square().dot(weights) + deviation**-2
        mean = sums.dot(self.unit) / regression
        self.factor = mean + torch.randn((), dtype=torch.float64) / regression.sqrt()

    def _draw_precision(self, prior: tuple[float, float]) -> Tensor:
        unit = self.unit.numpy()
        steps = unit.copy()
        steps[1:] -= self._kept * unit[:-1]
        steps *= self._root
        shape, rate = prior[0] + len(steps) / 2, prior[1] + steps.dot(steps) / 2
        drawn: Tensor = Gamma(*torch.tensor([shape, rate], dtype=torch.float64)).sample()
        return drawn


class TimeEffects(nn.Module):
    """The sum of processes at several time scales, in seconds."""

    def __init__(self, moments: Moments, scales: Sequence[float]) -> None:
        super().__init__()
        self.moments = moments
        parts = nn.ModuleList(TimeEffect(scale, moments) for scale in scales)
        self.parts = cast(list[TimeEffect], parts)

    @property
    def effects(self) -> Tensor:
        """(n_scales, n_moments)."""
        return torch.stack([part.effects for part in self.parts])

    @property
    def variances(self) -> Tensor:
        """(n_scales,)."""
        return torch.stack([part.variance for part in self.parts])

    def terms(self) -> Tensor:
        """The sum at the moment of each rating, (n,)."""
        return self.effects.sum(0).float().index_select(0, self.moments.of_ratings)

    def draw(
        self,
        residuals: Tensor,
        noise: Tensor,
        prior: tuple[float, float],
        deviation: float,
        relaxation: float,
    ) -> None:
        """Draw one process after the other, from the ratings less all other terms, (n,)."""
        moments = self.moments
        precision = noise.double().index_select(0, moments.users)
        weights = precision * moments.counts
        sums = torch.zeros_like(weights).index_add_(0, moments.of_ratings, residuals.double())
        sums = sums * precision - weights * self.effects.sum(0)
        for part in self.parts:
            sums += weights * part.effects
            part.draw(sums, weights, prior, deviation, relaxation)
            sums -= weights * part.effects
