"""Pipelines side by side: experiments of DVC, each in a folder of its own."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import dvc.api
import numpy as np
import pandas as pd
import yaml

from cf.core import config, git, io, paths
from cf.core.errors import InputError
from cf.core.progress import progress_bar
from cf.data import own_files
from cf.tracking.record import RunRecord

INTERVAL_S = 1.5  # between two starts: of those at the same instant DVC refuses most its lock
ATTEMPTS = 20  # to start one: DVC waits 3 s for its lock each time
LOCKED = ("Unable to acquire lock", "it is being blocked by")
GRACE_S = 10.0  # from an interrupt until a kill
NOTE = Path(".dvc/tmp/repro.dat")  # of an experiment: for a moment, DVC has it in git's index
WAITING = "refs/exps/stash"  # where DVC keeps an experiment until it runs
UNFINISHED = ("Queued", "Running", "Failed")  # in `dvc exp show`
N_LINES = 12  # at most, of the output of an experiment that failed


def run(
    experiments: Mapping[str, Mapping[str, Any]], jobs: int, prefix: str, target: str = ""
) -> str:
    """What DVC says of the experiments that failed; empty if all finished.

    `experiments` are the parameters to change, by dotted key, of each by its name; `jobs` of them
    run at a time, up to the stage `target` if there is one. Earlier experiments whose names begin
    with the prefix and a hyphen are removed. Raises `InputError` if DVC cannot run any here, or if
    git lacks a file that they need.
    """
    _require_files(experiments)
    names = output("dvc", "exp", "list", "--name-only").split()
    if earlier := [name for name in names if name.startswith(f"{prefix}-")]:
        output("dvc", "exp", "remove", *earlier)
    waiting, attempts = deque(experiments), Counter[str]()
    running: dict[str, subprocess.Popen[bytes]] = {}
    failures: dict[str, list[str]] = {}  # names by what DVC says
    with (
        _telling_what_is_left(experiments.values()),
        TemporaryDirectory() as folder,
        progress_bar(prefix, len(experiments)) as bar,
    ):
        try:
            while waiting or running:
                if waiting and len(running) < jobs:
                    name = waiting.popleft()
                    running[name] = _start(name, experiments[name], target, Path(folder, name))
                time.sleep(INTERVAL_S)
                ended = [name for name in running if running[name].poll() is not None]
                logs = {name: Path(folder, name).read_text(errors="replace") for name in running}
                stages = (re.findall(r"^Running stage '(.+)':", log, re.M) for log in logs.values())
                bar.fields["text"] = ", ".join(found[-1] if found else "..." for found in stages)
                for name in ended:
                    status, log = running.pop(name).returncode, logs[name]
                    failed = status != 0
                    if status < 0:
                        log += f"\nDVC was killed (signal {-status}).\n"
                    attempts[name] += 1
                    if failed and any(text in log for text in LOCKED) and attempts[name] < ATTEMPTS:
                        waiting.append(name)
                        continue
                    if failed:
                        failures.setdefault(_last_lines(log), []).append(name)
                    bar.completed += 1
                    print(f"{name}: {'failed' if failed else 'done'}")
        finally:
            _stop(running.values())
    place = list(experiments).index
    named = ((", ".join(sorted(names, key=place)), text) for text, names in failures.items())
    return "\n".join(f"{names} failed:\n{text}" for names, text in named)


def results(names: Iterable[str]) -> pd.DataFrame:
    """The finished experiments among `names`, in that order, with `dvc exp show`'s columns."""
    shown = pd.DataFrame(dvc.api.exp_show()).set_index("Experiment")
    if "State" in shown:  # one that was killed stays in this table beside the one run again
        shown = shown[~shown["State"].isin(UNFINISHED)]
    shown = shown.rename(columns=lambda name: name.removeprefix(f"{paths.METRICS}:"))
    found = shown.loc[[name for name in names if name in shown.index]]
    found = found.replace("None", np.nan)  # DVC's text where only other rows have a value
    return found.dropna(axis="columns", how="all").infer_objects()


def read_at(revision: str, path: Path) -> str:
    """The text of a file that an experiment made and git tracks; else raises `InputError`."""
    return output("git", "show", f"{revision}:./{path.as_posix()}")


def read_record(revision: str, model: str) -> RunRecord:
    """The record of a model's training in an experiment; as `read_at` where there is none."""
    path = paths.RUNS / f"{model}.json"
    with io.reading(path):
        return RunRecord(**json.loads(read_at(revision, path)))


