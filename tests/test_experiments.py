"""Experiments side by side: with a stand-in for DVC that is quick, and with DVC itself."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from cf.cli import cv, experiments, grid, rank
from cf.cli.grid import parse_axis
from cf.core.config import Cv, Tracking
from cf.core.errors import InputError
from cf.tracking.record import RunRecord
from tests.project import ROOT

NOTED = "train_dot:\n  seed: 1\n"
DVC = """#!/bin/sh
echo "$@" >> calls
case "$*" in
    "exp list --name-only") printf 'toy-1\\nother-1\\ntoys-1\\n' ;;
    *"--name toy-locked"*)
        if mkdir refused 2>/dev/null; then
            echo "ERROR: Unable to acquire lock. Most likely another DVC process is running."
            exit 255
        fi ;;
    *"--name toy-killed"*)
        git stash -q && git checkout -q --detach && sed -i s/1/2/ params.yaml
        mkdir -p .dvc/tmp && touch .dvc/tmp/repro.dat && git add -f .dvc/tmp/repro.dat
        git update-ref refs/exps/stash HEAD
        touch .git/index.lock
        kill -9 $$ ;;
    *"--name toy-full"*) : > params.yaml ;;
    *"--name toy-staged"*)
        sed -i s/1/2/ params.yaml && git add params.yaml && sed -i s/2/1/ params.yaml ;;
    *"--name toy-slow"*) echo "Running stage 'train_dot':"; sleep 60 & echo $! > child; wait ;;
    *"--name toy-broken"*)
        echo "Running stage 'train_dot':"
        echo "train_dot: too large"
        echo "ERROR: failed to reproduce 'train_dot'"
        echo "ERROR: failed to reproduce 'train_dot'"
        exit 255 ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which `dvc` is a stand-in that writes down how it was called."""
    dvc = tmp_path / "bin/dvc"
    dvc.parent.mkdir()
    dvc.write_text(DVC)
    dvc.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        experiments, "own_environment", lambda: {"PATH": f"{dvc.parent}:/usr/bin:/bin"}
    )
    monkeypatch.setattr(experiments, "INTERVAL_S", 0.1)
    return tmp_path


def test_earlier_ones_of_the_same_prefix_are_replaced(folder: Path) -> None:
    assert experiments.run({"toy-2": {"split.fold": 0, "split.file": None}}, 1, "toy", "rank") == ""
    assert (folder / "calls").read_text().splitlines() == [
        "exp list --name-only",
        "exp remove toy-1",
        "exp run --temp --name toy-2 --set-param=split.fold=0 --set-param=split.file=null rank",
    ]


def test_one_that_is_refused_the_lock_is_started_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert experiments.run({"toy-locked": {}, "toy-2": {}}, 2, "toy") == ""
    assert (folder / "calls").read_text().count("--name toy-locked") == 2
    assert capsys.readouterr().out.count("toy-locked: done") == 1


def test_a_lock_that_is_never_free_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "ATTEMPTS", 1)
    failures = experiments.run({"toy-locked": {}}, 1, "toy")
    assert "another DVC process" in failures


def test_one_that_fails_is_reported_in_dvcs_words_and_the_others_go_on(folder: Path) -> None:
    failures = experiments.run({"toy-broken": {}, "toy-2": {}, "toy-broken-3": {}}, 1, "toy")
    assert (folder / "calls").read_text().count("--name toy-") == 3
    assert failures.splitlines() == [
        "toy-broken, toy-broken-3 failed:",
        "Running stage 'train_dot':",
        "train_dot: too large",
        "ERROR: failed to reproduce 'train_dot'",
    ]


@pytest.fixture
def repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as a repository of git, on the branch work."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    environment = dict(os.environ) | experiments.own_environment()
    monkeypatch.setattr(experiments, "own_environment", lambda: environment)
    (folder / "params.yaml").write_text(NOTED)
    for command in (("init", "-q", "-b", "work"), ("add", "."), ("commit", "-q", "-m", "all")):
        subprocess.run(["git", *command], check=True)
    return folder


@pytest.mark.parametrize("changed", [False, True])
def test_one_whose_dvc_is_killed_tells_how_to_get_back_what_it_put_aside(
    repository: Path, changed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if changed:
        (repository / "params.yaml").write_text(NOTED + "# mine\n")
    failures = experiments.run({"toy-killed": {"train_dot.seed": 2}}, 1, "toy")
    assert failures.splitlines() == ["toy-killed failed:", "DVC was killed (signal 9)."]
    said = capsys.readouterr().out.splitlines()
    at = said.index("DVC did not put your project back as it was. To restore it, type:")
    assert said[at + 1 :] == [
        "    rm .git/index.lock",
        "    git restore --staged .dvc/tmp/repro.dat",
        "    git checkout HEAD params.yaml",
        "    git switch work",
        *["    git stash pop"] * changed,
        "    git update-ref -d refs/exps/stash",
    ]
    for line in said[at + 1 :]:
        subprocess.run(line.split(), check=True)
    assert (repository / "params.yaml").read_text() == NOTED + "# mine\n" * changed
    head = subprocess.run(["git", "branch", "--show-current"], capture_output=True, check=True)
    assert head.stdout == b"work\n"
    assert not subprocess.run(["git", "diff", "--cached"], capture_output=True, check=True).stdout


@pytest.mark.parametrize("name", ["toy-full", "toy-staged"])
def test_parameters_that_dvc_has_half_put_back_are_told(
    name: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiments.run({name: {"train_dot.seed": 2}}, 1, "toy")
    assert capsys.readouterr().out.splitlines()[-1] == "    git checkout HEAD params.yaml"
    (repository / "params.yaml").write_text(NOTED + "# edited meanwhile\n")
    subprocess.run(["git", "add", "params.yaml"], check=True)
    experiments.run({"toy-2": {"train_dot.seed": 2}}, 1, "toy")
    assert "checkout" not in capsys.readouterr().out


def test_an_interrupt_ends_what_runs_and_starts_nothing_else(folder: Path) -> None:
    def interrupt() -> None:
        while not (folder / "child").exists():
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        experiments.run({"toy-slow": {}, "toy-2": {}}, 1, "toy")
    assert "toy-2" not in (folder / "calls").read_text()
    child = int((folder / "child").read_text())
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_without_git_dvcs_own_words_say_why(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"dvc exp list: ERROR: you are not inside of a DVC repo"):
        experiments.run({"toy-1": {}}, 1, "toy")


@pytest.mark.parametrize("method", ["file", "time"])
def test_what_git_lacks_is_told_before_dvc_is_asked(folder: Path, method: str) -> None:
    for name in ("data/own/mine.csv", "data/own/split.csv", "cf/models/new.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    params = {
        "ingest": {"dataset": "data/own/mine.csv"},
        "split": {"method": "file", "file": "data/own/split.csv"},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    pipeline = {"stages": {"train_new": {"cmd": "x", "deps": ["cf/models/new.py"]}}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    subprocess.run(["git", "init", "-q"], check=True)
    changed = {} if method == "file" else {"split.method": method}
    split_file = " data/own/split.csv" if method == "file" else ""
    command = f"git add cf/models/new.py data/own/mine.csv{split_file}"
    with pytest.raises(InputError, match=f"Run `{command}`"):
        experiments.run({"toy-2": changed}, 1, "toy")
    assert not (folder / "calls").exists()
    subprocess.run(command.split(), check=True)
    assert experiments.run({"toy-2": changed}, 1, "toy") == ""


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("train_dot.model.n_factors=25,10,25", ("train_dot.model.n_factors", [10, 25])),
        ("train_dot.seed=1", ("train_dot.seed", [1])),
        ("train_dot.optimizer.weight_decay=5e-05", ("train_dot.optimizer.weight_decay", [5e-5])),
    ],
)
def test_an_axis_is_a_key_and_its_values_in_order(text: str, parsed: Any) -> None:
    assert parse_axis(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        *("train_dot.seed", "train_dot.seed=", "split.seed=1,2", "train_dot=1"),
        *("train_dot.device=cpu", "train_dot.model.n_factors=10,[25"),
    ],
)
def test_what_is_no_axis_is_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=r"expected a parameter .* and numbers.* got " + re.escape(text)
    ):
        parse_axis(text)


PARAMS = {
    "ingest": {"dataset": "ml-100k", "fallback": None},
    "split": {"method": "random", "n_folds": 5, "fold": 0, "test": False},
    "train_dot": {"seed": 1, "model": {"n_factors": 3}, "optimizer": {"weight_decay": 0.0}},
    "evaluate": {"part": "valid"},
    "cv": {"n_folds": 2, "seeds": [2], "jobs": 2},
    "tracking": {"enabled": True, "experiment": "cf"},
}
TRAIN = """
import json, sys, time, yaml
params = yaml.safe_load(open("params.yaml"))
section, fold = params["train_dot"], params["split"]["fold"]
n_factors, seed = section["model"]["n_factors"], section["seed"]
if n_factors == 13:
    sys.exit("train: too many factors")
