"""The commands whose writes fail, and one try after the other."""

import argparse
import errno
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import yaml

from cf.cli.main import app
from cf.core import paths, shared_process
from cf.core.io import read_dataclass
from cf.core.ratings import SplitInfo
from cf.tracking.mlflow_store import MlflowStore
from cf.tracking.record import read_all
from tests import old_stores
from tests.project import Project
from tests.torture import project as projects
from tests.torture.tries import Ended, Forked, Tries, module

FAULTS = {"EIO": (errno.EIO, False), "ENOSPC": (errno.ENOSPC, True), "SIGKILL": (0, False)}
RANDOM = re.compile(r"[0-9a-f]{32}|tmp\w{8}|\d{10,}")
"""What differs in a file's name from run to run."""

SLOW = 30
"""Tries of a command that takes a minute."""

Command = Callable[[], Any]


class Target(NamedTuple):
    """A command whose writes fail; `prepare` makes the project what it is run in."""

    name: str
    command: Command
    prepare: Command = lambda: None
    most: int | None = None  # tries: of what takes a minute


def targets(store: Path) -> list[Target]:
    """The stages in an order in which each has what it needs, then what needs all of them."""
    stages = yaml.safe_load(paths.PIPELINE.read_text())["stages"]
    names = sorted(stages, key=lambda name: name in ("evaluate", "rank", "plot"))

    def forget() -> None:
        shutil.rmtree("mlruns")
        shutil.copytree(store, "mlruns")

    def upgrade() -> None:
        shutil.rmtree("mlruns")
        old_stores.make(Path("mlruns/mlflow.db").absolute(), n_behind=2)

    def clean() -> None:
        forget()
        for made in ("data/ingested", "data/encoded", "data/split", "models", "blend", "reports"):
            shutil.rmtree(made)
        for record in paths.RUNS.glob("*.json"):
            record.unlink()

    return [
        *(Target(name, module(*stages[name]["cmd"].split()[2:])) for name in names),
        Target("tune", lambda: app(["tune"], prog_name="cf")),
        Target("sync", sync, forget),
        Target("first_sync", sync, lambda: shutil.rmtree("mlruns")),
        Target("upgrade", sync, upgrade),
        Target("cv", program(sys.executable, "-m", "cf.cli", "cv"), most=SLOW),
        Target("repro", program("dvc", "repro"), clean, SLOW),
    ]


def program(*words: str) -> Command:
    """A command that is no fork, and takes as long as when a user types it."""
    return lambda: os.execvp(words[0], words)


def sync() -> None:
    """The command `cf sync`."""
    app(["sync"], prog_name="cf")


def warm_up(folder: Path, store: Path) -> None:
    """Do in this process what the commands do, in a project that is given up.

    What is imported, compiled and cached then is so in all forks. `store` becomes one of MLflow.
    """
    projects.make(folder)
    os.chdir(folder)
    Project(folder).change("tracking", lambda section: section.update(enabled=False))
    with redirect_stdout(io.StringIO()), suppress(SystemExit):
        for target in targets(store):
            if target.command is not sync and not target.most:
                target.command()
    opened = MlflowStore(0)
    opened.close()
    shutil.copytree("mlruns", store)
    for record in read_all(read_dataclass(paths.SPLIT_INFO, SplitInfo)).values():
        record.candidate, record.metrics = True, {"rmse": 1.0}
        opened.upsert(record)


