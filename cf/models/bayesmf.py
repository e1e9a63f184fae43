"""Matrix factorization as samples of its posterior, whose predictions are averaged."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cf.core.config import BaseConfig, Count, Range
from cf.core.neighbors import UserResiduals
from cf.models.base import Model

SIZED_BY_RATINGS = (
    *("rated_items", "item_directions", "timeless.residuals"),
    *("timed.effects", "timed.residuals", "timed.opens_moment"),
)
"""Parameters of a model whose size or type is not known before they are sampled."""


class Samples(nn.Module):
    """The rows of all users and items in each sample of a chain, in 8 bits each.

    A row is the bias, then the factors: d numbers. A column of a sample is a whole number from -127
    to 127, times the column's step.

    Attributes:
        user_rows: (n_samples, n_users, d); item_rows alike.
        user_steps: (n_samples, 1, d), in stars; item_steps alike.
        noise: (n_users,) variance of a user's ratings about the sum, in stars², mean over samples.
        residuals: (n,) ratings less the sum, mean over samples; as `BayesMF.rated_items`.
    """

    def __init__(self, n_samples: int, n_users: int, n_items: int, d: int) -> None:
        super().__init__()
        for side, n in (("user", n_users), ("item", n_items)):
            rows = torch.randint(-127, 128, (n_samples, n, d), dtype=torch.int8)
            self.register_parameter(f"{side}_rows", frozen(rows))
            self.register_parameter(f"{side}_steps", frozen(torch.full((n_samples, 1, d), 1e-3)))
        self.noise = frozen(torch.ones(n_users))
        self.residuals = frozen(torch.zeros(0))
        self.user_rows: Tensor
        self.item_rows: Tensor
        self.user_steps: Tensor
        self.item_steps: Tensor

    def __len__(self) -> int:
        return len(self.user_steps)

    def put(self, index: int, user_rows: Tensor, item_rows: Tensor) -> None:
        """Keep a sample, (n_users, d) and (n_items, d)."""
        for side, rows in (("user", user_rows), ("item", item_rows)):
            steps = rows.abs().amax(0, keepdim=True).clamp(min=1e-30) / 127
            getattr(self, f"{side}_rows")[index] = (rows / steps).round_().to(torch.int8)
            getattr(self, f"{side}_steps")[index] = steps

    def rows(self, index: int) -> tuple[Tensor, Tensor]:
        """A sample's rows, (n_users, d) and (n_items, d)."""
        return (
            self.user_rows[index] * self.user_steps[index],
            self.item_rows[index] * self.item_steps[index],
        )


class TimedSamples(Samples):
    """The samples of a chain that knows when each rating was given.

    What a user's ratings have in common because they were given at about the same time is a sum of
    processes, each with a time scale: see `cf.bayes.time_effects`.

    Attributes:
        scales: (n_scales,) in seconds.
        starts: (n_users + 1,) where each user's moments begin.
        times: (n_moments,) the distinct times at which each user rated in train, ascending; in 32
            bits where they fit.
        effects: (n_scales, n_moments) of each process in stars, the mean over samples.
        variances: (n_scales,) of a process where nothing is known of it, in stars², the mean over
            samples.
        opens_moment: (n,) whether each of the `residuals` is the first one of a moment.
    """

    def __init__(
        self, n_samples: int, n_items: int, d: int, scales: Tensor, starts: Tensor, times: Tensor
    ) -> None:
        super().__init__(n_samples, len(starts) - 1, n_items, d)
        self.scales, self.starts = frozen(scales), frozen(starts)
        fits = len(times) == 0 or int(times.abs().max()) <= torch.iinfo(torch.int32).max
        self.times = frozen(times.int() if fits else times)
        effects = torch.zeros(len(scales), len(times), dtype=torch.float16)
        self.effects = frozen(effects)
        self.variances = frozen(torch.ones(len(scales)))
        self.opens_moment = frozen(torch.zeros(0, dtype=torch.bool))

    def at(self, users: Tensor, times: Tensor) -> "Moment":
        """What is known of the processes at (B,) times."""
        nearest = nearest_moments(self.starts, self.times, users, times)
        return between(nearest, bridge(nearest, self.scales), self.effects, self.variances)


class Moment(NamedTuple):
    """What a chain says of a user's ratings at a time: (B,) each.

    Attributes:
        effect: the expected effect of the time, in stars.
        variance: the part of the effect's variance that the user's other ratings leave, in stars².
            (Samples that differ in the rest differ as much in the user's bias, to the other side.)
        known: the share of its variance that the user's other ratings explain, from 0 to 1.
    """

    effect: Tensor
    variance: Tensor
    known: Tensor


class NearestMoments(NamedTuple):
    """The last of a user's moments up to a time, and the first one after it: (B,) each.

    Attributes:
        before: its index; any where there is none.
        since: seconds since then, infinite where there is none.
        after: as `before`.
        until: seconds up to then, infinite where there is none.
    """

    before: Tensor
    since: Tensor
    after: Tensor
    until: Tensor


