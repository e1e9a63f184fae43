"""What a search may try, and the command that gives exact values back."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from cf.core import config
from cf.core.config import Training, Tune
from cf.core.errors import InputError
from cf.training.checkpoint import ModelSpec
from cf.tuning.search import Trial, dvc_command, search
from tests.searches import ONE, RATES, SECTION, Pair, section, tune


@pytest.mark.parametrize(
    ("key", "allowed", "message"),
    [
        ("low", {"type": "int", "low": 5, "high": 5}, "low must be below high, got 5 and 5"),
        ("low", {"type": "float", "low": 0, "high": 1, "log": True}, "log needs low above 0"),
        ("low", {"type": "int", "low": 1.5, "high": 5}, "int needs whole numbers"),
        ("low", {"type": "float", "high": 5}, "float needs both low and high"),
        ("low", {"type": "choice", "values": []}, "a choice needs values"),
        ("low", {"type": "choice"}, "a choice needs values"),
        ("low", {"type": "choice", "values": [{}]}, "numbers, text or lists of these"),
        ("low", {"type": "choice", "values": [1], "low": 1}, "low means nothing to choice"),
        ("low", {"type": "int", "low": 1, "high": 2, "values": [1]}, "values means nothing to int"),
        ("low", {"type": "int", "lo": 1, "high": 2}, "low.lo: unknown key. Did you mean low?"),
        ("low", {"low": 1, "high": 2}, "low.type: this key is missing"),
        ("low", {"type": "real", "low": 1, "high": 2}, "'int', 'float' or 'choice', got 'real'"),
        ("low", {"type": "float", "low": "1e-5", "high": 1}, "write 0.00001"),
        ("low", 3, "expected the keys type, low, high, log, values, got 3"),
    ],
)
def test_an_invalid_domain_is_refused_by_name(key: str, allowed: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        tune({key: allowed})
    assert f"p: tune.space.{key}" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "others",
    [{"holdout": 1.0}, {"holdout": 0.0}, {"n_trials": 0}, {"section": "split"}, {"space": {}}],
)
def test_settings_out_of_bounds_are_refused_by_name(others: dict[str, Any]) -> None:
    (key,) = others
    settings = {"section": "train_dot", "seed": 1, "holdout": 0.2, "n_trials": 1, "space": RATES}
    with pytest.raises(InputError, match=f"p: tune.{key}"):
        config.validate({**settings, **others}, "p: tune", Tune)


@pytest.mark.parametrize(
    ("key", "allowed", "message"),
    [
        ("model.n_factor", ONE, "Did you mean n_factors?"),
        ("n_factors", ONE, "unknown key"),
        ("optimiser.weight_decay", {"type": "float", "low": 0, "high": 1}, "optimiser has no keys"),
        ("seed.x", ONE, "seed has no keys"),
        ("optimizer.momentum", {"type": "float", "low": 0, "high": 0.9}, "momentum: unknown key"),
        ("model.n_factors", {"type": "int", "low": 0, "high": 9}, "greater than 0, got 0"),
        ("model.n_factors", {"type": "float", "low": 1, "high": 9.5}, "valid integer"),
        ("optimizer.weight_decay", {"type": "float", "low": -0.5, "high": 1}, "got -0.5"),
        ("schedule.anneal", {"type": "choice", "values": ["none", "linear"]}, "got 'linear'"),
        ("schedule.n_epochs", {"type": "int", "low": 1, "high": 3}, "valid list"),
        ("model.name", {"type": "choice", "values": ["dot", "dots"]}, "no model is called 'dots'"),
    ],
)
def test_a_space_that_the_section_cannot_have_is_refused_before_the_first_trial(
    planted: Pair, key: str, allowed: dict[str, Any], message: str
) -> None:
    spec = ModelSpec(SECTION["model"], 60, 80, (0.5, 5.0))
    with pytest.raises(InputError) as caught:
        search(planted[0], section(), tune({key: allowed}), spec, "p")
    assert message in str(caught.value)


def test_the_committed_space_fits_its_section(pytestconfig: pytest.Config, planted: Pair) -> None:
    path = pytestconfig.rootpath / "params.yaml"
    asked = config.load(path, "tune", Tune)
    training = config.load(path, asked.section, Training)
    search(planted[0], training, asked, ModelSpec(training.model, 60, 80, (0.5, 5.0)), str(path))


VALUES: dict[str, Any] = {
    "model.n_factors": 87,
    "optimizer.weight_decay": 0.00001,
    "schedule.learning_rate": [0.0000213, 0.1],
    "schedule.n_epochs": [1, 2],
    "schedule.anneal": "none",
    "schedule.warm_up": 0.05,
    "device": "cuda:1",
    "model.text": "it's, [a] $b {c}",
    "model.flag": True,
    "model.nothing": None,
    "model.word": "true",
    "model.number": "1.5",
    "model.whole": 1.0,
}


def pasted(line: str, path: Path) -> None:
    """Apply a printed line to a params file as the shell and DVC do."""
    words = shlex.split(line)
    assert words[:3] == ["dvc", "exp", "run"]
    assert set(words[3::2]) == {"-S"}
    apply_overrides(path, words[4::2])


@pytest.mark.parametrize("style", [None, True], ids=["blocks", "flow"])
def test_the_line_gives_exact_values_and_types_back(tmp_path: Path, style: bool | None) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"train_dotbias": SECTION}, default_flow_style=style))
    own = {key: 0 for key in VALUES if not key.startswith("model.") and key != "schedule.warm_up"}
    line = dvc_command(
        "train_dotbias",
        Trial(1, VALUES, [], "FINISHED", 0.5, ""),
        Trial(0, {**own, "model.n_factors": 3}, [], "FINISHED", 0.6, ""),
    )
    assert "\n" not in line
    pasted(line, path)
    read = config.load(path, "train_dotbias", Training)
    assert read.model == {
        **SECTION["model"],
        "n_factors": 87,
        "text": "it's, [a] $b {c}",
        "flag": True,
        "nothing": None,
        "word": "true",
        "number": "1.5",
        "whole": 1.0,
    }
    assert type(read.model["n_factors"]) is int
    assert type(read.model["whole"]) is float
    assert read.optimizer.weight_decay == 0.00001
    assert read.schedule == config.Schedule(
        n_epochs=[1, 2], learning_rate=[0.0000213, 0.1], anneal="none", warm_up=0.05
    )
    assert read.device == "cuda:1"
