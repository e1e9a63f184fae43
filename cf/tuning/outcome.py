"""What a search came to: the best trials, and the command that trains with their values."""

import shlex
from typing import Any

from rich.table import Table

from cf import params
from cf.errors import InputError
from cf.tuning.search import Trial

N_SHOWN = 5


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
    """The best trials, and in any case the one of the section's own values."""
    best = ranked(trials)
    keys = list(best[0].parameters)
    names = [key.rpartition(".")[2] for key in keys]
    shown = Table(title=title, caption="loss: mean squared error in stars² on the slice")
    shown.add_column("trial", no_wrap=True)
    for heading in ("RMSE", "loss", *(names if len(set(names)) == len(names) else keys)):
        shown.add_column(heading, justify="right", overflow="fold")
    for trial in [*best[:N_SHOWN], *(trial for trial in best[N_SHOWN:] if not trial.number)]:
        assert trial.value is not None
        values = (_override(trial.parameters[k]) if k in trial.parameters else "" for k in keys)
        label = str(trial.number) if trial.number else "0: as it stands"
        shown.add_row(label, f"{trial.value**0.5:.4f}", f"{trial.value:.4f}", *values)
    return shown


def _override(value: Any) -> str:
    """The value as Hydra, and DVC with it, reads it."""
    if isinstance(value, list):
        return f"[{','.join(map(_override, value))}]"
    if isinstance(value, float):
        return params.plain(value)
    if isinstance(value, str):
        quoted = value.replace("'", "\\'")
        return value if _is_word(value) else f"'{quoted}'"
    return "null" if value is None else str(value).lower()


def _is_word(text: str) -> bool:
    reserved = {"true", "false", "null", "nan", "inf"}
    return text.isidentifier() and text.isascii() and text.lower() not in reserved