def nearest_moments(
    starts: Tensor, moments: Tensor, users: Tensor, times: Tensor
) -> NearestMoments:
    """Of (B,) users and times, among the (n_moments,) times of all users, one after the other."""
    first, end = starts[users], starts[users + 1]
    low, high = first.clone(), end.clone()
    # A binary search, of all at once: after it, `low` is the first moment that is later.
    while (low < high).any():
        middle = (low + high) // 2
        later = moments[middle.clamp(max=len(moments) - 1)] > times
        high = torch.where(later, middle, high)
        low = torch.where(later | (low >= high), low, middle + 1).minimum(end)
    last = len(moments) - 1
    before, after = (low - 1).clamp(min=0), low.clamp(max=last)
    since = torch.where(low > first, (times - moments[before]).double(), torch.inf)
    until = torch.where(low < end, (moments[after] - times).double(), torch.inf)
    return NearestMoments(before, since, after, until)


def bridge(nearest: NearestMoments, scales: Tensor) -> tuple[Tensor, Tensor]:
    """How an Ornstein-Uhlenbeck process at a time follows from those at the moments around it.

    Returns:
        The weights of the two, (2, n_scales, B), and the share of the process's variance that they
        leave, (n_scales, B).
    """
    since, until = nearest.since / scales[:, None], nearest.until / scales[:, None]
    left, right, both = (-torch.expm1(-2 * gap) for gap in (since, until, since + until))
    weights = torch.stack([torch.exp(-since) * right, torch.exp(-until) * left])
    return weights / both, left * right / both


def between(
    nearest: NearestMoments, bridged: tuple[Tensor, Tensor], effects: Tensor, variances: Tensor
) -> Moment:
    """What (n_scales, n_moments) effects of processes with (n_scales,) variances say of (B,) times.

    `bridged` is what `bridge` says of the nearest moments.
    """
    weights, unknown = bridged
    before, after = effects[:, nearest.before], effects[:, nearest.after]
    effect = (weights[0] * before + weights[1] * after).sum(0)
    variance = (unknown * variances[:, None]).sum(0)
    known = 1 - variance / variances.sum().clamp(min=1e-30)
    return Moment(effect.float(), variance.float(), known.float())


