"""A search for better values of a training section: cf tune."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cf.core import config, io, paths
from cf.core.errors import InputError
from cf.core.progress import progress_bar
from cf.core.ratings import Provenance, Ratings, SplitInfo
from cf.reporting.html import param_text
from cf.tracking.record import RunRecord, new_training_record, recording
from cf.training.checkpoint import ModelSpec
from cf.tuning.search import Trial, best_first, dvc_command, search

N_SHOWN = 4  # best trials: with the baseline, what fits into 80 columns


def main() -> None:
    """Search the space that the section tune of params.yaml describes; Ctrl-C ends it early."""
    tune = config.load(paths.PARAMS, "tune", config.Tune)
    if config.is_sampled(paths.PARAMS, tune.section):
        raise InputError(
            f"{paths.PARAMS}: tune.section: {tune.section} is sampled and has no learning rate or "
            "decay to search: it infers its priors. Name a section with an optimizer."
        )
    training = config.load(paths.PARAMS, tune.section, config.Training)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    provenance.require_ratings("cf tune")
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    train = Ratings.read(paths.TRAIN, provenance)

    items = io.read_parquet(paths.ENCODED_ITEMS, ["genres", "year"], n_rows=provenance.n_items)
    context = f"{paths.PARAMS}: {tune.section}.model"
    spec = ModelSpec.from_data(training.model, provenance, items, context)
    trials = search(train, training, tune, spec, str(paths.PARAMS))
    name = f"tune {tune.section.removeprefix('train_')}"
    record = new_training_record(settings.experiment, name, training, provenance, split)
    record.tags["mlflow.source.name"] = "cf tune"
    asked = tune.model_dump(exclude_unset=True)
    record.parameters |= {f"tune.{key}": value for key, value in asked.items()}
    ended: list[Trial] = []
    with (
        suppress(KeyboardInterrupt),
        recording(settings) as recorder,
        progress_bar(name, tune.n_trials) as bar,
    ):
        recorder.upsert(record)
        for trial in trials:
            ended.append(trial)
            values = [trial.value for trial in ended if trial.value is not None]
            best = f" best {min(values):.4f}" if values else ""
            bar.completed, bar.fields["text"] = len(ended), f"{len(ended)}/{tune.n_trials}{best}"
            recorder.upsert(trial_record(trial, record))
        record.finish()
        recorder.upsert(record)
    show(f"{name} on {provenance.dataset}", tune.section, ended, provenance.unit)


def trial_record(trial: Trial, search: RunRecord) -> RunRecord:
    """The record of a trial that has ended, as a part of the search's.

    Its parameters have the flat names of a training's run, to compare by.
    """
    names = (key.removesuffix(".name").rpartition(".")[2] for key in trial.parameters)
    parameters = dict(zip(names, trial.parameters.values(), strict=True))
    key, name, now = f"{search.id}-{trial.number}", f"trial {trial.number}", int(time.time() * 1000)
    record = RunRecord(key, search.experiment, name, parameters, {}, search.dataset, now)
    record.parent = search.id
    for step, losses in enumerate(trial.losses, start=1):
        record.log_epoch(step, losses)
    record.finish(status=trial.state)
    return record


def show(title: str, section: str, trials: Sequence[Trial], unit: str) -> None:
    """Print the best trials, and the command that trains with the best one's values."""
    best, baseline = best_first(trials), trials[0]
    states = Counter(trial.state for trial in trials)
    title += f": {len(trials)} trials"
    for word, state in (("pruned", "KILLED"), ("failed", "FAILED")):
        title += f", {states[state]} {word}" if states[state] else ""
    console = Console(highlight=False)
    others = [trial for trial in best if trial is not baseline]
    console.print(trials_table(title, [baseline, *others[:N_SHOWN]], unit))
    if best[0] is baseline:
        console.print(f"No trial beat the values that {section} has: keep them.")
        return
    console.print("Train with the best values, and score them on the validation rows:\n")
    print(dvc_command(section, best[0], baseline))  # on one line, which rich would break


def trials_table(title: str, trials: Sequence[Trial], unit: str) -> Table:
    """A column of each trial, first the baseline, with a row of each parameter."""
    caption = f"loss: mean squared error in {unit}² on the holdout"
    table = Table(title=escape(title), caption=escape(caption))
    table.add_column(overflow="fold")
    cells = []
    for trial in trials:
        name = f"trial {trial.number}" if trial.number else "yours"
        table.add_column(name, justify="right", overflow="fold")
        tried = {key: param_text(value) for key, value in trial.parameters.items()}
        loss = trial.value
        scores = {} if loss is None else {"RMSE": f"{loss**0.5:.4f}", "loss": f"{loss:.4f}"}
        cells.append(scores | tried)
    keys = list(dict.fromkeys(["RMSE", "loss", *(key for column in cells for key in column)]))
    names = [key.rpartition(".")[2] for key in keys]
    for name, key in zip(names, keys, strict=True):
        values = (Text(column.get(key, "")) for column in cells)
        table.add_row(name if names.count(name) == 1 else key, *values)
    return table
