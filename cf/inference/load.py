"""A trained model and what its indices stand for, out of their files."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from cf.core import io, model_files, paths
from cf.core.errors import InputError
from cf.core.model_files import SETTINGS, WEIGHTS
from cf.core.ratings import Provenance, ids_digest
from cf.inference import lists
from cf.inference.base import MODEL_RANGE, Answers
from cf.inference.bayesmf import BayesMF
from cf.inference.catalog import Catalog
from cf.inference.gradient_models import Dot, DotBias, EmbNet
from cf.inference.recommender import Recommender

ROUNDING = 1e-3  # that formulas may differ by, in relation to a rating
MODELS: Mapping[str, Any] = {
    "bayesmf": BayesMF,
    "dot": Dot,
    "dotbias": DotBias,
    "dotbias_ensemble": DotBias,
    "embnet": EmbNet,
}


def load(name: str | os.PathLike[str] | None = None) -> Recommender:
    """A trained model, ready to answer.

    Args:
        name: of a model of this project; or the path of its folder; or nothing, for the one with
            the lowest RMSE. The project is the one that the current folder is in, or else the one
            that this code is in.

    Raises:
        InputError: there is no such model, a file is missing or damaged, or the model belongs to
            other data.
    """
    given = Path(name or "")
    if name is not None and (given / SETTINGS).is_file():
        folder = given.resolve()
        project = folder.parent.parent
    else:
        project = find_project()
        folder = project / paths.MODELS / (str(name) if name else champion(project))
    if not (folder / SETTINGS).is_file():
        there = ", ".join(trained(project)) or "none yet: run `dvc repro`"
        raise InputError(f"there is no trained model {name}. There are: {there}.")
    answers = load_answers(folder)
    if answers is None:
        raise InputError(
            f"{folder}: this model has no formula in cf/inference yet, or it was edited and its "
            "formula was not: one like those in cf/inference/gradient_models.py makes it answer."
        )
    items = io.read_parquet(project / paths.ENCODED_ITEMS, ["item_id", "title", "year", "genres"])
    users = io.read_parquet(project / paths.ENCODED_USERS, ["user_id"])
    if (answers.n_users, answers.n_items) != (len(users), len(items)):
        raise InputError(
            f"{folder}: is of {answers.n_users:,} users and {answers.n_items:,} items, but the "
            f"data in {project} has {len(users):,} and {len(items):,}. Run `dvc repro`."
        )
    facts = asdict(io.read_dataclass(project / paths.PROVENANCE, Provenance))
    settings = io.read_json(folder / SETTINGS, dict[str, Any])
    (low, high), (data_low, data_high) = settings["rating_range"], facts["rating_range"]
    if not np.allclose((low, high), (data_low, data_high), rtol=1e-6):  # as 32-bit floats
        raise InputError(
            f"{folder}: is of ratings from {low:g} to {high:g}, but those in {project} are from "
            f"{data_low:g} to {data_high:g}. Run `dvc repro`."
        )
    of_model = settings.get("ids_sha256")
    if of_model and of_model != ids_digest(users["user_id"], items["item_id"]):
        raise InputError(
            f"{folder}: is of other users and items than the data in {project}, of which there "
            "are as many. Run `dvc repro`."
        )
    ratings = io.read_parquet(project / paths.ENCODED_RATINGS, ["user", "item", "rating"], True)
    with io.reading(project / paths.ENCODED_RATINGS):
        require_below(ratings["user"], len(users))
        require_below(ratings["item"], len(items))
    train = io.read_parquet(project / paths.TRAIN, ["row"], True)["row"].to_numpy()
    with io.reading(project / paths.TRAIN):
        require_below(train, len(ratings))
    likely, weight = None, 1.0
    if (project / paths.BLEND / lists.BLEND).is_file():
        weights = io.read_json(project / paths.BLEND / lists.BLEND)
        found = weights.get(folder.name) if isinstance(weights, dict) else None
        if isinstance(found, int | float) and 0 <= found <= lists.HEAVIEST:
            likely, weight = lists.Likely.load(project / paths.BLEND, len(items)), found
    catalog = Catalog(items, users["user_id"].tolist())
    return Recommender(folder.name, answers, catalog, ratings, train, facts, likely, weight)


def require_below(indices: Any, n: int) -> None:
    """Raise ValueError where one of the indices is not below `n`."""
    if len(indices) and indices.max() >= n:
        raise ValueError(f"expected indices below {n:,}, got {indices.max():,}")


def load_answers(folder: Path) -> Answers | None:
    """The formula of the model in a folder, with its weights; None for a model that has none here.

    So it is of a model whose file was edited, and which no longer predicts what the formula here
    does: it has kept predictions of its own to compare.

    Raises:
        InputError: as `load`.
    """
    settings = model_files.verified_settings(folder)
    try:
        if settings["model"]["name"] not in MODELS:
            return None
        sizes = settings["n_users"], settings["n_items"], settings["rating_range"]
        weights = load_file(folder / WEIGHTS)
        answers: Answers = MODELS[settings["model"]["name"]](weights, settings["model"], *sizes)
        check(weights, answers)
        return answers if predicts_as_trained(answers, settings.get("predictions")) else None
    except io.DAMAGE as error:
        raise model_files.damaged(folder, error) from None


def predicts_as_trained(answers: Answers, predictions: Mapping[str, Any] | None) -> bool:
    """Whether a formula gives a model's own predictions; unknown, so true, where none are kept."""
    if predictions is None:
        first, rating = np.zeros(1, np.int64), np.full(1, np.mean(MODEL_RANGE), np.float32)
        predicted, _ = answers.predict(first, first)  # which weights of other shapes do not stand
        scores, _ = answers.score(answers.fold_in(first, rating), first)
        if not np.isfinite([*predicted, *scores]).all():
            raise ValueError(f"it predicts {predicted[0]}, and {scores[0]} for a newcomer")
        return True
    users, items, predicted = (np.array(predictions[k]) for k in ("users", "items", "predicted"))
    differences = np.abs(answers.predict(users, items)[0] - predicted)
    return bool((differences <= ROUNDING * (1 + np.abs(predicted))).all())


