"""A cluster of Ray for all tests that need none of their own, since to start one takes seconds."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from filelock import FileLock

from cf.core import config
from tests.distributed import jobs
from tests.distributed.jobs import BARE, DOTBIAS
from tests.project import Project, untrained


@pytest.fixture(scope="session", autouse=True)
def _nothing_goes_to_rays_makers() -> Iterator[None]:
    """As in `cf.distributed.cluster`, for the clusters that tests start themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # they are on one machine
        yield


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of a cluster that has room for three workers."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, **BARE})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def _connection(address: str) -> Iterator[None]:
    from cf.distributed.cluster import cluster

    with cluster(config.Ray(address=address, workers=3, storage="ray", max_failures=0)):
        yield


@pytest.fixture
def connected(address: str, _connection: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a cluster that this process is connected to, for all tests of a module.

    With each new connection, Ray starts new processes.
    """
    for module in ("ingest", "encode", "split"):
        monkeypatch.setattr(f"cf.distributed.{module}.cluster", lambda _: nullcontext())
    return address


@pytest.fixture(scope="session")
def split_project(shared_folder: Path) -> Project:
    """ml-latest-small, split, in a project with two models, untracked; tests copy it."""
    folder, ready = shared_folder / "ray project", shared_folder / "ray project.ready"
    with FileLock(shared_folder / "ray project.lock"):
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            project = untrained(folder, "dotbias", "bayesmf")
            project.change("tracking", lambda s: s.update(enabled=False))
            project.repro("split")
            ready.touch()
    return Project(folder)


@pytest.fixture(scope="session")
def ready(split_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """ml-latest-small, split, in a project with a dotbias that Ray can train."""
    project = split_project.copy(tmp_path_factory.mktemp("ready") / "project")
    project.keep_only("dotbias")
    project.change("train_dotbias", lambda section: (section.clear(), section.update(DOTBIAS)))
    return project


@pytest.fixture(scope="session")
def by_two(ready: Project, shared_folder: Path) -> Project:
    """Trained by two workers, undisturbed, in a cluster of its own."""
    folder, done = shared_folder / "by two", shared_folder / "by two.ready"
    with FileLock(shared_folder / "by two.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            project = ready.copy(folder)
            command = ("dvc", "repro", "train_dotbias")
            jobs.finish(jobs.start(project, command, tracked=True, workers=2))
            done.touch()
    return Project(folder)


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    """End what a test that failed has started: it would keep workers from all others."""
    yield
    for process in jobs.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    jobs.started.clear()
