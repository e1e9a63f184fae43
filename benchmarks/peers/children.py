"""Processes in which one system is measured at a time, with as many threads as is said."""

import json
import os
import subprocess
import sys
from importlib import metadata
from typing import Any

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "LK_NUM_THREADS",
    "LK_NUM_BACKEND_THREADS",
)
"""Variables that libraries read their number of threads from, the last two LensKit's."""


def result(module: str, name: str, *arguments: str, n_threads: int) -> Any:
    """What a module prints as its last line, in JSON, when it is run with a system's name and more.

    None, and why on the console, where it fails.
    """
    command = [sys.executable, "-m", module, name, *arguments, str(n_threads)]
    environment = {**os.environ, **dict.fromkeys(THREADS, str(n_threads)), "LK_NUM_PROCS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        say(f"{name}: failed: {(run.stderr.strip().splitlines() or ['no word'])[-1]}")
        return None
    return json.loads(run.stdout.splitlines()[-1])


def version(package: str) -> str | None:
    """The version of an installed package, None where there is none."""
    if package == "cf":
        return "here"
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def say(line: str) -> None:
    """Tell how it goes, apart from the tables."""
    print(line, file=sys.stderr, flush=True)
