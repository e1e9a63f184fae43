"""Run records in a real MLflow store, written by this process."""

import errno
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run

from cf.core import io
from cf.core.errors import InputError
from cf.serving import pyfunc
from cf.tracking.mlflow_store import MlflowStore
from cf.tracking.record import RunRecord, group
from tests.records import LOSSES, finished, new
from tests.stores import client, runs

Runs = Callable[[], list[Run]]


@pytest.fixture
def project(tmp_path: Path, ready_made_store: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Makes a fresh project the current folder; calling it gives all runs of its store."""
    shutil.copytree(ready_made_store, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda: runs(tmp_path)


def upsert(*records: RunRecord, started: int = 0) -> None:
    """As a process does that was started then."""
    store = MlflowStore(started)
    for record in records:
        store.upsert(record)


def losses(run: Run, store: MlflowClient) -> list[tuple[int, float]]:
    history = store.get_metric_history(run.info.run_id, "loss/valid")
    return sorted((metric.step, metric.value) for metric in history)


def files(run: Run, store: MlflowClient, folder: str | None = None) -> set[str]:
    return {file.path for file in store.list_artifacts(run.info.run_id, folder)}


def picture(path: str, color: str) -> str:
    PIL.Image.new("RGB", (40, 30), color).save(path)
    return path


def test_a_training_is_one_complete_run(project: Runs) -> None:
    Path("weights").write_text("w")
    record = finished(files=[Path("weights")])
    upsert(record)
    (run,) = project()
    assert run.data.tags["execution"] == record.id
    assert run.info.run_name == "dot"
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (record.started, record.ended)
    assert run.data.params == {
        "model": "dot",
        "n_factors": "3",
        "init_range": "[0.0, 0.1]",
        "seed": "1",
        "device": "auto",
        "n_threads": "1",
        "batch_size": "8",
        "min_steps": "1",
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
    store = client(Path())
    assert losses(run, store) == LOSSES
    assert set(run.data.metrics) == {"loss/train", "loss/valid", "learning_rate"}
    assert run.inputs
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "made-up"
    assert run.data.tags["dataset_sha256"] == "ab" * 32
    assert files(run, store, "model") == {"model/weights"}
    assert "lock_file" not in run.data.tags
    assert not list(Path("mlruns/locks").iterdir())


def test_a_training_that_goes_on_is_written_epoch_by_epoch(project: Runs) -> None:
    store, record = MlflowStore(0), new()
    store.upsert(record)
    for step, loss in LOSSES:
        record.log_epoch(step, {"loss/valid": loss})
        for _ in range(2):
            store.upsert(record)
        (run,) = project()
        assert run.data.metrics == {"loss/valid": loss}
        assert run.info.status == "RUNNING"
    record.finish()
    store.upsert(record)
    (run,) = project()
    assert run.info.status == "FINISHED"
    assert losses(run, client(Path())) == LOSSES


def test_the_same_again_doubles_nothing_and_moves_no_time(project: Runs) -> None:
    record = finished()
    upsert(record)
    (before,) = project()
    Path("page.html").write_text("page")
    record.metrics = {"rmse": 0.9, "n": 10}
    record.pictures = {"predicted": picture("predicted_dot.png", "red")}
    record.reports = ["page.html"]
    for _ in range(2):
        upsert(record)
    (after,) = project()
    assert (after.info.start_time, after.info.end_time, after.info.status) == (
        before.info.start_time,
        before.info.end_time,
        "FINISHED",
    )
    assert after.data.metrics["rmse"] == 0.9
    store = client(Path())
    assert len(store.get_metric_history(after.info.run_id, "rmse")) == 1
    assert losses(after, store) == LOSSES
    assert files(after, store) == {"images", "predicted.png", "report"}
    assert len(files(after, store, "images")) == 2  # as it is, and a small one
    assert files(after, store, "report") == {"report/page.html"}
    picture("predicted_dot.png", "blue")
    record.metrics["rmse"] = 0.8
    upsert(record)
    (changed,) = project()
    assert changed.data.metrics["rmse"] == 0.8
    assert len(files(after, store, "images")) == 4


def test_a_store_that_lacks_the_run_gets_it_once_and_whole(project: Runs) -> None:
    weights, gone, another = map(Path, ("weights", "gone", "another"))
    weights.write_text("w")
    gone.write_text("g")
    another.write_text("of this training")
    record = finished(files=[weights, gone, another])
    gone.unlink()
    another.write_text("of a later one")
    record.metrics = {"rmse": 0.9}
    for _ in range(2):
        upsert(record, started=record.ended + 1)
    (run,) = project()
    assert run.data.tags["backfilled"] == "true"
    assert (run.info.start_time, run.info.end_time) == (record.started, record.ended)
    assert run.info.status == "FINISHED"
    assert run.data.params["n_factors"] == "3"
    assert run.data.metrics["rmse"] == 0.9
    store = client(Path())
    assert losses(run, store) == LOSSES
    assert files(run, store, "model") == {"model/weights"}


def test_a_run_that_broke_off_is_completed(project: Runs) -> None:
    store, record = MlflowStore(0), new()
    for step, loss in LOSSES:
        record.log_epoch(step, {"loss/valid": loss})
        store.upsert(record)
    store._locks[record.id].release()  # as if the process had died
    record.finish()
    client(Path()).set_terminated(project()[0].info.run_id, "KILLED")
    upsert(record)
    (run,) = project()
    assert (run.info.status, run.info.end_time) == ("FINISHED", record.ended)
    assert losses(run, client(Path())) == LOSSES
    assert run.inputs
    assert len(run.inputs.dataset_inputs) == 1


def test_files_that_cannot_be_stored_stop_nothing_else_and_come_later(
    project: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    blocked = tmp_path / "blocked"
    client(Path()).create_experiment("cf", (blocked / "artifacts").as_uri())
    Path("weights").write_text("w")
    record = finished(files=[Path("weights")])
    record.metrics = {"rmse": 0.9}
    blocked.write_text("no folder")
    with pytest.raises(OSError, match="blocked"):
        upsert(record)
    (run,) = project()
    assert (run.info.status, run.info.end_time) == ("FINISHED", record.ended)
    assert run.data.metrics["rmse"] == 0.9
    blocked.unlink()
    upsert(record)
    (run,) = project()
    assert (run.info.status, run.info.end_time) == ("FINISHED", record.ended)
    assert files(run, client(Path()), "model") == {"model/weights"}
    assert losses(run, client(Path())) == LOSSES
    assert "lock_file" not in run.data.tags


def test_more_epochs_than_mlflow_takes_at_once(project: Runs) -> None:
    record = new()
    for step in range(1100):
        record.log_epoch(step, {"loss/valid": 1 / (step + 1)})
    record.finish()
    upsert(record)
    (run,) = project()
    assert len(losses(run, client(Path()))) == 1100


@pytest.mark.parametrize("arrives", [True, False])
def test_a_run_whose_creation_was_not_answered_is_not_created_again(
    project: Runs, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    store, record = MlflowStore(0), finished()
    create_run = store.client.create_run

    def time_out(*arguments: Any) -> None:
        if arrives:
            create_run(*arguments)
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(store.client, "create_run", time_out)
        with pytest.raises(ConnectionError):
            store.upsert(record)
    if arrives:
        store.upsert(record)
    else:  # it may yet arrive
        with pytest.raises(TimeoutError):
            store.upsert(record)
        assert not project()
        upsert(record)
    (run,) = project()
    assert run.info.status == "FINISHED"


def test_parts_of_a_whole_are_its_children(project: Runs) -> None:
    folds = [finished("one"), finished("two")]
    folds[1].parameters["n_factors"] = 5
    upsert(*folds)
    Path("cv.csv").write_text("folds")
    upsert(*group("cv dot", folds, Path("cv.csv"), {}))
    found = {run.info.run_name: run for run in project()}
    assert sorted(found) == ["cv dot", "one", "two"]
    for name in ("one", "two"):
        assert found[name].data.tags["mlflow.parentRunId"] == found["cv dot"].info.run_id
    assert found["cv dot"].info.start_time == folds[0].started
    assert "n_factors" not in found["cv dot"].data.params
    assert found["cv dot"].data.params["seed"] == "1"


def registered(record: RunRecord, rmse: float) -> tuple[str, dict[int, str]]:
    """The version that is champion after an evaluation, and the decision of each version."""
    record.metrics, record.candidate = {"rmse": rmse}, True
    upsert(record)
    store = client(Path())
    versions = store.search_model_versions("name = 'cf'")
    decisions = {int(version.version): version.tags["decision"] for version in versions}
    return str(store.get_model_version_by_alias("cf", "champion").version), decisions


def test_the_champion_changes_only_for_a_better_model_on_the_same_rows(project: Runs) -> None:
    first, worse, better, other = (finished() for _ in range(4))
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
        words = [decisions[number].partition(":")[0] for number in (1, 2, 3)]
        assert words == ["no champion", "no champion", "champion"]
    version, decisions = registered(other, 0.1)
    assert version == "3"
    assert "another data set or split" in decisions[4]
    version, decisions = registered(first, 0.9)
    assert version == "3"
    assert decisions[3].startswith("champion")
    assert len(decisions) == 4


def test_a_disk_that_was_full_leaves_no_champion_that_cannot_be_served(
    project: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(project: Path, name: str, folder: Path) -> None:
        with io.atomic_write(folder / "MLmodel"):
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(project: Path, name: str, folder: Path) -> None:
        io.write_json(folder / "MLmodel", {})

    record = finished()
    record.candidate, record.metrics = True, {"rmse": 0.9}
    monkeypatch.setattr(pyfunc, "save", refuse)
    with pytest.raises(InputError, match="No space left on device"):
        upsert(record)
    assert not client(Path()).search_model_versions("name = 'cf'")
    monkeypatch.setattr(pyfunc, "save", write)
    upsert(record)
    (version,) = client(Path()).search_model_versions("name = 'cf'")
    assert version.tags["servable"] == "yes"


def test_the_lock_of_a_process_that_died_before_it_had_a_run_is_removed(project: Runs) -> None:
    locks = Path("mlruns/locks")
    (locks / "of-a-dead-process").touch()
    with FileLock(locks / "of-a-living-process"):
        upsert(finished())
        assert [lock.name for lock in locks.iterdir()] == ["of-a-living-process"]


def test_an_artifact_that_a_kill_left_unfinished_is_removed(project: Runs) -> None:
    Path("weights").write_text("w")
    record = finished(files=[Path("weights")])
    upsert(record)
    (folder,) = Path("mlruns/artifacts").rglob("model")
    (folder / ".artifact.uploading.x1y2").write_text("half")
    upsert(record)
    assert [path.name for path in folder.iterdir()] == ["weights"]


def test_a_part_waits_for_the_run_that_it_is_a_part_of(project: Runs) -> None:
    above, part = finished("above"), finished("part")
    part.parent = above.id
    with pytest.raises(LookupError, match="part: the run that it is a part of is missing"):
        upsert(part)
    upsert(above, part)
    runs = {run.info.run_name: run for run in project()}
    assert runs["part"].data.tags["mlflow.parentRunId"] == runs["above"].info.run_id


def test_a_store_that_cannot_be_left_in_one_file_is_left_as_it_was(
    project: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MlflowStore(0)
    store.upsert(finished())

    def refuse(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", refuse)
        store.close()
    assert len(project()) == 1


def test_a_version_of_another_model_is_none_of_ours(project: Runs) -> None:
    record = finished()
    upsert(record)
    (run,) = project()
    store = client(Path())
    store.create_registered_model("somebody's")
    store.create_model_version("somebody's", f"runs:/{run.info.run_id}/model", run.info.run_id)
    assert registered(record, 0.5)[0] == "1"
    champion = store.get_model_version_by_alias("cf", "champion")
    assert champion.run_id == run.info.run_id
    store.delete_registered_model_alias("cf", "champion")
    other = finished()
    other.metrics, other.candidate = {"rmse": 0.25}, True
    upsert(other)
    assert "champion" not in store.get_registered_model("cf").aliases
    assert "Set the alias by hand" in store.get_model_version("cf", "2").tags["decision"]


def test_a_project_that_moves_begins_a_new_experiment(
    project: Runs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = tmp_path / "old", tmp_path / "né w"
    old.mkdir()
    shutil.move("mlruns", old)
    Path("weights").write_text("w")
    first, second, third = (finished(files=[Path("weights")]) for _ in range(3))

    def record_in(folder: Path, record: RunRecord) -> dict[str, set[str]]:
        """The executions in each experiment, after another there."""
        monkeypatch.setenv("DVC_ROOT", str(folder))
        upsert(record)
        store = client(folder)
        return {
            experiment.name: {
                run.data.tags["execution"] for run in store.search_runs([experiment.experiment_id])
            }
            for experiment in store.search_experiments(filter_string="name LIKE 'cf%'")
        }

    assert record_in(old, first) == {"cf": {first.id}}
    assert capsys.readouterr().err == ""
    old.rename(new)
    there = f"cf (in {(old / 'mlruns/artifacts').as_uri()})"
    assert record_in(new, second) == {"cf": {second.id}, there: {first.id}}
    assert "has moved" in capsys.readouterr().err
    assert not old.exists()
    run = next(run for run in runs(new) if run.data.tags["execution"] == second.id)
    assert files(run, client(new), "model") == {"model/weights"}
    new.rename(old)
    there = f"cf (in {(new / 'mlruns/artifacts').as_uri()})"
    assert record_in(old, third) == {"cf": {first.id, third.id}, there: {second.id}}