def _require_files(experiments: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `InputError` if git lacks code, or files of the user's, before anything is trained."""
    try:
        sections = config.sections(paths.PARAMS)
    except InputError:
        return  # DVC says what is wrong with it
    if any("split.method" in changed for changed in experiments.values()):
        sections.pop("split", None)  # another one than that of a file
    own = own_files.untracked(own_files.named(sections))
    if missing := git.untracked_code() + own:
        raise InputError(git.explain_untracked(missing))


def _start(
    name: str, parameters: Mapping[str, Any], target: str, log: Path
) -> "subprocess.Popen[bytes]":
    command = ["dvc", "exp", "run", "--temp", "--name", name]
    command += [f"--set-param={key}={json.dumps(value)}" for key, value in parameters.items()]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*command, target] if target else command,
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt reaches it from `_stop` alone
        )


def _stop(processes: Iterable["subprocess.Popen[bytes]"]) -> None:
    """End what still runs, and what it started: an interrupt first, as from the keyboard."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what is left of it and of its stage
        process.wait()


def _last_lines(log: str) -> str:
    """What DVC printed since the last stage began, each line once."""
    since = log[max(0, log.rfind("Running stage '")) :]
    lines = dict.fromkeys(line.rstrip() for line in since.splitlines() if line.strip())
    return "\n".join(list(lines)[-N_LINES:])


class _Workspace(NamedTuple):
    """What DVC changes while it notes an experiment, and then puts back, unless it is stopped.

    Attributes:
        params: what params.yaml has, to which the experiment's parameters are added meanwhile;
            empty if it cannot be read.
        staged: what git's index has of it.
        branch: that is checked out; "HEAD" if none is.
        stash: git's latest one, where DVC puts what is not committed.
        lock: git's own while it writes, with which nothing else of git's works.
        note: the path of DVC's note of an experiment, if git's index has it.
        waiting: the name of git's reference to an experiment that waits to be run, if one does.
    """

    params: dict[str, Any]
    staged: Any
    branch: str
    stash: str
    lock: str
    note: str
    waiting: str


def _workspace() -> _Workspace:
    params: dict[str, Any] = {}
    staged: Any = None
    with suppress(InputError):
        params = config.sections(paths.PARAMS)
    with suppress(InputError, ValueError, yaml.YAMLError):
        staged = config.parse_yaml(git.output("show", f":./{paths.PARAMS}"))
    lock = Path(".git/index.lock")  # of a project in a folder of its own
    return _Workspace(
        params,
        staged=staged,
        branch=git.output("rev-parse", "--abbrev-ref", "HEAD").strip(),
        stash=git.output("stash", "list", "--format=%H", "-1").strip(),
        lock=str(lock) if lock.exists() else "",
        note=git.output("ls-files", str(NOTE)).strip(),
        waiting=git.output("for-each-ref", "--format=%(refname)", WAITING).strip(),
    )


@contextmanager
def _telling_what_is_left(experiments: Iterable[Mapping[str, Any]]) -> Iterator[None]:
    """At the end, however it comes, say how to undo what DVC has left in the workspace."""
    before = _workspace()
    try:
        yield
    finally:
        if mend := _to_mend(before, experiments):
            print("DVC did not put your project back as it was. To restore it, type:")
            print("".join(f"    {command}\n" for command in mend), end="")


def _to_mend(before: _Workspace, experiments: Iterable[Mapping[str, Any]]) -> list[str]:
    """The commands that undo what DVC has left of the experiments' notes."""
    now = _workspace()
    noted = [_changed(before.params, each) for each in experiments]
    is_noted = now.params != before.params and (now.params in noted or not now.params)
    is_staged = now.staged != before.staged and now.staged in noted
    commands = {
        f"rm {now.lock}": now.lock != before.lock,
        f"git restore --staged {now.note}": bool(now.note),  # no experiment starts with it
        f"git checkout HEAD {paths.PARAMS}": is_noted or is_staged,
        f"git switch {before.branch}": now.branch != before.branch,
        "git stash pop": now.stash not in ("", before.stash),
        f"git update-ref -d {now.waiting}": bool(now.waiting),  # it would run with the next one
    }
    return [command for command, is_needed in commands.items() if is_needed]


def _changed(params: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of params.yaml with an experiment's parameters, which have dotted keys."""
    changed: dict[str, Any] = copy.deepcopy(dict(params))
    for key, value in parameters.items():
        *outer, last = key.split(".")
        section = changed
        for name in outer:
            section = section.setdefault(name, {})
        section[last] = value
    return changed


def output(*command: str) -> str:
    """What a command prints; raises `InputError` in its own words if it fails."""
    done = subprocess.run(
        command, env=own_environment(), capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise InputError(f"{' '.join(command[:3])}: {done.stderr.strip()}")
    return done.stdout


def own_environment() -> dict[str, str]:
    """This environment, with the programs of cf's own Python first: dvc, and python for stages."""
    path = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    return {**os.environ, "PATH": os.pathsep.join(path)}
