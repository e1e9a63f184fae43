"""`launcher: ray` trains as `launcher: local` does, on two workers that may be lost."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import train
from tests.conftest import real_zip
from tests.distributed.jobs import (
    BARE,
    LONGEST,
    finish,
    kill_worker,
    start,
    wait_for,
    weights,
    workers_of,
)
from tests.project import Project
from tests.stores import client

pytest.importorskip("ray", reason="no Ray here: make ray")
pytest.importorskip("torchrec", reason="no TorchRec here: make ray")
pytestmark = [
    pytest.mark.skipif(not real_zip(), reason="no ml-latest-small here: set CF_DATA_HOME"),
    pytest.mark.xdist_group("ray training"),
]

DOTBIAS: dict[str, Any] = {
    "model": {"name": "dotbias", "n_factors": 50, "init_range": [-0.05, 0.05]},
    "seed": 1,
    "device": "auto",
    "n_threads": 1,
    "batch_size": 2048,
    "optimizer": {"name": "rowwise_adagrad", "weight_decay": 0.0002},
    "schedule": {"n_epochs": [4], "learning_rate": 0.1, "anneal": "cosine"},
}


HELD = '''
"""dotbias, whose steps wait while the file `hold` has how many workers and epochs there are."""

import json
import time
from contextlib import suppress
from pathlib import Path

import torch.distributed as dist

from cf.models.dotbias import DotBias

HOLD = Path(__file__).with_name("hold")
ROOT = Path(__file__).parents[2]


class Held(DotBias):
    """As dotbias."""

    def loss(self, *batch):
        while dist.is_initialized() and HOLD.read_text() == state():
            time.sleep(0.05)
        return super().loss(*batch)


def state():
    done = 0
    for file in ROOT.glob(".dvc/tmp/ray/*/checkpoint_*/epochs.json"):
        with suppress(OSError, ValueError):  # it comes or goes
            done = max(done, len(json.loads(file.read_text())))
    return f"{dist.get_world_size()} workers, {done} epochs"
'''


@pytest.fixture(scope="module")
def ready(split_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """ml-latest-small, split, in a project whose dotbias Ray can train."""
    project = split_project.copy(tmp_path_factory.mktemp("ready") / "project")
    project.keep_only("dotbias")
    project.change("train_dotbias", lambda section: (section.clear(), section.update(DOTBIAS)))
    return project


def rmse(project: Project) -> float:
    history = pd.read_csv(project.folder / "reports/history/dotbias.csv")
    return float(np.sqrt(history["valid_loss"].iloc[-1]))


def n_checkpoints(project: Project) -> int:
    return len(list(project.folder.glob(".dvc/tmp/ray/*/checkpoint_*/epochs.json")))


def n_epochs(project: Project) -> int:
    """Of the last checkpoint."""
    found = 0
    for file in project.folder.glob(".dvc/tmp/ray/*/checkpoint_*/epochs.json"):
        with suppress(OSError, ValueError):  # it comes or goes
            found = max(found, len(json.loads(file.read_text())))
    return found


@pytest.fixture(scope="module")
def by_two(ready: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Trained by two workers, undisturbed."""
    project = ready.copy(tmp_path_factory.mktemp("two") / "project")
    finish(start(project, ("dvc", "repro", "train_dotbias"), tracked=True, workers=2))
    return project


def test_two_workers_train_as_one_does_and_as_without_ray(
    by_two: Project, ready: Project, tmp_path: Path, address: str
) -> None:
    alone, local = ready.copy(tmp_path / "alone"), ready.copy(tmp_path / "local")
    for process in [start(alone, workers=1, address=address), start(local)]:
        finish(process)
    assert rmse(alone) == pytest.approx(rmse(by_two), abs=1e-4)
    assert rmse(local) == pytest.approx(rmse(by_two), abs=3e-3)
    for name, expected in weights(by_two).items():
        assert weights(alone)[name] == pytest.approx(expected, abs=1e-4)
        assert weights(local)[name].shape == expected.shape


def test_what_ray_trained_is_evaluated_as_any_model_and_is_one_run(by_two: Project) -> None:
    by_two.run(sys.executable, "-m", "stages.evaluate")
    scores = pd.read_csv(by_two.folder / "reports/leaderboard.csv").set_index("model")["rmse"]
    assert scores["dotbias"] == pytest.approx(rmse(by_two), abs=1e-5)
    (run,) = by_two.runs()
    assert run.info.status == "FINISHED"
    assert run.data.params["launcher"] == "ray"
    losses = client(by_two.folder).get_metric_history(run.info.run_id, "loss/valid")
    assert [each.step for each in losses] == [1, 2, 3, 4]
    assert np.sqrt(losses[-1].value) == pytest.approx(rmse(by_two), abs=1e-6)
    assert list(by_two.folder.glob(".dvc/tmp/ray/*")) == []


