"""What earlier releases have written is read, answers as it did, and is gone on with."""

import lzma
import shutil
from pathlib import Path

import pytest

import cf
from cf.core import io
from cf.tracking.record import RunRecord, recording
from tests.artifacts import make
from tests.project import ROOT
from tests.records import LOSSES, ON, train
from tests.stores import client, relocate, runs
from tests.test_mlflow_store import losses

RELEASES = sorted(path.parent for path in (ROOT / "tests/artifacts").glob("*/run.json"))


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture
def here(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that has what a release left: the model, its record, and the store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(release / "dotbias/artifacts/project", tmp_path, dirs_exist_ok=True)
    Path("mlruns").mkdir()
    Path("mlruns/mlflow.db").write_bytes(lzma.decompress((release / "mlflow.db.xz").read_bytes()))
    relocate(make.KEPT_AT, tmp_path)
    return tmp_path


def test_a_release_has_all_model_families_and_is_small(release: Path) -> None:
    assert {path.parent.name for path in release.glob("*/MLmodel")} == set(make.MODELS)
    assert {path.stem for path in ROOT.glob("cf/models/*.py")} - {"__init__", "base"} == set(
        make.MODELS
    )
    assert sum(path.stat().st_size for path in release.rglob("*") if path.is_file()) < 300_000


@pytest.mark.parametrize("name", make.MODELS)
def test_models_are_loaded(release: Path, name: str) -> None:
    model = cf.load(release / name / "artifacts/project/models" / name)
    (stars,) = model.predict("u3", "0100")["prediction"]
    assert 0 <= stars <= 5


def test_a_store_has_its_runs_and_takes_others(
    release: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train()
    assert "warning" not in capfd.readouterr().err
    found = {run.info.run_name: run for run in runs(here)}
    assert sorted(found) == ["dot", "dotbias"]
    run, record = found["dotbias"], io.read_dataclass(release / "run.json", RunRecord)
    assert losses(run, client(here)) == LOSSES
    assert (run.info.status, run.data.metrics["rmse"]) == ("FINISHED", 0.875)
    assert run.data.params["n_factors"] == "3"
    assert (run.info.start_time, run.info.end_time) == (record.started, record.ended)


def test_a_record_is_the_run_that_was_made_of_it(release: Path, here: Path) -> None:
    record = io.read_dataclass(release / "run.json", RunRecord)
    record.metrics["mae"] = 0.5
    with recording(ON) as recorder:
        recorder.upsert(record)
    assert not recorder.failed
    (run,) = runs(here)
    assert {name: run.data.metrics[name] for name in ("rmse", "mae")} == {"rmse": 0.875, "mae": 0.5}


def test_a_record_makes_a_run_in_a_new_store(release: Path, here: Path) -> None:
    Path("mlruns/mlflow.db").unlink()
    record = io.read_dataclass(release / "run.json", RunRecord)
    with recording(ON) as recorder:
        recorder.upsert(record)
    assert not recorder.failed
    (run,) = runs(here)
    assert run.data.tags["backfilled"] == "true"
    assert losses(run, client(here)) == LOSSES
    assert run.info.end_time == record.ended
