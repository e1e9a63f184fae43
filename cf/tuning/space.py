"""The values that a search may choose, and the training section with them in place."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import optuna
import torch

from cf.core import config
from cf.core.config import SearchDomain, Training, Tune
from cf.core.errors import InputError
from cf.training.checkpoint import ModelSpec

DIGITS = 3  # of a number drawn: what is judged is what can be read and typed


def changed(training: Training, parameters: dict[str, Any], where: str) -> Training:
    """The section with `parameters`, by dotted key, in place of its own values.

    Raises:
        InputError: no such key, or values that the section refuses; `where` begins the message.
    """
    section = training.model_dump(mode="json", exclude_unset=True)
    for key, value in parameters.items():
        *outer, last = key.split(".")
        inner: Any = section
        for part in outer:
            inner = inner.get(part)
            if not isinstance(inner, dict):
                known = ", ".join(Training.model_fields)
                raise InputError(f"{where}.{key}: {part} has no keys. The section's: {known}.")
        inner[last] = value
    return config.validate(section, where, Training)


def current(training: Training, tune: Tune) -> dict[str, Any]:
    """The section's own values at the keys of the space; those left to a default are not there."""
    found = {}
    for key in tune.space:
        value: Any = training.model_dump(mode="json", exclude_unset=True)
        for part in key.split("."):
            value = value.get(part)
        if value is not None:
            found[key] = value
    return found


def check(tune: Tune, training: Training, spec: ModelSpec, where: str) -> None:
    """Refuse a space with a key or a value that the section cannot have.

    Each bound and each choice is put into the section, and the model built without memory.

    Args:
        spec: of the section as it stands.
        where: begins error messages: the path of the params file.

    Raises:
        InputError: the message names the key.
    """
    _build(spec, f"{where}: {tune.section}.model")
    for key, allowed in tune.space.items():
        for value in _extremes(allowed):
            asked = changed(training, {key: value}, f"{where}: tune.space")
            _build(replace(spec, model=asked.model), f"{where}: tune.space.model")


def draw(trial: optuna.Trial, key: str, allowed: SearchDomain) -> Any:
    """The value that the study wants tried for `key`."""
    if allowed.values is not None:
        return allowed.values[trial.suggest_categorical(key, range(len(allowed.values)))]
    low, high = _extremes(allowed)
    if allowed.type == "int":
        return trial.suggest_int(key, low, high, log=allowed.log)
    number = trial.suggest_float(key, low, high, log=allowed.log)
    return min(max(float(f"{number:.{DIGITS}g}"), low), high)


def known_to_study(allowed: SearchDomain, value: Any) -> Any:
    """What the study calls `value`, None where it lies outside what is allowed."""
    if allowed.values is not None:
        return allowed.values.index(value) if value in allowed.values else None
    low, high = _extremes(allowed)
    kinds = (int,) if allowed.type == "int" else (int, float)
    return value if type(value) in kinds and low <= value <= high else None


def _extremes(allowed: SearchDomain) -> list[Any]:
    if allowed.values is not None:
        return allowed.values
    ends: list[Any] = [allowed.low, allowed.high]
    return [int(end) for end in ends] if allowed.type == "int" else ends


def _build(spec: ModelSpec, where: str) -> None:
    with torch.device("meta"), suppress(RuntimeError):  # of size: that is for each trial to say
        spec.build(where)
