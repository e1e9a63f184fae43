import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from errno import ENOSPC
from pathlib import Path
from types import SimpleNamespace

import pooch
import pytest
import requests
from filelock import FileLock

from cf.core.errors import InputError
from cf.core.progress import progress_bar
from cf.data import download
from cf.data.download import BadFileError, RefusedError, UnreachableError, by_https, by_pip
from tests.ingest_files import digest_of, serving

CONTENT = bytes(range(256)) * 40
WHEEL = digest_of(b"wheel")


@pytest.fixture(autouse=True)
def _local_only(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "RETRY_DELAY", 0)


def fetch(url, target):
    by_https(url, target, digest_of(CONTENT))


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "ml.zip"


def test_the_whole_file_arrives_below_a_bar(tmp_path, monkeypatch):
    target = tmp_path / "folders/that/are/new/ml.zip"
    bars = []

    @contextmanager
    def bar(*args):
        with progress_bar(*args) as task:
            bars.append((args, task))
            yield task

    monkeypatch.setattr(download, "progress_bar", bar)
    with serving(CONTENT) as server:
        fetch(server.url, target)
        assert server.requests == [("HEAD", "/ml.zip"), ("GET", "/ml.zip")]
    assert target.read_bytes() == CONTENT
    assert left_in(target.parent) == ["ml.zip"]
    ((args, task),) = bars
    assert args == ("ml.zip", 0)
    assert task.total == len(CONTENT)


def test_a_file_that_is_there_is_not_asked_for(target):
    target.parent.mkdir()
    target.write_bytes(b"there")
    fetch("http://127.0.0.1:1/ml.zip", target)
    assert target.read_bytes() == b"there"


def test_a_connection_that_drops_is_tried_again(target):
    with serving(CONTENT) as server:
        server.breaks = 2
        fetch(server.url, target)
        assert [method for method, _ in server.requests] == ["HEAD", "GET", "GET", "GET"]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("stalls", [True, False])
def test_a_transfer_that_never_ends_is_a_message_and_leaves_nothing(target, monkeypatch, stalls):
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.1)
    with serving(CONTENT) as server:
        server.breaks, server.stalls = 99, stalls
        with pytest.raises(BadFileError) as caught:
            fetch(server.url, target)
        assert len(server.requests) == 1 + download.N_ATTEMPTS
    reason = "no connection, or it stalled" if stalls else "the connection broke off"
    assert caught.value.reason == f"the transfer broke off 3 times ({reason})"
    assert str(caught.value) == f"{server.url}: {caught.value.reason}. Run the same command again."
    assert left_in(target.parent) == []


def test_a_wrong_digest_is_an_error_that_leaves_nothing(target):
    wrong = CONTENT[:-1] + b"x"
    with serving(wrong) as server, pytest.raises(BadFileError) as caught:
        fetch(server.url, target)
    assert caught.value.reason == "it sends another file (wrong sha256)"
    assert str(caught.value) == (
        f"{server.url}: wrong sha256: expected {digest_of(CONTENT)}, got {digest_of(wrong)}. What "
        "arrived is deleted; run the same command again. If this repeats, a proxy alters it or its "
        "publisher replaced it: do not use it."
    )
    assert left_in(target.parent) == []


def test_a_port_where_nobody_listens(target):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match=r"^no connection, or it stalled$"):
            fetch(f"http://127.0.0.1:{nobody.getsockname()[1]}/ml.zip", target)
    assert left_in(target.parent) == []


def test_a_socket_that_never_answers_is_given_up_in_time(target, monkeypatch):
    monkeypatch.setattr(download, "ANSWER_TIMEOUT", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(UnreachableError, match=r"^no answer within 0 s$"),
    ):
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/ml.zip", target)


def test_a_name_look_up_that_hangs_is_given_up_in_time(target, monkeypatch):
    monkeypatch.setattr(download, "ANSWER_TIMEOUT", 0.2)
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait())
    before = set(threading.enumerate())
    with pytest.raises(UnreachableError, match="no answer within"):
        fetch("http://files.invalid/ml.zip", target)
    waiting = set(threading.enumerate()) - before
    assert waiting
    assert all(thread.daemon for thread in waiting), "the program may end before it"
    over.set()


