"""DVC's experiments, by DVC's own command."""

import json
import subprocess
from typing import Any

from cf.errors import InputError


def shown() -> list[dict[str, Any]]:
    """What DVC knows of all experiments.

    Raises:
        InputError: DVC fails; its own words say why.
    """
    experiments: list[dict[str, Any]] = json.loads(_said("dvc", "exp", "show", "--json"))
    return experiments


def kept(rev: str, path: str) -> Any:
    """The content of a JSON file that an experiment made, if git keeps it.

    Raises:
        InputError: it is not there.
    """
    return json.loads(_said("git", "show", f"{rev}:./{path}"))


def run(experiments: dict[str, dict[str, Any]], jobs: int, replacing: str) -> None:
    """Run experiments, and whatever else is in DVC's queue, `jobs` at a time.

    Args:
        experiments: the values by dotted key that each is to have, by its name.
        replacing: finished experiments whose names begin with this and a hyphen are removed.

    Raises:
        InputError: DVC fails; its own words say why.
    """
    known = _said("dvc", "exp", "list", "--name-only").split()
    if earlier := [name for name in known if name.startswith(f"{replacing}-")]:
        _said("dvc", "exp", "remove", *earlier)
    for name, values in experiments.items():
        changes = [f"--set-param={key}={json.dumps(value)}" for key, value in values.items()]
        _said("dvc", "exp", "run", "--queue", "--name", name, *changes)
        print(f"queued {name}", flush=True)
    subprocess.run(["dvc", "exp", "run", "--run-all", "--jobs", str(jobs)], check=False)


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise InputError(f"{' '.join(command[:3])}: {done.stderr.strip()}")
    return done.stdout
