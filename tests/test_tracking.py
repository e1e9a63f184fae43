"""Tracking against a real MLflow store."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from cf import params, tracking
from cf.data.tables import Provenance, SplitFacts
from cf.training.fit import Epoch
from tests.stores import client, environment, runs

PROVENANCE = Provenance(
    dataset="made-up",
    requested="made-up",
    source="test",
    sha256="ab" * 32,
    n_ratings=10,
    n_users=3,
    n_items=4,
    rating_range=(0.5, 5.0),
)
SPLIT = SplitFacts(0.2, 42, 8, 2, 1, "cd" * 32)
TRAINING = params.Training.model_validate(
    {
        "model": {"name": "dot", "n_factors": 3, "init_range": [0.0, 0.1]},
        "seed": 1,
        "device": "cpu",
        "n_threads": 1,
        "batch_size": 8,
        "optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0},
        "schedule": {"n_epochs": [2], "learning_rate": 0.1, "anneal": "none"},
    }
)
ON = params.Tracking(enabled=True, experiment="cf")
EPOCHS = [Epoch(1, 0.5, 0.75, 0.1, 2.0), Epoch(2, 0.25, 0.5, 0.1, 2.0)]


@pytest.fixture
def project(
    tmp_path: Path, ready_made_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[Run]]:
    """Makes a fresh project the current folder; calling it gives all runs of its store."""
    shutil.copytree(ready_made_store, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda: runs(tmp_path)


def train(recorder: tracking.Recorder) -> None:
    recorder.start("cf", "dot", TRAINING, PROVENANCE, SPLIT)
    for epoch in EPOCHS:
        recorder.log_metrics(epoch.metrics(), step=epoch.epoch)


def test_a_training_is_one_complete_run(project: Callable[[], list[Run]]) -> None:
    Path("weights").write_text("w")
    with tracking.recorder(ON) as recorder:
        train(recorder)
        recorder.log_files([Path("weights")], "model")
        recorder.end("FINISHED")
    (run,) = project()
    assert run.info.run_id == recorder.run_id
    assert run.info.run_name == "dot"
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert run.data.params == {
        "model": "dot",
        "n_factors": "3",
        "init_range": "[0.0, 0.1]",
        "seed": "1",
        "device": "cpu",
        "n_threads": "1",
        "batch_size": "8",
        "optimizer": "sgd",
        "momentum": "0.9",
        "weight_decay": "0.0",
        "n_epochs": "[2]",
        "learning_rate": "0.1",
        "anneal": "none",
        "dataset": "made-up",
        "split_fraction": "0.2",
        "split_seed": "42",
    }
    history = client(Path()).get_metric_history(run.info.run_id, "loss/valid")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.75), (2, 0.5)]
    assert set(run.data.metrics) == {
        "loss/train",
        "loss/valid",
        "learning_rate",
        "seconds_an_epoch",
    }
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "made-up"
    assert run.data.tags["dataset_sha256"] == "ab" * 32
    files = client(Path()).list_artifacts(run.info.run_id, "model")
    assert [file.path for file in files] == ["model/weights"]


def test_the_commit_is_a_tag_where_there_is_git(project: Callable[[], list[Run]]) -> None:
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x.org"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    with tracking.recorder(ON) as recorder:
        train(recorder)
        recorder.end("FINISHED")
    (run,) = project()
    assert run.data.tags["mlflow.source.git.commit"] == head.stdout.strip()


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_stops_early_says_so(
    project: Callable[[], list[Run]], error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), tracking.recorder(ON) as recorder:  # noqa: PT012
        train(recorder)
        raise error
    (run,) = project()
    assert run.info.status == status


def test_a_training_that_is_killed_is_ended_as_failed(
    project: Callable[[], list[Run]], pytestconfig: pytest.Config
) -> None:
    code = (
        "import os, signal; from tests.test_tracking import *;"
        "context = tracking.recorder(ON); recorder = context.__enter__(); train(recorder);"
        f"os.kill(os.getpid(), {int(signal.SIGKILL)})"
    )
    environ = {**environment(), "PYTHONPATH": str(pytestconfig.rootpath)}
    # the recorder holds the same standard error, so this waits until it has ended as well
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, stderr=subprocess.PIPE, check=False
    )
    assert done.returncode == -signal.SIGKILL
    (run,) = project()
    assert run.info.status == "FAILED"
    assert run.data.metrics["loss/valid"] == 0.5


def test_adding_twice_doubles_nothing_and_moves_no_time(
    project: Callable[[], list[Run]], tmp_path: Path
) -> None:
    with tracking.recorder(ON) as recorder:
        train(recorder)
        recorder.end("FINISHED")
    (before,) = project()
    picture = tmp_path / "p.png"
    picture.write_text("p")
    scores: dict[str, Any] = {"rmse": 0.9, "rmse_cold": None, "n": 10}
    for _ in range(2):
        with tracking.recorder(ON) as again:
            again.add(recorder.run_id, scores, [picture])
    (after,) = project()
    assert (after.info.start_time, after.info.end_time, after.info.status) == (
        before.info.start_time,
        before.info.end_time,
        "FINISHED",
    )
    assert after.data.metrics["rmse"] == 0.9
    assert "rmse_cold" not in after.data.metrics
    assert len(client(tmp_path).get_metric_history(after.info.run_id, "rmse")) == 1
    files = client(tmp_path).list_artifacts(after.info.run_id, "figures")
    assert [file.path for file in files] == ["figures/p.png"]


def test_a_server_that_is_away_costs_a_warning_and_no_result(
    project: Callable[[], list[Run]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with tracking.recorder(ON) as recorder:
        train(recorder)
        recorder.end("FINISHED")
    assert recorder.run_id is None
    assert "warning: MLflow did not record this" in capfd.readouterr().err


def test_switched_off_it_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with tracking.recorder(params.Tracking(enabled=False, experiment="cf")) as recorder:
        train(recorder)
        recorder.end("FINISHED")
    assert recorder.run_id is None
    assert not list(tmp_path.iterdir())


def test_an_experiment_that_runs_elsewhere_records_in_the_projects_store(
    project: Callable[[], list[Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with tracking.recorder(ON) as recorder:
        train(recorder)
        recorder.end("FINISHED")
    assert [run.info.run_id for run in project()] == [recorder.run_id]
    assert not list(elsewhere.iterdir())


def test_two_at_once_on_a_fresh_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with tracking.recorder(ON) as one, tracking.recorder(ON) as other:
        for recorder in (one, other):
            train(recorder)
            recorder.end("FINISHED")
    assert {run.info.run_id for run in runs(tmp_path)} == {one.run_id, other.run_id}
    assert one.run_id != other.run_id
