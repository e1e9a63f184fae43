"""DVC's experiments, by DVC's own command.

Runs what is in DVC's queue, as `dvc exp run --run-all` does. But workers that start at the same
instant write into each other's files: one may lose its experiment, for which DVC then waits for
ever, or never hear that it is to end. So here they start one after another, and waiting ends when
none is left that could do the work.
"""

import json
import subprocess
import time
from typing import Any

from cf.core.errors import InputError
from cf.evaluation.experiments import Experiment, finished

PAUSE = 2.0  # seconds between two looks at the queue
PATIENCE = 30  # looks without an answer from any worker


def shown() -> list[dict[str, Any]]:
    """What DVC knows of all experiments.

    Raises:
        InputError: DVC fails; its own words say why.
    """
    experiments: list[dict[str, Any]] = json.loads(said("dvc", "exp", "show", "--json"))
    return experiments


def kept(rev: str, path: str) -> Any:
    """The content of a JSON file that an experiment made, if git keeps it.

    Raises:
        InputError: it is not there.
    """
    return json.loads(said("git", "show", f"{rev}:./{path}"))


def run(experiments: dict[str, dict[str, Any]], jobs: int, replacing: str) -> list[Experiment]:
    """Run experiments, and whatever else is in DVC's queue, `jobs` at a time.

    What comes to nothing is tried once more: two experiments that want a lock of DVC at the same
    instant do not wait for each other. Stages that did finish come from DVC's cache then.

    Args:
        experiments: the values by dotted key that each is to have, by its name.
        jobs: pipelines at a time.
        replacing: finished experiments whose names begin with this and a hyphen are removed.

    Returns:
        The experiments, in their order.

    Raises:
        InputError: DVC fails, with its own words; or one of the experiments did not finish.
    """
    known = said("dvc", "exp", "list", "--name-only").split()
    if earlier := [name for name in known if name.startswith(f"{replacing}-")]:
        said("dvc", "exp", "remove", *earlier)
    missing = experiments
    for _ in range(2):
        for name, values in missing.items():
            changes = [f"--set-param={key}={json.dumps(value)}" for key, value in values.items()]
            said("dvc", "exp", "run", "--queue", "--name", name, *changes)
            print(f"queued {name}", flush=True)
        run_queue(jobs)
        ran = {experiment.name: experiment for experiment in finished(shown(), replacing)}
        if not (missing := {key: value for key, value in experiments.items() if key not in ran}):
            return [ran[name] for name in experiments]
    raise InputError(
        f"{len(missing)} of {len(experiments)} experiments did not finish: {', '.join(missing)}. "
        "`dvc queue logs NAME` tells why."
    )


def run_queue(jobs: int) -> None:
    """Run all that is in DVC's queue, `jobs` experiments at a time.

    Raises:
        InputError: no worker of the queue answers any more.
    """
    told, started, silent = "", 0, 0
    while left := waiting(status := said("dvc", "queue", "status")):
        if left != told:
            print(f"queue: {left}", flush=True)
            told = left
        answers = "Worker status: 0 active, 0 idle" not in status
        if started < jobs and (answers or not started):
            started += 1
            start_worker(started)
        silent = 0 if answers else silent + 1
        if silent == PATIENCE:
            raise InputError(
                "DVC's queue: expected its workers to answer, none does. `dvc queue status` tells "
                "what is left, `dvc queue remove --all` gives it up."
            )
        time.sleep(PAUSE)


def start_worker(n: int) -> None:
    """Start the nth worker of DVC's queue, which lives on until the queue has been empty a while.

    It inherits what it could print to, so nothing that somebody waits to see the end of.
    """
    command = ["dvc", "queue", "start", "--jobs", str(n)]
    nothing = subprocess.DEVNULL
    subprocess.run(command, stdin=nothing, stdout=nothing, stderr=nothing, check=False)


def waiting(status: str) -> str:
    """How many experiments run and how many are to come, of what `dvc queue status` prints."""
    last = [line.split()[-1] for line in status.splitlines() if line.strip()]
    counts = {state: last.count(state) for state in ("Running", "Queued")}
    return ", ".join(f"{n} {state.lower()}" for state, n in counts.items() if n)


def said(*command: str) -> str:
    """What a command prints.

    Raises:
        InputError: it fails; its own words say why.
    """
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise InputError(f"{' '.join(command[:3])}: {done.stderr.strip()}")
    return done.stdout
