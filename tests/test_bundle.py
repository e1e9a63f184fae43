"""One model in a folder of its own, and what it does not go with."""

import errno
import json
import shutil
from pathlib import Path

import pytest

import cf
from cf.core import io, paths
from cf.core.errors import InputError, WriteError
from cf.core.ratings import ids_digest
from cf.inference import bundle
from cf.training import checkpoint
from tests.artifacts import make

MODEL = paths.MODELS / "bayesmf"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make.make_project(tmp_path / "project")
    return tmp_path / "project"


def test_a_bundle_answers_as_the_project_does(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    written = bundle.write(project, "bayesmf", folder)
    there = tmp_path / "elsewhere"
    folder.rename(there)
    shutil.move(project, tmp_path / "gone")
    loaded, own = cf.load(there / MODEL), cf.load(tmp_path / "gone" / MODEL)
    for model in (written, loaded):
        assert model.recommend("u3").equals(own.recommend("u3"))
        assert model.predict("u3", "0100").equals(own.predict("u3", "0100"))
        assert model.explain("u3", "0100").equals(own.explain("u3", "0100"))
    assert io.read_json(there / paths.BLEND / "blend.json") == {"bayesmf": 2.0}
    assert sorted(path.name for path in (there / paths.MODELS).iterdir()) == ["bayesmf"]


@pytest.mark.parametrize(
    "missing",
    [
        paths.ENCODED_ITEMS,
        paths.ENCODED_USERS,
        paths.ENCODED_RATINGS,
        paths.TRAIN,
        paths.PROVENANCE,
        MODEL / "model.json",
        MODEL / "weights.safetensors",
        paths.BLEND / "blend.json",
        paths.BLEND / "weights.npy",
    ],
)
def test_what_is_missing_is_named(project: Path, tmp_path: Path, missing: Path) -> None:
    (project / missing).unlink()
    with pytest.raises(InputError, match=str(missing)):
        bundle.write(project, "bayesmf", tmp_path / "bundle")


def test_a_full_disk_is_not_a_missing_file(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle.shutil, "copyfile", refuse)
    with pytest.raises(WriteError, match="No space left on device"):
        bundle.write(project, "bayesmf", tmp_path / "bundle")


def test_a_model_that_was_not_blended_is_named(project: Path, tmp_path: Path) -> None:
    io.write_json(project / paths.BLEND / "blend.json", {"dotbias": 1.0})
    with pytest.raises(InputError, match="blend: has no bayesmf"):
        bundle.write(project, "bayesmf", tmp_path / "bundle")


def test_a_model_of_other_ids_is_refused_though_there_are_as_many(project: Path) -> None:
    users = io.read_parquet(project / paths.ENCODED_USERS)
    io.write_parquet(project / paths.ENCODED_USERS, users[::-1])
    with pytest.raises(InputError, match="of other users and items than the data"):
        cf.load(project / MODEL)


@pytest.mark.parametrize("where", [paths.PROVENANCE, MODEL / "model.json"])
def test_files_of_an_earlier_cf_have_no_digest_and_load(project: Path, where: Path) -> None:
    content = io.read_json(project / where)
    del content["ids_sha256"]
    io.write_json(project / where, content)
    assert cf.load(project / MODEL).predict("u3", "0100")["prediction"].notna().all()
    assert checkpoint.load(project / MODEL)


def test_the_digest_tells_ids_and_their_order_and_which_are_users() -> None:
    whole = ids_digest([1, 2], [3])
    assert whole == ids_digest(["1", "2"], ["3"])
    others = (["2", "1"], ["3"]), (["1"], ["2", "3"]), (["12"], ["3"]), (["1", "2"], ["4"])
    assert whole not in {ids_digest(*ids) for ids in others}


@pytest.mark.parametrize("file", ["weights.safetensors", "model.json"])
@pytest.mark.parametrize("keep", [0, 20])
def test_a_damaged_checkpoint_is_named(project: Path, file: str, keep: int) -> None:
    path = project / MODEL / file
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"models/bayesmf: not a whole checkpoint"):
        cf.load(project / MODEL)


def test_a_weight_that_is_missing_is_named(project: Path) -> None:
    path = project / MODEL / "model.json"
    settings = json.loads(path.read_text())
    settings["model"]["name"] = "dotbias"
    path.write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"not a whole checkpoint \('user_factors.weight'\)"):
        cf.load(project / MODEL)
