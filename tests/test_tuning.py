"""The search for better values, on planted ratings; and what the stage around it says."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from cf.cli import tune as stage
from cf.core import config, io, paths
from cf.core.config import Training, Tune
from cf.core.errors import InputError
from cf.core.provenance import Provenance, SplitInfo
from cf.core.ratings import Ratings
from cf.data.split import random_split
from cf.tracking.record import RunRecord
from cf.training.checkpoint import ModelSpec
from cf.tuning import outcome
from cf.tuning.search import Trial, search
from tests.stores import runs

SECTION: dict[str, Any] = {
    "model": {"name": "dotbias", "n_factors": 3, "init_range": [-0.3, 0.3]},
    "seed": 1,
    "device": "cpu",
    "n_threads": 1,
    "batch_size": 64,
    "optimizer": {"name": "adam", "betas": [0.9, 0.999], "weight_decay": 0.0},
    "schedule": {"n_epochs": [2, 3], "learning_rate": 0.00001, "anneal": "none"},
}
RATES = {"schedule.learning_rate": {"type": "float", "low": 0.00001, "high": 0.3, "log": True}}
CHOICE = {"type": "choice", "values": ["dot", "dotbias"]}
ONE = {"type": "int", "low": 1, "high": 2}
PROVENANCE = Provenance("made-up", "made-up", "test", "ab" * 32, 3000, 60, 80, (0.5, 5.0))
SPLIT = SplitInfo(0.2, 42, 2500, 500, 0, "cd" * 32)


def section(**parts: dict[str, Any]) -> Training:
    """The section above, with some keys of its parts changed."""
    changed = {name: {**SECTION[name], **part} for name, part in parts.items()}
    return config.validate({**SECTION, **changed}, "test", Training)


def tune(space: dict[str, Any], n_trials: int = 12, **others: Any) -> Tune:
    settings = {"section": "train_dotbias", "seed": 1, "holdout": 0.2, **others}
    return config.validate({**settings, "n_trials": n_trials, "space": space}, "p: tune", Tune)


def trials(train: Ratings, training: Training, asked: Tune) -> list[Trial]:
    spec = ModelSpec(training.model, 60, 80, (0.5, 5.0))
    return list(search(train, training, asked, spec, "p"))


Pair = tuple[Ratings, Ratings]


def test_the_planted_best_is_found(planted: Pair) -> None:
    space = {**RATES, "model.n_factors": {"type": "int", "low": 1, "high": 4}}
    found = trials(planted[0], section(), tune(space, n_trials=20))
    best = outcome.ranked(found)[0]
    assert found[0].parameters == {"schedule.learning_rate": 0.00001, "model.n_factors": 3}
    assert found[0].value is not None
    assert found[0].value > 0.5  # as bad as the mean rating
    assert best.value is not None
    assert best.value < 0.2
    assert 0.01 < best.parameters["schedule.learning_rate"] < 0.3


def test_bad_trials_are_given_up_early_and_good_ones_run_to_the_end(planted: Pair) -> None:
    found = trials(planted[0], section(), tune(RATES, n_trials=20))
    states = [trial.state for trial in found]
    assert set(states) == {"FINISHED", "KILLED"}
    assert set(states[:5]) == {"FINISHED"}, "there is no median yet"
    for trial in found:
        assert all(set(losses) == {"loss/train", "loss/slice"} for losses in trial.losses)
        if trial.state == "FINISHED":
            assert len(trial.losses) == 5
            assert trial.value == trial.losses[-1]["loss/slice"]
        else:
            assert len(trial.losses) < 5
            assert trial.value is None


def test_one_seed_gives_the_same_trials_to_the_bit(planted: Pair) -> None:
    def again(seed: int) -> list[Trial]:
        return trials(planted[0], section(), tune(RATES, n_trials=12, seed=seed))

    assert again(1) == again(1)
    assert again(1) != again(2)


def test_the_slice_is_of_the_train_rows_and_is_not_fitted(planted: Pair) -> None:
    train = planted[0]
    judged = random_split(len(train), 0.2, 1)["valid"]
    poisoned = train.values.copy()
    poisoned[judged] = np.nan
    (trial,) = trials(
        Ratings(train.users, train.items, poisoned, None, train.rows),
        section(schedule={"n_epochs": [1]}),
        tune(RATES, n_trials=1),
    )
    assert trial.state == "FAILED"
    assert "nan on held-out rows" in trial.reason
    assert "nan on train" not in trial.reason


def test_a_trial_that_diverges_does_not_end_the_study(planted: Pair) -> None:
    training = section(
        model={"name": "dot", "init_range": [0.0, 1.0]}, schedule={"learning_rate": 0.01}
    )
    space = {"schedule.learning_rate": {"type": "choice", "values": [0.01, 1e30]}}
    found = trials(planted[0], training, tune(space, n_trials=6))
    failed = [trial for trial in found if trial.state == "FAILED"]
    assert failed
    assert all("training diverged" in trial.reason for trial in failed)
    assert all(trial.value is None for trial in failed)
    assert len(found) == 6
    assert outcome.ranked(found)[0].parameters == {"schedule.learning_rate": 0.01}


def test_a_trial_that_asks_for_too_much_memory_does_not_end_the_study(planted: Pair) -> None:
    space = {"model.n_factors": {"type": "choice", "values": [3, 10**9]}}
    found = trials(planted[0], section(), tune(space, n_trials=6))
    failed = [trial for trial in found if trial.state == "FAILED"]
    assert {trial.parameters["model.n_factors"] for trial in failed} == {10**9}
    assert all("lower n_factors" in trial.reason for trial in failed)
    assert found[0].state == "FINISHED"


def test_values_that_do_not_go_together_fail_alone(planted: Pair) -> None:
    training = section(schedule={"n_epochs": [1, 1], "learning_rate": [0.1, 0.01]})
    space = {
        "schedule.n_epochs": {"type": "choice", "values": [[1, 1], [2, 2]]},
        "schedule.learning_rate": {"type": "choice", "values": [[0.1, 0.01], 0.05]},
        "schedule.anneal": {"type": "choice", "values": ["none", "cosine"]},
    }
    found = trials(planted[0], training, tune(space, n_trials=8))
    assert {trial.state for trial in found} <= {"FINISHED", "KILLED"}
    assert found[0].parameters["schedule.learning_rate"] == [0.1, 0.01]
    assert {str(trial.parameters["schedule.n_epochs"]) for trial in found} == {"[1, 1]", "[2, 2]"}


def test_the_first_trial_takes_the_section_as_it_stands_even_outside_the_space(
    planted: Pair,
) -> None:
    space = {
        "model.n_factors": {"type": "int", "low": 5, "high": 6},
        "schedule.learning_rate": {"type": "float", "low": 0.1, "high": 0.2},
        "schedule.warm_up": {"type": "choice", "values": [0.25]},
        "optimizer.weight_decay": {"type": "float", "low": 0.0, "high": 0.00001},
    }
    training = section(schedule={"n_epochs": [1, 1], "learning_rate": [0.123456, 0.01]})
    first, second = trials(planted[0], training, tune(space, n_trials=2))
    assert first.parameters == {
        "model.n_factors": 3,
        "schedule.learning_rate": [0.123456, 0.01],
        "optimizer.weight_decay": 0.0,
    }
    assert set(second.parameters) == set(space)
    line = outcome.command("train_dotbias", second, first)
    assert " +train_dotbias.schedule.warm_up=0.25 " in line


@pytest.mark.parametrize(
    ("key", "allowed", "said"),
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
def test_a_range_that_is_none_is_refused_by_name(key: str, allowed: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        tune({key: allowed})
    assert f"p: tune.space.{key}" in str(caught.value)
    assert said in str(caught.value)


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
    ("key", "allowed", "said"),
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
    planted: Pair, key: str, allowed: dict[str, Any], said: str
) -> None:
    spec = ModelSpec(SECTION["model"], 60, 80, (0.5, 5.0))
    with pytest.raises(InputError) as caught:
        search(planted[0], section(), tune({key: allowed}), spec, "p")
    assert said in str(caught.value)


def test_an_empty_slice_is_refused(planted: Pair) -> None:
    with pytest.raises(InputError, match=r"p: tune.holdout: 0.1 of 9 training ratings"):
        trials(planted[0].take(np.arange(9)), section(), tune(RATES, holdout=0.1))


def test_when_no_trial_finishes_the_reason_is_said() -> None:
    with pytest.raises(InputError, match=r"none of 1 trials finished. The first said: too big"):
        outcome.ranked([Trial(0, {}, [], "FAILED", None, "too big")])


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
    line = outcome.command(
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


class StandIn:
    """Keeps the state of each record that it was handed last."""

    def __init__(self) -> None:
        self.records: dict[str, RunRecord] = {}

    def upsert(self, record: RunRecord) -> None:
        self.records[record.id] = deepcopy(record)

    @property
    def trials(self) -> list[tuple[Any, ...]]:
        """Of each trial name, parameters, losses by epoch and status."""
        return [
            (of.name, of.parameters, [epoch["metrics"] for epoch in of.epochs], of.status)
            for of in self.records.values()
            if of.parent
        ]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()

    @contextmanager
    def recording(settings: config.Tracking) -> Iterator[StandIn]:
        yield stand_in

    monkeypatch.setattr(stage, "recording", recording)
    return stand_in


@pytest.fixture
def project(tmp_path: Path, planted: Pair, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a split that has no validation rows at all, as the current folder."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "params.yaml", RATES)
    io.write_parquet(paths.TRAIN, planted[0].to_frame())
    io.write_dataclass(paths.SPLIT_PROVENANCE, PROVENANCE)
    io.write_dataclass(paths.SPLIT_INFO, SPLIT)
    return tmp_path


def write(path: Path, space: dict[str, Any], n_trials: int = 8) -> None:
    sections = {
        "train_dotbias": SECTION,
        "tracking": {"enabled": True, "experiment": "cf"},
        "tune": tune(space, n_trials).model_dump(exclude_unset=True),
    }
    path.write_text(yaml.safe_dump(sections))


def test_each_trial_is_recorded_and_the_end_is_a_line_to_paste(
    project: Path, recorder: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.main()
    said = capsys.readouterr().out
    assert "8/8" in said
    assert "yours" in said

    (study,) = (record for record in recorder.records.values() if not record.parent)
    assert study.status == "FINISHED"
    assert (study.name, study.experiment) == ("tune dotbias", "cf")
    assert study.parameters["n_factors"] == 3
    assert study.parameters["tune.n_trials"] == 8
    assert [name for name, *_ in recorder.trials] == [f"trial {n}" for n in range(8)]
    finished = [trial for trial in recorder.trials if trial[3] == "FINISHED"]
    _, best, *_ = min(finished, key=lambda trial: trial[2][-1]["loss/slice"])

    before = yaml.safe_load((project / "params.yaml").read_text())
    pasted(said.splitlines()[-1], project / "params.yaml")
    after = config.load(project / "params.yaml", "train_dotbias", Training)
    assert after.schedule.learning_rate == best["learning_rate"]
    assert yaml.safe_load((project / "params.yaml").read_text())["tune"] == before["tune"]


def test_validation_rows_play_no_part(project: Path, planted: Pair, recorder: StandIn) -> None:
    assert not paths.VALID.exists()
    stage.main()
    without = recorder.trials
    recorder.records.clear()
    poison = np.full(len(planted[1]), np.nan, dtype=np.float32)
    io.write_parquet(paths.VALID, replace(planted[1], values=poison).to_frame())
    stage.main()
    assert recorder.trials == without


def test_the_stage_says_when_nothing_is_better(
    project: Path, recorder: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = {"type": "float", "low": 0.000001, "high": 0.000002}
    write(project / "params.yaml", {"schedule.learning_rate": worse}, n_trials=3)
    stage.main()
    said = capsys.readouterr().out
    assert "No trial beat the values that train_dotbias has: keep them." in said
    assert "dvc exp run" not in said


def test_a_section_that_is_sampled_is_refused(project: Path, recorder: StandIn) -> None:
    sections = yaml.safe_load((project / "params.yaml").read_text())
    sections["train_dotbias"] = {"model": {"name": "bayesmf"}, "gibbs": {}}
    (project / "params.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(InputError, match=r"tune\.section: train_dotbias is sampled"):
        stage.main()
    assert not recorder.records


def test_an_interrupt_keeps_what_was_found(
    project: Path,
    recorder: StandIn,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def upsert(record: RunRecord) -> None:
        if record.name == "trial 4":
            raise KeyboardInterrupt

    monkeypatch.setattr(recorder, "upsert", upsert)
    stage.main()
    said = capsys.readouterr().out
    assert "5 trials" in said
    assert "dvc exp run -S train_dotbias.schedule.learning_rate=" in said


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "data"), "`dvc repro` makes it"),
        (
            lambda folder: write(folder / "params.yaml", {"a": RATES["schedule.learning_rate"]}),
            "a: unknown key",
        ),
    ],
)
def test_what_cannot_be_searched_starts_no_study(
    project: Path, recorder: StandIn, broken: Any, said: str
) -> None:
    broken(project)
    with pytest.raises(InputError) as caught:
        stage.main()
    assert said in str(caught.value)
    assert not recorder.records


def test_a_search_is_a_run_with_its_trials_as_children(
    project: Path, ready_made_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(ready_made_store, project, dirs_exist_ok=True)
    write(project / "params.yaml", {**RATES, "model.name": CHOICE}, n_trials=3)
    stage.main()
    children = {run.info.run_name: run for run in runs(project)}
    study = children.pop("tune dotbias")
    assert study.info.status == "FINISHED"
    assert sorted(children) == ["trial 0", "trial 1", "trial 2"]
    for trial in children.values():
        assert trial.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert set(trial.data.params) == {"learning_rate", "model"}
        assert set(trial.data.metrics) == {"loss/train", "loss/slice"}
    assert children["trial 0"].data.params == {"learning_rate": "1e-05", "model": "dotbias"}


def test_the_committed_space_fits_its_section(pytestconfig: pytest.Config, planted: Pair) -> None:
    path = pytestconfig.rootpath / "params.yaml"
    asked = config.load(path, "tune", Tune)
    training = config.load(path, asked.section, Training)
    search(planted[0], training, asked, ModelSpec(training.model, 60, 80, (0.5, 5.0)), str(path))
