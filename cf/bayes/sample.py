"""The posterior of a matrix factorization, sweep by sweep; an interrupted chain resumes."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cf.bayes.gibbs import EntitySide, Priors, Sampler
from cf.bayes.side_information import Feature
from cf.core.config import Gibbs
from cf.core.errors import InputError
from cf.core.io import atomic_write
from cf.core.ratings import Ratings
from cf.models.base import on_model_scale
from cf.models.bayesmf import BayesMF, scores, user_day_ids

State = dict[str, Tensor]


@dataclass(frozen=True)
class Sweep:
    """One sweep, which draws everything once. Losses are mean squared errors in the data's unit.

    The validation loss is that of the mean of all sweeps since the burn-in; in the burn-in, of this
    sweep alone.
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


class ChainCheckpoint:
    """The state of a chain in a file, written every `interval` seconds until its model is saved.

    The fingerprint is of all that determines a chain; the state of another one is ignored.
    """

    def __init__(self, path: Path, fingerprint: str, interval: float = 30.0) -> None:
        self.path, self.fingerprint, self.interval = path, fingerprint, interval
        self._saved = time.monotonic()

    def load(self) -> State | None:
        """The state saved last; None where there is no file, a damaged one, or another chain's."""
        try:
            with safe_open(self.path, "pt") as file:
                if (file.metadata() or {}).get("fingerprint") != self.fingerprint:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None

    def save_if_due(self, state: Callable[[], State]) -> None:
        """Write the state, if the last time is long enough ago.

        Raises:
            InputError: the system refuses to write.
        """
        if time.monotonic() - self._saved < self.interval:
            return
        with atomic_write(self.path) as tmp_path:
            tensors = {name: tensor.contiguous().clone() for name, tensor in state().items()}
            save_file(tensors, tmp_path, {"fingerprint": self.fingerprint})
        self._saved = time.monotonic()


def sample(
    model: BayesMF,
    train: Ratings,
    valid: Ratings,
    user_features: Sequence[Feature],
    item_features: Sequence[Feature],
    gibbs: Gibbs,
    checkpoint: ChainCheckpoint | None = None,
) -> Iterator[Sweep]:
    """Draw samples into `model`, on the CPU, and yield after each sweep.

    All randomness comes from torch's global generator: seed that, and the results repeat to the
    bit. The user-day effects are left out where the ratings have no times. Nothing is chosen by
    `valid`. A chain that finds its state in `checkpoint` yields its sweeps again, then resumes,
    with the same samples as without interruption.

    Raises:
        InputError: the numbers are no longer finite.
    """
    model.eval()
    mean = float(train.values.mean(dtype=np.float64))
    model.mean.fill_((mean - model.offset) / model.factor)
    n_samples, n_users, d = model.user_rows.shape
    n_items = model.item_rows.shape[1]
    users, items = torch.tensor(train.users), torch.tensor(train.items)
    user_days = None
    if gibbs.days and train.timestamps is not None:
        ids = user_day_ids(users, torch.tensor(train.timestamps))
        days, user_days = torch.unique(ids, return_inverse=True)
        model.set_days(days)
    sampler = Sampler(
        users,
        items,
        on_model_scale(model, train.values) - model.mean,
        user_days,
        EntitySide(n_users, d - 1, user_features),
        EntitySide(n_items, d - 1, item_features),
        gibbs.user_noise,
        Priors(),
    )
    of_users = sampler.user_side.regressions
    interactions = [each for each in of_users if each.feature.name == "user_implicit"]
    if interactions:
        feature = interactions[0].feature
        model.set_interactions(feature.of_others, feature.center)
    chain = nn.ModuleDict({"model": model, "sampler": sampler})
    monitor = ValidationMonitor(model, valid)
    thinned = thinned_indices(gibbs.burn_in, gibbs.n_sweeps, n_samples)
    # No ratings vary more. The posterior mean of a new user's noise would be infinite otherwise.
    max_variance = ((model.high - model.low) / 2) ** 2
    sweeps: list[Sweep] = []
    if checkpoint and (saved := checkpoint.load()):
        sweeps = [Sweep(int(number), *losses) for number, *losses in saved["sweeps"].tolist()]
        chain.load_state_dict(saved, strict=False)  # it has more
        monitor.total, monitor.count = saved["monitor"], max(0, len(sweeps) - gibbs.burn_in)
        torch.set_rng_state(saved["rng_state"])
        yield from sweeps

    def state() -> State:
        return {
            **chain.state_dict(),
            "sweeps": torch.tensor([astuple(sweep) for sweep in sweeps], dtype=torch.float64),
            "monitor": monitor.total,
            "rng_state": torch.get_rng_state(),
        }

    for number in range(len(sweeps), gibbs.n_sweeps):
        started = time.perf_counter()
        residuals = sweep_or_raise(sampler, number + 1)
        seconds = time.perf_counter() - started
        for index in (thinned == number).nonzero()[:, 0].tolist():
            model.user_rows[index] = sampler.user_side.rows
            model.item_rows[index] = sampler.item_side.rows
            model.noise[index] = (1 / sampler.noise).clamp(max=max_variance)
            model.day_effects[index] = sampler.days
            model.prior_mean[index] = sampler.user_side.mean
            model.prior_precision[index] = sampler.user_side.precision
            model.noise_shape[index], model.noise_rate[index] = sampler.noise_prior
            if interactions:
                model.prior_coefficients[index] = interactions[0].coefficients
            if user_days is not None:
                model.day_variance[index] = (1 / sampler.day_precision).clamp(max=max_variance)
        valid_loss = model.factor**2 * monitor.loss(sampler, averaged=number >= gibbs.burn_in)
        train_loss = model.factor**2 * float(residuals.square().mean())
        noise = float(sampler.noise.mean()) / model.factor**2
        sweeps.append(Sweep(number + 1, train_loss, valid_loss, noise, seconds))
        if checkpoint:
            checkpoint.save_if_due(state)
        yield sweeps[-1]


def sweep_or_raise(sampler: Sampler, number: int) -> Tensor:
    """The residuals after a sweep, (n,) on the model's scale.

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
            f"sampling diverged in sweep {number}: the ratings leave no noise to estimate. {hint}"
        )
    return residuals


class ValidationMonitor:
    """The validation ratings, predicted by the mean of the sweeps since the burn-in."""

    def __init__(self, model: BayesMF, valid: Ratings) -> None:
        self.model = model
        self.users, self.items = torch.tensor(valid.users), torch.tensor(valid.items)
        self.values = on_model_scale(model, valid.values)
        times = None if valid.timestamps is None else torch.tensor(valid.timestamps)
        self.day, self.known = model.find_days(self.users, times)
        self.total, self.count = torch.zeros(len(valid)), 0

    def loss(self, sampler: Sampler, averaged: bool) -> float:
        """The mean squared error, on the model's scale, of this sweep or of the mean so far."""
        rows = sampler.user_side.rows, sampler.item_side.rows
        predicted = self.model.mean + scores(*rows, self.users, self.items)
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
