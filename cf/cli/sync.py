"""Bring MLflow up to date: every training in runs/ has its run, with metrics, figures, report.

What is there already stays as it is, so this can be done at any time: after `dvc pull` into a
fresh clone, or when a tracking server is back that was away.
"""

import sys

from cf.core import config, io, paths
from cf.core.errors import InputError, exit_on_input_error
from cf.core.provenance import SplitInfo
from cf.evaluation import leaderboard, rankings
from cf.tracking import record as tracking
from stages import runs


@exit_on_input_error
def main() -> None:
    """Make the runs that the store lacks."""
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    if not settings.enabled:
        raise InputError(f"{paths.PARAMS}: tracking.enabled is false. Set it to true to sync.")
    trainings = runs.read(io.read_dataclass(paths.SPLIT_INFO, SplitInfo))
    runs.check_files(trainings)
    board = leaderboard.read(paths.LEADERBOARD) if paths.LEADERBOARD.exists() else []
    executions = {row["model"]: row["execution"] for row in board}
    scored = {name: made for name, made in trainings.items() if executions.get(name) == made.id}
    unscored = sorted(trainings.keys() - scored.keys())
    # Whoever asks for this waits for it: many runs through a thin line may take long.
    with tracking.recorder(settings, patience=None) as recorder:
        for name in unscored:
            recorder.add(trainings[name], {})
        if scored:
            scores = leaderboard.with_bounds(io.read_json(paths.METRICS), board)
            runs.record(recorder, scored, scores, board[0]["part"])
        if paths.RANKING.exists():
            runs.record_ranking(recorder, trainings, rankings.read(paths.RANKING))
        for name, training in trainings.items():
            recorder.add(training, {}, runs.figures(name, training))
    if recorder.failed:
        sys.exit(1)
    print(f"MLflow has the trainings of {', '.join(trainings)}.")
    if unscored:
        print(
            f"{', '.join(unscored)}: trained since {paths.LEADERBOARD} was made, so without "
            "scores. `dvc repro` adds them."
        )


if __name__ == "__main__":
    main()
