"""Trainings of a project on Ray, as processes that a test may disturb."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psutil
import yaml
from safetensors.numpy import load_file

from tests.project import Project
from tests.stores import environment

LONGEST = 240  # seconds of a training, after which it is taken to hang
TRAIN = (sys.executable, "-m", "stages.train", "dotbias")  # by itself: DVC would import for seconds
SAMPLE = (sys.executable, "-m", "stages.sample", "bayesmf")
BARE = {"include_dashboard": False, "include_log_monitor": False}  # a cluster, by its processes
started: "list[subprocess.Popen[str]]" = []  # by the test that runs


def start(
    project: Project, command: Sequence[str] = TRAIN, *, tracked: bool = False, **ray: Any
) -> "subprocess.Popen[str]":
    """Start a training on Ray, with these values of the section ray, or without.

    `tracked`: with a run in MLflow.
    """
    path = project.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params |= {"launcher": "ray" if ray else "local", "ray": params["ray"] | ray}
    params["tracking"]["enabled"] = tracked
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    started.append(process)
    return process


def finish(process: "subprocess.Popen[str]") -> str:
    """What a training that ends well has printed."""
    printed, _ = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, printed
    return printed


def weights(project: Project, model: str = "dotbias") -> dict[str, Any]:
    """What the project has learned, by name."""
    return load_file(project.folder / f"models/{model}/weights.safetensors")


def wait_for(what: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    """What `what` gives, as soon as that is something, while a process runs."""
    end = time.monotonic() + LONGEST
    while not (found := what()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def workers_of(
    process: "subprocess.Popen[str]", kind: str = "RayTrainWorker"
) -> list[psutil.Process]:
    """Workers that started after `process` did, on a cluster of these tests or on its own."""
    began, found = psutil.Process(process.pid).create_time(), []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if kind in " ".join(each.cmdline()) and each.create_time() >= began:
                found.append(each)
    return found


def kill_worker(process: "subprocess.Popen[str]", kind: str = "RayTrainWorker") -> None:
    """Kill a worker of a training, and wait for the one that takes its place."""
    before = {worker.pid for worker in wait_for(lambda: workers_of(process, kind), process)}
    os.kill(min(before), signal.SIGKILL)
    wait_for(lambda: {worker.pid for worker in workers_of(process, kind)} - before, process)
