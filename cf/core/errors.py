"""The one error that is meant for the user's eyes, and how a program ends on it."""

import functools
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
    """`main`, which prints an `InputError`'s message and exits with status 1, or 130 on Ctrl-C."""

    @functools.wraps(main)
    def run() -> None:
        if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # which stages/__init__.py has set
            signal.signal(signal.SIGINT, signal.default_int_handler)
        print_anything()
        try:
            main()
        except InputError as error:
            name = os.environ.get("DVC_STAGE") or Path(sys.argv[0]).stem
            sys.exit(f"{name}: {error}")
        except KeyboardInterrupt:
            sys.exit(130)

    return run


def print_anything() -> None:
    """Let what a terminal's encoding lacks be printed as a question mark, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a notebook's
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
