"""Bring MLflow up to date with runs/ and reports/: after a pull, or when its server is back."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cf.core import config, io, paths
from cf.core.errors import InputError
from cf.core.ratings import SplitInfo
from cf.evaluation import champion, leaderboard, ranking
from cf.tracking.record import RunRecord, read_all, recording, set_figures


def main() -> None:
    """Make MLflow say what the records in runs/ and the results of these trainings say."""
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    if not settings.enabled:
        raise InputError(f"{paths.PARAMS}: tracking.enabled is false. Set it to true to sync.")
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    records = read_all(split)
    check_files(records)
    evaluated = with_results(records, paths.EVALUATED_RUNS, paths.LEADERBOARD)
    if evaluated:
        board = io.read_csv(paths.LEADERBOARD, leaderboard.DTYPES)
        scores = read_scores(evaluated)
        rmse = {name: scores[name]["rmse"] for name in evaluated}
        best = champion.candidate(rmse, board["part"].iloc[0], split.method)
        metrics = leaderboard.run_metrics(scores, board)
        for name, record in evaluated.items():
            record.metrics |= metrics[name]
            record.candidate = name == best
    if ranked := with_results(records, paths.RANKED_RUNS, paths.RANKING):
        metrics = ranking.run_metrics(io.read_csv(paths.RANKING, ranking.DTYPES))
        for name, record in ranked.items():
            record.metrics |= metrics[name]
    set_figures(with_results(records, paths.DRAWN_RUNS, paths.REPORT))
    with recording(settings, timeout_s=None) as recorder:  # whoever asks for this waits for it
        for record in records.values():
            recorder.upsert(record)
    if recorder.failed:
        sys.exit(1)
    print(f"MLflow has the trainings of {', '.join(records)}.")
    if missing := sorted(records.keys() - evaluated.keys()):
        print(
            f"{', '.join(missing)}: trained since {paths.LEADERBOARD} was made, so without "
            "metrics. `dvc repro` adds them."
        )


def read_scores(models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The metrics of each model; raises `InputError` where they lack the RMSE of one of these."""
    kind = dict[str, dict[str, float | None]]
    scores: dict[str, dict[str, Any]] = io.read_json(paths.METRICS, kind)
    with io.reading(paths.METRICS):
        if without := [name for name in models if scores.get(name, {}).get("rmse") is None]:
            raise ValueError(f"has no rmse of {', '.join(without)}")
    return scores


def with_results(
    records: Mapping[str, RunRecord], ids_path: Path, results_path: Path
) -> dict[str, RunRecord]:
    """The records of the trainings, by their ids in `ids_path`, that the results are about."""
    there = ids_path.exists() and results_path.exists()
    ids = io.read_json(ids_path, dict[str, str]) if there else {}
    return {name: record for name, record in records.items() if ids.get(name) == record.id}


def check_files(records: Mapping[str, RunRecord]) -> None:
    """Raise `InputError` if a file of a model is missing, or another than its training made."""
    for name, record in records.items():
        for file, digest in record.files.items():
            if not Path(file).is_file() or io.digest(Path(file)) != digest:
                raise InputError(
                    f"{file}: this is not what the training in {paths.RUNS / name}.json made. "
                    "Bring it back with `dvc checkout` or `dvc pull`, or train again with "
                    "`dvc repro`."
                )
