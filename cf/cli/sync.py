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
from cf.evaluation import champion, leaderboard, ranking
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
        board = io.read_csv(paths.LEADERBOARD, leaderboard.DTYPES)
        scores = io.read_json(paths.METRICS)
        metrics = leaderboard.run_metrics(scores, board)
        rmse = {name: scores[name]["rmse"] for name in evaluated}
        best = champion.candidate(rmse, board["part"].iloc[0], split.method)
        for name, record in evaluated.items():
            record.metrics |= metrics[name]
            record.candidate = name == best
    if ranked:
        metrics = ranking.run_metrics(io.read_csv(paths.RANKING, ["model", "part"]))
        for name, record in ranked.items():
            record.metrics |= metrics[name]
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
