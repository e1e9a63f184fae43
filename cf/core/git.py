"""What the last commit holds, and which parameters have changed since."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cf.core import config, paths
from cf.core.config import flatten_params


def head_commit() -> tuple[str, str] | None:
    """The last commit's hash and subject; None where there is none or git cannot be asked."""
    output = _git("-c", "log.showSignature=false", "log", "-1", "--format=%H %s")
    if output is None:
        return None
    sha, _, subject = output.strip().partition(" ")
    return sha, subject


def read_at_head(path: Path) -> dict[str, Any] | None:
    """A JSON or YAML file as the last commit has it; None if it has none that can be read."""
    parse: Callable[[str], Any] = json.loads if path.suffix == ".json" else config.parse_yaml
    text = _git("show", f"HEAD:./{path.as_posix()}")
    try:
        content = parse(text or "")
    except (ValueError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def changed_params(model: str) -> dict[str, Any]:
    """The parameters of a model's training whose values differ from the last commit's.

    Empty where there is no commit, or the commit has no such model.
    """
    before = read_at_head(paths.PARAMS) or {}
    if f"train_{model}" not in before:
        return {}
    now = config.parse_yaml(paths.PARAMS.read_text(encoding="utf-8"))
    old, new = (_training_params(sections, model) for sections in (before, now))
    return {name: value for name, value in new.items() if old.get(name) != value}


def _training_params(sections: dict[str, Any], model: str) -> dict[str, Any]:
    """What a training depends on, under the names that its run gives the values."""
    ingest, split, training = (
        sections.get(name) or {} for name in ("ingest", "split", f"train_{model}")
    )
    split_params = {f"split_{key}": value for key, value in split.items()}
    return {"dataset": ingest.get("dataset"), **split_params, **flatten_params(training)}


def _git(*arguments: str) -> str | None:
    try:
        process = subprocess.run(["git", *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.decode(errors="replace")
