"""Run records."""

import subprocess
from pathlib import Path

import pytest

from cf.core import config
from cf.core.errors import InputError
from cf.core.io import write_dataclass
from cf.tracking.record import new_training_record, read_all
from tests.test_mlflow_store import PROVENANCE, SPLIT, TRAINING, new


def test_the_description_of_a_sampling_says_what_it_leaves_out() -> None:
    sampling = config.Sampling(
        model={"name": "bayesmf", "n_factors": 10, "n_samples": 100},
        seed=1,
        n_threads=1,
        gibbs=config.Gibbs(
            n_sweeps=200,
            burn_in=20,
            user_noise=True,
            days=False,
            genres=True,
            year=False,
            popularity=True,
            item_implicit=True,
            user_implicit=True,
        ),
    )
    record = new_training_record("cf", "bayesmf", sampling, PROVENANCE, SPLIT)
    note = "n_factors 10, 200 sweeps, no days, no year, n_samples 100"
    assert record.tags["mlflow.note.content"] == note
    assert record.tags["mlflow.source.name"] == "stages/sample.py"
    assert record.parameters["model"] == "bayesmf"
    assert record.parameters["burn_in"] == 20
    assert record.parameters["days"] is False


def test_the_name_has_what_is_not_as_committed() -> None:
    def name(**changed: object) -> str:
        return new_training_record("cf", "dot", TRAINING, PROVENANCE, SPLIT, changed).name

    assert name() == "dot"
    assert name(n_factors=3, n_epochs=[2]) == "dot n_factors=3 n_epochs=[2]"
    assert name(n_factors=3, n_epochs=[2], seed=1) == "dot n_factors=3 n_epochs=[2] ..."


def test_the_commit_is_a_tag_where_there_is_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "mlflow.source.git.commit" not in new().tags
    Path(".gitignore").write_text("mlruns")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    for dirty in ("false", "true"):
        record = new()
        assert record.tags["mlflow.source.git.commit"] == head.stdout.strip()
        assert record.tags["git_dirty"] == dirty
        Path("dvc.lock").write_text("DVC's own")
        Path("new.py").write_text("mine")


def test_only_finished_trainings_on_this_split_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished, running, other = new(), new(), new()
    finished.finish()
    write_dataclass(Path("runs/dot.json"), finished)
    write_dataclass(Path("runs/killed.json"), running)
    assert read_all(SPLIT) == {"dot": finished}
    other.tags["split_sha256"] = "another"
    write_dataclass(Path("runs/other.json"), other)
    with pytest.raises(InputError, match=r"runs/other.json: other was trained on other rows"):
        read_all(SPLIT)
