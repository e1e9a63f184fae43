"""A model that is not what its training has written is used by nobody."""

import json
from pathlib import Path

import pytest

from cf.core import io
from cf.core.errors import InputError
from cf.core.model_files import SETTINGS, WEIGHTS
from cf.inference import gradient_models as formulas
from cf.inference.load import load_answers
from cf.models.dotbias import DotBias
from cf.training import checkpoint
from cf.training.checkpoint import ModelSpec

SETTINGS_OF = {"name": "dotbias", "n_factors": 4, "init_range": [-0.5, 0.5]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a saved model, in a project that has the record of its training."""
    folder = tmp_path / "models/dotbias"
    spec = ModelSpec(SETTINGS_OF, n_users=7, n_items=9, rating_range=(1.0, 5.0))
    files = checkpoint.save(folder, spec.build("test"), spec)
    digests = {file.relative_to(tmp_path).as_posix(): io.digest(file) for file in files}
    io.write_json(tmp_path / "runs/dotbias.json", {"files": digests})
    return folder


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def refused(folder: Path) -> None:
    for load in (checkpoint.load, load_answers):
        with pytest.raises(InputError, match=r"models/dotbias: not a whole checkpoint"):
            load(folder)


@pytest.mark.parametrize("in_project", [True, False])
@pytest.mark.parametrize("position", [-1, -40, -400])
def test_one_flipped_bit_of_the_weights_is_found(
    folder: Path, position: int, in_project: bool
) -> None:
    assert checkpoint.load(folder) is not None
    assert load_answers(folder) is not None
    if not in_project:  # as a copy elsewhere
        (folder.parent.parent / "runs/dotbias.json").unlink()
    flip(folder / WEIGHTS, position)
    refused(folder)


def test_other_settings_are_found(folder: Path) -> None:
    settings = json.loads((folder / SETTINGS).read_text())
    io.write_json(folder / SETTINGS, settings | {"rating_range": [1.0, 4.0]})
    refused(folder)


def test_another_whole_model_in_its_place_is_found(folder: Path) -> None:
    spec = ModelSpec(SETTINGS_OF, n_users=7, n_items=9, rating_range=(1.0, 5.0))
    checkpoint.save(folder, spec.build("test"), spec)
    refused(folder)


def test_an_edited_model_has_no_formula_until_that_is_edited_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = DotBias.forward
    monkeypatch.setattr(DotBias, "forward", lambda self, *pair: forward(self, *pair) + 0.1)
    spec = ModelSpec(SETTINGS_OF, n_users=7, n_items=9, rating_range=(1.0, 5.0))
    checkpoint.save(tmp_path, spec.build("test"), spec)
    assert load_answers(tmp_path) is None
    member = formulas.DotBias.member
    monkeypatch.setattr(formulas.DotBias, "member", lambda self, *pair: member(self, *pair) + 0.1)
    assert load_answers(tmp_path) is not None


def test_a_model_of_before_there_were_digests_loads(folder: Path) -> None:
    (folder.parent.parent / "runs/dotbias.json").unlink()
    settings = json.loads((folder / SETTINGS).read_text())
    del settings["weights_sha256"]
    io.write_json(folder / SETTINGS, settings)
    assert checkpoint.load(folder) is not None
    assert load_answers(folder) is not None
