"""How a stage or command ends: whatever the terminal, and whenever it is interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

STARS = "\u2501\u2501 \u00e9 \u2605"


def run(code: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_of_any_encoding_takes_all_output(encoding: str) -> None:
    code = (
        "from cf.core.errors import exit_on_input_error\nfrom rich.console import Console\n"
        f"@exit_on_input_error\ndef main():\n    print({STARS!r})\n"
        f"    Console().print({STARS!r})\nmain()\n"
    )
    ended = run(code, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) == 2


TALKS = (
    "from cf.core.errors import exit_on_input_error\nfrom rich.console import Console\n"
    "@exit_on_input_error\ndef main():\n    print('a' * 100_000)\n    Console().print('b')\n"
    "    print('c', flush=True)\n    open('done', 'w').close()\nmain()\n"
)


@pytest.mark.skipif(sys.platform == "win32", reason="as a shell of Unix does it")
@pytest.mark.parametrize("output", ["> /dev/full", "2> /dev/full > /dev/full", ">&-", "| true"])
def test_a_stage_ends_as_its_work_does_whoever_takes_its_output(
    output: str, tmp_path: Path
) -> None:
    if "full" in output and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "talks.py").write_text(TALKS)
    (tmp_path / "run.sh").write_text(f'("{sys.executable}" talks.py; echo $? > status) {output}\n')
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["sh", "run.sh"], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert ended.stderr == b""
    assert (tmp_path / "status").read_text() == "0\n"
    assert (tmp_path / "done").exists()


def test_an_error_is_said_at_once() -> None:
    code = (
        "import os, sys\nfrom cf.core.errors import exit_on_input_error\n"
        "@exit_on_input_error\ndef main():\n    print('said', file=sys.stderr)\n"
        "    os._exit(0)\nmain()\n"
    )
    assert run(code).stderr == "said\n"


def test_what_the_system_refuses_is_one_line() -> None:
    code = (
        "from cf.core.errors import exit_on_input_error\n"
        "@exit_on_input_error\ndef main():\n    open('/')\nmain()\n"
    )
    ended = run(code, DVC_STAGE="blend")
    assert (ended.returncode, ended.stderr) == (1, "blend: /: Is a directory.\n")


def test_machines_get_utf8_whatever_the_terminal() -> None:
    code = (
        "import pandas as pd\nfrom cf.cli.output import show\n"
        f"show(pd.DataFrame({{'title': [{STARS!r}]}}), '', 'csv')"
    )
    ended = run(code, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ended.stdout == f"title\n{STARS}\n"


def test_an_interrupt_during_imports_ends_a_stage_without_a_traceback() -> None:
    interrupt = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('on')"
    ended = run(f"import sys; sys.argv[0] = '-m'; import stages; {interrupt}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
    ended = run(f"import stages; {interrupt}")
    assert "KeyboardInterrupt" in ended.stderr, "who imports a stage keeps an interrupt's meaning"


def test_an_interrupt_of_a_stage_is_for_the_stage_to_handle() -> None:
    code = (
        "import sys; sys.argv[0] = '-m'\nimport stages, os, signal\n"
        "from cf.core.errors import exit_on_input_error\n"
        "@exit_on_input_error\ndef main():\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally:\n        print('tidied up')\n"
        "main()"
    )
    ended = run(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "tidied up\n", "")