class BayesMF(Model):
    """r(u, i) = mean over samples of m + b_u + c_i + p_u · q_i

    Each sample's sum is clamped to the rating range. Items without ratings have rows too, drawn
    from their prior. The mean is corrected by the residuals of the user's ratings of similar items,
    if they were stored: see `cf.core.neighbors`.

    If the ratings have times, a second chain knows them: r(u, i, t) = m + b_u + c_i + p_u · q_i
    + e_u(t), with other rows, and e_u(t) what the user's ratings at about the same time have in
    common. A prediction for a time is the mean of both chains' predictions, the second one's
    weighted by the share of e_u(t)'s variance that is known: all far from the user's other ratings
    is as if there were no time.

    Source:
        Salakhutdinov and Mnih 2008, "Bayesian Probabilistic Matrix Factorization using Markov
        Chain Monte Carlo", equation 10; how the samples are drawn: `cf.bayes.gibbs`.

    Attributes:
        timeless: the samples of the chain that does not know times.
        timed: those of the chain that does; None without times.
        mean: of the training ratings, in stars.
        prior_mean, prior_precision: (n_samples, d) and (n_samples, d, d) of the users' rows, with
            d = 1 + n_factors; and what a user's items add to that mean: `interaction_basis`,
            (n_items, r), less `interaction_center`, (r,), times `prior_coefficients`,
            (n_samples, r, d). `cf.inference` folds new users in with them.
        noise_shape, noise_rate: (n_samples,) of the Gamma of the users' noise precisions.
        rated_starts, rated_items: (n_users + 1,) and (n,) the training ratings, by user and time.
        item_directions: (n_items, k), whose products are the items' similarities.
    """

    class Config(BaseConfig):
        """Factors a user or item, and the number of samples, from sweeps at equal distances."""

        n_factors: Count
        n_samples: Count

    takes_time = True
    timed: TimedSamples | None

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        n, d = config.n_samples, 1 + config.n_factors
        self.low, self.high = rating_range
        self.timeless = Samples(n, n_users, n_items, d)
        self.timed = None
        self.mean = frozen(torch.tensor((self.low + self.high) / 2))
        self.prior_mean = frozen(torch.zeros(n, d))
        self.prior_precision = frozen(torch.zeros(n, d, d))
        self.prior_precision.diagonal(dim1=1, dim2=2).fill_(1.0)
        self.noise_shape = frozen(torch.ones(n))
        self.noise_rate = frozen(torch.ones(n))
        self.set_interactions(torch.zeros(n_items, 0), torch.zeros(0))
        self.rated_starts = frozen(torch.zeros(n_users + 1, dtype=torch.int64))
        self.rated_items = frozen(torch.zeros(0, dtype=torch.int32))
        self.item_directions = frozen(torch.zeros(n_items, 0))
        self._rated: dict[Tensor, UserResiduals] = {}

    def set_moments(self, scales: Tensor, starts: Tensor, times: Tensor) -> TimedSamples:
        """Make room for a chain that knows the times: see `TimedSamples`."""
        n, n_items, d = self.timeless.item_rows.shape
        device = self.mean.device
        self.timed = TimedSamples(n, n_items, d, scales, starts, times).to(device)
        return self.timed

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
        the effect of the time, and the noise of the user's ratings.
        """
        mean, variance = self.moments_of(self.timeless, users, items)
        mean = self.corrected(mean, self.timeless, users, items)
        if self.timed is not None and times is not None:
            moment = self.timed.at(users, times)
            timed, of_timed = self.moments_of(self.timed, users, items, moment.effect)
            timed = self.corrected(timed, self.timed, users, items, times)
            mean = mean.lerp(timed, moment.known)
            variance = variance.lerp(of_timed + moment.variance, moment.known)
        # In float64: MKL's float32 root has been seen to have 12 bits on one of two threads.
        return mean, variance.double().sqrt().float()

    def moments_of(
        self, samples: Samples, users: Tensor, items: Tensor, effect: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and variance, (B,) each, of ratings by a chain's samples, with the users' noise."""
        total, squares = torch.zeros(2, len(users), device=users.device)
        for predicted in self.sample_predictions(samples, users, items, effect):
            total += predicted
            squares.addcmul_(predicted, predicted)
        mean = total / len(samples)
        spread = (squares / len(samples) - mean.square()).clamp(min=0.0)
        return mean, spread + samples.noise.index_select(0, users)

    def corrected(
        self,
        mean: Tensor,
        samples: Samples,
        users: Tensor,
        items: Tensor,
        times: Tensor | None = None,
    ) -> Tensor:
        """The mean of a chain's samples, (B,), corrected by residuals, within the range."""
        if not len(samples.residuals):
            return mean.clamp(self.low, self.high)
        if samples.residuals not in self._rated:  # they are replaced, never changed, once in use
            self._rated[samples.residuals] = self._rated_of(samples)
        pairs = users.numpy(force=True), items.numpy(force=True)
        when = None if times is None else times.numpy(force=True)
        added = torch.from_numpy(self._rated[samples.residuals].corrections(*pairs, when))
        return (mean + added.to(mean.device)).clamp(self.low, self.high)

    def _rated_of(self, samples: Samples) -> UserResiduals:
        times = None
        if isinstance(samples, TimedSamples):
            times = samples.times[samples.opens_moment.cumsum(0) - 1].numpy(force=True)
        return UserResiduals(
            self.rated_starts.numpy(force=True),
            self.rated_items.numpy(force=True),
            samples.residuals.numpy(force=True),
            self.item_directions.float().numpy(force=True),
            times,
        )

    def sample_predictions(
        self, samples: Samples, users: Tensor, items: Tensor, effect: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Each sample's predicted stars, (B,), clamped to the range; with effects, (B,), added."""
        distinct_users, u = torch.unique(users, return_inverse=True)
        distinct_items, i = torch.unique(items, return_inverse=True)
        cells = u * len(distinct_items) + i
        # For all items of some users, one product of matrices takes an eighth of the time.
        dense = len(distinct_users) * len(distinct_items) <= 2 * len(users)
        added = self.mean if effect is None else self.mean + effect
        for index in range(len(samples)):
            p, q = samples.rows(index)
            if dense:
                rows, columns = p.index_select(0, distinct_users), q.index_select(0, distinct_items)
                table = rows[:, :1] + columns[:, 0]
                table.addmm_(rows[:, 1:], columns[:, 1:].T)
                predicted = table.flatten().index_select(0, cells)
            else:
                predicted = scores(p, q, users, items)
            predicted += added
            yield predicted.clamp_(self.low, self.high)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """As in every module, after making room for what was saved."""
        self._rated.clear()
        if f"{prefix}timed.scales" in state_dict:
            names = ("scales", "starts", "times")
            self.set_moments(*(state_dict[f"{prefix}timed.{name}"] for name in names))
        if f"{prefix}interaction_basis" in state_dict:
            saved = (state_dict[f"{prefix}interaction_{name}"] for name in ("basis", "center"))
            self.set_interactions(*(each.to(self.mean.device) for each in saved))
        for name in SIZED_BY_RATINGS:
            if (saved_values := state_dict.get(prefix + name)) is not None:
                owner, _, key = name.rpartition(".")
                empty = torch.empty_like(saved_values, device=self.mean.device)
                setattr(self.get_submodule(owner), key, frozen(empty))
        super()._load_from_state_dict(state_dict, prefix, *args)


def scores(user_rows: Tensor, item_rows: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """b_u + c_i + p_u · q_i of (B,) users and items; the rows are (n, d), the biases first."""
    p, q = user_rows.index_select(0, users), item_rows.index_select(0, items)
    factors = p.new_ones(p.shape[1])
    factors[:1].zero_()
    # As a product with ones, which takes half the time of a sum over so short a dimension.
    return (p * q).mv(factors).add_(p[:, 0]).add_(q[:, 0])


def frozen(values: Tensor) -> nn.Parameter:
    """A parameter that is saved and moved with the model, but not trained by gradients."""
    return nn.Parameter(values, requires_grad=False)
