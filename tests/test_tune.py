"""The command `cf tune`."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cf.cli import tune as command
from cf.core import config, io, paths
from cf.core.config import Training
from cf.core.errors import InputError
from cf.tracking.record import RunRecord
from cf.tuning.search import Trial
from tests.searches import PROVENANCE, RATES, SECTION, SPLIT, Pair, tune
from tests.test_space import pasted


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

    monkeypatch.setattr(command, "recording", recording)
    return stand_in


@pytest.fixture
def project(tmp_path: Path, planted: Pair, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a split that has no validation rows at all, as the current folder."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "params.yaml", RATES)
    io.write_parquet(paths.TRAIN, planted[0].to_frame())
    io.write_parquet(paths.ENCODED_ITEMS, pd.DataFrame({"genres": [""] * 80, "year": np.nan}))
    io.write_json(paths.SPLIT_PROVENANCE, PROVENANCE)
    io.write_json(paths.SPLIT_INFO, SPLIT)
    return tmp_path


def write(path: Path, space: dict[str, Any], n_trials: int = 8) -> None:
    sections = {
        "train_dotbias": SECTION,
        "tracking": {"enabled": True, "experiment": "cf"},
        "tune": tune(space, n_trials).model_dump(exclude_unset=True),
    }
    path.write_text(yaml.safe_dump(sections))


def test_it_records_each_trial_and_ends_with_a_line_to_paste(
    project: Path, recorder: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main()
    printed = capsys.readouterr().out
    assert "8/8" in printed
    assert "yours" in printed

    (study,) = (record for record in recorder.records.values() if not record.parent)
    assert study.status == "FINISHED"
    assert (study.name, study.experiment) == ("tune dotbias", "cf")
    assert study.parameters["n_factors"] == 3
    assert study.parameters["tune.n_trials"] == 8
    assert [name for name, *_ in recorder.trials] == [f"trial {n}" for n in range(8)]
    assert {record.parent for record in recorder.records.values()} == {"", study.id}
    finished = [trial for trial in recorder.trials if trial[3] == "FINISHED"]
    _, best, *_ = min(finished, key=lambda trial: trial[2][-1]["loss/holdout"])

    before = yaml.safe_load((project / "params.yaml").read_text())
    pasted(printed.splitlines()[-1], project / "params.yaml")
    after = config.load(project / "params.yaml", "train_dotbias", Training)
    assert after.schedule.learning_rate == best["learning_rate"]
    assert yaml.safe_load((project / "params.yaml").read_text())["tune"] == before["tune"]


def test_validation_rows_are_not_used(project: Path, planted: Pair, recorder: StandIn) -> None:
    assert not paths.VALID.exists()
    command.main()
    without = recorder.trials
    recorder.records.clear()
    poison = np.full(len(planted[1]), np.nan, dtype=np.float32)
    io.write_parquet(paths.VALID, replace(planted[1], values=poison).to_frame())
    command.main()
    assert recorder.trials == without


def test_it_reports_when_nothing_is_better(
    project: Path, recorder: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = {"type": "float", "low": 0.000001, "high": 0.000002}
    write(project / "params.yaml", {"schedule.learning_rate": worse}, n_trials=3)
    command.main()
    printed = capsys.readouterr().out
    assert "No trial beat the values that train_dotbias has: keep them." in printed
    assert "dvc exp run" not in printed


def test_a_section_that_is_sampled_is_refused(project: Path, recorder: StandIn) -> None:
    sections = yaml.safe_load((project / "params.yaml").read_text())
    sections["train_dotbias"] = {"model": {"name": "bayesmf"}, "gibbs": {}}
    (project / "params.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(InputError, match=r"tune\.section: train_dotbias is sampled"):
        command.main()
    assert not recorder.records


def test_an_interrupt_ends_the_search_with_the_best_so_far(
    project: Path,
    recorder: StandIn,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def upsert(record: RunRecord) -> None:
        if record.name == "trial 4":
            raise KeyboardInterrupt

    monkeypatch.setattr(recorder, "upsert", upsert)
    command.main()
    printed = capsys.readouterr().out
    assert "5 trials" in printed
    assert "dvc exp run -S train_dotbias.schedule.learning_rate=" in printed


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "data"), "`dvc repro` makes it"),
        (
            lambda folder: write(folder / "params.yaml", {"a": RATES["schedule.learning_rate"]}),
            "a: unknown key",
        ),
    ],
)
def test_no_study_starts_on_an_invalid_input(
    project: Path, recorder: StandIn, broken: Any, message: str
) -> None:
    broken(project)
    with pytest.raises(InputError) as caught:
        command.main()
    assert message in str(caught.value)
    assert not recorder.records


def test_a_trials_record_has_the_names_of_a_trainings_run() -> None:
    search = RunRecord("5e", "cf", "tune dot", {}, {}, {"name": "toy"}, 5)
    losses = [{"loss/train": 1.0, "loss/holdout": 2.0}]
    tried = {"model.name": "dot", "schedule.learning_rate": 0.1}
    record = command.trial_record(Trial(7, tried, losses, "KILLED", None, ""), search)
    assert record.parameters == {"model": "dot", "learning_rate": 0.1}
    assert (record.id, record.parent, record.status) == ("5e-7", "5e", "KILLED")
    assert [(epoch["step"], epoch["metrics"]) for epoch in record.epochs] == [(1, losses[0])]
