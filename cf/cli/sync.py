"""Bring MLflow up to date: every training in runs/ has its run, with metrics, figures, report.

What is there already stays as it is, so this can be done at any time: after `dvc pull` into a
fresh clone, or when a tracking server is back that was away.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from cf.core import config, io, paths
from cf.core.errors import InputError, exit_on_input_error
from cf.core.provenance import SplitInfo
from cf.evaluation import champion, leaderboard, rankings
from cf.tracking import record as records
from cf.tracking.record import RunRecord


@exit_on_input_error
def main() -> None:
    """Make MLflow say what runs/ and reports/ say."""
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    if not settings.enabled:
        raise InputError(f"{paths.PARAMS}: tracking.enabled is false. Set it to true to sync.")
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    trainings = records.read_all(split)
    check_files(trainings)
    evaluated, ranked, drawn = (
        of_these_trainings(trainings, path)
        for path in (paths.EVALUATED_RUNS, paths.RANKED_RUNS, paths.DRAWN_RUNS)
    )
    if not paths.LEADERBOARD.exists():
        evaluated = {}
    if evaluated:
        board = leaderboard.read(paths.LEADERBOARD)
        part = board[0]["part"]
        scores = leaderboard.with_bounds(io.read_json(paths.METRICS), board)
        rmse = {name: scores[name]["rmse"] or 0 for name in evaluated}
        best = champion.candidate(rmse, part, split.method)
        for name, record in evaluated.items():
            add_metrics(record, scores[name], part)
            record.candidate = name == best
    for row in rankings.read(paths.RANKING) if ranked else []:
        if row["model"] in ranked:
            add_metrics(ranked[row["model"]], rankings.figures(row), row["part"])
    records.set_figures(drawn)
    # Whoever asks for this waits for it: many runs through a slow connection may take long.
    with records.recording(settings, timeout_s=None) as recorder:
        for record in trainings.values():
            recorder.upsert(record)
    if recorder.failed:
        sys.exit(1)
    print(f"MLflow has the trainings of {', '.join(trainings)}.")
    if unscored := sorted(trainings.keys() - evaluated.keys()):
        print(
            f"{', '.join(unscored)}: trained since {paths.LEADERBOARD} was made, so without "
            "metrics. `dvc repro` adds them."
        )


def add_metrics(record: RunRecord, metrics: Mapping[str, float | None], part: str) -> None:
    """Add metrics to a record, those of the test part under names of their own."""
    prefix = "" if part == "valid" else f"{part}/"
    record.metrics |= {f"{prefix}{name}": value for name, value in metrics.items()}


def of_these_trainings(trainings: Mapping[str, RunRecord], path: Path) -> dict[str, RunRecord]:
    """The trainings from which the results came whose trainings' ids are in `path`."""
    ids = io.read_json(path) if path.exists() else {}
    return {name: record for name, record in trainings.items() if ids.get(name) == record.id}


def check_files(trainings: Mapping[str, RunRecord]) -> None:
    """Nothing, if the models are those that the trainings made.

    Raises:
        InputError: a file is missing or another.
    """
    for name, training in trainings.items():
        for file, digest in training.files.items():
            if not Path(file).is_file() or io.sha256(Path(file)) != digest:
                raise InputError(
                    f"{file}: this is not what the training in {paths.RUNS / name}.json made. "
                    "Bring it back with `dvc checkout` or `dvc pull`, or train again with "
                    "`dvc repro`."
                )


if __name__ == "__main__":
    main()
