"""A cluster that is not there, or not whole, and what trainings leave on a disk that all share."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cf.core import config
from cf.core.errors import InputError
from tests.stores import environment

ray = pytest.importorskip("ray", reason="no Ray here: make ray")
pytest.importorskip("torchrec", reason="no TorchRec here: make ray")
pytestmark = pytest.mark.xdist_group("ray")

from cf.distributed import cluster, launch  # noqa: E402  only where Ray is installed


def settings(**changed: object) -> config.Ray:
    values = {"address": "10.0.0.1:6379", "workers": [2, 3], "storage": "x", "max_failures": 3}
    return config.Ray.model_validate(values | changed)


def test_machines_that_do_not_come_back_are_waited_for_two_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = SimpleNamespace(now=0.0, cpus=2)
    monkeypatch.setattr(cluster.time, "monotonic", lambda: state.now)
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: {"CPU": state.cpus})
    patience = cluster.Patience(settings())
    for state.now, state.cpus in [(500, 2), (501, 1), (600, 0), (619, 1), (620, 2), (700, 1)]:
        patience.check()
    state.now = 741
    with pytest.raises(InputError, match="expected 2 or more CPUs in the cluster, got 1"):
        patience.check()


def test_a_busy_cluster_is_waited_for_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = SimpleNamespace(now=0.0, free_at=10.0)

    def sleep(seconds: float) -> None:
        state.now += seconds

    def available() -> dict[str, float]:
        return {"CPU": 2.0} if state.now >= state.free_at else {}  # Ray leaves out what is not

    monkeypatch.setattr(cluster.time, "monotonic", lambda: state.now)
    monkeypatch.setattr(cluster.time, "sleep", sleep)
    monkeypatch.setattr(cluster.ray, "available_resources", available)
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: {"CPU": 3.0})
    cluster.tell_if_busy(2)
    assert (state.now, capsys.readouterr().out) == (10, "")
    cluster.tell_if_busy(3)
    assert 25 < state.now < 26
    assert capsys.readouterr().out == "Waiting for 3 free CPUs of the cluster; 2 of 3 are free.\n"
    state.free_at = 1000
    cluster.tell_if_busy(1)
    assert capsys.readouterr().out == "Waiting for 1 free CPU of the cluster; 0 of 3 are free.\n"


def test_checkpoints_are_of_one_project_and_one_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = settings(storage=str(tmp_path / "shared"))

    def folder(project: str, fingerprint: str) -> Path:
        (tmp_path / project).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / project)
        found = launch.checkpoints_of(shared, "dotbias", fingerprint)
        found.mkdir(parents=True, exist_ok=True)
        return found

    first, other = folder("first", "a"), folder("other", "a")
    assert first != other
    assert folder("first", "a") == first
    changed = folder("first", "b")
    assert sorted(each for each in (first, other, changed) if each.exists()) == sorted(
        [other, changed]
    )


@pytest.fixture
def listening() -> Iterator[str]:
    """An address at which something listens that is no cluster."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_cluster_whose_token_is_not_here_is_named(tmp_path: Path, listening: str) -> None:
    code = f"""
from cf.core.config import Ray
from cf.distributed.cluster import cluster
with cluster(Ray(address={listening!r}, workers=1, storage="x", max_failures=0)):
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment(), "HOME": str(tmp_path), "RAY_AUTH_MODE": "token"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith(
        f"cf.core.errors.InputError: params.yaml: ray.address: no cluster of Ray at {listening}"
    )
    assert "auth_token here" in last
