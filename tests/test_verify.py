"""`cf verify` finds what a fresh run of the last commit makes otherwise, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from cf.cli import verify
from cf.core.errors import InputError
from tests.project import Project


@pytest.fixture(scope="module")
def committed(made: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = made.copy(tmp_path_factory.mktemp("verify") / "project", "mlruns").commit()
    project.run("git", "add", "-f", "dvc.lock", "reports/metrics.json")
    return project


def test_what_was_committed_is_made_again_to_the_bit(committed: Project) -> None:
    before = committed.run("git", "status", "--porcelain").stdout
    done = committed.cf("verify")
    assert "Every file is the same to the bit." in done.stdout
    assert "dotbias" in done.stdout
    assert committed.run("git", "status", "--porcelain").stdout == before
    assert not (committed.folder / "mlruns").exists()


def test_other_metrics_and_files_than_the_code_makes_are_found(
    committed: Project, tmp_path: Path
) -> None:
    project = committed.copy(tmp_path / "project")
    path = project.folder / "reports/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["dotbias"]["rmse"] += 2e-5
    metrics["bayesmf"]["rmse"] += 2e-5  # which another order of rounding explains
    path.write_text(json.dumps(metrics))
    lock = project.folder / "dvc.lock"
    lock.write_text(
        lock.read_text().replace(
            "path: blend\n      hash: md5\n      md5: ",
            "path: blend\n      hash: md5\n      md5: 0",
        )
    )
    project.run("git", "commit", "-qam", "other figures")
    done = project.cf("verify", check=False)
    assert done.returncode == 1
    assert "Not the same to the bit: blend. On" in done.stdout
    assert done.stderr.startswith("cf verify: dotbias: farther from the committed RMSE")


@pytest.mark.parametrize("stages", [[1], {"a": 1}, {"a": {"outs": 1}}, {"a": {"outs": [{}]}}])
def test_an_odd_lock_that_was_committed_is_named(stages: Any) -> None:
    with pytest.raises(InputError, match=r"^dvc.lock: cannot be read"):
        list(verify.differing_files({"stages": stages}, {}))


@pytest.mark.parametrize("scores", [3, [1], {"rmse": "x"}, {"rmse": []}])
def test_odd_metrics_that_were_committed_are_named(scores: Any) -> None:
    with pytest.raises(InputError, match=r"^reports/metrics.json: cannot be read"):
        verify.compare({"dot": scores}, {"dot": {"rmse": 1.0}}, [])


def test_without_a_commit_of_results_it_says_what_to_do(tmp_path: Path, made: Project) -> None:
    project = made.copy(tmp_path / "project", "mlruns")
    done = project.cf("verify", check=False)
    assert done.returncode == 1
    assert "Run `dvc repro`, then commit both." in done.stderr
    assert "Traceback" not in done.stderr
