"""The search: trial after trial, each a short training scored on a part of the train rows."""

import shlex
from collections.abc import Iterator, Sequence
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
from cf.training.fit import EpochResult, fit
from cf.tuning import space


@dataclass(frozen=True)
class Trial:
    """One choice of values, trained and scored.

    Losses are mean squared errors in stars²: loss/train on the rows fitted, and loss/holdout.
    """

    number: int  # from 0, the baseline: the section as it stands
    parameters: dict[str, Any]  # the values tried, by dotted key
    losses: list[dict[str, float]]  # of each epoch
    state: str  # FINISHED; KILLED, which is pruned for its high losses; or FAILED
    value: float | None  # the holdout's loss after the last epoch; None unless FINISHED
    reason: str  # why it FAILED; else empty


def search(
    train: Ratings, training: Training, tune: Tune, spec: ModelSpec, context: str
) -> Iterator[Trial]:
    """Trials that look for values of `training` with a lower loss, yielded as each ends.

    The space is checked before the first trial. That one, the baseline, has the section's own
    values, which `spec` is of; the others are chosen by Optuna's TPE sampler. Of `train`, the only
    ratings used, `tune.holdout` are held out. A trial is pruned if its lowest loss is above the
    median of the finished trials' losses at the same epoch, but not before half its epochs: early
    losses say little where the learning rate restarts. The same arguments give the same trials.
    `context`, the path of the params file, begins error messages.

    Raises:
        InputError: the space does not fit the section, or the holdout would be empty.

    Source:
        Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4, as in
        Optuna's TPESampler; Golovin et al. 2017, "Google Vizier", section 3.2: median stopping.
    """
    space.check(tune, training, spec, context)
    if not int(tune.holdout * len(train)):
        raise InputError(
            f"{context}: tune.holdout: {tune.holdout} of {len(train)} training ratings holds out "
            "none. Choose a larger fraction."
        )
    subsets = random_split(len(train), tune.holdout, tune.seed)
    fitted, holdout = train.take(subsets["train"]), train.take(subsets["valid"])
    return _trials(fitted, holdout, training, tune, spec, f"{context}: {tune.section}")


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that finished, the lowest loss first.

    Raises:
        InputError: none finished; the message has the reason of the first that failed.
    """
    finished = [trial for trial in trials if trial.value is not None]
    if not finished:
        first = next((f" The first failure: {each.reason}" for each in trials if each.reason), "")
        raise InputError(f"none of {len(trials)} trials finished.{first}")
    return sorted(finished, key=lambda trial: (trial.value, trial.number))


def dvc_command(section: str, best: Trial, baseline_trial: Trial) -> str:
    """The line for a shell that runs the pipeline with the best trial's values.

    Keys that the baseline lacks are added to the section of params.yaml.
    """
    words = ["dvc", "exp", "run"]
    for key, value in best.parameters.items():
        added = "" if key in baseline_trial.parameters else "+"
        words += ["-S", f"{added}{section}.{key}={space.to_hydra(value)}"]
    return shlex.join(words)


def _trials(
    fitted: Ratings, holdout: Ratings, training: Training, tune: Tune, spec: ModelSpec, context: str
) -> Iterator[Trial]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, pruner = optuna.samplers.TPESampler(seed=tune.seed), optuna.pruners.MedianPruner()
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    baseline = space.current_values(training, tune.space)
    known = {key: space.to_optuna(tune.space[key], value) for key, value in baseline.items()}
    known = {key: value for key, value in known.items() if value is not None}
    study.enqueue_trial(known)
    for number in range(tune.n_trials):
        trial = study.ask()
        keys = tune.space if number else known
        suggested = {key: space.suggest(trial, key, tune.space[key]) for key in keys}
        parameters = suggested if number else baseline
        losses: list[dict[str, float]] = []
        state, reason = "FINISHED", ""
        try:
            tried = space.with_overrides(training, parameters, context) if number else training
            n_epochs = sum(tried.schedule.n_epochs)
            for epoch in _epochs(fitted, holdout, tried, spec, context):
                losses.append({"loss/train": epoch.train_loss, "loss/holdout": epoch.valid_loss})
                trial.report(epoch.valid_loss, epoch.epoch)
                if n_epochs / 2 <= epoch.epoch < n_epochs and trial.should_prune():
                    state = "KILLED"
                    break
        except (InputError, MemoryError, torch.OutOfMemoryError) as error:
            state, reason = "FAILED", str(error)
        value = losses[-1]["loss/holdout"] if state == "FINISHED" else None
        # Optuna's sampler learns from a pruned trial, but ignores a failed one.
        study.tell(trial, value, TrialState.PRUNED if value is None else TrialState.COMPLETE)
        yield Trial(number, parameters, losses, state, value, reason)


def _epochs(
    fitted: Ratings, holdout: Ratings, training: Training, spec: ModelSpec, context: str
) -> Iterator[EpochResult]:
    spec = replace(spec, model=training.model)
    device = devices.choose(training.device, f"{context}.device")
    devices.check_memory(spec, f"{context}.model", device)
    devices.prepare(device, training.n_threads, training.seed)
    model = spec.build(f"{context}.model").to(device)
    optimizer = optimizers.build(training.optimizer, model.parameters())
    yield from fit(model, fitted, holdout, optimizer, training.schedule, training.batch_size)
