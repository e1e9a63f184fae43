"""Bring MLflow up to date: every training in runs/ has its run, with metrics, figures, report.

What is there already stays as it is, so this can be done at any time: after `dvc pull` into a
fresh clone, or when a tracking server is back that was away.
"""

import sys

from cf import params, tracking
from cf.data import tables
from cf.data.tables import SplitFacts
from cf.errors import InputError
from cf.evaluation import leaderboard
from stages import paths, runs
from stages.stage import stage


@stage
def main() -> None:
    """Make the runs that the store lacks."""
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    if not settings.enabled:
        raise InputError(f"{paths.PARAMS}: tracking.enabled is false. Set it to true to sync.")
    trainings = runs.read(tables.read_facts(paths.SPLIT_FACTS, SplitFacts))
    scores = tables.read_json(paths.METRICS)
    for row in leaderboard.read(paths.LEADERBOARD):
        scores[row["model"]] |= leaderboard.bounds(row)
    # Whoever asks for this waits for it: many runs through a thin line may take long.
    with tracking.recorder(settings, patience=None) as recorder:
        for name, training in trainings.items():
            page = [paths.REPORT] if paths.REPORT.exists() else []
            recorder.add(training, scores.get(name, {}), [*runs.figures(name), *page])
        if scored := [name for name in trainings if name in scores]:
            best = min(scored, key=lambda name: scores[name]["rmse"])
            recorder.register(trainings[best], scores[best]["rmse"])
    if recorder.failed:
        sys.exit(1)
    print(f"MLflow has the trainings of {', '.join(trainings)}.")


if __name__ == "__main__":
    main()