def test_the_default_timeout_is_within_twenty_seconds():
    assert download.ANSWER_TIMEOUT < 20


def test_a_name_that_does_not_exist(target, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UnreachableError, match=r"^its name cannot be resolved$"):
        fetch("http://files.invalid/ml.zip", target)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "404 Not Found"),
        (403, "403 Forbidden"),
        (501, "501 Not Implemented"),
        (505, "505 HTTP Version Not Supported"),
        (500, ""),
        (502, ""),
        (503, ""),
        (504, ""),
    ],
)
def test_a_refusal_is_unreachable_and_server_errors_are_retried(target, status, said):
    with serving(CONTENT) as server:
        server.status = status
        with pytest.raises(UnreachableError) as caught:
            fetch(server.url, target)
        assert isinstance(caught.value, RefusedError) == bool(said)
        answer = f"it answers {said}" if said else "it keeps answering with a server error"
        assert str(caught.value) == answer
        assert len(server.requests) == (1 if said else 4)


def test_an_answer_may_be_elsewhere_and_must_come_in_time(target, monkeypatch):
    asked = []

    def head(self, url, **how):
        asked.append((url, how))
        raise requests.ConnectTimeout("x")

    monkeypatch.setattr(requests.Session, "head", head)
    with pytest.raises(UnreachableError, match=r"^no answer in time$"):
        fetch("http://files.invalid/ml.zip", target)
    how = {"allow_redirects": True, "timeout": download.CONNECT_TIMEOUT}
    assert asked == [("http://files.invalid/ml.zip", how)]


