"""The workflow for those who host the project: it cannot run here, but what it calls is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(job: dict[str, Any]) -> list[str]:
    """The lines that a job runs, one for each value of the matrix that it names."""
    found = []
    for line in "\n".join(step.get("run", "") for step in job["steps"]).splitlines():
        (name, *_) = [*re.findall(r"\$\{\{ matrix\.(\w+) \}\}", line), ""]
        values = job["strategy"]["matrix"][name] if name else [""]
        found += [re.sub(r"\$\{\{.*?\}\}", value, line) for value in values]
    return found


def test_all_systems_and_versions_are_tested_as_locked_and_the_ranges_weekly() -> None:
    assert JOBS["locked"]["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "macos-latest", "windows-latest"],
        "python": ["3.11", "3.12", "3.13"],
    }
    assert {"make check PYTHON=python", "make test PYTHON=python"} <= {*commands(JOBS["locked"])}
    asked = {line.split()[1] for line in commands(JOBS["ranges"]) if line.startswith("make ")}
    assert asked == {"test-lowest", "test-newest"}


@pytest.mark.parametrize("job", JOBS)
def test_what_the_workflow_calls_is_there(job: str) -> None:
    for line in commands(JOBS[job]):
        if line.startswith("make "):
            assert line.split()[1] in TARGETS, line
        for path in re.findall(r"-r (\S+)", line):
            assert (ROOT / path).is_file(), line
        for version in re.findall(r"torch==(\S+)", line):
            lock = (ROOT / "requirements/runtime.txt").read_text()
            assert f"\ntorch=={version} " in lock
    for step in JOBS[job]["steps"]:
        if "uses" in step:  # by commit, since a tag can move
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])


def test_installing_without_make_is_as_make_does_it_and_as_the_docs_say() -> None:
    without = [line for line in commands(JOBS["locked"]) if line.startswith("python -m pip")]
    page = (ROOT / "docs/reproducibility.md").read_text()
    for line in without:
        assert line in page
    makefile = (ROOT / "Makefile").read_text().replace("\\\n\t", "")
    for options in (
        "--require-hashes --no-deps --no-build-isolation",
        "--no-deps --no-build-isolation --editable",
    ):
        assert options in makefile
