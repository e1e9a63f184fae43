"""The posterior of a matrix factorisation, sweep by sweep."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor

from cf.bayes.gibbs import Priors, Sampler, Side
from cf.bayes.resume import State, Unfinished
from cf.bayes.side_information import Feature
from cf.core.config import Gibbs
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.models.bayesmf import BayesMF, keys, scores

MODEL = "model."  # begins the names of the kept samples in a state


@dataclass(frozen=True)
class Sweep:
    """A pass that draws everything once.

    Attributes:
        epoch: from 1.
        train_loss: mean squared residual, given this sweep's draw of everything.
        valid_loss: of the mean of all sweeps after the burn-in so far; in the burn-in, of this
            sweep alone.
        noise_precision: mean over the users, in 1/stars².
        seconds: wall time of the sweep, without validation.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    noise_precision: float
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The figures under the names they have in MLflow."""
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
    unfinished: Unfinished | None = None,
) -> Iterator[Sweep]:
    """Draw samples into `model`, and yield after each sweep.

    All chance comes from torch's global generator: seed that, and the history repeats to the
    bit. The user-day effects are left out where the ratings have no times.

    Args:
        model: on the CPU.
        valid: to watch; nothing is chosen by it.
        unfinished: where the state is kept now and then. A chain that finds one there yields its
            sweeps again, then goes on from it, to the same samples as if nothing had happened.

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
            keys(users, torch.tensor(train.timestamps)), return_inverse=True
        )
        model.set_days(days)
    sampler = Sampler(
        users,
        items,
        torch.tensor(train.values) - model.mean,
        user_days,
        Side(n_users, d - 1, user_features),
        Side(n_items, d - 1, item_features),
        gibbs.user_noise,
        priors or Priors(),
    )
    watched = _Watched(model, valid)
    kept = _spread(gibbs.burn_in, gibbs.n_sweeps, n_samples)
    # No ratings vary more. What little is known of a new user's noise would have no mean else.
    widest = ((model.high - model.low) / 2) ** 2
    done: list[Sweep] = []
    if unfinished and (state := unfinished.load()):
        done = [Sweep(int(number), *figures) for number, *figures in state["sweeps"].tolist()]
        _restore(state, model, sampler, watched, max(0, len(done) - gibbs.burn_in))
        yield from done
    for number in range(len(done), gibbs.n_sweeps):
        started = time.perf_counter()
        left = _swept(sampler, number + 1)
        seconds = time.perf_counter() - started
        for place in (kept == number).nonzero()[:, 0].tolist():
            model.user_rows[place] = sampler.user_side.rows
            model.item_rows[place] = sampler.item_side.rows
            model.noise[place] = (1 / sampler.noise).clamp(max=widest)
            model.day_effects[place] = sampler.days
            if user_days is not None:
                model.day_variance[place] = (1 / sampler.day_precision).clamp(max=widest)
        valid_loss = watched.loss(sampler, number >= gibbs.burn_in)
        train_loss = float(left.square().mean())
        noise = float(sampler.noise.mean())
        done.append(Sweep(number + 1, train_loss, valid_loss, noise, seconds))
        if unfinished:
            unfinished.save_in_time(lambda: _state(model, sampler, watched, done))
        yield done[-1]


def _state(model: BayesMF, sampler: Sampler, watched: "_Watched", done: list[Sweep]) -> State:
    sweeps = torch.tensor([astuple(sweep) for sweep in done], dtype=torch.float64)
    kept = {f"{MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    chance = torch.get_rng_state()
    return {**sampler.state(), **kept, "sweeps": sweeps, "watched": watched.total, "chance": chance}


def _restore(
    state: State, model: BayesMF, sampler: Sampler, watched: "_Watched", n_watched: int
) -> None:
    sampler.restore(state)
    kept = {name.removeprefix(MODEL): state[name] for name in state if name.startswith(MODEL)}
    model.load_state_dict(kept)
    watched.total, watched.count = state["watched"], n_watched
    torch.set_rng_state(state["chance"])


def _swept(sampler: Sampler, number: int) -> Tensor:
    try:
        left = sampler.sweep()
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        left = torch.tensor([math.nan])
    if not left.isfinite().all():
        mend = "Set user_noise to false." if sampler.user_noise else "Are they all the same?"
        raise InputError(
            f"sampling broke down in sweep {number}: the ratings leave no noise to be estimated. "
            + mend
        )
    return left


class _Watched:
    """The held-out ratings, predicted by the mean of the sweeps so far."""

    def __init__(self, model: BayesMF, valid: Ratings) -> None:
        self.model = model
        self.users, self.items = torch.tensor(valid.users), torch.tensor(valid.items)
        self.values = torch.tensor(valid.values)
        times = None if valid.timestamps is None else torch.tensor(valid.timestamps)
        self.place, self.known = model.places(self.users, times)
        self.total, self.count = torch.zeros(len(valid)), 0

    def loss(self, sampler: Sampler, counts: bool) -> float:
        rows = (
            sampler.user_side.rows.index_select(0, self.users),
            sampler.item_side.rows.index_select(0, self.items),
        )
        predicted = self.model.mean + scores(*rows)
        if self.known is not None:
            predicted += torch.where(self.known, sampler.days[self.place], 0.0)
        predicted.clamp_(self.model.low, self.model.high)
        if counts:
            self.total += predicted
            self.count += 1
            predicted = self.total / self.count
        return float((predicted - self.values).square().mean()) if len(self.values) else math.nan


def _spread(first: int, end: int, n: int) -> Tensor:
    """(n,) whole numbers from `first` up to `end`, the last one end - 1, evenly apart."""
    return first + ((end - first) * torch.arange(1, n + 1) + n - 1) // n - 1
