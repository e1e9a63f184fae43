"""The user's own files in experiments of DVC, which run in folders of their own."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cf.core import git
from cf.core.errors import InputError
from cf.data import table_file
from cf.data.datasets import REGISTRY


def named(sections: Mapping[str, Any]) -> list[str]:
    """The paths of the user's own files that the sections of a params file name."""
    values = {name: value for name, value in sections.items() if isinstance(value, dict)}
    ingest, split = values.get("ingest", {}), values.get("split", {})
    found = [ingest.get(key) for key in ("dataset", "items", "users")]
    found = [value.get("file") if isinstance(value, dict) else value for value in found]
    found.append(split.get("file") if split.get("method") == "file" else None)
    return [path for path in found if isinstance(path, str) and path not in REGISTRY]


def untracked(paths: Iterable[str], root: Path = Path()) -> list[str]:
    """The files that these paths, folders or patterns stand for and that git does not have.

    Raises:
        InputError: a relative path leads out of the project, and from an experiment's folder
            elsewhere.
    """
    files = []
    for path in paths:
        try:
            if Path(path).expanduser().is_absolute():
                continue  # an experiment reads the same file
            found = table_file.find(str(root / path))
        except (InputError, OSError, RuntimeError):
            continue  # whoever reads it tells
        for file in found:
            name = Path(os.path.relpath(file, root)).as_posix()
            if name.startswith("../"):
                raise InputError(
                    f"params.yaml: {path}: experiments run in a folder of their own, from where "
                    f"this leads elsewhere. State the whole path: {file.resolve()}"
                )
            files.append(name)
    return git.untracked(files, root)


def require(sections: Mapping[str, Any]) -> None:
    """Raise `InputError` if this is an experiment's folder and lacks what the project has.

    That is code, and the user's own files that these sections name.
    """
    if root := git.experiment_root():
        git.require_here(git.untracked_code(root) + untracked(named(sections), root), root)
