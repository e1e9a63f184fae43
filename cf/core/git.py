"""What the last commit keeps, and what has changed since."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cf.core import config, paths
from cf.core.config import flatten_params


def last() -> tuple[str, str] | None:
    """The last commit's hash and subject; None where there is none or git cannot be asked."""
    said = _git("-c", "log.showSignature=false", "log", "-1", "--format=%H %s")
    if said is None:
        return None
    sha, _, subject = said.strip().partition(" ")
    return sha, subject


def kept(path: Path) -> dict[str, Any] | None:
    """A JSON or YAML file of the last commit; None where it has none, or none that can be read."""
    parse: Callable[[str], Any] = json.loads if path.suffix == ".json" else config.read
    text = _git("show", f"HEAD:./{path.as_posix()}")
    try:
        content = parse(text or "")
    except (ValueError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def changes(model: str) -> dict[str, Any]:
    """The parameters of a model's training that are not the last commit's.

    Nothing where there is no commit, or the commit has no such model.
    """
    before = kept(paths.PARAMS) or {}
    if f"train_{model}" not in before:
        return {}
    now = config.read(paths.PARAMS.read_text(encoding="utf-8"))
    old, new = (_parameters(sections, model) for sections in (before, now))
    return {name: value for name, value in new.items() if old.get(name) != value}


def _parameters(sections: dict[str, Any], model: str) -> dict[str, Any]:
    """What a training depends on, under the names that its run gives the values."""
    ingest, split, training = (
        sections.get(name) or {} for name in ("ingest", "split", f"train_{model}")
    )
    held_out = {f"split_{key}": value for key, value in split.items()}
    return {"dataset": ingest.get("dataset"), **held_out, **flatten_params(training)}


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="replace")
