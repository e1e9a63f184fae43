"""One call of a loader, with a limit of its time and memory."""

import faulthandler
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

LONGEST = 60  # seconds, after which a call hangs
MOST = 1 << 30  # bytes that a call may use


class HangError(BaseException):
    """A call took too long; no loader catches it."""


@contextmanager
def guarded() -> Iterator[None]:
    """Fails where the block hangs, or uses more memory than a loader may."""

    def stop(*_: Any) -> None:
        raise HangError

    address_space = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    faulthandler.dump_traceback_later(4 * LONGEST, exit=True)  # compiled code heeds no signal
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    used = psutil.Process().memory_info()
    resource.setrlimit(resource.RLIMIT_AS, (used.vms + 2 * MOST, address_space[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    except HangError:
        raise AssertionError(f"a call took more than {LONGEST} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, address_space)
        signal.signal(signal.SIGALRM, before)
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert now <= peak or now * 1024 <= used.rss + MOST, f"{now >> 10} MB of memory"


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The block runs in this folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
