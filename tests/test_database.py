"""Stores that are files of SQLite: shared, in folders with odd names, of another MLflow, broken."""

import errno
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow.store.db import utils

from cf.cli import ui
from cf.core.errors import InputError
from cf.tracking import database
from cf.tracking.mlflow_store import open_own
from cf.tracking.record import recording
from tests import old_stores
from tests.old_stores import history
from tests.project import ROOT, Project
from tests.records import LOSSES, ON, begin, finished, new, train
from tests.servers import free_port, serving
from tests.stores import client, environment, runs
from tests.test_mlflow_store import files, losses

ODD = ("feature%2Fx", "a%41b?c#d", "two words & 'a\" quote;", "é$HOME*[x]@y:z+")
"""Names of folders; the first is how Jenkins names that of a branch feature/x."""

WARNING = "warning: MLflow did not record all of this: "


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def project(here: Path, ready_made_store: Path) -> Path:
    """A project whose store has its tables, and no runs."""
    return shutil.copytree(ready_made_store, here, dirs_exist_ok=True)


def test_four_clones_share_a_new_database(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shared = here / "shared"
    shared.mkdir()
    Path("weights").write_text("w")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}/team.db")
    records = [new(name) for name in ("one", "two", "three", "four")]
    with ExitStack() as stack:
        for record in records:
            (here / record.name).mkdir()
            monkeypatch.setenv("DVC_ROOT", str(here / record.name))  # each has a clone
            recorder = stack.enter_context(recording(ON))
            begin(recorder, record)
            record.finish([Path("weights")])
            record.metrics, record.candidate = {"rmse": 0.9}, True
            recorder.upsert(record)
    assert capfd.readouterr().err == ""
    assert not list(here.glob("*/mlruns/mlflow.db"))
    store = open_shared(shared / "team.db")
    (experiment,) = store.search_experiments(filter_string="name = 'cf'")
    found = {run.info.run_name: run for run in store.search_runs([experiment.experiment_id])}
    assert sorted(found) == ["four", "one", "three", "two"]
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert losses(run, store) == LOSSES
        assert files(run, store, "model") == {"model/weights"}
        assert Path(shared, "artifacts", run.info.run_id, "artifacts/model/weights").is_file()
    assert len(store.search_model_versions("name = 'cf'")) == 4


def open_shared(file: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(database.uri(file))


def test_a_relative_database_is_one_of_the_project(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "elsewhere").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(here))
    monkeypatch.chdir("elsewhere")
    assert database.shared("sqlite:///team.db") == here / "team.db"
    assert database.shared("sqlite:////srv/team.db") == Path("/srv/team.db")
    assert database.shared("http://x.org") is None
    for address in ("sqlite://", "sqlite:///", "sqlite:///a?mode=ro", "sqlite:///%41.db"):
        with pytest.raises(InputError, match="expected sqlite:/// and the path of a file"):
            database.shared(address)


RECORD = """
import json, sys
from pathlib import Path
from cf.tracking.mlflow_store import open_own
from tests.records import *

Path("weights").write_text("w")
record = new()
with recording(ON) as recorder:
    begin(recorder, record)
    record.finish([Path("weights")])
    recorder.upsert(record)
assert not recorder.failed
store = open_own(Path("mlruns"))
(experiment,) = store.search_experiments(filter_string="name = 'cf'")
(run,) = store.search_runs([experiment.experiment_id])
content = Path(store.download_artifacts(run.info.run_id, "model/weights")).read_text()
print(json.dumps([run.info.run_id, run.info.status, content]))
"""


def run_python(code: str, folder: Path) -> tuple[Any, str]:
    """What code prints as JSON, and on standard error, when it is run in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("name", ODD)
def test_a_folder_with_an_odd_name_records_and_shows(
    here: Path, ready_made_store: Path, name: str
) -> None:
    folder = here / name
    shutil.copytree(ready_made_store, folder)
    shutil.copy("params.yaml", folder)
    (run_id, *found), said = run_python(RECORD, folder)
    assert (found, said) == (["FINISHED", "w"], "")
    assert (folder / f"mlruns/artifacts/{run_id}/artifacts/model/weights").read_text() == "w"
    assert {path.name for path in here.iterdir()} == {"params.yaml", name}
    assert {path.name for path in folder.iterdir()} == {"params.yaml", "mlruns", "weights"}
    with serving(folder) as (address, _, printed):
        assert len(printed) == 2
        server = address.partition("/#/")[0]
        wanted = {"run_uuid": run_id, "path": "model/weights"}
        assert requests.get(f"{server}/get-artifact", wanted, timeout=60).text == "w"


def test_the_champion_is_registered_and_loaded_in_a_folder_with_an_odd_name(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / (temporary := "t%41m?p#")).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / temporary))  # where models are put together
    odd = made.copy(tmp_path / ODD[1], "mlruns")
    assert odd.cf("sync").stderr == ""
    code = "import json, cf; model = cf.load('models:/cf@champion'); print(json.dumps(model.name))"
    name, said = run_python(code, odd.folder)
    assert name in ("bayesmf", "dot", "dotbias")
    assert said == ""


def test_a_store_whose_making_breaks_off_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(engine: Any) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE experiments (half INTEGER)")
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "mlflow.db"
    with monkeypatch.context() as patched:
        patched.setattr(utils, "_initialize_tables", break_off)
        with pytest.raises(OSError, match="No space"):
            database.prepare(file, is_own=True)
    assert not file.exists()
    database.prepare(file, is_own=True)
    assert schema(file) == history()[0]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_the_migrations_are_those_that_mlflow_names() -> None:
    assert database.revisions() == (history()[0], set(history()))


@pytest.fixture
def old_store(here: Path) -> Callable[[int], str]:
    """Makes the project's store as an MLflow so many migrations ago did, with a run of then."""
    return lambda n_behind: old_stores.make(here / "mlruns/mlflow.db", n_behind)


