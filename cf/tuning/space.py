"""The values that a search may try, and how a training section is changed to have them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from typing import Any

import optuna
import torch

from cf.core import config
from cf.core.config import SearchDomain, Training, Tune
from cf.core.config_errors import format_float
from cf.core.errors import InputError
from cf.training.checkpoint import ModelSpec


def with_overrides(training: Training, overrides: Mapping[str, Any], context: str) -> Training:
    """The section with the values of `overrides`, by dotted key, in place of its own.

    Raises:
        InputError: no such key, or a value that the section refuses; `context` begins the message.
    """
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


def current_values(training: Training, space: Mapping[str, SearchDomain]) -> dict[str, Any]:
    """The section's own values at the keys of the space, less those left to a default."""
    section: Any = training.model_dump(mode="json", exclude_unset=True)
    found = {key: reduce(dict.get, key.split("."), section) for key in space}
    return {key: value for key, value in found.items() if value is not None}


def check(tune: Tune, training: Training, spec: ModelSpec, context: str) -> None:
    """Refuse a space with a key or a value that the section cannot have.

    Each bound and each choice is put into the section, which `spec` is of as it stands, and the
    model built without memory.

    Raises:
        InputError: the message begins with `context`, the path of the params file, and the key.
    """
    _build(spec, f"{context}: {tune.section}.model")
    for key, domain in tune.space.items():
        for value in _extremes(domain):
            changed = with_overrides(training, {key: value}, f"{context}: tune.space")
            _build(replace(spec, model=changed.model), f"{context}: tune.space.model")


def suggest(trial: optuna.Trial, key: str, domain: SearchDomain) -> Any:
    """The value of `key` that the study wants tried."""
    if domain.values is not None:
        return domain.values[trial.suggest_categorical(key, range(len(domain.values)))]
    low, high = _extremes(domain)
    if domain.type == "int":
        return trial.suggest_int(key, low, high, log=domain.log)
    number = trial.suggest_float(key, low, high, log=domain.log)
    return min(max(float(f"{number:.3g}"), low), high)  # what can be read and typed


def to_optuna(domain: SearchDomain, value: Any) -> Any:
    """The value as the study knows it: an index of a choice; None outside the domain."""
    if domain.values is not None:
        return domain.values.index(value) if value in domain.values else None
    low, high = _extremes(domain)
    numbers = (int,) if domain.type == "int" else (int, float)
    return value if type(value) in numbers and low <= value <= high else None


def to_hydra(value: Any) -> str:
    """The value as `dvc exp run -S key=value` reads it back: same number, same type."""
    if isinstance(value, list):
        return f"[{','.join(map(to_hydra, value))}]"
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, str):
        reserved = value.lower() in {"true", "false", "null", "nan", "inf"}
        quoted = value.replace("'", "\\'")
        return value if value.isidentifier() and value.isascii() and not reserved else f"'{quoted}'"
    return "null" if value is None else str(value).lower()


def _extremes(domain: SearchDomain) -> list[Any]:
    if domain.values is not None:
        return domain.values
    ends: list[Any] = [domain.low, domain.high]
    return [int(end) for end in ends] if domain.type == "int" else ends


def _build(spec: ModelSpec, context: str) -> None:
    with torch.device("meta"), suppress(RuntimeError):  # one that is too large fails as a trial
        spec.build(context)
