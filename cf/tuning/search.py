"""The search: trial after trial, each a short training scored on a part of the train rows."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from cf.core import config
from cf.core.config import SearchDomain, Training, Tune
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.data.split import random_split
from cf.training import device as devices
from cf.training import optim as optimizers
from cf.training.checkpoint import ModelSpec
from cf.training.fit import EpochResult, fit


@dataclass(frozen=True)
class Trial:
    """One choice of values, trained and scored.

    Losses are mean squared errors: loss/train on the rows fitted, and loss/holdout.
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
    `context`, the path of the params file, begins error messages: `InputError` is raised if the
    space does not fit the section, or if the holdout would be empty.

    Source:
        Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4, as in
        Optuna's TPESampler; Golovin et al. 2017, "Google Vizier", section 3.2: median stopping.
    """
    _check_space(tune, training, spec, context)
    if not int(tune.holdout * len(train)):
        raise InputError(
            f"{context}: tune.holdout: {tune.holdout} of {len(train)} training ratings holds out "
            "none. Choose a larger fraction."
        )
    subsets = random_split(len(train), tune.holdout, tune.seed)
    fitted, holdout = train.take(subsets["train"]), train.take(subsets["valid"])
    return _trials(fitted, holdout, training, tune, spec, f"{context}: {tune.section}")


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that finished, the lowest loss first; raises `InputError` if none did."""
    finished = [trial for trial in trials if trial.value is not None]
    if not finished:
        first = next((f" The first failure: {each.reason}" for each in trials if each.reason), "")
        raise InputError(f"none of {len(trials)} trials finished.{first}")
    return sorted(finished, key=lambda trial: (trial.value, trial.number))


def dvc_command(section: str, best: Trial, baseline_trial: Trial) -> str:
    """The line for a shell that runs the pipeline with the best trial's values."""
    words = ["dvc", "exp", "run"]
    for key, value in best.parameters.items():
        added = "" if key in baseline_trial.parameters else "+"  # a key that the section lacks
        words += ["-S", f"{added}{section}.{key}={json.dumps(value, ensure_ascii=False)}"]
    return shlex.join(words)


def _trials(
    fitted: Ratings, holdout: Ratings, training: Training, tune: Tune, spec: ModelSpec, context: str
) -> Iterator[Trial]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, pruner = optuna.samplers.TPESampler(seed=tune.seed), optuna.pruners.MedianPruner()
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    baseline = _current_values(training, tune.space)
    known = {key: _to_optuna(tune.space[key], value) for key, value in baseline.items()}
    known = {key: value for key, value in known.items() if value is not None}
    study.enqueue_trial(known)
    for number in range(tune.n_trials):
        trial = study.ask()
        keys = tune.space if number else known
        suggested = {key: _suggest(trial, key, tune.space[key]) for key in keys}
        parameters = suggested if number else baseline
        losses: list[dict[str, float]] = []
        state, reason = "FINISHED", ""
        try:
            tried = _with_overrides(training, parameters, context) if number else training
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
    optimizer = optimizers.build(training.optimizer, model, len(fitted))
    batch_size = training.batch_size_for(len(fitted))
    yield from fit(model, fitted, holdout, optimizer, training.schedule, batch_size)


def _with_overrides(training: Training, overrides: Mapping[str, Any], context: str) -> Training:
    """The section with the values of `overrides`, by dotted key, in place of its own."""
    section = training.model_dump(mode="json", exclude_unset=True)
    for key, value in overrides.items():
        *outer, last = key.split(".")
        inner: Any = section
        for part in outer:
            inner = inner.get(part)
            if not isinstance(inner, dict):
                known = ", ".join(Training.model_fields)
                raise InputError(f"{context}.{key}: {part} has no keys. The section's: {known}.")
        inner[last] = value
    return config.validate(section, context, Training)


def _current_values(training: Training, space: Mapping[str, SearchDomain]) -> dict[str, Any]:
    """The section's own values at the keys of the space, less those left to a default."""
    section: Any = training.model_dump(mode="json", exclude_unset=True)
    found = {key: reduce(dict.get, key.split("."), section) for key in space}
    return {key: value for key, value in found.items() if value is not None}


def _check_space(tune: Tune, training: Training, spec: ModelSpec, context: str) -> None:
    """Put each bound and each choice into the section, and build its model without memory."""
    _build(spec, f"{context}: {tune.section}.model")
    for key, domain in tune.space.items():
        for value in _extremes(domain):
            changed = _with_overrides(training, {key: value}, f"{context}: tune.space")
            _build(replace(spec, model=changed.model), f"{context}: tune.space.model")


def _suggest(trial: optuna.Trial, key: str, domain: SearchDomain) -> Any:
    """The value of `key` that the study wants tried."""
    if domain.values is not None:
        return domain.values[trial.suggest_categorical(key, range(len(domain.values)))]
    low, high = _extremes(domain)
    if domain.type == "int":
        return trial.suggest_int(key, low, high, log=domain.log)
    number = trial.suggest_float(key, low, high, log=domain.log)
    return min(max(float(f"{number:.3g}"), low), high)  # what can be read and typed


def _to_optuna(domain: SearchDomain, value: Any) -> Any:
    """The value as the study knows it: an index of a choice; None outside the domain."""
    if domain.values is not None:
        return domain.values.index(value) if value in domain.values else None
    low, high = _extremes(domain)
    numbers = (int,) if domain.type == "int" else (int, float)
    return value if type(value) in numbers and low <= value <= high else None


def _extremes(domain: SearchDomain) -> list[Any]:
    if domain.values is not None:
        return domain.values
    ends: list[Any] = [domain.low, domain.high]
    return [int(end) for end in ends] if domain.type == "int" else ends


def _build(spec: ModelSpec, context: str) -> None:
    with torch.device("meta"), suppress(RuntimeError):  # one that is too large fails as a trial
        spec.build(context)