def schema(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.mark.parametrize("n_behind", [1, 2, 12])
def test_a_store_of_an_older_mlflow_is_kept_and_brought_up_to_date(
    here: Path, old_store: Callable[[int], str], n_behind: int, capfd: pytest.CaptureFixture[str]
) -> None:
    revision = old_store(n_behind)
    backup = here / f"mlruns/mlflow-{revision}.db"
    for end in ("", "-wal"):  # of one that was killed
        damaged(here / f"mlruns/mlflow.db.new{end}")
    train()
    said = capfd.readouterr().err
    assert said.count("an older version made") == said.count("\n") == 1
    assert backup.name in said
    train()
    assert capfd.readouterr().err == ""
    assert sorted(run.info.run_name for run in runs(here)) == ["dot", "dot", "of then"]
    assert (schema(here / "mlruns/mlflow.db"), schema(backup)) == (history()[0], revision)
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT name FROM runs").fetchall() == [("of then",)]
    assert not list(here.glob("mlruns/*.new*"))


def test_the_pages_of_an_older_store_are_served(
    here: Path, old_store: Callable[[int], str]
) -> None:
    revision = old_store(2)
    with serving(here) as (address, _, _):
        server = address.partition("/#/")[0]
        wanted = {"experiment_ids": ["1"]}
        found = requests.post(f"{server}/api/2.0/mlflow/runs/search", json=wanted, timeout=60)
        assert [run["info"]["run_name"] for run in found.json()["runs"]] == ["of then"]
    assert schema(here / f"mlruns/mlflow-{revision}.db") == revision


def set_schema(file: Path, revision: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])


def test_a_shared_store_of_an_older_mlflow_is_its_owners(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = project / "mlruns/mlflow.db"
    set_schema(file, history()[1])
    before = file.read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    train()
    said = capfd.readouterr().err
    assert said.count(WARNING) == 1
    assert f"mlflow db upgrade sqlite:///{file}" in said
    assert file.read_bytes() == before


def of_a_newer_mlflow(file: Path) -> None:
    set_schema(file, "f" * 12)


def damaged(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (of_a_newer_mlflow, "a newer MLflow made this store.*Install.*or move the file away"),
        (damaged, "file is not a database. If it is damaged, move it away"),
        (folder, "unable to open database file. Look who may write it"),
    ],
)
def test_a_store_that_only_its_owner_can_mend_is_named(
    project: Path,
    spoil: Callable[[Path], None],
    reason: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = project / "mlruns/mlflow.db"
    spoil(file)
    train()
    said = capfd.readouterr().err
    assert re.search(f"{WARNING}.*mlflow.db: {reason}", said)
    assert said.count("\n") == 2
    assert "Once that is fixed, `make sync`" in said
    with pytest.raises(InputError, match=reason):
        ui.main(free_port())
    with pytest.raises(InputError, match=reason):
        open_own(file.parent)


def test_a_deleted_experiment_has_two_ways_out(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train()
    known = client(project).get_experiment_by_name("cf")
    assert known
    client(project).delete_experiment(known.experiment_id)
    train()
    said = capfd.readouterr().err
    found = re.search(
        rf"{WARNING}the experiment cf was deleted in MLflow. Restore it: `(.*)`", said
    )
    assert found
    with pytest.raises(InputError) as error:
        ui.main(free_port())
    assert found[1] in str(error.value)
    other = finished()
    other.experiment = "another"
    with recording(ON) as recorder:
        recorder.upsert(other)
    assert capfd.readouterr().err == ""
    subprocess.run(found[1], shell=True, check=True, env=environment(), capture_output=True)
    train()
    assert capfd.readouterr().err == ""
    names = {run.data.tags["execution"]: run.info.experiment_id for run in runs(project)}
    assert len(names) == 3
    assert names[other.id] != known.experiment_id
