"""The posterior of a matrix factorization, sweep by sweep; an interrupted chain resumes."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor, nn

from cf.bayes.gibbs import (
    Divide,
    EntitySide,
    FeatureRegression,
    Priors,
    Sampler,
    by_users_and_items,
)
from cf.bayes.side_information import Feature, gram
from cf.bayes.time_effects import Moments, TimeEffects
from cf.core.config import Gibbs
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.models.base import on_model_scale
from cf.models.bayesmf import (
    BayesMF,
    Samples,
    between,
    bridge,
    frozen,
    nearest_moments,
)
from cf.training.resume import ResumePoint, State, random_state, set_random_state

RELAXATION = -0.9
"""Of all normal draws, as `cf.bayes.row_blocks.draw` has it; chosen on a slice of the training
rows, where as many sweeps are worth more than twice as many plain ones."""
MOST_RATINGS = 2**31 - 1  # which 32 bits number
N_PLAIN_SWEEPS = 10  # at first: what is far from its mean would go as far to the other side
N_DIRECTIONS, MAX_SAMPLES = 64, 25  # of items' directions, and samples that they are found from


@dataclass(frozen=True)
class Sweep:
    """One sweep, which draws everything once. Losses are mean squared errors in the data's unit.

    The validation loss is that of the mean of all sweeps since the burn-in; in the burn-in, of this
    sweep alone. It is without the correction by residuals, which are known at the end only.
    """

    epoch: int  # from 1
    train_loss: float  # given this sweep's draw of everything
    valid_loss: float
    noise_precision: float  # mean over the users
    seconds: float  # wall time, without validation

    def metrics(self) -> dict[str, float]:
        """The numbers under the names they have in MLflow."""
        return {
            "loss/train": self.train_loss,
            "loss/valid": self.valid_loss,
            "noise_precision": self.noise_precision,
            "seconds_per_epoch": self.seconds,
        }


def sample(
    model: BayesMF,
    train: Ratings,
    valid: Ratings,
    user_features: Sequence[Feature],
    item_features: Sequence[Feature],
    gibbs: Gibbs,
    resume: ResumePoint | None = None,
    divide: Divide = by_users_and_items,
) -> Iterator[Sweep]:
    """Draw samples into `model`, on the device it is on, and yield after each sweep.

    All randomness comes from torch's global generators: seed these, and the results repeat to the
    bit. If the ratings have times, a second chain that knows them runs beside the first one.
    Nothing is chosen by `valid`. A chain that finds its state in `resume` yields its sweeps
    again, then resumes, with the same samples as without interruption. `divide` gives the ratings
    by user and by item, of which rows are drawn.

    Raises:
        InputError: there are too many ratings, or the numbers are no longer finite.
    """
    if len(train) > MOST_RATINGS:
        raise InputError(
            f"bayesmf takes {MOST_RATINGS:,} ratings at most, got {len(train):,}. Train a model by "
            "gradients, such as dotbias."
        )
    model.eval()
    device = model.mean.device
    # In 32 bits, which is half of the memory of a large data set.
    users, items = (
        torch.tensor(each, dtype=torch.int32, device=device) for each in (train.users, train.items)
    )
    values = on_model_scale(model, train.values).to(device)
    model.mean.copy_(values.mean(dtype=torch.float64))
    # Priors are made for ratings of unit variance.
    unit = float((values - model.mean).double().square().mean().sqrt()) or 1.0
    n_users, n_items = model.timeless.user_rows.shape[1], model.timeless.item_rows.shape[1]
    d, n_samples = model.prior_mean.shape[1], len(model.timeless)
    by_row = divide(users, items, n_users, n_items)

    def sampler(effects: TimeEffects | None) -> Sampler:
        sides = (
            EntitySide(n_users, d - 1, [each.to(device) for each in user_features]).to(device),
            EntitySide(n_items, d - 1, [each.to(device) for each in item_features]).to(device),
        )
        ratings = users, items, (values - model.mean) / unit
        return Sampler(*ratings, *sides, gibbs.user_noise, Priors(), effects, by_row)

    samplers = {"timeless": sampler(None)}
    moments = None
    if gibbs.time_scales and train.timestamps is not None:
        moments = Moments(users.cpu(), torch.tensor(train.timestamps), n_users)
        scales = torch.tensor(gibbs.time_scales, dtype=torch.float64)
        model.set_moments(scales, moments.starts, moments.times)
        samplers["timed"] = sampler(TimeEffects(moments, gibbs.time_scales))
    order = torch.empty(0, dtype=torch.int64)
    if gibbs.residual_neighbors:
        order = allocate_residuals(model, users, items, moments)
    store = Store(model, samplers, unit, order)
    if interactions := interactions_of(samplers["timeless"].user_side):
        model.set_interactions(interactions.feature.of_others, interactions.feature.center)
    chain = nn.ModuleDict({"model": model, **samplers})
    monitor = ValidationMonitor(model, valid, unit)
    thinned = thinned_indices(gibbs.burn_in, gibbs.n_sweeps, n_samples)
    sweeps: list[Sweep] = []
    if resume and (saved := resume.load()):
        sweeps = [Sweep(int(number), *losses) for number, *losses in saved["sweeps"].tolist()]
        chain.load_state_dict(saved, strict=False)  # it has more
        monitor.total.copy_(saved["monitor"])
        monitor.count = max(0, len(sweeps) - gibbs.burn_in)
        set_random_state(saved, device)
        yield from sweeps

    def state() -> State:
        return {
            **random_state(device),
            **chain.state_dict(),
            "sweeps": torch.tensor([astuple(sweep) for sweep in sweeps], dtype=torch.float64),
            "monitor": monitor.total,
        }

    for number in range(len(sweeps), gibbs.n_sweeps):
        started = time.perf_counter()
        relaxation = RELAXATION if number >= N_PLAIN_SWEEPS else 0.0
        residuals = {
            name: sweep_or_raise(each, number + 1, relaxation) for name, each in samplers.items()
        }
        seconds = time.perf_counter() - started
        for index in (thinned == number).nonzero()[:, 0].tolist():
            store.put(index, residuals)
        valid_loss = model.factor**2 * monitor.loss(samplers, averaged=number >= gibbs.burn_in)
        last = list(samplers)[-1]
        train_loss = (model.factor * unit) ** 2 * float(residuals[last].square().mean())
        noise = float(samplers[last].noise.mean()) / (model.factor * unit) ** 2
        sweeps.append(Sweep(number + 1, train_loss, valid_loss, noise, seconds))
        if resume and resume.is_due():
            resume.save(state())
        yield sweeps[-1]
    store.finish()


def interactions_of(side: EntitySide) -> FeatureRegression | None:
    """The users' regression on which items they rated, if it is switched on."""
    return next((each for each in side.regressions if each.feature.name == "user_implicit"), None)


