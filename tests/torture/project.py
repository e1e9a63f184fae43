"""The project whose writes fail, and what must be true of it after each that did."""

import hashlib
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.project import MODELS, ROOT, TRACKED, Project, made_up_ratings

UNLIKE = ("mlruns", ".git", "__pycache__", "cache", "tmp", "dvc.lock")
"""Files that differ between two runs which are as good."""

Facts = dict[str, Any]


def make(folder: Path) -> None:
    """Three models on a few ratings with times, of which each user's last is held out."""
    (folder / "data/own").mkdir(parents=True)
    for name in set(TRACKED) - {"tests"}:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)
    ratings = made_up_ratings()
    ratings["when"] = 1_600_000_000 + 1000 * np.arange(len(ratings))
    ratings.to_csv(folder / "data/own/stars.csv", index=False)
    Project(folder).keep_only(*MODELS)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    names = {"user_id": "who", "item_id": "what", "rating": "stars", "timestamp": "when"}
    params["ingest"].update(dataset="data/own/stars.csv", columns=names)
    params["split"]["method"] = "leave_last"
    params["evaluate"]["n_resamples"] = 100
    params["tune"]["n_trials"] = 2
    params["cv"].update(n_folds=2, seeds=[1], jobs=1)
    for name in (name for name in params if name.startswith("train_")):
        if gibbs := params[name].get("gibbs"):
            gibbs.update(n_sweeps=2, burn_in=0)
            params[name]["model"]["n_samples"] = 2
        else:
            phases = len(params[name]["schedule"]["n_epochs"])
            params[name]["schedule"]["n_epochs"] = [1] * phases
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    Project(folder).commit()


def files(project: Path) -> Facts:
    """Every file that should be the same after the same commands, with its content."""
    found: Facts = {}
    for path in sorted(project.rglob("*")):
        relative = path.relative_to(project)
        if path.is_dir() or set(UNLIKE) & set(relative.parts):
            continue
        content = path.read_bytes()
        if path.name.endswith("runs.json"):
            content = re.sub(rb"[0-9a-f]{32}", b"", content)
        if relative.parts[0] == "runs":
            content = re.sub(rb'"(id|time|started|ended|seconds\w*)": [^,\n]+', b"", content)
            content = re.sub(rb'"mlflow.source.name": [^,\n]+|"git_dirty": \S+', b"", content)
        found[relative.as_posix()] = hashlib.sha256(content).hexdigest()[:12]
    return found


def tables(project: Path) -> dict[str, list[Any]]:
    """What MLflow's database says."""
    queries = {
        "runs": "SELECT run_uuid, name, status FROM runs ORDER BY start_time",
        "tags": "SELECT run_uuid, key, value FROM tags",
        "params": "SELECT run_uuid, key, value FROM params",
        "metrics": "SELECT DISTINCT run_uuid, key, step, value FROM metrics",
        "versions": "SELECT run_id, version FROM model_versions",
        "aliases": "SELECT alias, version FROM registered_model_aliases",
    }
    if not (project / "mlruns/mlflow.db").exists():
        return {name: [] for name in queries}
    with closing(sqlite3.connect(project / "mlruns/mlflow.db")) as database:
        return {name: database.execute(query).fetchall() for name, query in queries.items()}


def recorded(project: Path) -> Facts:
    """What MLflow has of the finished runs by their names: of two alike, of the later one."""
    found = tables(project)
    names = {run: name for run, name, status in found["runs"] if status == "FINISHED"}
    later = {name: run for run, name in names.items()}
    facts: Facts = {}
    for name, run in sorted(later.items()):
        tags = {key: value for each, key, value in found["tags"] if each == run}
        metrics = [(key, step, value) for each, key, step, value in found["metrics"] if each == run]
        facts[name] = {
            "parameters": dict(each[1:] for each in found["params"] if each[0] == run),
            "metrics": sorted(m for m in metrics if not m[0].startswith("seconds")),
            "tags": sorted(tags.keys() - {"backfilled", "mlflow.log-model.history"}),
            "parent": names.get(tags.get("mlflow.parentRunId", "")),
            "artifacts": artifacts(project / "mlruns/artifacts" / run / "artifacts"),
        }
    by_version = {version: names.get(run) for run, version in found["versions"]}
    facts["registered"] = sorted(map(str, by_version.values()))
    facts["aliases"] = {alias: by_version[version] for alias, version in found["aliases"]}
    return facts


def artifacts(folder: Path) -> Facts:
    """Digests by path; of what is served, and of images by time, only that they are there."""
    found: Facts = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = re.sub(r"[+%]timestamp[+%].{50}", "", path.relative_to(folder).as_posix())
        is_same = not name.startswith(("mlflow_model", "images", "report/index.html"))
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if is_same else ""
    return found


def lies(project: Path) -> list[str]:
    """Finished runs in MLflow of trainings that the project knows nothing of."""
    known = {json.loads(path.read_text())["id"] for path in (project / "runs").glob("*.json")}
    found = tables(project)
    trainings = {run for run, key, _ in found["tags"] if key == "split_sha256"}
    parts = {run for run, key, _ in found["tags"] if key == "mlflow.parentRunId"}
    ids = {run: value for run, key, value in found["tags"] if key == "execution"}
    return [
        f"{name} is FINISHED in MLflow, and not in runs/"
        for run, name, status in found["runs"]
        if status == "FINISHED" and run in trainings - parts and ids[run] not in known
        if not name.startswith(("tune", "cv")) and "(cv-" not in name  # an experiment's
    ]


def orphans(project: Path) -> list[str]:
    """What nothing will ever end or remove."""
    found = tables(project)
    executions = [value for _, key, value in found["tags"] if key == "execution"]
    running = [f"{name} runs for ever" for _, name, status in found["runs"] if status == "RUNNING"]
    twice = [f"{each} has two runs" for each in {e for e in executions if executions.count(e) > 1}]
    locks = [f"{path} is left" for path in (project / "mlruns/locks").glob("*")]
    locks += [f"{path} is left" for path in (project / ".git").rglob("*.lock")]
    return [*running, *twice, *locks]


def difference(expected: Facts, found: Facts) -> str:
    """The keys of what is not as expected; empty where all is."""
    keys = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    if len(keys) == 1 and all(isinstance(each.get(keys[0]), dict) for each in (expected, found)):
        return f"{keys[0]}: {difference(expected[keys[0]], found[keys[0]])}"
    return ", ".join(sorted(keys))
