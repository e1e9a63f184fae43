"""Run records, and the process that records them."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from mlflow.entities import Run

from cf.core import config
from cf.core.errors import InputError
from cf.core.io import read_dataclass, write_json
from cf.tracking.record import Recorder, RunRecord, new_training_record, read_all, recording
from tests.records import (
    LOSSES,
    OFF,
    ON,
    PROVENANCE,
    SPLIT,
    TRAINING,
    begin,
    new,
    train,
)
from tests.stores import client, environment, runs
from tests.test_mlflow_store import files, losses, upsert


def test_the_description_of_a_sampling_says_what_it_leaves_out() -> None:
    sampling = config.Sampling(
        model={"name": "bayesmf", "n_factors": 10, "n_samples": 100},
        seed=1,
        n_threads=1,
        gibbs=config.Gibbs(
            n_sweeps=200,
            burn_in=20,
            user_noise=True,
            time_scales=[],
            genres=True,
            year=False,
            popularity=True,
            item_implicit=True,
            user_implicit=True,
        ),
    )
    record = new_training_record("cf", "bayesmf", sampling, PROVENANCE, SPLIT)
    note = "n_factors 10, 200 sweeps, no time_scales, no year"
    assert record.tags["mlflow.note.content"] == note
    assert record.parameters["model"] == "bayesmf"
    assert record.parameters["burn_in"] == 20
    assert record.parameters["time_scales"] == []


def test_the_name_has_what_is_not_as_committed() -> None:
    def name(**changed: object) -> str:
        return new_training_record("cf", "dot", TRAINING, PROVENANCE, SPLIT, changed).name

    assert name() == "dot"
    assert name(n_factors=3, n_epochs=[2]) == "dot n_factors=3 n_epochs=[2]"
    assert name(n_factors=3, n_epochs=[2], seed=1) == "dot n_factors=3 n_epochs=[2] ..."


@pytest.mark.parametrize("place", [".", "teams/ours"])
def test_the_commit_is_a_tag_where_git_has_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "zero"], check=True)
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    Path("dvc.yaml").write_text("stages: {}")
    assert "mlflow.source.git.commit" not in new().tags
    Path(".gitignore").write_text("mlruns")
    for arguments in (["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    if folder != tmp_path:
        (tmp_path / "another_project.py").write_text("none of ours")
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
    write_json(Path("runs/dot.json"), finished)
    write_json(Path("runs/killed.json"), running)
    assert read_all(SPLIT) == {"dot": finished}
    other.tags["split_sha256"] = "another"
    write_json(Path("runs/other.json"), other)
    with pytest.raises(InputError, match=r"runs/other.json: other was trained on other rows"):
        read_all(SPLIT)


@pytest.fixture
def here(tmp_path: Path, ready_made_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project, as the current folder."""
    shutil.copytree(ready_made_store, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def project(here: Path) -> Callable[[], list[Run]]:
    """Gives all runs in the store of the fresh project."""
    return lambda: runs(here)


def test_a_process_records_a_training(project: Callable[[], list[Run]]) -> None:
    record = train()
    (run,) = project()
    assert run.data.tags["execution"] == record.id
    assert (run.info.status, run.info.end_time) == ("FINISHED", record.ended)
    assert "backfilled" not in run.data.tags
    assert losses(run, client(Path())) == LOSSES


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


def test_what_has_no_parameters_and_no_tags_is_recorded(here: Path) -> None:
    record = new("trial 0")
    record.parameters, record.tags = {}, {}
    record.finish()
    with recording(ON) as recorder:
        recorder.upsert(record)
    assert not recorder.failed
    assert [run.info.run_name for run in runs(here)] == ["trial 0"]


KILL = f"os.kill(os.getpid(), {int(signal.SIGKILL)})"


def run_python(code: str, root: Path) -> int:
    """Run Python code that ends in a folder of its own; waits for the recorder as well."""
    environ = {**environment(), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", f"from tests.test_record import *\n{code}"]
    # the recorder has the same standard error, so this waits until it has ended as well
    return subprocess.run(command, env=environ, stderr=subprocess.PIPE, check=False).returncode


def test_an_interrupt_before_there_is_a_run_neither_waits_nor_warns(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hanging = []
    with pytest.raises(KeyboardInterrupt), recording(ON, timeout_s=None) as recorder:  # noqa: PT012
        assert recorder._connection
        assert recorder._connection.process
        hanging.append(recorder._connection.process)
        hanging[0].send_signal(signal.SIGSTOP)  # it would be awaited for ever
        raise KeyboardInterrupt
    hanging[0].send_signal(signal.SIGCONT)
    assert hanging[0].wait(60) == 0
    assert not runs(here)
    assert capfd.readouterr().err == ""


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
    both = f"    p = recorder._connection.process; p.kill(); p.wait(); {KILL}"
    code = f"import os\nwith recording(ON) as recorder:\n    begin(recorder, new())\n{wait}{both}"
    assert run_python(code, pytestconfig.rootpath) == -signal.SIGKILL
    (killed,) = project()
    assert killed.info.status == "RUNNING"
    with recording(ON) as recorder:  # its own run, which goes on meanwhile, is none of those
        other = new()
        begin(recorder, other)
        eventually(lambda: len(project()) == 2)
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
    assert losses(run, client(Path())) == [*LOSSES, (3, 0.25)]


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
        assert recorder._connection
        assert recorder._connection.process
        recorder._connection.process.send_signal(signal.SIGSTOP)
        begin(recorder, new())
    assert recorder.failed
    assert "make sync" in capfd.readouterr().err


def test_a_recorder_that_is_killed_is_missed(
    project: Callable[[], list[Run]], capfd: pytest.CaptureFixture[str]
) -> None:
    with recording(ON) as recorder:
        assert recorder._connection
        assert recorder._connection.process
        recorder._connection.process.kill()
        begin(recorder, new())
    assert recorder.failed
    said = capfd.readouterr().err
    assert "has ended early" in said
    assert "make sync" in said


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
        assert losses(run, store) == LOSSES
        assert run.data.metrics["rmse"] == 0.9
        assert files(run, store, "model") == {"model/weights"}
    assert len(store.search_model_versions("name = 'cf'")) == 4


def test_the_record_is_on_disk_before_mlflow_hears_that_a_training_has_finished(
    tmp_path: Path,
) -> None:
    class Line:
        """Keeps what the file says at the time of each message."""

        def __init__(self) -> None:
            self.sent: list[tuple[str, str]] = []

        def send(self, text: str) -> None:
            status = json.loads(path.read_text())["status"]
            self.sent.append((json.loads(text)["status"], status))

    path, line = tmp_path / "runs/dot.json", Line()
    recorder, record = Recorder(line), new()  # type: ignore[arg-type]
    recorder.upsert(record, path)
    record.finish()
    recorder.upsert(record, path)
    assert line.sent == [("RUNNING", "RUNNING"), ("FINISHED", "FINISHED")]
    begun = new()
    begun.finish()
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError):
        recorder.upsert(begun, path)
    assert len(line.sent) == 2
