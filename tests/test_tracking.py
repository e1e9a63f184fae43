"""Tracking against a real MLflow store."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cf.core import config
from cf.core.provenance import Provenance, SplitInfo
from cf.tracking import record as tracking
from cf.tracking.record import RunRecord
from cf.training.history import Epoch
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
SETTINGS = {"fraction": 0.2, "seed": 42}
SPLIT = SplitInfo(0.2, 42, 8, 2, 1, "cd" * 32, "random", SETTINGS)
TRAINING = config.Training.model_validate(
    {
        "model": {"name": "dot", "n_factors": 3, "init_range": [0.0, 0.1]},
        "seed": 1,
        "device": "auto",
        "n_threads": 1,
        "batch_size": 8,
        "optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0},
        "schedule": {"n_epochs": [2], "learning_rate": 0.1, "anneal": "none"},
    }
)
ON = config.Tracking(enabled=True, experiment="cf")
OFF = config.Tracking(enabled=False, experiment="cf")
EPOCHS = [Epoch(1, 0.5, 0.75, 0.1, 2.0), Epoch(2, 0.25, 0.5, 0.1, 2.0)]


def execution(name: str = "dot") -> RunRecord:
    return tracking.execution("cf", name, TRAINING, PROVENANCE, SPLIT)


def begin(recorder: tracking.Recorder, training: RunRecord) -> None:
    recorder.start(training)
    for epoch in EPOCHS:
        recorder.log_epoch(training, epoch.epoch, epoch.metrics())


def train(settings: config.Tracking = ON, files: Sequence[Path] = ()) -> RunRecord:
    training = execution()
    with tracking.recorder(settings) as recorder:
        begin(recorder, training)
        recorder.finish(training, files)
    return training


def test_a_sampling_is_told_apart_by_what_it_leaves_out() -> None:
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
            raters=True,
            rated=True,
        ),
    )
    told = tracking.execution("cf", "bayesmf", sampling, PROVENANCE, SPLIT)
    note = "n_factors 10, 200 sweeps, no days, no year, n_samples 100"
    assert told.tags["mlflow.note.content"] == note
    assert told.tags["mlflow.source.name"] == "stages/sample.py"
    assert told.parameters["model"] == "bayesmf"
    assert told.parameters["burn_in"] == 20
    assert told.parameters["days"] is False


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


def test_a_training_is_one_complete_run(project: Callable[[], list[Run]]) -> None:
    Path("weights").write_text("w")
    training = train(files=[Path("weights")])
    (run,) = project()
    assert run.data.tags["execution"] == training.id
    assert run.info.run_name == "dot"
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert run.data.params == {
        "model": "dot",
        "n_factors": "3",
        "init_range": "[0.0, 0.1]",
        "seed": "1",
        "device": "auto",
        "n_threads": "1",
        "batch_size": "8",
        "optimizer": "sgd",
        "momentum": "0.9",
        "weight_decay": "0.0",
        "n_epochs": "[2]",
        "learning_rate": "0.1",
        "anneal": "none",
        "warm_up": "0.0",
        "dataset": "made-up",
        "split_method": "random",
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


def test_the_name_tells_what_is_not_as_committed() -> None:
    def name(**changed: object) -> str:
        return tracking.execution("cf", "dot", TRAINING, PROVENANCE, SPLIT, changed).name

    assert name() == "dot"
    assert name(n_factors=3, n_epochs=[2]) == "dot n_factors=3 n_epochs=[2]"
    assert name(n_factors=3, n_epochs=[2], seed=1) == "dot n_factors=3 n_epochs=[2] ..."


def test_the_commit_is_a_tag_where_there_is_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "mlflow.source.git.commit" not in execution().tags
    Path(".gitignore").write_text("mlruns")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    for dirty in ("false", "true"):
        training = execution()
        assert training.tags["mlflow.source.git.commit"] == head.stdout.strip()
        assert training.tags["git_dirty"] == dirty
        Path("dvc.lock").write_text("DVC's own")
        Path("new.py").write_text("mine")


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_stops_early_says_so(
    project: Callable[[], list[Run]], error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), tracking.recorder(ON) as recorder:  # noqa: PT012
        begin(recorder, execution())
        raise error
    (run,) = project()
    assert run.info.status == status


def test_a_training_that_is_killed_is_ended_as_failed(
    project: Callable[[], list[Run]], pytestconfig: pytest.Config
) -> None:
    code = (
        "import os, signal; from tests.test_tracking import *;"
        "context = tracking.recorder(ON); begin(context.__enter__(), execution());"
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


def test_a_run_that_was_left_running_is_ended_by_the_next(
    project: Callable[[], list[Run]], tmp_path: Path
) -> None:
    training = train()
    (run,) = project()
    store = client(tmp_path)
    store.update_run(run.info.run_id, status="RUNNING")
    with tracking.recorder(ON) as recorder:
        other = execution()
        recorder.start(other)
        recorder.log_epoch(other, 1, {"loss/train": 1.0})
        recorder.finish(other, [])
    statuses = {run.data.tags["execution"]: run.info.status for run in project()}
    assert statuses == {training.id: "KILLED", other.id: "FINISHED"}


def test_adding_twice_doubles_nothing_and_moves_no_time(
    project: Callable[[], list[Run]], tmp_path: Path
) -> None:
    training = train()
    (before,) = project()
    picture = tmp_path / "p.png"
    picture.write_text("p")
    scores: dict[str, Any] = {"rmse": 0.9, "rmse_cold": None, "n": 10}
    for _ in range(2):
        with tracking.recorder(ON) as again:
            again.add(training, scores, [picture])
    (after,) = project()
    assert (after.info.start_time, after.info.end_time, after.info.status) == (
        before.info.start_time,
        before.info.end_time,
        "FINISHED",
    )
    assert after.data.metrics["rmse"] == 0.9
    assert "rmse_cold" not in after.data.metrics
    store = client(tmp_path)
    assert len(store.get_metric_history(after.info.run_id, "rmse")) == 1
    files = store.list_artifacts(after.info.run_id, "figures")
    assert [file.path for file in files] == ["figures/p.png"]
    with tracking.recorder(ON) as again:
        again.add(training, {"rmse": 0.8})
    (changed,) = project()
    assert changed.data.metrics["rmse"] == 0.8


def test_a_store_that_lacks_the_run_gets_it_once_and_whole(
    project: Callable[[], list[Run]], tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.write_text("w")
    gone, another = tmp_path / "gone", tmp_path / "another"
    gone.write_text("g")
    another.write_text("of this training")
    training = train(OFF, [weights, gone, another])
    gone.unlink()
    another.write_text("of a later one")
    assert project() == []
    for _ in range(2):
        with tracking.recorder(ON) as recorder:
            recorder.add(training, {"rmse": 0.9})
    assert not recorder.failed
    (run,) = project()
    assert run.data.tags["backfilled"] == "true"
    assert (run.info.start_time, run.info.end_time) == (training.started, training.ended)
    assert run.info.status == "FINISHED"
    assert run.data.params["n_factors"] == "3"
    assert run.data.metrics["rmse"] == 0.9
    store = client(tmp_path)
    history = store.get_metric_history(run.info.run_id, "loss/valid")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.75), (2, 0.5)]
    files = store.list_artifacts(run.info.run_id, "model")
    assert [file.path for file in files] == ["model/weights"]


def registered(training: RunRecord, rmse: float) -> tuple[str, str]:
    """The version that is champion after registering, and why the training's is it or is not."""
    with tracking.recorder(ON) as recorder:
        recorder.add(training, {"rmse": rmse})
        recorder.register(training, rmse)
    assert not recorder.failed
    store = client(Path())
    version = store.get_model_version_by_alias("cf", "champion").version
    newest = max(store.search_model_versions("name = 'cf'"), key=lambda found: int(found.version))
    return str(version), newest.tags["decision"]


