"""Progress on the terminal: a bar, of which the last state is printed elsewhere, or a spinner."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)


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


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner with the time that has passed, for what has no steps to count.

    It disappears at the end, and is not there where there is no terminal. Also a decorator.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=not Console().is_terminal) as progress:
        progress.add_task(text, total=None)
        yield
