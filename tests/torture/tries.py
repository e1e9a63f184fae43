"""Runs a command in a process of its own, and lets the n-th of its writes fail.

The commands are functions: each runs in a fork of this process, which has imported already what
they need. This process must have been started with `faults.c` preloaded: see `preloaded`.
"""

import ctypes
import mmap
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("faults.c")
MOST = 40_000  # calls that are listed, as in faults.c
PATIENCE_S = 600  # after which a command is taken to hang
BECOME_PARENT_OF_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER


class State(ctypes.Structure):
    """What faults.c shares with this process."""

    class Call(ctypes.Structure):
        _fields_ = (("name", ctypes.c_char * 16), ("path", ctypes.c_char * 240))

    _fields_ = (
        *((name, ctypes.c_int) for name in ("n", "at", "error", "lasting")),
        ("calls", Call * MOST),
    )


@dataclass
class Ended:
    """A command that has ended, with all that it had started."""

    status: int  # negative: killed by this signal
    output: str
    calls: list[tuple[str, str]]  # each write's function and path, in order
    left: str = ""  # what did not end by itself


def preloaded(folder: Path, project: Path) -> dict[str, str]:
    """The environment for a process whose writes into the project are counted."""
    library, state = folder / "faults.so", folder / "faults"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    with state.open("wb") as file:
        file.truncate(ctypes.sizeof(State))
    return {"LD_PRELOAD": str(library), "FAULTS": str(state), "FAULTS_ROOT": str(project)}


class Tries:
    """Runs commands in the folder of the project."""

    def __init__(self, project: Path, output: Path) -> None:
        self.project, self._output = project, output
        with Path(os.environ["FAULTS"]).open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 0)
        self._state = State.from_buffer(self._shared)
        ctypes.CDLL(None).prctl(BECOME_PARENT_OF_ORPHANS, 1)

    def run(
        self, command: Callable[[], Any], at: int = 0, error: int = 0, lasting: bool = False
    ) -> Ended:
        """Run a command. Its `at`-th write fails with an error, or kills it where that is 0.

        `lasting`: all later writes fail as well.
        """
        state = self._state
        state.n, state.at, state.error, state.lasting = 0, at, error, lasting
        process = os.fork()
        if not process:
            self._become(command)
        left = ""
        try:
            with _alarm():
                status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        except TimeoutError:
            os.killpg(process, signal.SIGKILL)
            status, left = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), "it hangs"
        try:
            with _alarm():
                _await_orphans()
        except TimeoutError:
            left = left or f"a process is left alive: {_kill_children()}"
            _await_orphans()
        state.at = 0
        calls = [(call.name.decode(), call.path.decode()) for call in state.calls[: state.n]]
        return Ended(status, self._output.read_text(errors="replace"), calls, left)

    def _become(self, command: Callable[[], Any]) -> None:
        """In a fork: run a command as a program would, and end."""
        os.setsid()
        os.chdir(self.project)
        output = os.open(self._output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _exit_as(command)


def _exit_as(command: Callable[[], Any]) -> None:
    status = 0
    try:
        command()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        os._exit(status)


def module(name: str, *arguments: str) -> Callable[[], None]:
    """The command `python -m name`."""

    def command() -> None:
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    return command


class Forked:
    """What `subprocess.Popen` would have started as `python -P -m module`, without the imports."""

    def __init__(self, command: list[str], env: dict[str, str], **_: Any) -> None:
        (there_in, here_out), (here_in, there_out) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            os.dup2(there_in, 0)
            os.dup2(there_out, 1)
            os.closerange(3, 256)
            os.environ.clear()
            os.environ.update(env)
            sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
            _exit_as(module(*command[3:]))
        os.close(there_in)
        os.close(there_out)
        self.stdin, self.stdout = os.fdopen(here_out, "w"), os.fdopen(here_in)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        os.waitpid(self.pid, 0)


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)


def _await_orphans() -> None:
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return


def _kill_children() -> str:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    names = []
    for child in children:
        names.append(Path(f"/proc/{child}/cmdline").read_text().replace("\0", " "))
        os.kill(int(child), signal.SIGKILL)
    return ", ".join(names)