def test_the_champion_changes_only_for_a_better_model_on_the_same_rows(
    project: Callable[[], list[Run]],
) -> None:
    first, worse, better, other = execution(), execution(), execution(), execution()
    other.tags["split_sha256"] = "another"
    assert registered(first, 0.9) == ("1", "champion: the first version")
    version, decision = registered(worse, 0.95)
    assert version == "1"
    assert decision.startswith("no champion: RMSE 0.950000 does not beat version 1's 0.900000")
    version, decision = registered(better, 0.8)
    assert version == "3"
    assert decision.startswith("champion: RMSE 0.800000 beats version 1's 0.900000")
    version, decision = registered(other, 0.1)
    assert version == "3"
    assert "another data set or split" in decision
    assert registered(better, 0.8)[0] == "3"
    assert len(client(Path()).search_model_versions("name = 'cf'")) == 4


def test_a_version_of_another_model_is_none_of_ours(
    project: Callable[[], list[Run]],
) -> None:
    Path("weights").write_text("w")
    training = train(files=[Path("weights")])
    (run,) = project()
    store = client(Path())
    store.create_registered_model("somebody's")
    store.create_model_version("somebody's", f"runs:/{run.info.run_id}/model", run.info.run_id)
    with tracking.recorder(ON) as recorder:
        recorder.register(training, 0.5)
    assert not recorder.failed
    champion = store.get_model_version_by_alias("cf", "champion")
    assert champion.run_id == run.info.run_id
    store.delete_registered_model_alias("cf", "champion")
    other = train(files=[Path("weights")])
    with tracking.recorder(ON) as recorder:
        recorder.register(other, 0.25)
    assert "champion" not in store.get_registered_model("cf").aliases
    assert "Set the alias by hand" in store.get_model_version("cf", "2").tags["decision"]


