"""What a search came to: the best trials, and the command that trains with their values."""

import shlex
from typing import Any

from rich.table import Table
from rich.text import Text

from cf.core.config_errors import format_float
from cf.core.errors import InputError
from cf.tuning.search import Trial

N_SHOWN = 4  # with the section's own, what fits into 80 columns


def ranked(trials: list[Trial]) -> list[Trial]:
    """The trials that finished, the lowest loss on the slice first.

    Raises:
        InputError: none finished; the message has the reason of the first that failed.
    """
    finished = [trial for trial in trials if trial.value is not None]
    if not finished:
        reasons = [trial.reason for trial in trials if trial.reason]
        why = f" The first said: {reasons[0]}" if reasons else ""
        raise InputError(f"none of {len(trials)} trials finished.{why}")
    return sorted(finished, key=lambda trial: (trial.value, trial.number))


def command(section: str, best: Trial, own: Trial) -> str:
    """The line for a shell that runs the pipeline with the best trial's values.

    Args:
        own: the trial of the section's own values; a key that it lacks is added to the section.
    """
    overrides = [
        f"{'' if key in own.parameters else '+'}{section}.{key}={_override(value)}"
        for key, value in best.parameters.items()
    ]
    words = [word for override in overrides for word in ("-S", override)]
    return shlex.join(["dvc", "exp", "run", *words])


def table(title: str, trials: list[Trial]) -> Table:
    """The section's own values and the best trials beside them, a column each.

    Raises:
        InputError: as for `ranked`.
    """
    own, *others = trials
    best = [trial for trial in ranked(trials) if trial in others][:N_SHOWN]
    shown = Table(title=title, caption="loss: mean squared error in stars² on the slice")
    shown.add_column("", overflow="fold")
    for heading in ("yours", *(f"trial {trial.number}" for trial in best)):
        shown.add_column(heading, justify="right", overflow="fold")
    losses = [trial.value for trial in (own, *best)]
    shown.add_row("RMSE", *("" if loss is None else f"{loss**0.5:.4f}" for loss in losses))
    shown.add_row("loss", *("" if loss is None else f"{loss:.4f}" for loss in losses))
    shown.add_section()
    keys = list(dict.fromkeys(key for trial in trials for key in trial.parameters))
    names = [key.rpartition(".")[2] for key in keys]
    for name, key in zip(names if len(set(names)) == len(keys) else keys, keys, strict=True):
        tried = (trial.parameters for trial in (own, *best))
        cells = (_override(values[key]) if key in values else "" for values in tried)
        shown.add_row(name, *map(Text, cells))  # a list in brackets is no markup
    return shown


def _override(value: Any) -> str:
    """The value as Hydra, and DVC with it, reads it."""
    if isinstance(value, list):
        return f"[{','.join(map(_override, value))}]"
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, str):
        quoted = value.replace("'", "\\'")
        return value if _is_word(value) else f"'{quoted}'"
    return "null" if value is None else str(value).lower()


def _is_word(text: str) -> bool:
    reserved = {"true", "false", "null", "nan", "inf"}
    return text.isidentifier() and text.isascii() and text.lower() not in reserved