def check(weights: Mapping[str, NDArray[Any]], answers: Any) -> None:
    """Raise ValueError where weights are no numbers, or not of so many users and items."""
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds what is no number")
    rows = answers.user_rows.shape[1], answers.item_rows.shape[1]
    if rows != (answers.n_users, answers.n_items):
        raise ValueError(
            f"expected {answers.n_users} users and {answers.n_items} items, got {rows}"
        )


def find_project() -> Path:
    """The root of the project that the current folder is in, or else this code.

    Raises:
        InputError: neither is in a project.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).parents[2]):
        if (folder / paths.PARAMS).is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise InputError(f"{here}: is in no project of cf. Change to one, or give a model's folder.")


def trained(project: Path) -> list[str]:
    """The names of all trained models, the one with the lowest RMSE first."""
    names = sorted(file.parent.name for file in (project / paths.MODELS).glob(f"*/{SETTINGS}"))
    rmse = {name: scores.get("rmse", np.inf) for name, scores in metrics(project).items()}
    return sorted(names, key=lambda name: rmse.get(name, np.inf))


def champion(project: Path) -> str:
    """The trained model with the lowest RMSE on the held-out ratings.

    Raises:
        InputError: none is trained, or several are, and none is evaluated.
    """
    names, evaluated = trained(project), metrics(project)
    if not names:
        raise InputError(f"{project}: no model is trained yet. Run `dvc repro`.")
    if len(names) > 1 and names[0] not in evaluated:
        raise InputError(f"{project}: no model is evaluated yet. Run `dvc repro`, or name a model.")
    return names[0]


def metrics(project: Path) -> dict[str, dict[str, float]]:
    """The metrics of each evaluated model; none before the first evaluation.

    Raises:
        InputError: the file is damaged.
    """
    path = project / paths.METRICS
    by_model = dict[str, dict[str, float | None]]
    found: dict[str, dict[str, float]] = io.read_json(path, by_model) if path.is_file() else {}
    return found
