"""The pipeline, run anew in a clean folder, and its results beside the committed ones."""

import shutil
import subprocess
import tarfile
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml
from pydantic import TypeAdapter
from rich import box
from rich.console import Console
from rich.table import Table

from cf.cli import experiments
from cf.core import config, git, io, paths
from cf.core.errors import InputError

WITH_IDS = (paths.RUNS, paths.EVALUATED_RUNS, paths.RANKED_RUNS, paths.VECTOR_FIGURES, paths.REPORT)
"""What names trainings or commits, and so differs from run to run."""

CLOSE = {"gradients": 1e-5, "sampled": 2e-3}
"""How far the RMSE may be from the committed one on another kind of machine."""

LOCK = Path("dvc.lock")


def main() -> None:
    """Run the last commit's pipeline in a folder of its own, and say what differs from it.

    Raises:
        InputError: there is no commit with results, the pipeline fails, or a metric is farther from
            the committed one than another kind of machine explains.
    """
    committed, metrics = git.read_at_head(LOCK), git.read_at_head(paths.METRICS)
    if not committed or not metrics:
        raise InputError(
            f"the last commit has no {LOCK} and {paths.METRICS} to compare with. Run `dvc repro`, "
            "then commit both."
        )
    with TemporaryDirectory(prefix="cf-verify-") as parent:
        folder = Path(parent, "project")
        copy_commit(folder)
        print(f"Running the pipeline of the last commit in {folder}, without MLflow.")
        own = experiments.own_environment()
        environment = {k: v for k, v in own.items() if not k.startswith(("DVC_", "MLFLOW_"))}
        command = ["dvc", "repro", "--quiet", "--no-run-cache"]
        ended = subprocess.run(command, cwd=folder, env=environment, check=False)
        if ended.returncode:
            raise InputError(f"`dvc repro` failed, which ended with {ended.returncode}: see above.")
        made = config.parse_yaml((folder / LOCK).read_text(encoding="utf-8"))
        differing = sorted(differing_files(committed, made))
        sampled = sampled_models(folder / paths.PARAMS)
        distances = compare(metrics, io.read_json(folder / paths.METRICS), sampled)
    report(differing, distances)
    if bad := [name for name, row in distances.iterrows() if not row["is_close"]]:
        raise InputError(
            f"{', '.join(map(str, bad))}: farther from the committed RMSE than another kind of "
            "machine explains. Was it committed after a change of code or parameters that "
            "`dvc repro` had not seen?"
        )


def copy_commit(folder: Path) -> None:
    """Write the files of the last commit into a folder, without results, with MLflow off."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD", "."], capture_output=True, check=False)
    if archive.returncode:
        raise InputError(f"git cannot give the last commit: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        if hasattr(tarfile, "data_filter"):  # since Python 3.11.4
            files.extraction_filter = tarfile.data_filter
        files.extractall(folder)
    for made in (LOCK, paths.RUNS, paths.REPORTS):
        path = folder / made
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for file in Path("data/own").rglob("*"):  # what git does not have of it
        if file.is_file() and not (folder / file).exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / file)
    # A cache of its own: from one that is shared, DVC would bring results instead of making them.
    local = "[core]\n    no_scm = true\n[cache]\n    dir = cache\n"
    (folder / ".dvc/config.local").write_text(local, encoding="utf-8")
    params = config.sections(folder / paths.PARAMS)
    tracking = params.get("tracking") or {}
    if isinstance(tracking, dict):  # else the pipeline says what it should be
        params["tracking"] = {**tracking, "enabled": False}
    text = yaml.safe_dump(params, sort_keys=False)
    (folder / paths.PARAMS).write_text(text, encoding="utf-8")


def differing_files(committed: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[str]:
    """The outputs of which the pipeline has made something else, but for those `WITH_IDS`."""
    before, after = _digests(committed), _digests(made)
    for path in before.keys() | after.keys():
        if before.get(path) != after.get(path) and not any(
            Path(path).is_relative_to(left_out) for left_out in WITH_IDS
        ):
            yield path


def _digests(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The MD5 of each output, by its path."""
    with io.reading(LOCK):
        stages = TypeAdapter(dict[str, dict[str, Any]]).validate_python(lock.get("stages") or {})
        outs = [stage.get("outs", []) for stage in stages.values()]
        found = chain(*TypeAdapter(list[list[dict[str, Any]]]).validate_python(outs))
        return {out["path"]: out.get("md5") for out in found}


def compare(
    committed: Mapping[str, Any], made: Mapping[str, Any], sampled: Collection[str]
) -> pd.DataFrame:
    """RMSE by model: committed, made now, and whether these are as close as is promised."""
    rows = {}
    for name in committed.keys() | made.keys():
        before, after = (_rmse(of.get(name)) for of in (committed, made))
        limit = CLOSE["sampled" if name in sampled else "gradients"]
        rows[name] = {"committed": before, "now": after, "is_close": abs(after - before) <= limit}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.sort_values("committed")


def _rmse(scores: Any) -> float:
    with io.reading(paths.METRICS):
        rmse = TypeAdapter(dict[str, Any]).validate_python(scores or {}).get("rmse")
        return float("nan") if rmse is None else float(rmse)


def sampled_models(params: Path) -> set[str]:
    """The models whose parameters are drawn, so that rounding alone leads to other draws."""
    names = config.trained_models(params)
    return {name for name in names if config.is_sampled(params, f"train_{name}")}


def report(differing: list[str], distances: pd.DataFrame) -> None:
    """Print what differs."""
    table = Table("model", "committed RMSE", "now", "difference", box=box.SIMPLE_HEAD)
    for name, row in distances.iterrows():
        difference = row["now"] - row["committed"]
        table.add_row(
            str(name), f"{row['committed']:.6f}", f"{row['now']:.6f}", f"{difference:+.6f}"
        )
    Console(highlight=False).print(table)
    if not differing:
        print("Every file is the same to the bit.")
        return
    print(
        f"Not the same to the bit: {', '.join(differing)}. On the same kind of machine, with the "
        "same packages, it would be: the code that multiplies matrices depends on the processor."
    )
