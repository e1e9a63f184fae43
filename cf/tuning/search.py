"""The search: trial after trial, each a short training judged on a slice of the train rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from cf.core.config import Training, Tune
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.data.split import random_split
from cf.training import device as devices
from cf.training import optim as optimizers
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit
from cf.training.history import Epoch
from cf.tuning import space


@dataclass(frozen=True)
class Trial:
    """What one choice of values came to.

    Attributes:
        number: from 0, which is the section as it stands.
        parameters: the values tried, by dotted key.
        losses: of each epoch, mean squared error in stars² on the part to fit and on the slice.
        state: FINISHED; KILLED: given up early, as its losses were high; FAILED: could not go on.
        value: the loss on the slice after the last epoch; None unless FINISHED.
        reason: why it FAILED; else empty.
    """

    number: int
    parameters: dict[str, Any]
    losses: list[dict[str, float]]
    state: str
    value: float | None
    reason: str


def search(
    train: Ratings, training: Training, tune: Tune, spec: ModelSpec, where: str
) -> Iterator[Trial]:
    """Trials that look for values of `training` with a lower loss, yielded as each ends.

    The space is checked, and the rows divided, before the first trial is asked for. The first
    tries the section's own values; the others those that promise most by the trials before. One
    whose lowest loss on the slice is above the median of the finished trials' losses at the same
    epoch is given up, though not before half its epochs: the first say little of the last where
    the learning rate restarts. The same arguments give the same trials.

    Args:
        train: the only ratings seen: a part is fitted, the rest is the slice to judge on.
        spec: of the section as it stands.
        where: begins error messages: the path of the params file.

    Raises:
        InputError: the space does not fit the section, or the slice would be empty.

    Source:
        Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4, as in
        Optuna's TPESampler; Golovin et al. 2017, "Google Vizier", section 3.2: median stopping.
    """
    space.check(tune, training, spec, where)
    if not int(tune.holdout * len(train)):
        raise InputError(
            f"{where}: tune.holdout: {tune.holdout} of {len(train)} training ratings leaves none "
            "to judge on. Choose a larger fraction."
        )
    parts = random_split(len(train), tune.holdout, tune.seed)
    fitted, judged = train.take(parts["train"]), train.take(parts["valid"])
    return _trials(fitted, judged, training, tune, spec, f"{where}: {tune.section}")


def _trials(
    fitted: Ratings,
    judged: Ratings,
    training: Training,
    tune: Tune,
    spec: ModelSpec,
    where: str,
) -> Iterator[Trial]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=tune.seed), pruner=optuna.pruners.MedianPruner()
    )
    own = space.current(training, tune)
    known = {key: space.known_to_study(tune.space[key], value) for key, value in own.items()}
    known = {key: value for key, value in known.items() if value is not None}
    study.enqueue_trial(known)
    for number in range(tune.n_trials):
        asked = study.ask()
        drawn = {
            key: space.draw(asked, key, allowed)
            for key, allowed in tune.space.items()
            if number or key in known
        }
        parameters = drawn if number else own
        losses: list[dict[str, float]] = []
        state, reason = "FINISHED", ""
        try:
            tried = space.changed(training, parameters, where) if number else training
            n_epochs = sum(tried.schedule.n_epochs)
            for epoch in _epochs(fitted, judged, tried, spec, where):
                losses.append({"loss/train": epoch.train_loss, "loss/slice": epoch.valid_loss})
                asked.report(epoch.valid_loss, epoch.epoch)
                if n_epochs / 2 <= epoch.epoch < n_epochs and asked.should_prune():
                    state = "KILLED"
                    break
        except (InputError, MemoryError, torch.OutOfMemoryError) as error:
            state, reason = "FAILED", str(error)
        value = losses[-1]["loss/slice"] if state == "FINISHED" else None
        # Told as pruned, a failure is a lesson to the sampler; told as failed, it would be ignored.
        ended = TrialState.PRUNED if value is None else TrialState.COMPLETE
        study.tell(asked, value, ended)
        yield Trial(number, parameters, losses, state, value, reason)


def _epochs(
    fitted: Ratings, judged: Ratings, training: Training, spec: ModelSpec, where: str
) -> Iterator[Epoch]:
    spec = replace(spec, model=training.model)
    device = devices.choose(training.device, f"{where}.device")
    devices.check_memory(spec, f"{where}.model", device)
    devices.prepare(device, training.n_threads, training.seed)
    model = spec.build(f"{where}.model").to(device)
    optimizer = optimizers.build(training.optimizer, model)
    yield from fit(model, fitted, judged, optimizer, training.schedule, training.batch_size)
