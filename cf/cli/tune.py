"""Search better values for a training section: make tune. No stage of the pipeline."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cf.core import config, io, paths
from cf.core.errors import InputError
from cf.core.provenance import Provenance, SplitInfo
from cf.core.ratings import Ratings
from cf.tracking.record import RunRecord, new_training_record, recording
from cf.training.checkpoint import ModelSpec
from cf.tuning import outcome
from cf.tuning.search import Trial, search


def main() -> None:
    """Search the space that the section tune of params.yaml describes; Ctrl-C ends it early."""
    tune = config.load(paths.PARAMS, "tune", config.Tune)
    if config.is_sampled(paths.PARAMS, tune.section):
        raise InputError(
            f"{paths.PARAMS}: tune.section: {tune.section} is sampled and has no learning rate or "
            "decay to search: its priors are learnt. Name a section with an optimizer."
        )
    training = config.load(paths.PARAMS, tune.section, config.Training)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    train = Ratings.from_frame(io.read_parquet(paths.TRAIN))

    spec = ModelSpec(
        training.model, provenance.n_users, provenance.n_items, provenance.rating_range
    )
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
        trial_progress(name, tune.n_trials) as on_trial,
    ):
        recorder.upsert(record)
        for trial in trials:
            ended.append(trial)
            on_trial(ended)
            recorder.upsert(trial_record(trial, record))
        record.finish()
        recorder.upsert(record)
    show(f"{name} on {provenance.dataset}", tune.section, ended)


def trial_record(trial: Trial, search: RunRecord) -> RunRecord:
    """The record of a trial that has ended, as a part of the search's."""
    record = RunRecord(
        id=f"{search.id}-{trial.number}",
        experiment=search.experiment,
        name=f"trial {trial.number}",
        parameters=named(trial.parameters),
        tags={},
        dataset=search.dataset,
        started=int(time.time() * 1000),
        parent=search.id,
    )
    for step, losses in enumerate(trial.losses, start=1):
        record.log_epoch(step, losses)
    record.finish(status=trial.state)
    return record


def named(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters under the flat names that a training's run gives them, to compare by."""
    return {key.removesuffix(".name").rpartition(".")[2]: parameters[key] for key in parameters}


@contextmanager
def trial_progress(name: str, n_trials: int) -> Iterator[Callable[[list[Trial]], None]]:
    """A progress bar over trials, with the best loss so far; call it with all that have ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(name, total=n_trials, best="")

        def on_trial(ended: list[Trial]) -> None:
            values = [trial.value for trial in ended if trial.value is not None]
            best = f"best {min(values):.4f}" if values else ""
            bar.update(task, completed=len(ended), best=best)

        yield on_trial


def show(title: str, section: str, trials: list[Trial]) -> None:
    """Print the best trials, and what to type for the best one's values."""
    best, own = outcome.ranked(trials)[0], trials[0]
    counts = {"trials": len(trials)}
    for word, state in (("given up early", "KILLED"), ("failed", "FAILED")):
        counts[word] = sum(trial.state == state for trial in trials)
    counted = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    console = Console(highlight=False)
    console.print(outcome.table(f"{title}: {counted}", trials))
    if best is own:
        console.print(f"No trial beat the values that {section} has: keep them.")
        return
    console.print("Train with the best, and see its error on the validation rows:\n")
    print(outcome.command(section, best, own))  # rich would break the line where it wraps