def test_the_launcher_is_no_reason_to_train_again(by_two: Project, tmp_path: Path) -> None:
    project = by_two.copy(tmp_path / "project")
    path = project.folder / "params.yaml"
    path.write_text(path.read_text().replace("launcher: ray", "launcher: local"))
    assert project.repro("train_dotbias") == []


def test_a_worker_that_is_killed_within_an_epoch_changes_nothing(
    by_two: Project, ready: Project, tmp_path: Path, address: str
) -> None:
    project = ready.copy(tmp_path / "project")
    process = start(project, tracked=True, workers=2, address=address)
    wait_for(lambda: n_checkpoints(project), process)
    kill_worker(process)
    finish(process)
    for name, expected in weights(by_two).items():
        assert weights(project)[name] == pytest.approx(expected, abs=1e-6)
    (run,) = project.runs()
    assert run.info.status == "FINISHED"


def test_what_two_workers_began_one_can_end(
    by_two: Project, ready: Project, tmp_path: Path, address: str
) -> None:
    project = ready.copy(tmp_path / "project")
    process = start(project, workers=2, address=address)
    wait_for(lambda: n_checkpoints(project), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    printed = finish(start(project, workers=1, address=address))
    assert "goes on where it was interrupted" in printed
    history = pd.read_csv(project.folder / "reports/history/dotbias.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert rmse(project) == pytest.approx(rmse(by_two), abs=1e-4)


@pytest.fixture
def one_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one machine with one CPU.

    That others are lost is noticed within seconds; by the times that Ray and cf have set, within a
    minute.
    """
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "2")
    noticed = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 2,
    }
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": noticed, **BARE}
    )
    yield cluster
    cluster.shutdown()


def test_a_training_goes_on_with_a_machine_that_comes_and_after_it_is_lost(
    by_two: Project, ready: Project, tmp_path: Path, one_node: Any
) -> None:
    project = ready.copy(tmp_path / "project")
    hold = project.folder / "cf/models/hold"
    hold.with_name("held.py").write_text(HELD)
    project.change("train_dotbias", lambda section: section["model"].update(name="held"))
    launch = project.folder / "cf/distributed/launch.py"
    launch.write_text(launch.read_text().replace("RESIZE_S = 60.0", "RESIZE_S = 1.0"))
    hold.write_text("1 workers, 1 epochs")
    process = start(project, workers=[1, 2], address=one_node.address)
    wait_for(lambda: n_checkpoints(project), process)
    assert len(workers_of(process)) == 1
    second = one_node.add_node(num_cpus=1)
    wait_for(lambda: len(workers_of(process)) == 2, process)
    hold.write_text("2 workers, 2 epochs")
    wait_for(lambda: n_epochs(project) == 2, process)
    assert len(workers_of(process)) == 2
    one_node.remove_node(second, allow_graceful=False)
    assert n_epochs(project) == 2
    finish(process)
    history = pd.read_csv(project.folder / "reports/history/dotbias.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert rmse(project) == pytest.approx(rmse(by_two), abs=1e-4)


def test_more_workers_than_the_cluster_has_room_for_are_not_waited_for(
    ready: Project, tmp_path: Path, address: str
) -> None:
    process = start(ready.copy(tmp_path / "project"), workers=[4, 5], address=address)
    printed, _ = process.communicate(timeout=LONGEST)
    assert process.returncode == 1
    assert "ray.workers: expected 4 or more CPUs in the cluster, got 3" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("train_dotbias", {"optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0}},
         "params.yaml: train_dotbias.optimizer.name: expected rowwise_adagrad"),
        ("train_dotbias", {"batch_size": 1},
         "params.yaml: train_dotbias.batch_size: expected 64 ratings or more in each batch"),
        ("ray", {"storage": "s3://bucket"}, "params.yaml: ray: storage: expected a folder"),
        ("ray", {"address": "127.0.0.1:9"}, "params.yaml: ray.address: no cluster of Ray at"),
    ],
)  # fmt: skip
def test_what_ray_cannot_do_is_said_in_one_line(
    ready: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    section: str,
    values: dict[str, Any],
    message: str,
) -> None:
    project = ready.copy(tmp_path / "project")
    project.change(section, lambda params: params.update(values))
    path = project.folder / "params.yaml"
    path.write_text(path.read_text().replace("launcher: local", "launcher: ray"))
    monkeypatch.chdir(project.folder)  # in this process, which has imported PyTorch
    monkeypatch.setattr(sys, "argv", ["stages/train.py", "dotbias"])
    with pytest.raises(SystemExit) as ended:
        train.main()
    said = str(ended.value.code)  # which Python prints, and exits with 1
    assert said.startswith("train: ")
    assert message in said
    assert "\n" not in said
