"""Servers in processes of their own: of models, of MLflow's pages, and a database."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.stores import environment

ROOT = Path(__file__).parent.parent
START_S = 90
DEBIANS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # not on PATH
BIN = DEBIANS[-1] if DEBIANS else Path(shutil.which("initdb") or "/nowhere/initdb").resolve().parent
OWNER = "postgres" if hasattr(os, "geteuid") and os.geteuid() == 0 else None  # it refuses root
NEEDS_POSTGRESQL = pytest.mark.skipif(
    not (BIN / "initdb").exists(), reason="no PostgreSQL here: apt install postgresql"
)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(project: Path) -> Iterator[tuple[str, "subprocess.Popen[str]", list[str]]]:
    """The address that `cf ui` prints once it can be opened, its process, and all it printed."""
    port = str(free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "cf.cli", "ui", "--port", port],
        cwd=project,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            printed = [process.stdout.readline()]
            while printed[-1] and not printed[-1].startswith("MLflow: "):
                printed.append(process.stdout.readline())
            address = printed[-1].removeprefix("MLflow: ").partition(" ")[0]
            assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/")
            yield address, process, printed
        finally:
            process.terminate()


@contextmanager
def served(model: str, folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """The address at which MLflow serves a model, started in a folder, as long as the block."""
    port = free_port()
    where = ("--host", "127.0.0.1", "--port", str(port), "--env-manager", "local")
    log = folder / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, *where],
            cwd=folder,
            env=dict(environ),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the command starts the server as another process
        )
    try:
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + START_S
        while not _answers(f"{address}/ping"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


@contextmanager
def postgresql_server() -> Iterator[int]:
    """The port of 127.0.0.1 at which PostgreSQL lets all in, as long as the block; `cf` owns it."""
    pytest.importorskip("psycopg2", reason="no psycopg2 here: pip install psycopg2-binary")
    port = free_port()
    # not below pytest's folder, which is the user's own: the owner could not enter it
    folder = Path(subprocess.check_output(["mktemp", "-d"], user=OWNER, cwd="/", text=True).strip())
    try:
        subprocess.run(
            [BIN / "initdb", "-D", folder / "db", "-A", "trust", "-U", "cf", "-E", "UTF8", "-N"],
            user=OWNER, cwd=folder, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        settings = [f"-c{name}" for name in ("fsync=off", "listen_addresses=127.0.0.1")]
        process = subprocess.Popen(
            [BIN / "postgres", "-D", folder / "db", "-p", str(port), "-k", folder, *settings],
            user=OWNER, cwd=folder, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            ask = [BIN / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
            assert any(subprocess.run(ask, check=False).returncode == 0 for _ in range(3000)), (
                "PostgreSQL does not answer"
            )
            yield port
        finally:
            process.send_signal(signal.SIGINT)  # end at once, whoever is connected
            process.wait()
    finally:
        shutil.rmtree(folder)
