"""`launcher: ray` trains as `launcher: local` does, on two workers that may be lost."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import train
from tests.conftest import real_zip
from tests.distributed.jobs import (
    LONGEST,
    finish,
    kill_worker,
    n_checkpoints,
    rmse,
    start,
    wait_for,
    weights,
)
from tests.project import Project
from tests.stores import client

pytest.importorskip("ray", reason="no Ray here: make ray")
pytest.importorskip("torchrec", reason="no TorchRec here: make ray")
pytestmark = [
    pytest.mark.skipif(not real_zip(), reason="no ml-latest-small here: set CF_DATA_HOME"),
    pytest.mark.xdist_group("ray training"),
]


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
