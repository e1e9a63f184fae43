"""runs/<model>.json: the training that made each model, which MLflow's run can be made from."""

from dataclasses import asdict
from pathlib import Path

from cf.data import tables
from cf.data.tables import SplitFacts
from cf.errors import InputError
from cf.evaluation.predictions import RESERVED
from cf.tracking import Execution
from stages import paths

SHARED = ("loss_curves", "error_by_popularity", "ranking", "crosstab", "activity")


def check_name(name: str) -> None:
    """Nothing, if a model may have this name.

    Raises:
        InputError: it means something else in the reports.
    """
    if name in RESERVED:
        raise InputError(
            f"{paths.PARAMS}: train_{name}: the reports use the name {name} otherwise. Give the "
            "section and its stage in dvc.yaml another one."
        )


def write(name: str, training: Execution) -> None:
    """Write down the training of the model `name`."""
    tables.write_json(paths.RUNS / f"{name}.json", asdict(training))


def figures(name: str) -> list[Path]:
    """The pictures that go with a model: its own and those of all models."""
    drawn = sorted(paths.FIGURES.glob("*.png"))
    return [path for path in drawn if path.stem in (f"predicted_{name}", *SHARED)]


def read(split: SplitFacts) -> dict[str, Execution]:
    """The training of each model, by the model's name.

    Raises:
        InputError: a file is damaged, or a model was trained on another split, so that its
            training rows may be held out now.
    """
    trainings = {}
    for path in sorted(paths.RUNS.glob("*.json")):
        training = tables.read_facts(path, Execution)
        if training.tags.get("split_sha256") != split.sha256:
            raise InputError(
                f"{path}: {path.stem} was trained on other rows, and no stage of dvc.yaml trains "
                f"it on these. Bring its stage back, or delete {path} and "
                f"{paths.MODELS / path.stem}."
            )
        trainings[path.stem] = training
    return trainings