class Authority:
    """One that signs certificates of localhost, in a folder of its own."""

    def __init__(self, folder):
        x509 = pytest.importorskip("cryptography.x509", reason="no cryptography: MLflow brings it")
        from cryptography.hazmat.primitives.asymmetric import ec

        self.x509, self.folder = x509, folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = self._name("A test's authority")
        self.certificate = self.sign(self.name, self.key, timedelta(days=1), is_authority=True)

    def _name(self, text):
        x509 = self.x509
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def sign(self, name, key, expires, is_authority=False):
        """The file of a certificate that ends that long from now."""
        from cryptography.hazmat.primitives import hashes, serialization

        x509, now = self.x509, datetime.now(UTC)
        unsigned = (
            x509.CertificateBuilder(self.name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=900))
            .not_valid_after(now + expires)
        )
        basic = x509.BasicConstraints(ca=is_authority, path_length=None)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        unsigned = unsigned.add_extension(basic, True).add_extension(names, False)
        pem = serialization.Encoding.PEM
        path = self.folder / ("authority.pem" if is_authority else "server.pem")
        path.write_bytes(
            unsigned.sign(self.key, hashes.SHA256()).public_bytes(pem)
            + key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path

    @contextmanager
    def serving(self, expires):
        """The URL of a file over HTTPS, with a certificate that ends that long from now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.sign(self._name("localhost"), self.key, expires))
        with serving(CONTENT) as server:
            server.handle_error = lambda *_: None  # a client that hangs up
            server.socket = context.wrap_socket(server.socket, server_side=True)
            yield server, f"https://localhost:{server.server_port}/ml.zip"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def trusted(authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
    return authority


def test_a_certificate_that_is_trusted(trusted, target):
    with trusted.serving(timedelta(days=1)) as (_, url):
        fetch(url, target)
    assert target.read_bytes() == CONTENT


def test_an_expired_certificate_is_told_with_its_day(trusted, target):
    day = datetime.now(UTC) - timedelta(days=90)
    with trusted.serving(timedelta(days=-90)) as (server, url):
        with pytest.raises(UnreachableError, match=f"^its certificate expired on {day:%Y-%m-%d}$"):
            fetch(url, target)
        assert server.requests == [], "nothing is asked of a host that is not verified"
    assert left_in(target.parent) == []


def test_an_expired_certificate_without_its_day(trusted, target, monkeypatch):
    def away(*_, **__):
        raise OSError

    monkeypatch.setattr(download.ssl, "create_default_context", away)
    with (
        trusted.serving(timedelta(days=-90)) as (_, url),
        pytest.raises(UnreachableError, match=r"^its certificate expired$"),
    ):
        fetch(url, target)


def test_only_a_certificate_that_has_ended_has_a_day(trusted, monkeypatch):
    with trusted.serving(timedelta(days=1)) as (_, url):
        assert download._expiry(url) == ""  # another one of its chain has expired
        monkeypatch.setattr(download.ssl, "cert_time_to_seconds", lambda _: 1_600_000_000.0)
        for now, day in ((1_600_000_000.0, ""), (1_600_000_000.1, " on 2020-09-13")):
            clock = SimpleNamespace(time=lambda now=now: now)
            monkeypatch.setattr(download, "time", clock)
            assert download._expiry(url) == day


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone cannot be changed")
def test_the_day_is_that_of_utc(trusted, monkeypatch):
    monkeypatch.setattr(download.ssl, "cert_time_to_seconds", lambda _: 1_600_000_000.0)
    with trusted.serving(timedelta(days=1)) as (_, url), monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC-14")  # 14 hours later
        time.tzset()
        try:
            assert download._expiry(url) == " on 2020-09-13"
        finally:
            patch.undo()
            time.tzset()


def test_nobody_is_asked_for_the_day_past_a_proxy(trusted, monkeypatch):
    with trusted.serving(timedelta(days=-90)) as (_, url):
        assert download._expiry(url).startswith(" on ")
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "")
        assert download._expiry(url) == ""
        monkeypatch.setenv("no_proxy", "localhost")
        assert download._expiry(url).startswith(" on ")


def test_the_day_is_asked_for_at_the_port_of_https_and_not_for_long(trusted, monkeypatch):
    asked = []

    def away(*args):
        asked.append(args)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", away)
    assert download._expiry("https://files.invalid/ml.zip") == ""
    assert download._expiry("https://files.invalid:8443/ml.zip") == ""
    assert download._expiry("ml.zip") == ""
    assert asked == [(("files.invalid", port), download.CONNECT_TIMEOUT) for port in (443, 8443)]


@pytest.mark.parametrize("days", [1, -90])
def test_a_certificate_of_nobody_known_cannot_be_verified(authority, target, days):
    with (
        authority.serving(timedelta(days=days)) as (server, url),
        pytest.raises(UnreachableError, match=r"^its certificate cannot be verified$"),
    ):
        fetch(url, target)
    assert server.requests == []


def test_a_proxy_is_used(target, monkeypatch):
    with serving(CONTENT) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("no_proxy", "")
        fetch("http://files.invalid/ml.zip", target)
        assert proxy.requests[-1] == ("GET", "http://files.invalid/ml.zip")


def test_a_full_disk_is_an_error_and_leaves_nothing(target, monkeypatch):
    def full(self, url, output_file, pooch):
        Path(output_file).write_bytes(b"half")
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    with serving(CONTENT) as server, pytest.raises(InputError) as caught:
        fetch(server.url, target)
    assert str(caught.value) == (
        f"cannot write {target}: No space left on device. Free some space, or set CF_DATA_HOME to "
        "a folder that can be written to, and run the same command again."
    )
    assert left_in(target.parent) == []


def test_two_at_once_download_once(target):
    with serving(CONTENT) as server:
        both = [threading.Thread(target=fetch, args=(server.url, target)) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert [method for method, _ in server.requests] == ["HEAD", "GET"]
    assert target.read_bytes() == CONTENT


def test_a_lock_held_for_long_is_a_message(target, monkeypatch):
    monkeypatch.setattr(download, "LOCK_TIMEOUT", 0.05)
    target.parent.mkdir()
    lock = target.parent / ".ml.zip.lock"
    with FileLock(lock), pytest.raises(InputError) as caught:
        fetch("http://127.0.0.1:1/ml.zip", target)
    assert str(caught.value) == (
        f"{lock}: another process has been downloading ml.zip for long. Wait for it or end it, "
        "then run the same command again."
    )


def test_the_bar_shows_what_has_arrived():
    with progress_bar("ml.zip", 0) as task:
        bar = download._Bar(task)
        bar.total = 5_000_000
        bar.update(1_500_000)
        bar.update(1_000_000)
        assert (task.total, task.completed) == (5_000_000, 2_500_000)
        assert task.fields["text"] == "2.5 MB"
        bar.reset()
        assert task.completed == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (requests.exceptions.ProxyError("x"), "the proxy cannot be reached or refuses"),
        (requests.exceptions.SSLError("x"), "its certificate cannot be verified"),
        (requests.exceptions.RetryError("x"), "it keeps answering with a server error"),
        (requests.exceptions.ConnectTimeout("x"), "no answer in time"),
        (requests.exceptions.ReadTimeout(), "no answer in time"),
        (requests.exceptions.ChunkedEncodingError("x"), "the connection broke off"),
        (requests.exceptions.ConnectionError("x"), "no connection, or it stalled"),
        (ValueError("something else"), "something else"),
    ],
)
def test_a_failed_request_in_a_few_words(error, said):
    assert download._explain(error) == said


@pytest.mark.parametrize("kind", [requests.exceptions.SSLError, Exception])
def test_a_certificate_that_expired_on_the_way_to_nobody_has_no_day(kind):
    """An error without the request, as libraries between may raise it."""
    refusal = ssl.SSLCertVerificationError("x")
    refusal.verify_code = download.HAS_EXPIRED
    error = kind(SimpleNamespace(reason=OSError(refusal)))
    assert download._explain(error) == "its certificate expired"


def python_whose_pip(tmp_path, monkeypatch, script):
    """Put a shell script in place of python; $2 is pip's --dest."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\n{script}\n')
    python.chmod(0o755)
    monkeypatch.setattr(download.sys, "executable", str(python))


