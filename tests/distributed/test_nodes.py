"""A training on Ray goes on with the machines that come and those that are left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import real_zip
from tests.distributed.jobs import (
    BARE,
    finish,
    n_checkpoints,
    n_epochs,
    rmse,
    start,
    wait_for,
    workers_of,
)
from tests.project import Project

pytest.importorskip("ray", reason="no Ray here: make ray")
pytest.importorskip("torchrec", reason="no TorchRec here: make ray")
pytestmark = [
    pytest.mark.skipif(not real_zip(), reason="no ml-latest-small here: set CF_DATA_HOME"),
    pytest.mark.xdist_group("ray"),
]

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


@pytest.fixture
def one_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one machine with one CPU.

    That others are lost is noticed within seconds; by the times that Ray and cf have set, within a
    minute.
    """
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "4")
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
    one_node.remove_node(second, allow_graceful=False)  # in the third epoch, which is held
    finish(process)
    history = pd.read_csv(project.folder / "reports/history/dotbias.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert rmse(project) == pytest.approx(rmse(by_two), abs=1e-4)