def allocate_residuals(
    model: BayesMF, users: Tensor, items: Tensor, moments: Moments | None
) -> Tensor:
    """Make room in the model for the residuals of the ratings, by user and time if that is known.

    Returns:
        (n,) the ratings in that order.
    """
    of_ratings = users if moments is None else moments.of_ratings.to(users.device)
    order = of_ratings.argsort(stable=True)
    model.rated_items = frozen(items[order].int())
    model.rated_starts[1:] = torch.bincount(users, minlength=len(model.rated_starts) - 1).cumsum(0)
    for samples in (model.timeless, model.timed):
        if samples is not None:
            samples.residuals = frozen(torch.zeros(len(order), device=users.device))
    if model.timed is not None and moments is not None:
        of_ratings = of_ratings[order]
        model.timed.opens_moment = frozen(of_ratings.diff(prepend=of_ratings.new_tensor([-1])) > 0)
    return order


def directions(samples: Samples) -> Tensor:
    """(n_items, k): an item's factors in up to `MAX_SAMPLES` samples side by side, of length 1 in
    all, projected on few singular directions. The product of two rows is the items' similarity.
    """
    step = -(-len(samples) // MAX_SAMPLES)
    parts = [samples.rows(index)[1][:, 1:] for index in range(0, len(samples), step)]
    factors = torch.cat(parts, dim=1)
    factors /= factors.norm(dim=1, keepdim=True).clamp(min=1e-12)
    # The singular directions, by the eigenvectors of few products.
    vectors = torch.linalg.eigh(torch.from_numpy(gram(factors.numpy(force=True))))[1]
    return torch.mm(factors, vectors[:, -N_DIRECTIONS:].float().to(factors.device))


class Store:
    """Keeps samples in the model, in its unit; what is a mean over samples is summed up.

    `order`, (n,), is of the ratings whose residuals the model keeps: see `allocate_residuals`.
    """

    def __init__(
        self, model: BayesMF, samplers: Mapping[str, Sampler], unit: float, order: Tensor
    ) -> None:
        self.model, self.samplers, self.unit, self.order = model, samplers, unit, order
        rated = torch.bincount(samplers["timeless"].users, minlength=len(model.timeless.noise)) > 0
        self.known_users, self.new_users = rated.nonzero()[:, 0], (~rated).nonzero()[:, 0]
        self.of_columns = model.prior_mean.new_full((model.prior_mean.shape[1],), unit**0.5)
        self.of_columns[0] = unit  # a bias is in that unit, and so is a product of factors
        # No ratings vary more. The posterior mean of a new user's noise would be infinite else.
        self.max_variance = ((model.high - model.low) / 2) ** 2
        model.timeless.noise.zero_()
        if model.timed is not None:
            model.timed.noise.zero_()
            model.timed.variances.zero_()
            # In 16 bits at the end only.
            model.timed.effects = frozen(model.timed.effects.float())

    def put(self, index: int, residuals: Mapping[str, Tensor]) -> None:
        """Keep the state of the chains, and their residuals, as sample number `index`."""
        model, n, columns = self.model, len(self.model.timeless), self.of_columns
        for name, sampler in self.samplers.items():
            samples: Samples = getattr(model, name)
            users, items = sampler.user_side, sampler.item_side
            user_rows = users.rows + self._unknown_interactions(users, index)
            samples.put(index, user_rows * columns, items.rows * columns)
            samples.noise.add_(self._variance(sampler.noise) / n)
            if len(samples.residuals):
                samples.residuals.add_(residuals[name] * (self.unit / n))
        side = self.samplers["timeless"].user_side
        model.prior_mean[index] = side.mean * columns
        model.prior_precision[index] = side.precision / columns.outer(columns)
        shape, rate = self.samplers["timeless"].noise_prior
        model.noise_shape[index], model.noise_rate[index] = shape, rate * self.unit**2
        if interactions := interactions_of(side):
            model.prior_coefficients[index] = interactions.coefficients * columns
        if model.timed is not None and (effects := self.samplers["timed"].time_effects):
            device = model.mean.device
            model.timed.effects.add_((effects.effects * (self.unit / n)).to(device))
            model.timed.variances.add_((self._variance(1 / effects.variances) / n).to(device))

    def _unknown_interactions(self, side: EntitySide, index: int) -> Tensor | float:
        """What the interactions of users without ratings may add to their rows, (n_users, d).

        These users have interactions, which are not known. Without them their rows would be too
        certain, so each gets what a random user's interactions add, less the average; in the next
        sample the negative of it (antithetic draws), so that the mean over samples does not change.
        """
        interactions = interactions_of(side)
        if interactions is None or not len(self.new_users) or not len(self.known_users):
            return 0.0
        rng = torch.Generator().manual_seed(index // 2)
        drawn = torch.randint(len(self.known_users), self.new_users.shape, generator=rng)
        of_known = interactions.fitted[self.known_users]
        added = torch.zeros_like(side.rows)
        added[self.new_users] = (of_known[drawn.to(added.device)] - of_known.mean(0)) * (
            -1
        ) ** index
        return added

    def finish(self) -> None:
        """Once all samples are there: what is stored in 16 bits, and residuals in their order."""
        model = self.model
        if model.timed is not None:
            model.timed.effects = frozen(model.timed.effects.half())
        if len(self.order):
            for name in self.samplers:
                samples: Samples = getattr(model, name)
                samples.residuals = frozen(samples.residuals[self.order].half())
            model.item_directions = frozen(directions(model.timeless).half())

    def _variance(self, precisions: Tensor) -> Tensor:
        return (self.unit**2 / precisions).clamp(max=self.max_variance)


def sweep_or_raise(sampler: Sampler, number: int, relaxation: float) -> Tensor:
    """The residuals after a sweep, (n,) in the sampler's unit.

    Raises:
        InputError: they are not finite, or a precision is not positive definite.
    """
    try:
        residuals = sampler.sweep(relaxation)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        residuals = torch.tensor([math.nan])
    if not residuals.isfinite().all():
        hint = "Set user_noise to false." if sampler.user_noise else "Are they all the same?"
        raise InputError(
            f"sampling diverged in sweep {number}: the ratings leave no noise to estimate. {hint}"
        )
    return residuals


class ValidationMonitor:
    """The validation ratings, predicted by the mean of the sweeps since the burn-in."""

    def __init__(self, model: BayesMF, valid: Ratings, unit: float) -> None:
        self.model, self.unit = model, unit
        self.device = model.mean.device
        self.users, self.items = (
            torch.tensor(each, device=self.device) for each in (valid.users, valid.items)
        )
        self.values = on_model_scale(model, valid.values).to(self.device)
        self.total, self.count = torch.zeros_like(self.values), 0
        self.bridge: tuple[Tensor, Tensor] | None = None
        if model.timed is not None and valid.timestamps is not None:
            timed, times = model.timed, torch.tensor(valid.timestamps, device=self.device)
            self.nearest = nearest_moments(timed.starts, timed.times, self.users, times)
            self.bridge = bridge(self.nearest, timed.scales)

    def loss(self, samplers: Mapping[str, Sampler], averaged: bool) -> float:
        """The mean squared error, on the model's scale, of this sweep or of the mean so far."""
        predicted = self._predicted(samplers["timeless"], None)
        effects = samplers["timed"].time_effects if "timed" in samplers else None
        if self.bridge is not None and effects is not None:
            given = (each.to(self.device) for each in (effects.effects, effects.variances))
            moment = between(self.nearest, self.bridge, *given)
            predicted.lerp_(self._predicted(samplers["timed"], moment.effect), moment.known)
        if averaged:
            self.total += predicted
            self.count += 1
            predicted = self.total / self.count
        return float((predicted - self.values).square().mean()) if len(self.values) else math.nan

    def _predicted(self, sampler: Sampler, effect: Tensor | None) -> Tensor:
        summed = sampler.scores(self.users, self.items)
        if effect is not None:
            summed += effect
        return summed.mul_(self.unit).add_(self.model.mean).clamp_(self.model.low, self.model.high)


def thinned_indices(start: int, stop: int, n: int) -> Tensor:
    """(n,) integers from `start` up to `stop`: pairs of neighbors at about equal distances, the
    last one stop - 1.

    Overrelaxed sweeps err to one side and the other in turn, so that neighbors make up for each
    other, while every other sweep would err to the same side. Where there are fewer than n, all of
    them, repeatedly.
    """
    if n > stop - start:
        return start + torch.arange(n) * (stop - start) // n
    k = torch.arange(n).flip(0)
    return stop - 1 - (k // 2 * 2 * (stop - start)) // n - k % 2
