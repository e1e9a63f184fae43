"""The one error that is meant for the user's eyes, and how a program ends on it."""

import functools
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class InputError(Exception):
    """Something the user gave cannot be used.

    The message says what was expected, what was got, where (file, line, column, key) and what
    to do. It is printed without a traceback.
    """


class WriteError(InputError):
    """The system refuses to write: the same may be written once that is fixed."""


def exit_on_input_error(main: Callable[[], None]) -> Callable[[], None]:
    """`main`, which ends with one line and status 1 on an `InputError` or `OSError`; 130 on Ctrl-C.

    Output that nobody takes, as of `dvc repro | head`, or on a full disk, is dropped.
    """

    @functools.wraps(main)
    def run() -> None:
        if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # which stages/__init__.py has set
            signal.signal(signal.SIGINT, signal.default_int_handler)
        print_anything()
        drop_what_nobody_takes()
        name = os.environ.get("DVC_STAGE") or Path(sys.argv[0]).stem
        try:
            main()
        except InputError as error:
            sys.exit(f"{name}: {error}")
        except OSError as error:  # a full disk, or a folder for temporary files that is none
            sys.exit(f"{name}: {describe(error)}")
        except KeyboardInterrupt:
            sys.exit(130)

    return run


def print_anything() -> None:
    """Let what a terminal's encoding lacks be printed as a question mark, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a notebook's
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def describe(error: OSError) -> str:
    """What the system refused, and where."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}."


class _Droppable(io.TextIOWrapper):
    """An output that goes nowhere from the first time on that it is refused."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def drop_what_nobody_takes() -> None:
    """Let a program end as its work does, whoever reads its output."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper and stream is getattr(sys, f"__{name}__"):
            droppable = _Droppable(
                stream.buffer,
                stream.encoding,
                stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, droppable)
