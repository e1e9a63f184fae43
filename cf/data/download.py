"""Published files, whole and verified: over HTTPS with pooch, or as a wheel with pip.

Afterwards `target` is the file of that digest, its SHA-256 in hexadecimal digits, or it is not
there and InputError is raised: the transfer broke off, it is not the file expected, or the disk
refuses to be written to.
"""

import os
import queue
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from errno import ENOSPC
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from filelock import FileLock, Timeout
from requests import utils
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
HAS_EXPIRED = 10  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED
NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME


class UnreachableError(Exception):
    """Nothing can be had from a host: no name, no route, no answer in time, or a refusal."""


class RefusedError(UnreachableError):
    """A host answers, but does not give this file; another one it may have."""


class BadFileError(InputError):
    """What a host sends is not the file: it breaks off, or it has another digest.

    Attributes:
        reason: in a few words.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


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
                if (got := io.digest(arrived)) != digest:
                    raise BadFileError(
                        f"{origin}: wrong sha256: expected {digest}, got {got}. What "
                        "arrived is deleted; run the same command again. If this repeats, a proxy "
                        "alters it or its publisher replaced it: do not use it.",
                        "it sends another file (wrong sha256)",
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
    reason = f"the transfer broke off {N_ATTEMPTS} times ({reason})"
    raise BadFileError(f"{url}: {reason}. Run the same command again.", reason)


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
        raise RefusedError(f"it answers {answer.status_code} {answer.reason}")


def _explain(error: Exception) -> str:
    """A failed request in a few words."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, NameResolutionError):
        return "its name cannot be resolved"
    refusal = cause.args[0] if cause is not None and cause.args else None
    if isinstance(refusal, ssl.SSLCertVerificationError) and refusal.verify_code == HAS_EXPIRED:
        request = getattr(error, "request", None)
        return f"its certificate expired{_expiry(request.url) if request is not None else ''}"
    reasons: list[tuple[type[Exception], str]] = [
        (requests.exceptions.ProxyError, "the proxy cannot be reached or refuses"),
        (requests.exceptions.SSLError, "its certificate cannot be verified"),
        (requests.exceptions.RetryError, "it keeps answering with a server error"),
        (requests.Timeout, "no answer in time"),
        (requests.exceptions.ChunkedEncodingError, "the connection broke off"),
        (requests.ConnectionError, "no connection, or it stalled"),
    ]
    return next((text for kind, text in reasons if isinstance(error, kind)), str(error))


def _expiry(url: str) -> str:
    """When the certificate of a host expired, as " on 2026-08-28"; empty if that cannot be had.

    The second connection that this takes is verified in all but the time; nothing is asked over it.
    """
    host = urlsplit(url)
    try:
        if host.hostname is None or utils.get_environ_proxies(url):
            return ""
        trusted = os.environ.get("REQUESTS_CA_BUNDLE") or utils.DEFAULT_CA_BUNDLE_PATH
        context = ssl.create_default_context(cafile=trusted)
        context.verify_flags |= NO_CHECK_TIME
        address = host.hostname, host.port or 443
        with (
            socket.create_connection(address, CONNECT_TIMEOUT) as connection,
            context.wrap_socket(connection, server_hostname=host.hostname) as secured,
        ):
            certificate = secured.getpeercert() or {}
        ended = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    except (OSError, ValueError, KeyError):
        return ""
    # otherwise another certificate of its chain did
    return f" on {datetime.fromtimestamp(ended, UTC):%Y-%m-%d}" if ended < time.time() else ""
