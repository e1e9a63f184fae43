"""What git has: in the last commit, and for experiments of DVC, which run in folders of their own.

Such a folder (`dvc exp run --temp`) has what git tracks, committed or only added, as it is in the
project now, and what `dvc add` put into DVC's cache. All else is missing there.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from cf.core import paths
from cf.core.config import flatten_params, parse_yaml, sections
from cf.core.errors import InputError

N_NAMED = 8  # files, at most, in a sentence


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
    new = _training_params(sections(paths.PARAMS), model)
    try:
        old = _training_params(before, model)
    except InputError:  # the commit's file is no longer valid, and there is no telling
        return {}
    return {name: value for name, value in new.items() if old.get(name) != value}


def _training_params(params: dict[str, Any], model: str) -> dict[str, Any]:
    """What a training depends on, under the names that its run gives the values."""
    names = ("ingest", "split", f"train_{model}")
    found = (params.get(name) for name in names)  # of a commit, whatever it has
    ingest, split, training = (each if isinstance(each, dict) else {} for each in found)
    split_params = {f"split_{key}": value for key, value in split.items()}
    return {"dataset": ingest.get("dataset"), **split_params, **flatten_params(training)}


def experiment_root() -> Path | None:
    """The project's own folder, if this one is that of an experiment; else None."""
    root = Path(os.environ.get("DVC_ROOT", ""))
    return root if root.is_absolute() and root.resolve() != Path().resolve() else None


def untracked(files: Iterable[str], root: Path = Path()) -> list[str]:
    """Those of the project's files that git does not have; none where there is no git.

    Of a file that `dvc add` put into DVC's cache, git needs only the .dvc file.
    """
    needed = {_pointer(file, root) for file in files}
    return sorted(needed.intersection(_others(needed, root)))


def untracked_code(root: Path = Path()) -> list[str]:
    """The Python files among the dependencies in dvc.yaml that git does not have."""
    try:
        stages = parse_yaml((root / paths.PIPELINE).read_text(encoding="utf-8"))["stages"].values()
        deps = {dep for stage in stages for dep in stage.get("deps", []) if isinstance(dep, str)}
    except (OSError, ValueError, yaml.YAMLError, TypeError, LookupError, AttributeError):
        return []  # DVC says what is wrong with it
    named = {dep for dep in deps if dep.endswith(".py") and (root / dep).is_file()}
    inside = {file for file in _others(deps, root, "--exclude-standard") if file.endswith(".py")}
    return sorted(inside.union(untracked(named, root)))


def explain_untracked(untracked: Iterable[str], root: Path = Path()) -> str:
    """What is wrong with these files for an experiment, and the command that helps."""
    files = sorted(untracked)
    ignored = output("-C", str(root), "check-ignore", "--", *files)
    command = shlex.join(["git", "add", *(["-f"] if ignored else []), *files])
    more = f" and {len(files) - N_NAMED} more" if len(files) > N_NAMED else ""
    return (
        "experiments run on what git has, and it does not have "
        f"{', '.join(files[:N_NAMED])}{more}. Run `{command}` (no commit is needed), then the same "
        "command again."
    )


def require_code() -> None:
    """Raise `InputError` if this is an experiment's folder and lacks code that the project has.

    DVC itself finds that out when the stage's turn comes, after it has trained other models.
    """
    if root := experiment_root():
        require_here(untracked_code(root), root)


def require_here(files: Iterable[str], root: Path) -> None:
    """Raise `InputError` if some of these untracked files of the project are missing here."""
    if missing := [file for file in files if not Path(file).exists()]:
        raise InputError(explain_untracked(missing, root))


def _pointer(file: str, root: Path) -> str:
    """The .dvc file that stands for a file, or for a folder that it is in; else the file itself."""
    for path in (Path(file), *Path(file).parents):
        pointer = path.with_name(f"{path.name}.dvc") if path.name else path
        if (root / pointer).is_file():
            return pointer.as_posix()
    return file


def _others(files: Iterable[str], root: Path, *options: str) -> list[str]:
    """All files that git does not have among these and in these folders."""
    if not (listed := sorted(files)):
        return []  # without a path, git lists them all
    command = ("-C", str(root), "--literal-pathspecs", "ls-files", "--others", "-z", *options)
    return output(*command, "--", *listed).split("\0")[:-1]


def output(*arguments: str) -> str:
    """What git prints; nothing where it fails or there is none."""
    try:
        # without locks: whatever kills it leaves none that stops the user's next command
        command = ["git", "--no-optional-locks", *arguments]
        process = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return process.stdout.decode(errors="replace")
