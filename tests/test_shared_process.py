"""One process for the stages of a `dvc repro`, and what becomes of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cf.core import shared_process

WORKER = """
import os, sys, time
from cf.core import shared_process

def work(lines):
    read = []
    for line in lines:
        if line == "print\\n":
            print("a library's word")
        if line == "hang\\n":
            time.sleep(600)
        if line == shared_process.END:
            return f"{os.getpid()} {sys.argv[1]} " + " ".join(read)
        read.append(line.strip())
    return "died"

shared_process.serve(work)
"""
STAGE = """
import os, signal, sys
from cf.core import shared_process

connection = shared_process.connect("worker", *sys.argv[2:])
connection.send("one")
connection.send("two")
if sys.argv[1] == "hangs":
    connection.send("hang")
    try:
        connection.close(timeout_s=0.5)
    except TimeoutError:
        print("given up")
    sys.exit()
if sys.argv[1] == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
print(connection.close(timeout_s=60))
"""
DVC = """
import json, os, signal, subprocess, sys

answers = []
for name, argument, variables in json.loads(sys.argv[1]):
    command = [sys.executable, "-c", sys.argv[2], name, argument]
    environment = {**os.environ, "DVC_STAGE": name, **variables}
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True).stdout
    answers.append(said.split())
    if name == "killed":
        os.kill(int(answers[-1][0]), signal.SIGKILL)
print(json.dumps(answers))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> Path:
    """The current folder: a project with DVC's folder for temporary files, and a worker."""
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{pytestconfig.rootpath}{os.pathsep}{tmp_path}")
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


def repro(*stages: tuple[str, str, dict[str, str]]) -> list[list[str]]:
    """What each stage was answered: its process, the argument that started it, and the lines."""
    command = [sys.executable, "-c", DVC, json.dumps(stages), STAGE]
    # The worker has the same standard error: this waits, and not for long, until it ends as well.
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert said.stderr == ""
    answers: list[list[str]] = json.loads(said.stdout)
    return answers


def test_the_stages_of_a_repro_have_one_process_which_ends_with_it(folder: Path) -> None:
    first, second, third = repro(("a", "x", {}), ("b", "y", {}), ("c", "z", {}))
    assert first[1:] == ["x", "one", "two"]
    assert first == second == third
    assert not list((folder / ".dvc/tmp").iterdir())


def test_two_repros_have_two(folder: Path) -> None:
    assert repro(("a", "x", {}))[0][0] != repro(("a", "x", {}))[0][0]


def test_a_stage_with_settings_of_its_own_has_a_process_of_its_own(folder: Path) -> None:
    server = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    first, second, third = repro(("a", "x", {}), ("b", "y", server), ("c", "z", {}))
    assert first == third
    assert second[1] == "y"


def test_where_there_is_no_folder_for_the_socket_each_has_its_own(folder: Path) -> None:
    (folder / ".dvc/tmp").rmdir()
    first, second = repro(("a", "x", {}), ("b", "y", {}))
    assert (first[1], second[1]) == ("x", "y")


def test_after_one_that_was_killed_the_next_stage_starts_another(folder: Path) -> None:
    first, second, third = repro(("killed", "x", {}), ("b", "y", {}), ("c", "z", {}))
    assert first[1] == "x"
    assert second == third
    assert second[1] == "y"


def test_a_stage_that_dies_leaves_the_process_to_the_next(folder: Path) -> None:
    first, died, third = repro(("a", "x", {}), ("dies", "y", {}), ("c", "z", {}))
    assert died == []
    assert first == third


def test_after_one_that_hangs_the_next_stage_starts_another(folder: Path) -> None:
    command = [sys.executable, "-c", DVC, json.dumps([("a", "x", {}), ("hangs", "y", {})]), STAGE]
    with subprocess.Popen([*command], stdout=subprocess.PIPE, text=True) as dvc:
        assert dvc.stdout
        first, hung = json.loads(dvc.stdout.read())
    assert hung == ["given", "up"]
    os.kill(int(first[0]), signal.SIGKILL)
    assert not list((folder / ".dvc/tmp").iterdir())


def connect(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Any:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return shared_process.connect("worker", "x")


def test_without_dvc_the_process_ends_with_its_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect(monkeypatch)
    connection.send("line")
    assert connection.close(timeout_s=60) == f"{connection.process.pid} x line"
    assert connection.process.returncode == 0


def test_what_a_library_prints_is_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(monkeypatch)
    connection.send("print")
    assert connection.close(timeout_s=60) == f"{connection.process.pid} x print"


def test_one_that_is_killed_has_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(monkeypatch)
    connection.process.kill()
    connection.process.wait()
    connection.send("line")
    assert connection.close(timeout_s=60) == ""
