"""Trainings of a project on Ray, as processes that a test may disturb."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import psutil
import yaml
from safetensors.numpy import load_file

from tests.project import Project
from tests.stores import environment

LONGEST = 240  # seconds of a training, after which it is taken to hang
TRAIN = (sys.executable, "-m", "stages.train", "dotbias")  # by itself: DVC would import for seconds
SAMPLE = (sys.executable, "-m", "stages.sample", "bayesmf")
BARE = {"include_dashboard": False, "include_log_monitor": False}  # a cluster, by its processes
DOTBIAS: dict[str, Any] = {
    "model": {"name": "dotbias", "n_factors": 50, "init_range": [-0.05, 0.05]},
    "seed": 1,
    "device": "auto",
    "n_threads": 1,
    "batch_size": 2048,
    "optimizer": {"name": "rowwise_adagrad", "weight_decay": 0.0002},
    "schedule": {"n_epochs": [4], "learning_rate": 0.1, "anneal": "cosine"},
}
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
