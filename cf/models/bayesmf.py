"""Matrix factorization as samples of its posterior, whose predictions are averaged."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cf.core.config import BaseConfig, Count, Range
from cf.models.base import Model

DAY = 86400  # seconds
DAYS_PER_USER = 2**20  # room for 2,800 years


class BayesMF(Model):
    """r(u, i, t) = mean over samples of m + b_u + c_i + p_u · q_i + d_{u, day of t}

    Each sample's sum is clamped to the rating range. Without a time, or on a user-day that train
    does not have, d is 0. Items without ratings have rows too, drawn from their prior.

    Source:
        Salakhutdinov and Mnih 2008, "Bayesian Probabilistic Matrix Factorization using Markov
        Chain Monte Carlo", equation 10; how the samples are drawn: `cf.bayes.gibbs`.

    Attributes:
        user_rows: (n_samples, n_users, 1 + n_factors), the bias first; item_rows alike.
        day_effects: (n_samples, n_days) in stars.
        noise: (n_samples, n_users) variance of a user's ratings about the sum, in stars².
        day_variance: (n_samples,) of the effects of user-days that train does not have, in stars².
        days: (n_days,) the user-days of day_effects, as `user_day_ids` numbers them, ascending.
        mean: of the training ratings, in stars.
        prior_mean, prior_precision: (n_samples, d) and (n_samples, d, d) of the users' rows, with
            d = 1 + n_factors; and what a user's items add to that mean: `interaction_basis`,
            (n_items, r), less `interaction_center`, (r,), times `prior_coefficients`,
            (n_samples, r, d). `cf.inference` folds new users in with them.
        noise_shape, noise_rate: (n_samples,) of the Gamma of the users' noise precisions.
    """

    class Config(BaseConfig):
        """Factors a user or item, and the number of samples, from sweeps at equal distances."""

        n_factors: Count
        n_samples: Count

    takes_time = True

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        n, d = config.n_samples, 1 + config.n_factors
        self.low, self.high = rating_range
        self.user_rows = frozen(0.1 * torch.randn(n, n_users, d))
        self.item_rows = frozen(0.1 * torch.randn(n, n_items, d))
        self.noise = frozen(torch.ones(n, n_users))
        self.day_variance = frozen(torch.zeros(n))
        self.mean = frozen(torch.tensor((self.low + self.high) / 2))
        self.prior_mean = frozen(torch.zeros(n, d))
        self.prior_precision = frozen(torch.eye(d).repeat(n, 1, 1))
        self.noise_shape = frozen(torch.ones(n))
        self.noise_rate = frozen(torch.ones(n))
        self.set_interactions(torch.zeros(n_items, 0), torch.zeros(0))
        self.days: Tensor
        self.set_days(torch.zeros(0, dtype=torch.int64))

    def set_days(self, days: Tensor) -> None:
        """Make room for an effect of each of these user-days, 0 at first."""
        n = len(self.day_variance)
        self.register_buffer("days", days)
        self.day_effects = frozen(torch.zeros(n, len(days), device=days.device))

    def set_interactions(self, basis: Tensor, center: Tensor) -> None:
        """Make room for what a user's items add to the prior mean of their row, 0 at first."""
        n, d = self.prior_mean.shape
        self.interaction_basis, self.interaction_center = frozen(basis), frozen(center)
        self.prior_coefficients = frozen(torch.zeros(n, len(center), d, device=basis.device))

    def forward(self, users: Tensor, items: Tensor, times: Tensor | None = None) -> Tensor:
        """The predicted stars, (B,), within the range; `times` in seconds since 1970 UTC."""
        return self.predict_mean_and_std(users, items, times)[0]

    def predict_mean_and_std(
        self, users: Tensor, items: Tensor, times: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (B,) each in stars, of the rating that is predicted.

        The deviation covers all uncertainty: of the parameters, which differ between samples, of
        the day's effect, and the noise of the user's ratings.
        """
        total, squares = torch.zeros(2, len(users), device=users.device)
        for predicted in self.sample_predictions(users, items, times):
            total += predicted
            squares.addcmul_(predicted, predicted)
        n_samples = len(self.day_variance)
        mean = total / n_samples
        _, known = self.find_days(users, times)
        day = self.day_variance.mean()
        unknown = day if known is None else torch.where(known, 0.0, day)
        noise = self.noise.mean(0).index_select(0, users) + unknown
        variance = (squares / n_samples - mean.square()).clamp(min=0.0) + noise
        # In float64: MKL's float32 root has been seen to have 12 bits on one of two threads.
        return mean, variance.double().sqrt().float()

    def sample_predictions(
        self, users: Tensor, items: Tensor, times: Tensor | None
    ) -> Iterator[Tensor]:
        """Each sample's predicted stars, (B,), clamped to the range."""
        day, known = self.find_days(users, times)
        distinct_users, u = torch.unique(users, return_inverse=True)
        distinct_items, i = torch.unique(items, return_inverse=True)
        cells = u * len(distinct_items) + i
        # For all items of some users, one product of matrices takes an eighth of the time.
        dense = len(distinct_users) * len(distinct_items) <= 2 * len(users)
        for p, q, effects in zip(self.user_rows, self.item_rows, self.day_effects, strict=True):
            if dense:
                rows, columns = p.index_select(0, distinct_users), q.index_select(0, distinct_items)
                table = rows[:, :1] + columns[:, 0]
                table.addmm_(rows[:, 1:], columns[:, 1:].T)
                predicted = table.flatten().index_select(0, cells)
            else:
                predicted = scores(p, q, users, items)
            predicted += self.mean
            if known is not None:
                predicted += torch.where(known, effects.index_select(0, day), 0.0)
            yield predicted.clamp_(self.low, self.high)

    def find_days(self, users: Tensor, times: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Each user-day's index in `days`, (B,), and whether it is there; None without any days."""
        if times is None or not len(self.days):
            return users, None
        wanted = user_day_ids(users, times)
        day = torch.searchsorted(self.days, wanted).clamp(max=len(self.days) - 1)
        return day, self.days[day] == wanted

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """As in every module, after making room for what was saved."""
        if f"{prefix}days" in state_dict:
            self.set_days(state_dict[f"{prefix}days"])
        if f"{prefix}interaction_basis" in state_dict:
            saved = (state_dict[f"{prefix}interaction_{name}"] for name in ("basis", "center"))
            self.set_interactions(*saved)
        super()._load_from_state_dict(state_dict, prefix, *args)


def scores(user_rows: Tensor, item_rows: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """b_u + c_i + p_u · q_i of (B,) users and items; the rows are (n, d), the biases first."""
    p, q = user_rows.index_select(0, users), item_rows.index_select(0, items)
    factors = p.new_ones(p.shape[1])
    factors[0] = 0
    # As a product with ones, which takes half the time of a sum over so short a dimension.
    return (p * q).mv(factors).add_(p[:, 0]).add_(q[:, 0])


def user_day_ids(users: Tensor, times: Tensor) -> Tensor:
    """A number for each user-day: (n,) of (n,) users and (n,) seconds since 1970 UTC."""
    days = torch.div(times, DAY, rounding_mode="floor")
    return users * DAYS_PER_USER + days % DAYS_PER_USER


def frozen(values: Tensor) -> nn.Parameter:
    """A parameter that is saved and moved with the model, but not trained by gradients."""
    return nn.Parameter(values, requires_grad=False)