rmse = 0.9 - n_factors / 100 + fold / 10 + seed / 1000
metrics = {"dot": {"rmse": rmse, "rmse_warm": 0}, "bias": {"rmse": 1.0 + fold / 10}}
record = {
    "id": f"{n_factors}-{fold}-{seed}", "experiment": "cf", "name": "dot",
    "dataset": {"name": "toy"}, "parameters": {"n_factors": n_factors, "fold": fold},
    "tags": {"model": "dot"}, "started": 5, "ended": 6, "status": "FINISHED",
}
json.dump(metrics, open("reports/metrics.json", "w"))
json.dump({"dataset": "toy", "unit": "points", "n_users": 30}, open("reports/data.json", "w"))
json.dump(record, open("runs/dot.json", "w"))
"""
RANK = """
row = {"model": "dot", "n_users": 9, "n_left_out": 1, "ndcg_at_10": 0.25, "behind_low": 0}
row["behind_high"] = 0
print(*row, sep=",", file=open("reports/ranking.csv", "w"))
print(*row.values(), sep=",", file=open("reports/ranking.csv", "a"))
"""
STAGES = {
    "evaluate": {
        "cmd": "python train.py",
        "deps": ["train.py"],
        "params": ["train_dot", "split", "evaluate"],
        "outs": [{"runs/dot.json": {"cache": False}}],
        "metrics": [{f"reports/{name}.json": {"cache": False}} for name in ("metrics", "data")],
    },
    "rank": {
        "cmd": "python rank.py",
        "deps": ["rank.py", "runs/dot.json"],
        "outs": [{"reports/ranking.csv": {"cache": False}}],
    },
}


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has run once: its stages train nothing, and take no time for it."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("reports", "runs"):
        (folder / name).mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (folder / "train.py").write_text(TRAIN)
    (folder / "rank.py").write_text(RANK)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (folder / ".gitignore").write_text("/reports/grid.png\n/reports/cv.csv\n")
    who = (["config", "user.name", "n"], ["config", "user.email", "e@x.org"])
    for command in (
        *(["git", *arguments] for arguments in (["init", "-q"], *who)),
        ["dvc", "init", "-q"],
        ["dvc", "repro", "-q"],
        *(["git", *arguments] for arguments in (["add", "-A"], ["commit", "-qm", "one"])),
    ):
        environment = experiments.own_environment()
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def project(committed: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, RunRecord]]:
    """The project as the current folder, and the records handed to MLflow, by name and id."""
    monkeypatch.chdir(committed)
    records: dict[str, RunRecord] = {}

    class Recorder:
        def upsert(self, record: RunRecord) -> None:
            records[record.name if record.name != "dot" else record.id] = record

    @contextmanager
    def recording(settings: Tracking, timeout_s: float | None) -> Iterator[Recorder]:
        yield Recorder()

    monkeypatch.setattr(grid, "recording", recording)
    monkeypatch.setattr(cv, "recording", recording)
    return committed, records


Made = tuple[Path, dict[str, RunRecord]]


def test_a_grid_draws_what_finished_and_reports_what_failed(project: Made) -> None:
    axes = ["train_dot.model.n_factors=13,3", "train_dot.optimizer.weight_decay=0.0"]
    with pytest.raises(InputError) as caught:
        grid.main(axes, 2)
    assert str(caught.value).startswith("grid-13-0.0 failed:\nRunning stage 'evaluate'")
    assert "train: too many factors" in str(caught.value)
    folder, records = project
    assert (folder / "reports/grid.png").exists()
    assert not records, "these have the run of the training that params.yaml describes"


def test_a_grids_table_has_the_rmse_of_each_pair_and_its_trainings_a_run_above(
    project: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["grid-9-0.1", "grid-3-0.2", "grid-3-0.1"]
    found = pd.DataFrame(
        {"dot.rmse": [0.8, 0.7, 0.6], "dataset": "toy", "unit": "points", "rev": names}, names
    )
    drawn: list[pd.DataFrame] = []

    def grid_heatmap(rmse: pd.DataFrame, unit: str, title: str) -> Figure:
        drawn.append(rmse)
        assert unit == "points"
        assert title == "Validation RMSE of dot: toy"
        return Figure()

    def read_record(revision: str, model: str) -> RunRecord:
        return RunRecord(revision, "cf", f"{model} of {revision}", {"seed": 1}, {}, {}, 5)

    monkeypatch.setattr(experiments, "run", lambda *_: "")
    monkeypatch.setattr(experiments, "results", lambda points: found)
    monkeypatch.setattr(experiments, "read_record", read_record)
    monkeypatch.setattr(grid, "grid_heatmap", grid_heatmap)
    grid.main(["train_dot.model.n_factors=9,3", "train_dot.optimizer.weight_decay=0.2,0.1"], 2)
    (rmse,) = drawn
    assert (rmse.index.name, rmse.columns.name) == ("model.n_factors", "optimizer.weight_decay")
    assert (list(rmse.index), list(rmse.columns)) == ([3, 9], [0.1, 0.2])
    np.testing.assert_array_equal(rmse, [[0.6, 0.7], [0.8, np.nan]])
    _, records = project
    over_grid = records.pop("grid dot")
    assert (over_grid.parameters, over_grid.reports) == ({"seed": 1}, ["reports/grid.png"])
    assert {record.parent for record in records.values()} == {over_grid.id}
    assert {record.id for record in records.values()} == {*names}


def test_a_cross_validation_has_every_fold_with_every_seed_in_order() -> None:
    planned = cv.plan(Cv(n_folds=2, seeds=[3, 1], jobs=2), ["dot", "embnet"])
    assert list(planned) == [
        *("cv-fold0-seed3", "cv-fold0-seed1"),
        *("cv-fold1-seed3", "cv-fold1-seed1"),
    ]
    changed = planned["cv-fold1-seed3"]
    assert changed["split.fold"] == 1
    assert changed["train_dot.seed"] == changed["train_embnet.seed"] == 3


def test_a_cross_validation_puts_each_folds_trainings_under_its_models_record(
    project: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    cv.main()
    assert "toy: 2 folds, 1 seeds each" in capsys.readouterr().out
    folder, records = project
    over_folds = records.pop("cv dot")
    assert {record.id for record in records.values()} == {"3-0-2", "3-1-2"}
    assert {record.parent for record in records.values()} == {over_folds.id}
    assert over_folds.parameters == {"n_factors": 3}
    assert over_folds.metrics["rmse"] == pytest.approx(0.87 + 0.05 + 0.002)
    assert over_folds.reports == ["reports/cv.csv"]
    table = pd.read_csv(folder / "reports/cv.csv")
    assert list(table["model"]) == ["dot", "bias"]
    assert table["sd_folds"].to_numpy() == pytest.approx(0.1 / 2**0.5, abs=1e-6)


def test_results_leave_out_what_only_other_experiments_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = [
        {"Experiment": None, "rev": "main", "dot.rmse": 0.9, "embnet.rmse": 0.8},
        {"Experiment": "b", "rev": "5e", "dot.rmse": 0.7, "embnet.rmse": "None"},
        {"Experiment": "a", "rev": "5f", "dot.rmse": "None", "embnet.rmse": "None"},
    ]
    monkeypatch.setattr(experiments.dvc.api, "exp_show", lambda: shown)
    found = experiments.results(["a", "failed", "b"])
    assert list(found.columns) == ["rev", "dot.rmse"]
    assert list(found["rev"]) == ["5f", "5e"]
    np.testing.assert_array_equal(found["dot.rmse"], [np.nan, 0.7])


@pytest.mark.parametrize("state", ["Queued", "Running", "Failed"])
def test_results_leave_out_what_was_killed_and_then_run_again(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [
        {"Experiment": "a", "rev": "5a", "State": state, "dot.rmse": "None"},
        {"Experiment": "a", "rev": "5b", "State": None, "dot.rmse": 0.7},
        {"Experiment": "b", "rev": "5c", "State": "None", "dot.rmse": 0.8},
    ]
    monkeypatch.setattr(experiments.dvc.api, "exp_show", lambda: shown)
    assert experiments.results(["a", "b"])["dot.rmse"].tolist() == [0.7, 0.8]


def test_ranking_prints_the_experiments_table(
    project: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    rank.main()
    printed = capsys.readouterr().out
    assert "toy, split by time, valid:" in printed
    assert "0.2500" in printed


OWN_STAGES = {
    "ingest": {
        "cmd": "python -m stages.ingest",
        "deps": ["data/own"],
        "params": ["ingest"],
        "outs": ["data/ingested"],
    },
    "train": {"cmd": "touch trained", "deps": ["data/ingested", "new.py"], "outs": ["trained"]},
}


def test_an_experiment_typed_by_hand_tells_what_git_lacks_and_runs_when_it_has(
    tmp_path: Path,
) -> None:
    (tmp_path / "data/own").mkdir(parents=True)
    (tmp_path / "data/own/.gitkeep").touch()
    (tmp_path / "params.yaml").write_text("ingest: {dataset: data/own/mine.csv, fallback: null}\n")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": OWN_STAGES}))
    environment = {**experiments.own_environment(), "PYTHONPATH": str(ROOT)}

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    for command in (
        *(["git", "init", "-q"], ["git", "config", "user.name", "n"]),
        *(["git", "config", "user.email", "e@x.org"], ["dvc", "init", "-q"]),
        *(["git", "add", "-A"], ["git", "commit", "-qm", "one"]),
    ):
        assert run(*command).returncode == 0
    (tmp_path / "data/own/mine.csv").write_text("u,i,r\n1,2,3\n4,5,2\n")
    (tmp_path / "new.py").write_text("x = 1\n")
    failed = run("dvc", "exp", "run", "--temp")
    assert failed.returncode != 0
    assert "ingest: experiments run on what git has" in failed.stdout + failed.stderr
    assert "`git add data/own/mine.csv new.py`" in failed.stdout + failed.stderr
    assert run("git", "add", "data/own/mine.csv", "new.py").returncode == 0
    done = run("dvc", "exp", "run", "--temp", "--name", "added")
    assert done.returncode == 0, done.stdout + done.stderr
