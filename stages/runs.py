"""runs/<model>.json: the training that made each model, which MLflow's run can be made from."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from cf.core import io, paths
from cf.core.errors import InputError
from cf.core.io import sha256
from cf.core.provenance import SplitInfo
from cf.evaluation import rankings
from cf.evaluation.metrics import Summary
from cf.evaluation.predictions import is_taken
from cf.evaluation.rows import Row
from cf.tracking.record import Recorder, RunRecord


def the_name() -> str:
    """The model's name, from the command line.

    Raises:
        InputError: there is none, or it is taken.
    """
    if len(sys.argv) != 2:
        raise InputError(f"which model? Usage: python -m stages.{Path(sys.argv[0]).stem} NAME.")
    check_name(sys.argv[1])
    return sys.argv[1]


def check_name(name: str) -> None:
    """Nothing, if a model may have this name.

    Raises:
        InputError: it means something else in the reports.
    """
    if is_taken(name):
        raise InputError(
            f"{paths.PARAMS}: train_{name}: the reports use the name {name} otherwise. Give the "
            "section and its stage in dvc.yaml another one."
        )


def write(name: str, training: RunRecord) -> None:
    """Write down the training of the model `name`."""
    io.write_json(paths.RUNS / f"{name}.json", asdict(training))


def check_files(trainings: Mapping[str, RunRecord]) -> None:
    """Nothing, if the models are those that the trainings made.

    Raises:
        InputError: a file is missing or another.
    """
    for name, training in trainings.items():
        for file, digest in training.files.items():
            if not Path(file).is_file() or sha256(Path(file)) != digest:
                raise InputError(
                    f"{file}: this is not what the training in {paths.RUNS / name}.json made. "
                    "Bring it back with `dvc checkout` or `dvc pull`, or train again with "
                    "`dvc repro`."
                )


def figures(name: str, training: RunRecord) -> list[Path]:
    """The page, and the pictures that go with a model: all but those of other models alone.

    None where they were made before or after this training.
    """
    drawn: dict[str, str] = io.read_json(paths.DRAWN_RUNS) if paths.DRAWN_RUNS.exists() else {}
    if drawn.get(name) != training.id:
        return []
    pictures = [
        path
        for path in sorted(paths.FIGURES.glob("*.png"))
        if path.stem == f"predicted_{name}" or not path.stem.startswith("predicted_")
    ]
    return [*pictures, paths.REPORT]


def record(
    recorder: Recorder,
    trainings: Mapping[str, RunRecord],
    scores: Mapping[str, Summary],
    part: str,
) -> None:
    """Add the scores on a part to the runs of the trainings, and register the best model.

    Scores on the test part go under names of their own, and no model is chosen by them: that
    would be no test of it. Nor is one of several folds, which are there to judge a method.
    """
    prefix = "" if part == "valid" else f"{part}/"
    for name, training in trainings.items():
        values = {f"{prefix}{metric}": value for metric, value in scores[name].items()}
        recorder.add(training, values)
    one = [name for name in trainings if trainings[name].parameters.get("split_method") != "k_fold"]
    if one and part == "valid":
        best = min(one, key=lambda name: scores[name]["rmse"] or 0)
        recorder.register(trainings[best], scores[best]["rmse"] or 0)


def record_ranking(
    recorder: Recorder, trainings: Mapping[str, RunRecord], ranked: Sequence[Row]
) -> None:
    """Add the rows of reports/ranking.csv to the runs of the trainings that they are about."""
    for row in ranked:
        training = trainings.get(row["model"])
        if training and training.id == row["execution"]:
            prefix = "" if row["part"] == "valid" else f"{row['part']}/"
            figures = rankings.figures(row).items()
            recorder.add(training, {f"{prefix}{name}": value for name, value in figures})


def read(split: SplitInfo) -> dict[str, RunRecord]:
    """The training of each model, by the model's name.

    Raises:
        InputError: a file is damaged, or a model was trained on another split, so that its
            training rows may be held out now.
    """
    trainings = {}
    for path in sorted(paths.RUNS.glob("*.json")):
        training = io.read_dataclass(path, RunRecord)
        if training.tags.get("split_sha256") != split.sha256:
            raise InputError(
                f"{path}: {path.stem} was trained on other rows, and no stage of dvc.yaml trains "
                f"it on these. Bring its stage back, or delete {path} and "
                f"{paths.MODELS / path.stem}."
            )
        trainings[path.stem] = training
    return trainings
