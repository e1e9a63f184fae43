"""The progress bar of a training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class TrainingProgress:
    """A bar over all epochs' ratings, with the losses of the last one."""

    def __init__(self, bar: Progress, task: TaskID, n_epochs: int) -> None:
        self._bar, self._task, self._n_epochs = bar, task, n_epochs
        self._waiting, self._stride = 0, 4096

    def on_batch(self, n_ratings: int) -> None:
        """Move the bar, though not at every batch: that would cost more than the batch."""
        self._waiting += n_ratings
        if self._waiting >= self._stride:
            self._bar.advance(self._task, self._waiting)
            self._waiting = 0

    def on_epoch(self, epoch: Any) -> None:
        """Show the losses."""
        self._bar.update(
            self._task,
            advance=self._waiting,
            losses=f"epoch {epoch.epoch}/{self._n_epochs}  "
            f"train {epoch.train_loss:.4f}  valid {epoch.valid_loss:.4f}",
        )
        self._waiting = 0


@contextmanager
def training_progress(name: str, n_epochs: int, n_ratings: int) -> Iterator[TrainingProgress]:
    """A progress bar on the terminal; where there is none, its last state."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[losses]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(name, total=n_epochs * n_ratings, losses="")
        yield TrainingProgress(bar, task, n_epochs)
