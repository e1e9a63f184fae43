"""What the last commit holds, and which parameters have changed since."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cf.core import paths
from cf.core.config import flatten_params, parse_yaml


def head_commit() -> tuple[str, str] | None:
    """The last commit's hash and subject; None where there is none or git cannot be asked."""
    line = output("-c", "log.showSignature=false", "log", "-1", "--format=%H %s")
    sha, _, subject = line.strip().partition(" ")
    return (sha, subject) if sha else None


def read_at_head(path: Path) -> dict[str, Any]:
    """A JSON or YAML file as the last commit has it; empty if it has none that can be read."""
    parse: Callable[[str], Any] = json.loads if path.suffix == ".json" else parse_yaml
    try:
        content = parse(output("show", f"HEAD:./{path.as_posix()}"))
    except (ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def changed_params(model: str) -> dict[str, Any]:
    """The parameters of a model's training that the last commit, if it has it, has otherwise."""
    before = read_at_head(paths.PARAMS)
    if f"train_{model}" not in before:
        return {}
    now = parse_yaml(paths.PARAMS.read_text(encoding="utf-8"))
    old, new = (_training_params(sections, model) for sections in (before, now))
    return {name: value for name, value in new.items() if old.get(name) != value}


def _training_params(sections: dict[str, Any], model: str) -> dict[str, Any]:
    """What a training depends on, under the names that its run gives the values."""
    names = ("ingest", "split", f"train_{model}")
    ingest, split, training = (sections.get(name) or {} for name in names)
    split_params = {f"split_{key}": value for key, value in split.items()}
    return {"dataset": ingest.get("dataset"), **split_params, **flatten_params(training)}


def output(*arguments: str) -> str:
    """What git prints; nothing where it fails or there is none."""
    try:
        process = subprocess.run(["git", *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return process.stdout.decode(errors="replace")
