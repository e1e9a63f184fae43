"""A cluster of Ray for all tests that need none of their own, since to start one takes seconds."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.distributed import jobs


@pytest.fixture(scope="session", autouse=True)
def _nothing_goes_to_rays_makers() -> Iterator[None]:
    """As in `cf.distributed.cluster`, for the clusters that tests start themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of a cluster that has room for three workers."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    """End what a test that failed has started: it would keep workers from all others."""
    yield
    for process in jobs.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    jobs.started.clear()
