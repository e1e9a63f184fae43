"""Published files, whole and verified: over HTTPS with pooch, or as a wheel with pip.

Afterwards `target` is the file of that digest, algorithm and hexadecimal digits joined by a colon,
or it is not there and InputError is raised: the transfer broke off, it is not the file expected, or
the disk refuses to be written to.
"""

import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path

import pooch
import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from rich import filesize
from rich.progress import Task
from urllib3.exceptions import NameResolutionError
from urllib3.util import Retry

from cf.core import io
from cf.core.errors import InputError
from cf.core.progress import progress_bar

ANSWER_TIMEOUT = 18.0  # seconds for a host's first answer: name lookup, proxy and retries included
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0  # seconds without a byte, after which a transfer has broken off
N_ATTEMPTS = 3  # at one transfer
RETRY_DELAY = 0.2  # seconds before the second request for an answer, then doubled
PIP_TIMEOUT = 60.0
LOCK_TIMEOUT = 1800.0


class UnreachableError(Exception):
    """Nothing can be had from a host: no name, no route, no answer in time, or a refusal."""


def by_https(url: str, target: Path, digest: str) -> None:
    """Download `url`; it raises UnreachableError where the host does not answer, or refuses."""
    _download(_transfer, url, target, digest)


def by_pip(requirement: str, target: Path, digest: str) -> None:
    """Let the user's own pip download a wheel, without installing it.

    It raises UnreachableError where pip is missing, finds nothing, or takes too long.
    """
    _download(_run_pip, requirement, target, digest)


def _download(get: Callable[[str, Path], Path], origin: str, target: Path, digest: str) -> None:
    """Have `get` put the file into a folder, and move it to `target` if it is the right one."""
    lock = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=LOCK_TIMEOUT):
            if target.exists():  # another process has downloaded it meanwhile
                return
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as folder:
                arrived = get(origin, Path(folder))
                algorithm, expected = digest.split(":")
                if (got := io.digest(arrived, algorithm)) != expected:
                    raise InputError(
                        f"{origin}: wrong {algorithm}: expected {expected}, got {got}. What "
                        "arrived is deleted; run the same command again. If this repeats, a proxy "
                        "alters it or its publisher replaced it: do not use it."
                    )
                arrived.replace(target)
    except Timeout:
        raise InputError(
            f"{lock}: another process has been downloading {target.name} for long. Wait for it "
            "or end it, then run the same command again."
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot write {target}: {error.strerror or error}. Free some space, or set "
            "CF_DATA_HOME to a folder that can be written to, and run the same command again."
        ) from error


class _Bar:
    """A rich progress bar with the methods that pooch expects."""

    total = 0  # bytes; pooch sets it

    def __init__(self, task: Task) -> None:
        self.task = task

    def update(self, n: int) -> None:
        self.task.total = self.total
        self.task.completed += n
        self.task.fields["text"] = filesize.decimal(int(self.task.completed))

    def reset(self) -> None:
        self.task.completed = 0

    def close(self) -> None:
        pass


def _transfer(url: str, folder: Path) -> Path:
    _wait_for_answer(url)
    arrived = folder / Path(url).name
    reason = ""
    for _ in range(N_ATTEMPTS):
        try:
            with progress_bar(arrived.name, 0) as task:
                timeouts = (CONNECT_TIMEOUT, READ_TIMEOUT)
                download = pooch.HTTPDownloader(_Bar(task), 1 << 18, timeout=timeouts)
                download(url, arrived, None)
                return arrived
        except requests.RequestException as error:
            reason = _explain(error)
    raise InputError(
        f"{url}: the transfer broke off {N_ATTEMPTS} times ({reason}). Run the same command again."
    )


def _run_pip(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--retries=1", "--timeout=8"]
    command += ["--dest", str(folder), requirement]
    try:
        result = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=PIP_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"no answer within {PIP_TIMEOUT:.0f} s") from None
    if os.strerror(ENOSPC) in result.stderr:
        raise OSError(ENOSPC, os.strerror(ENOSPC))
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise UnreachableError(lines[-1].removeprefix("ERROR: "))
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise UnreachableError(f"it brought no wheel of {requirement}")
    return wheel


def _wait_for_answer(url: str) -> None:
    """Ask for the file's header, in a thread: a name lookup that hangs cannot be timed out."""
    session = requests.Session()
    retry = Retry(total=3, backoff_factor=RETRY_DELAY, status_forcelist=(500, 502, 503, 504))
    session.mount(url, HTTPAdapter(max_retries=retry))
    answers: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(session.head(url, allow_redirects=True, timeout=CONNECT_TIMEOUT))
        except Exception as error:
            answers.put(error)  # raised in the thread that waits

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_TIMEOUT)
    except queue.Empty:
        raise UnreachableError(f"no answer within {ANSWER_TIMEOUT:.0f} s") from None
    if isinstance(answer, Exception):
        raise UnreachableError(_explain(answer)) from None
    if not answer.ok:
        raise UnreachableError(f"it answers {answer.status_code} {answer.reason}")


def _explain(error: Exception) -> str:
    """A failed request in a few words."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, NameResolutionError):
        return "its name cannot be resolved"
    reasons: list[tuple[type[Exception], str]] = [
        (requests.exceptions.ProxyError, "the proxy cannot be reached or refuses"),
        (requests.exceptions.SSLError, "its certificate cannot be verified"),
        (requests.exceptions.RetryError, "it keeps answering with a server error"),
        (requests.Timeout, "no answer in time"),
        (requests.exceptions.ChunkedEncodingError, "the connection broke off"),
        (requests.ConnectionError, "no connection, or it stalled"),
    ]
    return next((text for kind, text in reasons if isinstance(error, kind)), str(error))
