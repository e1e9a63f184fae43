"""`launcher: ray` gives the samples of `launcher: local`, to the bit, however many workers draw."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import real_zip
from tests.distributed.jobs import SAMPLE, finish, kill_worker, start, wait_for, weights
from tests.project import Project

pytest.importorskip("ray", reason="no Ray here: make ray")
pytestmark = [
    pytest.mark.skipif(not real_zip(), reason="no ml-latest-small here: set CF_DATA_HOME"),
    pytest.mark.xdist_group("ray training"),
]
STAGE = "train_bayesmf"


@pytest.fixture(scope="module")
def ready(split_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """ml-latest-small, split, in a project whose bayesmf draws few samples."""
    project = split_project.copy(tmp_path_factory.mktemp("ready") / "project")
    project.keep_only("bayesmf")
    project.change(STAGE, lambda s: s["gibbs"].update(n_sweeps=6, burn_in=2))
    project.change(STAGE, lambda s: s["model"].update(n_samples=4))
    return project


@pytest.fixture(scope="module")
def local(ready: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Sampled without Ray."""
    project = ready.copy(tmp_path_factory.mktemp("local") / "project")
    finish(start(project, SAMPLE))
    return project


def swept(project: Project) -> bool:
    """Whether a sweep has been recorded."""
    path = project.folder / "runs/bayesmf.json"
    return path.exists() and "loss/train" in path.read_text()


def test_samples_do_not_depend_on_where_they_are_drawn(
    local: Project, ready: Project, tmp_path: Path, address: str
) -> None:
    project = ready.copy(tmp_path / "project")
    finish(start(project, SAMPLE, tracked=True, workers=1, address=address))
    expected, found = weights(local, "bayesmf"), weights(project, "bayesmf")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    (run,) = project.runs()
    assert run.info.status == "FINISHED"
    assert run.data.params["launcher"] == "ray"


def test_a_worker_that_is_killed_between_sweeps_changes_nothing(
    local: Project, ready: Project, tmp_path: Path, address: str
) -> None:
    project = ready.copy(tmp_path / "project")
    process = start(project, SAMPLE, workers=2, address=address)
    wait_for(lambda: swept(project), process)
    kill_worker(process, "RowActor")
    finish(process)
    for name, array in weights(local, "bayesmf").items():
        np.testing.assert_array_equal(weights(project, "bayesmf")[name], array, err_msg=name)
