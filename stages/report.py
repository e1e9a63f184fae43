"""The page of the stage plot: reports/, and what is behind it, to reports/index.html."""

from collections.abc import Sequence
from typing import Any

from cf.core import config, git, io, paths
from cf.core.io import atomic_write
from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation import leaderboard
from cf.evaluation.rows import Row
from cf.reporting import html as report
from cf.reporting.html import Commit


def write(trained: list[str], ranked: Sequence[Row] = ()) -> None:
    """Write the page.

    Args:
        trained: the models that are no baselines.
        ranked: the rows of reports/ranking.csv.
    """
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    page = report.render(
        rows=leaderboard.read(paths.LEADERBOARD),
        scores=about(io.read_json(paths.DATA), io.read_json(paths.METRICS)),
        sections=config.parse_yaml(paths.PARAMS.read_text(encoding="utf-8")),
        trained=trained,
        provenance=provenance,
        split=io.read_dataclass(paths.SPLIT_INFO, SplitInfo),
        figures={svg.stem: svg.read_bytes() for svg in paths.VECTOR_FIGURES.glob("*.svg")},
        commit=last_commit(),
        ranked=ranked,
    )
    with atomic_write(paths.REPORT) as tmp_path:
        tmp_path.write_text(page, encoding="utf-8", newline="\n")


def about(data: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    """The scores of each model, with the data set and the part that they are about."""
    what = {"dataset": str(data.get("dataset")), "part": str(data.get("part", "valid"))}
    return {name: {**values, **what} for name, values in scores.items()}


def last_commit() -> Commit | None:
    """What the last commit keeps; None where there is none or git cannot be asked."""
    last = git.head_commit()
    if last is None:
        return None
    metrics = git.read_at_head(paths.METRICS)
    sections = git.read_at_head(paths.PARAMS)
    if metrics is None or not all(isinstance(values, dict) for values in metrics.values()):
        return Commit(*last, None, sections)
    return Commit(*last, about(git.read_at_head(paths.DATA) or {}, metrics), sections)
