import subprocess
from pathlib import Path

import pytest

from cf.core import git

PARAMS = """
ingest: {dataset: toy, fallback: null}
split: {method: random, seed: 42}
train_dot:
  model: {name: dot, n_factors: 5}
  seed: 1
  optimizer: {name: sgd, weight_decay: %s}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS % "1e-05")


def run_git(*arguments: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@x.org"]
    subprocess.run(["git", *who, *arguments], check=True)


def test_without_a_commit_nothing_has_changed() -> None:
    assert git.changed_params("dot") == {}
    run_git("init", "-q")
    assert git.changed_params("dot") == {}


def test_what_changed_has_the_names_that_runs_have() -> None:
    run_git("init", "-q")
    run_git("add", ".")
    run_git("commit", "-qm", "one")
    assert git.changed_params("dot") == {}
    text = PARAMS % "0.00001"  # as DVC writes it, and as people do
    Path("params.yaml").write_text(text)
    assert git.changed_params("dot") == {}
    changed = text.replace("42", "43").replace("sgd", "adam").replace("toy", "own")
    Path("params.yaml").write_text(changed.replace("fallback: null", "fallback: ml-100k"))
    assert git.changed_params("dot") == {"dataset": "own", "split_seed": 43, "optimizer": "adam"}
    assert git.changed_params("new") == {}
