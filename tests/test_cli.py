"""The program `cf`, typed as a user would."""

import os
import subprocess
import sys
import tomllib
from errno import EMFILE, ENOSPC
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cf.cli import cv, show
from cf.cli.main import app
from cf.core.errors import InputError

COMMANDS = [
    *("show", "inspect", "predict", "recommend", "similar", "explain", "score", "models", "rate"),
    *("demo", "tune", "grid", "cv", "rank", "verify", "ui", "sync"),
]
HEAVY = ["torch", "numpy", "pandas", "matplotlib", "mlflow", "dvc", "optuna", "pydantic"]


def cf(*arguments: str) -> tuple[int, str, str]:
    """The exit status of a command of `cf`, and what it prints to stdout and stderr."""
    done = CliRunner().invoke(app, arguments, prog_name="cf")
    return done.exit_code, done.stdout, done.stderr


def test_every_command_has_help_and_no_command_is_undocumented() -> None:
    status, out, _ = cf("--help")
    assert status == 0
    assert [line.split()[0] for line in out.partition("Commands:")[2].splitlines()[1:]] == COMMANDS
    assert "...\n" not in out.partition("Commands:")[2], "a summary fits its line"
    for command in COMMANDS:
        status, out, _ = cf(command, "--help")
        assert status == 0
        assert out.startswith(f"Usage: cf {command} [OPTIONS]")


def test_help_waits_for_no_library() -> None:
    code = (
        "import sys; from cf.cli.main import app; app(['--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (InputError("params.yaml: no such file."), 1, "cf show: params.yaml: no such file.\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_of_the_input_is_one_plain_line(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, status: int, message: str
) -> None:
    def main() -> None:
        raise raised

    monkeypatch.setattr(show, "main", main)
    assert cf("show") == (status, "", message)


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_an_argument_out_of_bounds_is_refused(port: str) -> None:
    status, _, err = cf("ui", "--port", port)
    assert status == 2
    assert "Invalid value for '--port'" in err


def test_the_installed_program_is_this_one(pytestconfig: pytest.Config) -> None:
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"cf": "cf.cli.main:app"}


def test_an_experiment_runs_its_own_code_and_not_the_installed_one(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """In the folder of `dvc exp run --temp`, while cf is installed from another folder."""
    for path, content in {
        "cf/__init__.py": "WHERE = 'committed'",
        "stages/__init__.py": "",
        "stages/where.py": "import cf; open('where.json', 'w').write(f'\"{cf.WHERE}\"')",
        "dvc.yaml": "stages: {where: {cmd: python -m stages.where, deps: [cf], "
        "outs: [where.json: {cache: false}]}}",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)

    def run(*command: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(pytestconfig.rootpath)}
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "-q")
    run("git", "config", "user.name", "n")
    run("git", "config", "user.email", "e@x.org")
    run("dvc", "init", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "one")
    (tmp_path / "cf/__init__.py").write_text("WHERE = 'changed'")
    run("dvc", "exp", "run", "--temp", "--name", "changed")
    assert not (tmp_path / "where.json").exists()
    (ref,) = run("git", "for-each-ref", "--format=%(refname)", "refs/exps/**/changed").split()
    assert run("git", "show", f"{ref}:where.json") == '"changed"'


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(ENOSPC, "No space left on device", "/tmp/x"),
         "cf cv: /tmp/x: No space left on device.\n"),
        (OSError(EMFILE, "Too many open files"), "cf cv: Too many open files.\n"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_said_in_one_line(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(cv, "main", refuse)
    with pytest.raises(SystemExit) as raised:
        app(["cv"])
    assert raised.value.code == 1
    assert capsys.readouterr().err == said