class Torture:
    """Tries, one after the other, of commands in the folder `project` of `space`."""

    def __init__(self, space: Path, options: argparse.Namespace) -> None:
        self.space, self.project, self.options = space, space / "project", options
        self.before, self.after = space.with_name("before"), space.with_name("after")
        self.tries = Tries(self.project, space.with_name("output"))
        self.random = random.Random(options.seed)
        self.counts: Counter[str] = Counter()

    def torture(self, target: Target) -> None:
        """Run a command undisturbed; and, unless others are asked for, let its writes fail."""
        os.chdir(self.project)
        is_asked = not self.options.commands or target.name in self.options.commands
        if target.most and not is_asked:
            return
        target.prepare()
        self.copy(self.space, self.before)
        ended = self.tries.run(target.command)
        assert ended.status == 0, ended.output
        if not is_asked:
            return
        self.copy(self.space, self.after)
        self.expected = projects.files(self.project), projects.recorded(self.project)
        chosen = self.choose(ended.calls, self.options.tries or target.most)
        before = self.counts.copy()
        for n in sorted(chosen):
            for fault in FAULTS:
                if n in chosen and (fault in chosen[n]):
                    self.copy(self.before, self.space)
                    self.counts[self.attempt(target, n, fault)] += 1
        made = ", ".join(f"{n} {word}" for word, n in (self.counts - before).items())
        print(f"{target.name}: {len(ended.calls)} writes; {made}", flush=True)
        self.copy(self.after, self.space)

    def copy(self, source: Path, target: Path) -> None:
        """Make a folder the same as another."""
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", source, target], check=True)

    def choose(self, calls: list[tuple[str, str]], most: int | None) -> dict[int, list[str]]:
        """The faults to try at each write, by its number from 1.

        Of many writes of one kind into one file there are the first, the last and some between.
        """
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        for n, (name, path) in enumerate(calls, start=1):
            groups[name, RANDOM.sub("*", path)].append(n)
        numbers: list[int] = []
        for group in groups.values():
            if len(group) > self.options.most:
                between = self.random.sample(group[1:-1], self.options.most - 2)
                group = [group[0], *between, group[-1]]
            numbers += group
        pairs = [(n, fault) for n in numbers for fault in FAULTS]
        if most and most < len(pairs):
            pairs = self.random.sample(pairs, most)
        chosen: dict[int, list[str]] = defaultdict(list)
        for n, fault in pairs:
            chosen[n].append(fault)
        return chosen

    def attempt(self, target: Target, n: int, fault: str) -> str:
        """Whether all is as it should be after the n-th write has failed."""
        ended = self.tries.run(target.command, n, *FAULTS[fault])
        if len(ended.calls) < n:
            return "not reached"
        problems = list(self.problems(target, fault, ended))
        place = f"{target.name}: {fault} at {n}, {' '.join(ended.calls[n - 1])}"
        for problem in problems:
            print(f"FAILED {place}: {problem}", flush=True)
        if problems:
            print(ended.output[-3000:], flush=True)
        return "failed" if problems else "held"

    def problems(self, target: Target, fault: str, ended: Ended) -> Iterator[str]:
        """What is wrong with how a command has ended, and after it has been run again."""
        files, recorded = self.expected
        if ended.left:
            yield ended.left
        if "Traceback" in ended.output:
            yield "a traceback"
        if ended.status > 0 and not ended.output.strip():
            yield f"ends with {ended.status}, and no word"
        if ended.status == 0:
            if changed := projects.difference(files, projects.files(self.project)):
                yield f"ends well, with other files: {changed}"
            is_silent = "warning:" not in ended.output
            if is_silent and (lacks := self.lacks(recorded)):
                yield f"ends well, and is silent about what MLflow lacks: {lacks}"
        if fault != "SIGKILL" and (left := [*(self.space / "tmp").iterdir()]):
            yield f"left behind: {left}"
        yield from projects.lies(self.project)
        for advice in re.findall(r"^    ((?:git|rm) .+)$", ended.output, re.M):
            done = subprocess.run(
                advice.split(), cwd=self.project, check=False, capture_output=True, text=True
            )
            if done.returncode:
                yield f"`{advice}` fails: {done.stderr}"
        yield from self.run_again(target.command)
        if changed := projects.difference(files, projects.files(self.project)):
            yield f"again, it makes other files: {changed}"
        if (self.project / paths.SPLIT_INFO).exists():
            yield from self.run_again(sync)
        if lacks := self.lacks(recorded):
            yield f"again, MLflow has otherwise: {lacks}"
        yield from projects.orphans(self.project)

    def run_again(self, command: Command) -> Iterator[str]:
        ended = self.tries.run(command)
        if ended.status or ended.left or "Traceback" in ended.output:
            yield f"again, it ends with {ended.status}, {ended.left}: {ended.output[-900:]}"

    def lacks(self, recorded: projects.Facts) -> str:
        return projects.difference(recorded, projects.recorded(self.project))


def main(options: argparse.Namespace) -> int:
    space = Path(os.environ["FAULTS_ROOT"])
    (space / "tmp").mkdir(parents=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(space / "tmp")
    shared_process.subprocess = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE)
    store = space.with_name("store")
    warm_up(space.with_name("warm"), store)
    projects.make(space / "project")
    shutil.copytree(store, space / "project/mlruns")
    torture = Torture(space, options)
    for target in targets(store):
        torture.torture(target)
    counts = torture.counts
    print(f"{counts['held'] + counts['failed']} tried, {counts['held']} held")
    return int(counts["failed"] > 0)
