"""Matrix factorisation as samples of its posterior, whose predictions are averaged."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cf.core.config import Config as BaseConfig
from cf.core.config import Count, Range
from cf.models.base import Model

DAY = 86400  # seconds
DAYS_A_USER = 2**20  # room for the days of 2,800 years


class BayesMF(Model):
    """r(u, i, t) = mean over samples of m + b_u + c_i + p_u · q_i + d_{u, day of t}

    Each sample's sum is cut off at the rating range. A user-day that train does not have, or no
    time at all, has d = 0. Items without ratings have rows too, drawn from what is known of them.

    Source:
        Salakhutdinov and Mnih 2008, "Bayesian Probabilistic Matrix Factorization using Markov
        Chain Monte Carlo", equation 10; how the samples are drawn: `cf.bayes.gibbs`.

    Attributes:
        user_rows: (n_samples, n_users, 1 + n_factors), the bias first; likewise item_rows.
        day_effects: (n_samples, n_days) in stars.
        noise: (n_samples, n_users) variance of each user's ratings about the sum, in stars², at
            most that of ratings which are all at the ends of the range.
        day_variance: (n_samples,) of the effects of user-days not seen, in stars².
        days: (n_days,) the user-days of day_effects, as `keys` numbers them, ascending.
        mean: of the training ratings, in stars.
    """

    class Config(BaseConfig):
        """Factors a user or item, and samples kept, spread evenly over those drawn."""

        n_factors: Count
        n_samples: Count

    takes_time = True

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        n, d = config.n_samples, 1 + config.n_factors
        self.low, self.high = rating_range
        self.user_rows = _kept(0.1 * torch.randn(n, n_users, d))
        self.item_rows = _kept(0.1 * torch.randn(n, n_items, d))
        self.noise = _kept(torch.ones(n, n_users))
        self.day_variance = _kept(torch.zeros(n))
        self.mean = _kept(torch.tensor((self.low + self.high) / 2))
        self.days: Tensor
        self.set_days(torch.zeros(0, dtype=torch.int64))

    def set_days(self, days: Tensor) -> None:
        """Have an effect, 0 as yet, for each of the user-days."""
        n = len(self.day_variance)
        self.register_buffer("days", days)
        self.day_effects = _kept(torch.zeros(n, len(days), device=days.device))

    def forward(self, users: Tensor, items: Tensor, times: Tensor | None = None) -> Tensor:
        """The predicted stars, (B,), within the range; `times` in seconds since 1970 UTC."""
        return self.predict_mean_and_std(users, items, times)[0]

    def predict_mean_and_std(
        self, users: Tensor, items: Tensor, times: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (B,) each in stars, of the rating that is predicted.

        The deviation has all that is not known: the parameters, which differ from sample to
        sample, the day, and the noise of the user's ratings.
        """
        total, squares = torch.zeros(2, len(users), device=users.device)
        for sums in self.sums(users, items, times):
            total += sums
            squares.addcmul_(sums, sums)
        n_samples = len(self.day_variance)
        mean = total / n_samples
        _, known = self.places(users, times)
        day = self.day_variance.mean()
        unknown = day if known is None else torch.where(known, 0.0, day)
        noise = self.noise.mean(0).index_select(0, users) + unknown
        return mean, ((squares / n_samples - mean.square()).clamp(min=0.0) + noise).sqrt()

    def sums(self, users: Tensor, items: Tensor, times: Tensor | None) -> Iterator[Tensor]:
        """For each sample its predicted stars, (B,), cut off at the range."""
        place, known = self.places(users, times)
        some_users, u = torch.unique(users, return_inverse=True)
        some_items, i = torch.unique(items, return_inverse=True)
        cells = u * len(some_items) + i
        # As where all items are ranked for some users: eight times as fast as pair by pair.
        dense = len(some_users) * len(some_items) <= 2 * len(users)
        for p, q, effects in zip(self.user_rows, self.item_rows, self.day_effects, strict=True):
            if dense:
                table = all_scores(p.index_select(0, some_users), q.index_select(0, some_items))
                sums = table.flatten().index_select(0, cells)
            else:
                sums = scores(p.index_select(0, users), q.index_select(0, items))
            sums += self.mean
            if known is not None:
                sums += torch.where(known, effects.index_select(0, place), 0.0)
            yield sums.clamp_(self.low, self.high)

    def places(self, users: Tensor, times: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Where in `days` each user-day is, (B,), and whether it is there; None: no days at all."""
        if times is None or not len(self.days):
            return users, None
        wanted = keys(users, times)
        place = torch.searchsorted(self.days, wanted).clamp(max=len(self.days) - 1)
        return place, self.days[place] == wanted

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """As of every module, with as many user-days as were saved."""
        if f"{prefix}days" in state_dict:
            self.set_days(state_dict[f"{prefix}days"])
        super()._load_from_state_dict(state_dict, prefix, *args)


def scores(user_rows: Tensor, item_rows: Tensor) -> Tensor:
    """b_u + c_i + p_u · q_i: (B,) of (B, d) and (B, d), the biases first."""
    factors = user_rows.new_ones(user_rows.shape[1])
    factors[0] = 0
    # As a product with ones, which takes half the time of a sum over so short a dimension.
    return (user_rows * item_rows).mv(factors).add_(user_rows[:, 0]).add_(item_rows[:, 0])


def all_scores(user_rows: Tensor, item_rows: Tensor) -> Tensor:
    """Likewise for all pairs: (U, I) of (U, d) and (I, d)."""
    biases = user_rows[:, :1] + item_rows[:, 0]
    return biases.addmm_(user_rows[:, 1:], item_rows[:, 1:].T)


def keys(users: Tensor, times: Tensor) -> Tensor:
    """A number for each user-day: (n,) of (n,) users and (n,) seconds since 1970 UTC."""
    days = torch.div(times, DAY, rounding_mode="floor")
    return users * DAYS_A_USER + days % DAYS_A_USER


def _kept(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
