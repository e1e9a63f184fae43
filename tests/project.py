"""A copy of the project in a folder of its own, run by the commands that a user types."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from mlflow.entities import Run

from tests.stores import environment, relocate, runs

ROOT = Path(__file__).parent.parent
LONGEST = 600  # seconds, after which a command is taken to hang
MODELS = ["bayesmf", "dot", "dotbias"]  # that the ready-made project has
TRACKED = (
    *("cf", "stages", "tests", ".dvc", ".dvcignore", ".gitignore"),
    *("dvc.yaml", "params.yaml", "pyproject.toml", "README.md"),
)


class Project:
    """The project in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def cf(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the program `cf` of this folder."""
        return self.run(sys.executable, "-m", "cf.cli", *arguments, check=check)

    def repro(self, *arguments: str) -> list[str]:
        """Run the pipeline, and return the stages that executed."""
        lines = self.run("dvc", "repro", *arguments).stdout.splitlines()
        return [line.split("'")[1] for line in lines if line.startswith("Running stage")]

    def change(self, section: str, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Edit a section of params.yaml."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        edit(params[section])
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def keep_only(self, *models: str) -> None:
        """Remove all other models, with their stages, sections and results."""
        path, params_path = self.folder / "dvc.yaml", self.folder / "params.yaml"
        text, params = path.read_text(), yaml.safe_load(params_path.read_text())
        stages = re.findall(r"^  train_(\w+):\n(?:    .*\n)+\n?", text, re.M)
        for model in set(stages) - set(models):
            text = re.sub(rf"^  train_{model}:\n(?:    .*\n)+\n?", "", text, flags=re.M)
            del params[f"train_{model}"]
            (self.folder / f"runs/{model}.json").unlink(missing_ok=True)
            (self.folder / f"reports/history/{model}.csv").unlink(missing_ok=True)
            shutil.rmtree(self.folder / f"models/{model}", ignore_errors=True)
        path.write_text(text)
        params_path.write_text(yaml.safe_dump(params, sort_keys=False))

    def read(self, path: str) -> Any:
        """A JSON file of the project."""
        return json.loads((self.folder / path).read_text())

    def runs(self) -> list[Run]:
        """All runs in the project's store of MLflow."""
        return runs(self.folder)

    def copy(self, folder: Path, *without: str) -> "Project":
        """A copy of the project as it is now."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns(*without))
        if (folder / "mlruns").exists():
            relocate(self.folder, folder)
        return Project(folder)

    def commit(self) -> "Project":
        """Put the project into a git repository, with all it has in one commit."""
        (self.folder / ".dvc/config.local").write_text("[core]\n    no_scm = false\n")
        who = (["config", "user.name", "n"], ["config", "user.email", "e@x.org"])
        for arguments in (["init", "-q"], *who, ["add", "-A"], ["commit", "-qm", "one"]):
            self.run("git", *arguments)
        return self


def untrained(folder: Path, *models: str) -> Project:
    """The project with these models alone, in no git repository, before anything ran."""
    for name in TRACKED:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)
    project = Project(folder)
    project.keep_only(*models)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    (folder / "data/own").mkdir(parents=True)
    return project


def make(folder: Path, store: Path) -> None:
    """A project, in no git repository, that ran once on a ratings file of its own."""
    project = untrained(folder, *MODELS)
    shutil.copytree(store, folder, dirs_exist_ok=True)
    made_up_ratings().to_csv(folder / "data/own/stars.csv", index=False)
    names = {"user_id": "who", "item_id": "what", "rating": "stars", "timestamp": None}
    project.change("ingest", lambda s: s.update(dataset="data/own/stars.csv", columns=names))
    project.change("train_bayesmf", lambda s: s["gibbs"].update(n_sweeps=2, burn_in=0))
    project.change("train_bayesmf", lambda s: s["model"].update(n_samples=2))
    for model in MODELS[1:]:
        project.change(f"train_{model}", lambda s: s["schedule"].update(n_epochs=[1, 1]))
    project.repro()


def made_up_ratings() -> pd.DataFrame:
    """600 ratings of 40 items by 30 users."""
    draw = np.random.default_rng(0)
    users, items = np.divmod(draw.permutation(30 * 40)[:600], 40)
    stars = draw.integers(1, 11, 600) / 2
    return pd.DataFrame({"who": users + 100, "what": items + 7, "stars": stars})


def printed_by(code: str) -> str:
    """What code prints that a Python of its own runs, with the project's modules."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
