"""A progress bar on the terminal; where there is none, its last state is printed."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(name: str, total: int) -> Iterator[Task]:
    """A bar from 0 to `total`, drawn ten times a second by a thread.

    The block adds to `task.completed`, which costs nothing, and sets the text beside the bar,
    `task.fields["text"]`.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        progress.add_task(name, total=total, text="")
        yield progress.tasks[0]