def test_pip_brings_the_wheel(tmp_path, target, monkeypatch):
    python_whose_pip(tmp_path, monkeypatch, 'printf wheel > "$2/r-1.whl"; echo "$3" > "$2/asked"')
    by_pip("r==1", target, WHEEL)
    assert target.read_text() == "wheel"
    assert left_in(target.parent) == ["ml.zip"]


def test_pip_installs_nothing_and_asks_nothing(target, monkeypatch):
    def run(command, **how):
        commands.append(command)
        assert how == {
            "capture_output": True,
            "encoding": "utf-8",
            "errors": "replace",
            "timeout": download.PIP_TIMEOUT,
        }
        (Path(command[-2]) / "r-1.whl").write_text("wheel")
        return subprocess.CompletedProcess(command, 0, "", "")

    commands = []
    monkeypatch.setattr(subprocess, "run", run)
    by_pip("r==1", target, WHEEL)
    (command,) = commands
    folder = command.pop(-2)
    assert Path(folder).parent == target.parent
    assert command == [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *("--disable-pip-version-check", "--no-input", "--retries=1", "--timeout=8", "--dest"),
        "r==1",
    ]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            'echo first >&2; echo "ERROR: No matching distribution found for r==1" >&2; exit 1',
            "No matching distribution found for r==1",
        ),
        ("exit 3", "exit status 3"),
        (r"printf '\377\303\251' >&2; exit 1", "\ufffd\u00e9"),
        ("exit 0", "it brought no wheel of r==1"),
        ("exec sleep 60", "no answer within 0 s"),
    ],
)
def test_pip_that_brings_nothing_is_unreachable(tmp_path, target, monkeypatch, script, reason):
    monkeypatch.setattr(download, "PIP_TIMEOUT", 60.0 if "sleep" not in script else 0.2)
    python_whose_pip(tmp_path, monkeypatch, script)
    with pytest.raises(UnreachableError) as caught:
        by_pip("r==1", target, WHEEL)
    assert str(caught.value) == reason
    assert left_in(target.parent) == []


def test_pip_that_brings_another_wheel_is_an_error(tmp_path, target, monkeypatch):
    python_whose_pip(tmp_path, monkeypatch, 'touch "$2/r-1.whl"')
    with pytest.raises(InputError, match=f"^r==1: wrong sha256: expected {WHEEL}, got e3b0c442"):
        by_pip("r==1", target, WHEEL)
    assert left_in(target.parent) == []


def test_pip_on_a_full_disk_is_an_error(tmp_path, target, monkeypatch):
    python_whose_pip(
        tmp_path, monkeypatch, 'echo "ERROR: [Errno 28] No space left on device" >&2; exit 1'
    )
    with pytest.raises(InputError, match="No space left on device") as caught:
        by_pip("r==1", target, WHEEL)
    assert caught.value.__cause__.errno == ENOSPC
    assert left_in(target.parent) == []
