"""Files from elsewhere, whole and checked: by https, or by pip."""

import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from urllib3.exceptions import NameResolutionError
from urllib3.util import Retry

from cf.core.errors import InputError

PATIENCE = 18.0  # seconds for a host's first answer: name look-up, proxy and retries included
STALL = 20.0  # seconds without a byte, after which a transfer counts as broken off
N_ATTEMPTS = 4  # at one transfer, each going on where the last one broke off
PIP_PATIENCE = 60.0
LOCK_PATIENCE = 1800.0
RETRY_DELAY = 0.2  # seconds before the second try, then doubled
CHUNK = 1 << 18

Complaint = Callable[[Path], str | None]


class UnreachableError(Exception):
    """Nothing can be had from a host: no name, no route, no answer in time, or a refusal."""


def by_https(url: str, target: Path, size: int, complaint: Complaint) -> None:
    """Download `url` to `target`, which is either the whole, checked file or not there.

    What has arrived stays in a .part file beside the target, from which a later call goes on.

    Args:
        size: in bytes; a server that sends more is cut short.
        complaint: says what is wrong with a file, or None.

    Raises:
        UnreachableError: the host gave nothing at all.
        InputError: broken off, not the file expected, or the disk refuses to be written to.
    """
    part = target.with_name(f"{target.name}.part")
    with _alone(target) as is_there:
        if is_there:
            return
        try:
            _complete(part, url, size)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        _accept(part, target, url, complaint)


def by_pip(requirement: str, target: Path, complaint: Complaint) -> None:
    """Let the user's own pip download a wheel to `target`; it is not installed.

    Args:
        complaint: says what is wrong with a file, or None.

    Raises:
        UnreachableError: pip is missing, finds nothing, or takes too long.
        InputError: not the file expected, or the disk refuses to be written to.
    """
    with _alone(target) as is_there:
        if is_there:
            return
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as folder:
            _run_pip(requirement, folder)
            wheel = next(Path(folder).glob("*.whl"), None)
            if wheel is None:
                raise UnreachableError(f"it brought no wheel of {requirement}")
            _accept(wheel, target, requirement, complaint)


def _run_pip(requirement: str, folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--retries=1", "--timeout=8"]
    command += ["--dest", folder, requirement]
    try:
        result = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=PIP_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"no answer within {PIP_PATIENCE:.0f} s") from None
    if os.strerror(ENOSPC) in result.stderr:
        raise OSError(ENOSPC, os.strerror(ENOSPC))
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise UnreachableError(lines[-1].removeprefix("ERROR: "))


def _accept(arrived: Path, target: Path, origin: str, complaint: Complaint) -> None:
    if wrong := complaint(arrived):
        arrived.unlink()
        raise InputError(
            f"{origin}: {wrong}. What arrived is deleted; run the same command again. If this "
            "repeats, a proxy alters it or its publisher replaced it: do not use it."
        )
    arrived.replace(target)


@contextmanager
def _alone(target: Path) -> Iterator[bool]:
    """Whether `target` is there, while no other process can be downloading it."""
    lock = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=LOCK_PATIENCE):
            yield target.exists()
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


def _complete(part: Path, url: str, size: int) -> None:
    """Download what `part` lacks of `size` bytes."""
    reason = ""
    with _progress(part.stem, size) as (bar, task):
        for attempt in range(N_ATTEMPTS):
            have = _size(part)
            if have == size:
                return
            try:
                with _answer(url, have if have < size else 0) as response:
                    if response.status_code == 416:  # no such range: the part is of another file
                        part.unlink()
                        continue
                    for n_bytes in _append(response, part, size):
                        bar.update(task, completed=n_bytes)
                    return
            except UnreachableError as error:
                if attempt == 0:
                    raise
                reason = str(error)
            except requests.RequestException as error:
                reason = _explain(error)
    raise InputError(
        f"{url}: broke off after {_size(part):,} of {size:,} bytes ({reason}). Run the "
        "same command again: it goes on where it stopped."
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _append(response: requests.Response, part: Path, size: int) -> Iterator[int]:
    """The bytes in `part` after each chunk; a server that ignores Range sends all anew."""
    with part.open("ab" if response.status_code == 206 else "wb") as file:
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            yield file.tell()
            if file.tell() > size:
                return


def _answer(url: str, have: int) -> requests.Response:
    """The first answer, asked for in a thread: a name look-up that hangs cannot be timed out."""
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    session = requests.Session()
    retry = Retry(total=3, backoff_factor=RETRY_DELAY, status_forcelist=(500, 502, 503, 504))
    session.mount(url, HTTPAdapter(max_retries=retry))
    answers: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(session.get(url, headers=headers, stream=True, timeout=(5.0, STALL)))
        except Exception as error:
            answers.put(error)  # raised in the thread that waits

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=PATIENCE)
    except queue.Empty:
        raise UnreachableError(f"no answer within {PATIENCE:.0f} s") from None
    if isinstance(answer, Exception):
        raise UnreachableError(_explain(answer)) from None
    if answer.status_code not in ((200, 206, 416) if have else (200,)):
        raise UnreachableError(f"it answers {answer.status_code} {answer.reason}")
    return answer


def _explain(error: Exception) -> str:
    """A failed request in a few words."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, NameResolutionError):
        return "its name cannot be resolved"
    kinds: list[tuple[type[Exception], str]] = [
        (requests.exceptions.ProxyError, "the proxy cannot be reached or refuses"),
        (requests.exceptions.SSLError, "its certificate cannot be verified"),
        (requests.exceptions.RetryError, "it keeps answering with a server error"),
        (requests.Timeout, "no answer in time"),
        (requests.exceptions.ChunkedEncodingError, "the connection broke off"),
        (requests.ConnectionError, "no connection, or it stalled"),
    ]
    return next((text for kind, text in kinds if isinstance(error, kind)), str(error))


@contextmanager
def _progress(name: str, size: int) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar, bar.add_task(name, total=size)