def test_artefacts_follow_a_project_that_moves(
    project: Callable[[], list[Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "né w"
    old.mkdir()
    shutil.move("mlruns", old)
    monkeypatch.chdir(old)
    Path("weights").write_text("w")
    training = train(files=[Path("weights")])
    old.rename(new)
    monkeypatch.chdir(new)
    with tracking.recorder(ON) as recorder:
        recorder.add(training, {}, [Path("weights")])
    assert not recorder.failed
    assert not old.exists()
    (run,) = runs(new)
    for folder in ("model", "figures"):
        (file,) = client(new).list_artifacts(run.info.run_id, folder)
        assert file.path == f"{folder}/weights"


@pytest.fixture
def server(tmp_path: Path, ready_made_store: Path) -> Iterator[str]:
    """The address of a real MLflow server with a store of its own."""
    root = shutil.copytree(ready_made_store, tmp_path / "server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    store = f"sqlite:///{root}/mlruns/mlflow.db"
    command += ["--backend-store-uri", store, "--artifacts-destination", str(root / "artifacts")]
    environ = {**environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        [*command, "--workers", "1"], env=environ, cwd=root, stderr=subprocess.DEVNULL
    )
    try:
        retry = Retry(total=None, connect=60, backoff_factor=0.1, backoff_max=0.5)
        session = requests.Session()
        session.mount("http://", HTTPAdapter(max_retries=retry))
        session.get(f"http://127.0.0.1:{port}/health", timeout=30).raise_for_status()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_a_server_gets_runs_with_their_files(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    Path("weights").write_text("w")
    training = train(files=[Path("weights")])
    with tracking.recorder(ON) as recorder:
        recorder.add(training, {"rmse": 0.9}, [Path("weights")])
    assert not recorder.failed
    store = MlflowClient(server)
    (run,) = store.search_runs([store.get_experiment_by_name("cf").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["rmse"] == 0.9
    for folder in ("model", "figures"):
        (file,) = store.list_artifacts(run.info.run_id, folder)
        assert file.path == f"{folder}/weights"
    assert not (here / "mlruns/mlflow.db").exists()


def test_a_server_that_is_away_costs_a_warning_and_no_result(
    project: Callable[[], list[Run]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    training = train()
    told = capfd.readouterr().err
    assert told.count("warning: MLflow did not record all of this") == 1
    assert "make sync" in told
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracking.recorder(ON) as recorder:
        recorder.add(training, {"rmse": 0.9})
    (run,) = project()
    assert run.data.tags["execution"] == training.id


def test_switched_off_it_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(OFF).epochs[1]["values"]["loss/valid"] == 0.5
    assert not list(tmp_path.iterdir())


def test_an_experiment_that_runs_elsewhere_records_in_the_projects_store(
    project: Callable[[], list[Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_NAME", "narrow")
    training = train()
    (run,) = project()
    assert run.data.tags["execution"] == training.id
    assert run.info.run_name == "dot (narrow)"
    assert run.data.tags["dvc_experiment"] == "narrow"
    assert not list(elsewhere.iterdir())


def test_four_at_once_on_a_fresh_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("weights").write_text("w")
    trainings = [execution(name) for name in ("one", "two", "three", "four")]
    with ExitStack() as stack:
        recorders = [stack.enter_context(tracking.recorder(ON)) for _ in trainings]
        for recorder, training in zip(recorders, trainings, strict=True):
            begin(recorder, training)
            recorder.finish(training, [Path("weights")])
            recorder.add(training, {"rmse": 0.9})
            recorder.register(training, 0.9)
    assert capfd.readouterr().err == ""
    assert not any(recorder.failed for recorder in recorders)
    found = {run.info.run_name: run for run in runs(tmp_path)}
    assert sorted(found) == ["four", "one", "three", "two"]
    store = client(tmp_path)
    for run in found.values():
        assert run.info.status == "FINISHED"
        history = store.get_metric_history(run.info.run_id, "loss/valid")
        assert [(metric.step, metric.value) for metric in history] == [(1, 0.75), (2, 0.5)]
        assert run.data.metrics["rmse"] == 0.9
        assert len(store.list_artifacts(run.info.run_id, "model")) == 1
    assert len(store.search_model_versions("name = 'cf'")) == 4


def test_values_of_one_name_in_two_parts_are_refused() -> None:
    model = {**TRAINING.model, "momentum": 0.5}
    with pytest.raises(ValueError, match="momentum"):
        tracking.flat({**TRAINING.model_dump(), "model": model})
