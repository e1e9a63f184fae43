"""The posterior of a matrix factorization, sweep by sweep."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor

from cf.bayes.gibbs import EntitySide, Priors, Sampler
from cf.bayes.resume import ChainCheckpoint, State
from cf.bayes.side_information import Feature
from cf.core.config import Gibbs
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.models.bayesmf import BayesMF, scores, user_day_ids

MODEL = "model."  # begins the names of the model's samples in a state


@dataclass(frozen=True)
class Sweep:
    """One sweep, which draws everything once.

    Attributes:
        epoch: from 1.
        train_loss: mean squared residual in stars², given this sweep's draw of everything.
        valid_loss: mean squared error in stars² of the mean of all sweeps since the burn-in; in
            the burn-in, of this sweep alone.
        noise_precision: mean over the users, in 1/stars².
        seconds: wall time of the sweep, without validation.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    noise_precision: float
    seconds: float

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
    priors: Priors | None = None,
    checkpoint: ChainCheckpoint | None = None,
) -> Iterator[Sweep]:
    """Draw samples into `model`, and yield after each sweep.

    All randomness comes from torch's global generator: seed that, and the results repeat to the
    bit. The user-day effects are left out where the ratings have no times.

    Args:
        model: on the CPU.
        valid: to watch; nothing is chosen by it.
        checkpoint: where the state is saved now and then. A chain that finds one there yields its
            sweeps again, then resumes from it, with the same samples as without interruption.

    Raises:
        InputError: the numbers are no longer finite.
    """
    model.eval()
    model.mean.fill_(float(train.values.mean(dtype=np.float64)))
    n_samples, n_users, d = model.user_rows.shape
    n_items = model.item_rows.shape[1]
    users, items = torch.tensor(train.users), torch.tensor(train.items)
    user_days = None
    if gibbs.days and train.timestamps is not None:
        days, user_days = torch.unique(
            user_day_ids(users, torch.tensor(train.timestamps)), return_inverse=True
        )
        model.set_days(days)
    sampler = Sampler(
        users,
        items,
        torch.tensor(train.values) - model.mean,
        user_days,
        EntitySide(n_users, d - 1, user_features),
        EntitySide(n_items, d - 1, item_features),
        gibbs.user_noise,
        priors or Priors(),
    )
    monitor = ValidationMonitor(model, valid)
    thinned = thinned_indices(gibbs.burn_in, gibbs.n_sweeps, n_samples)
    # No ratings vary more. The posterior mean of a new user's noise would be infinite otherwise.
    max_variance = ((model.high - model.low) / 2) ** 2
    sweeps: list[Sweep] = []
    if checkpoint and (state := checkpoint.load()):
        sweeps = [Sweep(int(number), *losses) for number, *losses in state["sweeps"].tolist()]
        _restore(state, model, sampler, monitor, max(0, len(sweeps) - gibbs.burn_in))
        yield from sweeps
    for number in range(len(sweeps), gibbs.n_sweeps):
        started = time.perf_counter()
        residuals = sweep_or_raise(sampler, number + 1)
        seconds = time.perf_counter() - started
        for index in (thinned == number).nonzero()[:, 0].tolist():
            model.user_rows[index] = sampler.user_side.rows
            model.item_rows[index] = sampler.item_side.rows
            model.noise[index] = (1 / sampler.noise).clamp(max=max_variance)
            model.day_effects[index] = sampler.days
            if user_days is not None:
                model.day_variance[index] = (1 / sampler.day_precision).clamp(max=max_variance)
        valid_loss = monitor.loss(sampler, averaged=number >= gibbs.burn_in)
        train_loss = float(residuals.square().mean())
        noise = float(sampler.noise.mean())
        sweeps.append(Sweep(number + 1, train_loss, valid_loss, noise, seconds))
        if checkpoint:
            checkpoint.save_if_due(lambda: _state(model, sampler, monitor, sweeps))
        yield sweeps[-1]


def sweep_or_raise(sampler: Sampler, number: int) -> Tensor:
    """The residuals after a sweep, (n,) in stars.

    Raises:
        InputError: they are not finite, or a precision is not positive definite.
    """
    try:
        residuals = sampler.sweep()
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        residuals = torch.tensor([math.nan])
    if not residuals.isfinite().all():
        hint = "Set user_noise to false." if sampler.user_noise else "Are they all the same?"
        raise InputError(
            f"sampling diverged in sweep {number}: the ratings leave no noise to be estimated. "
            + hint
        )
    return residuals


class ValidationMonitor:
    """The validation ratings, predicted by the mean of the sweeps since the burn-in."""

    def __init__(self, model: BayesMF, valid: Ratings) -> None:
        self.model = model
        self.users, self.items = torch.tensor(valid.users), torch.tensor(valid.items)
        self.values = torch.tensor(valid.values)
        times = None if valid.timestamps is None else torch.tensor(valid.timestamps)
        self.day, self.known = model.find_days(self.users, times)
        self.total, self.count = torch.zeros(len(valid)), 0

    def loss(self, sampler: Sampler, averaged: bool) -> float:
        """The mean squared error in stars² of this sweep, or of the mean with those before it."""
        predicted = self.model.mean + scores(
            sampler.user_side.rows.index_select(0, self.users),
            sampler.item_side.rows.index_select(0, self.items),
        )
        if self.known is not None:
            predicted += torch.where(self.known, sampler.days[self.day], 0.0)
        predicted.clamp_(self.model.low, self.model.high)
        if averaged:
            self.total += predicted
            self.count += 1
            predicted = self.total / self.count
        return float((predicted - self.values).square().mean()) if len(self.values) else math.nan


def thinned_indices(start: int, stop: int, n: int) -> Tensor:
    """(n,) integers from `start` up to `stop`, at equal distances, the last one stop - 1."""
    return start + ((stop - start) * torch.arange(1, n + 1) + n - 1) // n - 1


def _state(
    model: BayesMF, sampler: Sampler, monitor: ValidationMonitor, sweeps: list[Sweep]
) -> State:
    return {
        **sampler.state(),
        **{f"{MODEL}{name}": tensor for name, tensor in model.state_dict().items()},
        "sweeps": torch.tensor([astuple(sweep) for sweep in sweeps], dtype=torch.float64),
        "monitor": monitor.total,
        "rng_state": torch.get_rng_state(),
    }


def _restore(
    state: State, model: BayesMF, sampler: Sampler, monitor: ValidationMonitor, n_averaged: int
) -> None:
    sampler.restore(state)
    samples = {name.removeprefix(MODEL): state[name] for name in state if name.startswith(MODEL)}
    model.load_state_dict(samples)
    monitor.total, monitor.count = state["monitor"], n_averaged
    torch.set_rng_state(state["rng_state"])
