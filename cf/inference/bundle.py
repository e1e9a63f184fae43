"""One trained model with all it needs to answer, in a folder laid out as a project is."""

import shutil
from pathlib import Path

from cf.core import io, paths
from cf.core.errors import InputError
from cf.core.model_files import SETTINGS, WEIGHTS
from cf.inference import lists
from cf.inference.load import load
from cf.inference.recommender import Recommender

COLUMNS = {
    paths.ENCODED_ITEMS: ["item_id", "title", "year", "genres"],
    paths.ENCODED_USERS: ["user_id"],
    paths.ENCODED_RATINGS: ["user", "item", "rating"],
    paths.TRAIN: ["row"],
}
"""What answers are made from; the rest of these tables stays where it is."""


def write(project: Path, name: str, folder: Path) -> Recommender:
    """Copy a project's model into an empty folder, and load it from there.

    `cf.load(folder / "models" / name)` does so again, anywhere.

    Raises:
        InputError: a file is missing or damaged, or the model belongs to other data.
        WriteError: the system refuses to write.
    """
    model = paths.MODELS / name
    for path, columns in COLUMNS.items():
        io.write_parquet(folder / path, io.read_parquet(project / path, columns)[columns])
    weights = io.read_json(project / paths.BLEND / lists.BLEND, dict[str, lists.Weight])
    if name not in weights:
        raise InputError(f"{project / paths.BLEND}: has no {name}. Run `dvc repro blend`.")
    io.write_json(folder / paths.BLEND / lists.BLEND, {name: weights[name]})
    files = (lists.ITEMS, lists.WEIGHTS, lists.OTHERS, lists.DIGESTS)
    of_blend = [paths.BLEND / file for file in files if (project / paths.BLEND / file).is_file()]
    for path in (paths.PROVENANCE, model / SETTINGS, model / WEIGHTS, *of_blend):
        if not (project / path).is_file():
            raise InputError(f"{project / path}: there is no such file. Run `dvc repro`.")
        with io.atomic_write(folder / path) as tmp_path:
            shutil.copyfile(project / path, tmp_path)
    return load(folder / model)
