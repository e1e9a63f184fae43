"""Run records in a real MLflow store."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import PIL.Image
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cf.core import config
from cf.core.io import read_dataclass
from cf.core.provenance import Provenance, SplitInfo
from cf.tracking.record import (
    Recorder,
    RunRecord,
    group,
    new_training_record,
    recording,
)
from cf.training.fit import EpochResult
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
SPLIT = SplitInfo(0.2, 42, "cd" * 32, "random", SETTINGS)
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
EPOCHS = [EpochResult(1, 0.5, 0.75, 0.1, 2.0), EpochResult(2, 0.25, 0.5, 0.1, 2.0)]


def new(name: str = "dot") -> RunRecord:
    return new_training_record("cf", name, TRAINING, PROVENANCE, SPLIT)


def begin(recorder: Recorder, record: RunRecord) -> None:
    recorder.upsert(record)
    for epoch in EPOCHS:
        record.log_epoch(epoch.epoch, epoch.metrics())
        recorder.upsert(record)


def train(
    settings: config.Tracking = ON, files: Sequence[Path] = (), name: str = "dot"
) -> RunRecord:
    record = new(name)
    with recording(settings) as recorder:
        begin(recorder, record)
        record.finish(files)
        recorder.upsert(record)
    return record


def upsert(*records: RunRecord) -> None:
    """As a later stage does."""
    with recording(ON) as recorder:
        for record in records:
            recorder.upsert(record)
    assert not recorder.failed


def losses(run: Run, store: MlflowClient) -> list[tuple[int, float]]:
    history = store.get_metric_history(run.info.run_id, "loss/valid")
    return sorted((metric.step, metric.value) for metric in history)


def files(run: Run, store: MlflowClient, folder: str | None = None) -> set[str]:
    return {file.path for file in store.list_artifacts(run.info.run_id, folder)}


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
    record = train(files=[Path("weights")])
    (run,) = project()
    assert run.data.tags["execution"] == record.id
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
        "seconds_per_epoch",
    }
    assert run.inputs
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "made-up"
    assert run.data.tags["dataset_sha256"] == "ab" * 32
    files = client(Path()).list_artifacts(run.info.run_id, "model")
    assert [file.path for file in files] == ["model/weights"]


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_stops_early_is_marked(
    project: Callable[[], list[Run]], error: BaseException, status: str
) -> None:
    path = Path("runs/dot.json")
    with pytest.raises(type(error)), recording(ON) as recorder:  # noqa: PT012
        record = new()
        recorder.upsert(record, path)
        raise error
    (run,) = project()
    assert run.info.status == status
    assert read_dataclass(path, RunRecord).status == status


KILL = f"os.kill(os.getpid(), {int(signal.SIGKILL)})"


def run_python(code: str, root: Path) -> int:
    """Run Python code that ends in a folder of its own; waits for the recorder as well."""
    environ = {**environment(), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", f"from tests.test_mlflow_store import *\n{code}"]
    # the recorder has the same standard error, so this waits until it has ended as well
    return subprocess.run(command, env=environ, stderr=subprocess.PIPE, check=False).returncode


def test_a_training_that_is_killed_is_marked(
    project: Callable[[], list[Run]], pytestconfig: pytest.Config
) -> None:
    code = (
        "import os\nfrom cf.tracking.record import INTERVAL_S\n"
        "with recording(ON) as recorder:\n    record = new()\n"
        "    begin(recorder, record); time.sleep(INTERVAL_S); recorder.upsert(record)\n"
        f"    {KILL}"
    )
    assert run_python(code, pytestconfig.rootpath) == -signal.SIGKILL
    (run,) = project()
    assert run.info.status == "KILLED"
    assert run.data.metrics["loss/valid"] == 0.5


def test_a_training_that_died_with_its_recorder_is_marked_by_the_next(
    project: Callable[[], list[Run]], pytestconfig: pytest.Config
) -> None:
    wait = "    while not runs(Path()): time.sleep(0.1)\n"
    both = f"    recorder._process.kill(); recorder._process.wait(); {KILL}"
    code = f"import os\nwith recording(ON) as recorder:\n    begin(recorder, new())\n{wait}{both}"
    assert run_python(code, pytestconfig.rootpath) == -signal.SIGKILL
    (killed,) = project()
    assert killed.info.status == "RUNNING"
    with recording(ON) as recorder:  # its own run, which goes on meanwhile, is none of those
        other = new()
        begin(recorder, other)
        train()
        assert sorted(run.info.status for run in project()) == ["FINISHED", "KILLED", "RUNNING"]
        other.finish()
        recorder.upsert(other)
    assert sorted(run.info.status for run in project()) == ["FINISHED", "FINISHED", "KILLED"]
    assert not list(Path("mlruns/locks").iterdir())


def test_a_running_training_is_seen_live(project: Callable[[], list[Run]]) -> None:
    with recording(ON) as recorder:
        record = new()
        begin(recorder, record)
        eventually(lambda: bool(project()))
        record.log_epoch(3, {"loss/valid": 0.25})
        recorder.upsert(record)
        eventually(lambda: project()[0].data.metrics.get("loss/valid") == 0.25)
        assert project()[0].info.status == "RUNNING"
        record.finish()
        recorder.upsert(record)
    (run,) = project()
    assert losses(run, client(Path())) == [(1, 0.75), (2, 0.5), (3, 0.25)]


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_same_again_doubles_nothing_and_moves_no_time(
    project: Callable[[], list[Run]], tmp_path: Path
) -> None:
    record = train()
    (before,) = project()
    PIL.Image.new("RGB", (40, 30), "red").save("predicted_dot.png")
    Path("page.html").write_text("page")
    record.metrics = {"rmse": 0.9, "rmse_cold": None, "n": 10}
    record.pictures, record.reports = {"predicted": "predicted_dot.png"}, ["page.html"]
    for _ in range(2):
        upsert(record)
    (after,) = project()
    assert (after.info.start_time, after.info.end_time, after.info.status) == (
        before.info.start_time,
        before.info.end_time,
        "FINISHED",
    )
    assert "backfilled" not in after.data.tags
    assert after.data.metrics["rmse"] == 0.9
    assert "rmse_cold" not in after.data.metrics
    store = client(tmp_path)
    assert len(store.get_metric_history(after.info.run_id, "rmse")) == 1
    assert len(losses(after, store)) == 2
    assert files(after, store) == {"images", "predicted.png", "report"}
    assert len(files(after, store, "images")) == 2  # as it is, and a small one
    assert files(after, store, "report") == {"report/page.html"}
    PIL.Image.new("RGB", (40, 30), "blue").save("predicted_dot.png")
    record.metrics["rmse"] = 0.8
    upsert(record)
    (changed,) = project()
    assert changed.data.metrics["rmse"] == 0.8
    assert len(files(after, store, "images")) == 4


def test_a_store_that_lacks_the_run_gets_it_once_and_whole(
    project: Callable[[], list[Run]], tmp_path: Path
) -> None:
    weights, gone, another = (tmp_path / name for name in ("weights", "gone", "another"))
    weights.write_text("w")
    gone.write_text("g")
    another.write_text("of this training")
    record = train(OFF, [weights, gone, another])
    gone.unlink()
    another.write_text("of a later one")
    assert project() == []
    record.metrics = {"rmse": 0.9}
    for _ in range(2):
        upsert(record)
    (run,) = project()
    assert run.data.tags["backfilled"] == "true"
    assert (run.info.start_time, run.info.end_time) == (record.started, record.ended)
    assert run.info.status == "FINISHED"
    assert run.data.params["n_factors"] == "3"
    assert run.data.metrics["rmse"] == 0.9
    store = client(tmp_path)
    assert losses(run, store) == [(1, 0.75), (2, 0.5)]
    assert files(run, store, "model") == {"model/weights"}


def test_more_epochs_than_mlflow_takes_at_once(project: Callable[[], list[Run]]) -> None:
    record = new()
    for step in range(1100):
        record.log_epoch(step, {"loss/valid": 1 / (step + 1)})
    record.finish()
    upsert(record)
    (run,) = project()
    assert len(losses(run, client(Path()))) == 1100


def test_parts_of_a_whole_are_its_children(project: Callable[[], list[Run]]) -> None:
    folds = [train(name="one"), train(name="two")]
    folds[1].parameters["n_factors"] = 5
    above = group("cv dot", folds)
    upsert(above, *folds)
    found = {run.info.run_name: run for run in project()}
    assert sorted(found) == ["cv dot", "one", "two"]
    for name in ("one", "two"):
        assert found[name].data.tags["mlflow.parentRunId"] == found["cv dot"].info.run_id
    assert found["cv dot"].info.start_time == folds[0].started
    assert "n_factors" not in found["cv dot"].data.params
    assert found["cv dot"].data.params["seed"] == "1"
    assert "backfilled" not in found["cv dot"].data.tags


def registered(record: RunRecord, rmse: float) -> tuple[str, dict[int, str]]:
    """The version that is champion after an evaluation, and the decision of each version."""
    record.metrics, record.candidate = {"rmse": rmse}, True
    upsert(record)
    store = client(Path())
    versions = store.search_model_versions("name = 'cf'")
    decisions = {int(version.version): version.tags["decision"] for version in versions}
    return str(store.get_model_version_by_alias("cf", "champion").version), decisions


def test_the_champion_changes_only_for_a_better_model_on_the_same_rows(
    project: Callable[[], list[Run]],
) -> None:
    first, worse, better, other = (train() for _ in range(4))
    other.tags["split_sha256"] = "another"
    for _ in range(2):
        assert registered(first, 0.9) == ("1", {1: "champion: the first version"})
    version, decisions = registered(worse, 0.95)
    assert version == "1"
    assert decisions[1] == "champion: the first version"
    assert decisions[2].startswith("no champion: RMSE 0.95")
    for _ in range(2):
        version, decisions = registered(better, 0.8)
        assert version == "3"
        assert [decisions[n].partition(":")[0] for n in (1, 2, 3)] == [
            "no champion",
            "no champion",
            "champion",
        ]
    version, decisions = registered(other, 0.1)
    assert version == "3"
    assert "another data set or split" in decisions[4]
    version, decisions = registered(first, 0.9)
    assert version == "3"
    assert decisions[3].startswith("champion")
    assert len(decisions) == 4


def test_a_version_of_another_model_is_none_of_ours(
    project: Callable[[], list[Run]],
) -> None:
    Path("weights").write_text("w")
    record = train(files=[Path("weights")])
    (run,) = project()
    store = client(Path())
    store.create_registered_model("somebody's")
    store.create_model_version("somebody's", f"runs:/{run.info.run_id}/model", run.info.run_id)
    assert registered(record, 0.5)[0] == "1"
    champion = store.get_model_version_by_alias("cf", "champion")
    assert champion.run_id == run.info.run_id
    store.delete_registered_model_alias("cf", "champion")
    other = train(files=[Path("weights")])
    other.metrics, other.candidate = {"rmse": 0.25}, True
    upsert(other)
    assert "champion" not in store.get_registered_model("cf").aliases
    assert "Set the alias by hand" in store.get_model_version("cf", "2").tags["decision"]


def test_a_project_that_moves_begins_a_new_experiment(
    project: Callable[[], list[Run]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    old, new = tmp_path / "old", tmp_path / "né w"
    old.mkdir()
    shutil.move("mlruns", old)
    monkeypatch.chdir(old)
    Path("weights").write_text("w")
    first = train(files=[Path("weights")])
    assert capfd.readouterr().err == ""
    old.rename(new)
    monkeypatch.chdir(new)
    second = train(files=[Path("weights")])
    assert "has moved" in capfd.readouterr().err
    assert not old.exists()
    store = client(new)

    def of(name: str) -> list[str]:
        known = store.get_experiment_by_name(name)
        assert known
        return [run.data.tags["execution"] for run in store.search_runs([known.experiment_id])]

    assert of("cf") == [second.id]
    assert of(f"cf (in {(old / 'mlruns/artifacts').as_uri()})") == [first.id]
    run = next(run for run in runs(new) if run.data.tags["execution"] == second.id)
    assert files(run, store, "model") == {"model/weights"}
    new.rename(old)
    monkeypatch.chdir(old)
    train()
    store = client(old)
    assert len(of("cf")) == 2
    assert first.id in of("cf")


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
    PIL.Image.new("RGB", (40, 30), "red").save("dot.png")
    record = train(files=[Path("weights")])
    record.metrics, record.pictures = {"rmse": 0.9}, {"predicted": "dot.png"}
    record.reports = ["weights"]
    upsert(record)
    store = MlflowClient(server)
    (experiment,) = store.search_experiments(filter_string="name = 'cf'")
    (run,) = store.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["rmse"] == 0.9
    assert files(run, store) == {"images", "model", "predicted.png", "report"}
    assert files(run, store, "model") == {"model/weights"}
    assert not (here / "mlruns/mlflow.db").exists()


def test_a_server_that_is_away_costs_a_warning_and_no_result(
    project: Callable[[], list[Run]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    record = train()
    said = capfd.readouterr().err
    assert said.count("warning: MLflow did not record all of this") == 1
    assert "make sync" in said
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    upsert(record)
    (run,) = project()
    assert run.data.tags["execution"] == record.id


def test_a_recorder_that_hangs_is_given_up(
    project: Callable[[], list[Run]], capfd: pytest.CaptureFixture[str]
) -> None:
    with recording(ON, timeout_s=0.5) as recorder:
        assert recorder._process
        recorder._process.send_signal(signal.SIGSTOP)
        begin(recorder, new())
    assert recorder.failed
    assert "make sync" in capfd.readouterr().err


def test_switched_off_it_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(OFF).epochs[1]["metrics"]["loss/valid"] == 0.5
    assert not list(tmp_path.iterdir())


def test_an_experiment_that_runs_elsewhere_records_in_the_projects_store(
    project: Callable[[], list[Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_NAME", "narrow")
    record = train()
    (run,) = project()
    assert run.data.tags["execution"] == record.id
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
    records = [new(name) for name in ("one", "two", "three", "four")]
    with ExitStack() as stack:
        recorders = [stack.enter_context(recording(ON)) for _ in records]
        for recorder, record in zip(recorders, records, strict=True):
            begin(recorder, record)
            record.finish([Path("weights")])
            record.metrics, record.candidate = {"rmse": 0.9}, True
            recorder.upsert(record)
    assert capfd.readouterr().err == ""
    assert not any(recorder.failed for recorder in recorders)
    found = {run.info.run_name: run for run in runs(tmp_path)}
    assert sorted(found) == ["four", "one", "three", "two"]
    store = client(tmp_path)
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert losses(run, store) == [(1, 0.75), (2, 0.5)]
        assert run.data.metrics["rmse"] == 0.9
        assert files(run, store, "model") == {"model/weights"}
    assert len(store.search_model_versions("name = 'cf'")) == 4
