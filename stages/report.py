"""The page of the stage plot: reports/, and what is behind it, to reports/index.html."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from cf.files import written
from cf.reporting import report
from cf.reporting.report import Commit
from stages import paths


def write(trained: list[str], ranked: Sequence[Mapping[str, str]] = ()) -> None:
    """Write the page.

    Args:
        trained: the models that are no baselines.
        ranked: the rows of reports/ranking.csv.
    """
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    page = report.render(
        scores=about(provenance.dataset, tables.read_json(paths.METRICS)),
        sections=yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8")),
        trained=trained,
        provenance=provenance,
        split=tables.read_facts(paths.SPLIT_FACTS, SplitFacts),
        figures={svg.stem: svg.read_bytes() for svg in paths.VECTOR_FIGURES.glob("*.svg")},
        commit=last_commit(),
        ranked=ranked,
    )
    with written(paths.REPORT) as beside:
        beside.write_text(page, encoding="utf-8", newline="\n")


def about(dataset: str, scores: dict[str, Any]) -> dict[str, Any]:
    """The scores of each model, with the data set that they are about."""
    return {name: {**values, "dataset": dataset} for name, values in scores.items()}


def last_commit() -> Commit | None:
    """What the last commit keeps; None where there is none or git cannot be asked."""
    said = _git("-c", "log.showSignature=false", "log", "-1", "--format=%H %s")
    if said is None:
        return None
    sha, _, subject = said.strip().partition(" ")
    metrics = _committed(sha, paths.METRICS, json.loads)
    sections = _committed(sha, paths.PARAMS, yaml.safe_load)
    if metrics is None or not all(isinstance(values, dict) for values in metrics.values()):
        return Commit(sha, subject, None, sections)
    data = _committed(sha, paths.DATA, json.loads) or {}
    metrics = about(str(data.get("dataset")), metrics)
    return Commit(sha, subject, metrics, sections)


def _committed(sha: str, path: Path, parse: Callable[[str], Any]) -> dict[str, Any] | None:
    """A file of a commit; None where the commit has none, or none that can be read."""
    text = _git("show", f"{sha}:./{path.as_posix()}")
    try:
        content = parse(text or "")
    except (ValueError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode(errors="replace")
