"""A process beside a stage, which serves the later stages of the same `dvc repro` as well.

So what takes long to import is imported once. The process reads lines from a stage, answers with
one line when the stage has no more, and ends with the `dvc` that runs the stages. A stage that is
run otherwise has a process of its own.
"""

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import IO

import psutil

SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")  # between `dvc` and a stage
SHARED_VARIABLES = ("CF_", "DVC_", "MLFLOW_", "PYTHON")  # the same in all stages of one process
OWNER, ADDRESS = "CF_PROCESS_OWNER", "CF_PROCESS_ADDRESS"
POLL_S = 0.1  # between two looks whether `dvc` still runs
END = "\n"  # the line after a stage's last one


class Connection:
    """A stage's end of the line. `process` is None where an earlier stage has started it."""

    def __init__(
        self,
        process: "subprocess.Popen[str] | None",
        out: IO[str],
        replies: IO[str],
        address: Path | None,
    ) -> None:
        self.process, self._out, self._replies, self._address = process, out, replies, address

    def send(self, line: str) -> None:
        """Write a line. It is lost where the process has ended, which `close` tells."""
        with suppress(OSError):
            self._out.write(line + "\n")
            self._out.flush()

    def close(self, timeout_s: float | None) -> str:
        """What the process answers once its work is done; empty if it has ended before.

        Raises:
            TimeoutError: there is no answer in time.
        """
        self.send("")
        replies: list[str] = []

        def read() -> None:
            with suppress(OSError):
                replies.append(self._replies.readline().strip())

        reader = Thread(target=read, daemon=True)
        reader.start()
        reader.join(timeout_s)
        if reader.is_alive():
            if self.process:
                self.process.kill()
            if self._address:  # so that the next stage starts another
                self._address.unlink(missing_ok=True)
            raise TimeoutError
        if self.process and not self._address:
            self.process.wait()
        return "".join(replies)


def connect(module: str, *arguments: str) -> Connection:
    """A line to the process that runs a module, whose main function hands its work to `serve`.

    The process is started unless there is one. It imports from the folder that this module is in:
    where an experiment of DVC runs, cf is not the installed one.
    """
    owner = _dvc()
    address = _address(module, owner) if owner else None
    if address and address.exists():
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(str(address))
            out, replies = (line.makefile(mode, encoding="utf-8") for mode in ("w", "r"))
            return Connection(None, out, replies, address)
        except OSError:  # it was killed
            line.close()
            address.unlink(missing_ok=True)
    here = str(Path(__file__).parents[2])
    search = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    shared = {}
    if owner and address:
        shared = {OWNER: f"{owner.pid} {owner.create_time()}", ADDRESS: str(address)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(search), **shared},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,  # an interrupt is for the stage alone, which hands over the rest
    )
    assert process.stdin
    assert process.stdout
    return Connection(process, process.stdin, process.stdout, address)


def serve(work: Callable[[IO[str]], str]) -> None:
    """Answer the stage that has started this process, and where it is shared, the later ones.

    `work` reads lines to the first that is `END`, or to the end if the stage has died, and returns
    the answer. What it prints goes to standard error.
    """
    address = os.environ.pop(ADDRESS, "")
    owner = os.environ.pop(OWNER, "")
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    if not address:
        _answer(work, sys.stdin, replies)
        return
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        with suppress(OSError):  # a file system without sockets: later stages start their own
            listener.bind(address)
            listener.listen()
            listener.settimeout(POLL_S)
        _answer(work, sys.stdin, replies)
        while Path(address).exists() and _is_running(*owner.split()):
            with suppress(TimeoutError):
                line, _ = listener.accept()
                line.settimeout(None)
                with line, line.makefile("r", encoding="utf-8") as lines:
                    _answer(work, lines, line.makefile("w", encoding="utf-8"))
        Path(address).unlink(missing_ok=True)


def _answer(work: Callable[[IO[str]], str], lines: IO[str], replies: IO[str]) -> None:
    answer = work(lines)
    with suppress(OSError):  # the stage has died, or waits no longer
        replies.write(answer + "\n")
        replies.flush()


def _dvc() -> psutil.Process | None:
    """The `dvc` that runs this stage; None where it is run otherwise, or without Unix sockets."""
    if "DVC_STAGE" not in os.environ or not hasattr(socket, "AF_UNIX"):
        return None
    with suppress(psutil.Error):
        return next((p for p in psutil.Process().parents() if p.name() not in SHELLS), None)
    return None


def _address(module: str, owner: psutil.Process) -> Path | None:
    """The socket of the process that serves `owner`, relative: an absolute path may be too long."""
    folder = Path(".dvc/tmp")
    shared = {k: v for k, v in os.environ.items() if k.startswith(SHARED_VARIABLES)}
    shared.pop("DVC_STAGE", None)
    code = [(str(p), p.stat().st_mtime_ns) for p in sorted(Path(__file__).parents[1].rglob("*.py"))]
    content = repr((sorted(shared.items()), owner.create_time(), sys.executable, code))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return folder / f"{module}-{owner.pid}-{digest}" if folder.is_dir() else None


def _is_running(pid: str, created: str) -> bool:
    """Whether the process runs; one that has ended, and that nobody has waited for, does not."""
    try:
        process = psutil.Process(int(pid))
        return str(process.create_time()) == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
