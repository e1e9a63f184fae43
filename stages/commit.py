"""What the last commit keeps, and what has changed since."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from stages import paths


def last() -> tuple[str, str] | None:
    """The last commit's hash and subject; None where there is none or git cannot be asked."""
    said = _git("-c", "log.showSignature=false", "log", "-1", "--format=%H %s")
    if said is None:
        return None
    sha, _, subject = said.strip().partition(" ")
    return sha, subject


def kept(path: Path) -> dict[str, Any] | None:
    """A JSON or YAML file of the last commit; None where it has none, or none that can be read."""
    parse: Callable[[str], Any] = json.loads if path.suffix == ".json" else yaml.safe_load
    text = _git("show", f"HEAD:./{path.as_posix()}")
    try:
        content = parse(text or "")
    except (ValueError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def changes(*sections: str) -> dict[str, Any]:
    """The values in sections of params.yaml that are not the last commit's, by their last key.

    Nothing where there is no commit, or the commit has no such section.
    """
    before = kept(paths.PARAMS) or {}
    now = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
    changed = {}
    for section in sections:
        old = dict(_values(before[section])) if section in before else None
        for keys, value in _values(now[section]):
            if old is not None and old.get(keys) != value:
                changed[keys[-1]] = value
    return changed


def _values(section: dict[str, Any], inside: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _values(value, (*inside, key))
        else:
            yield (*inside, key), value


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="replace")
