"""A trained model's two files, and whether they are still what the training has written."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cf.core import io, paths
from cf.core.errors import InputError

WEIGHTS = "weights.safetensors"
SETTINGS = "model.json"


def verified_settings(folder: Path) -> dict[str, Any]:
    """The content of a model's settings, once both files are found to be as they were written.

    Weights are compared with the digest in the settings; and both with the record of the training,
    where the folder is in a project. Models of an earlier cf have no digest in the settings.

    Raises:
        InputError: a file is missing or damaged.
    """
    try:
        text = (folder / SETTINGS).read_text(encoding="utf-8")
        settings: dict[str, Any] = TypeAdapter(dict[str, Any]).validate_python(io.parse_json(text))
        if not isinstance(settings["model"], dict):
            raise TypeError(f"the model is {settings['model']!r}")
    except io.DAMAGE as error:
        raise damaged(folder, f"{SETTINGS}: {error}") from None
    expected = {folder / WEIGHTS: settings.get("weights_sha256")}
    record = folder.parent.parent / paths.RUNS / f"{folder.name}.json"
    if record.is_file():
        found = io.read_json(record, dict[str, Any]).get("files")
        files = found if isinstance(found, dict) else {}
        for name in (WEIGHTS, SETTINGS):
            recorded = files.get((paths.MODELS / folder.name / name).as_posix())
            expected[folder / name] = recorded or expected.get(folder / name)
    for path, digest in expected.items():
        if digest:
            try:
                actual = io.digest(path)
            except OSError as error:
                raise damaged(folder, error) from None
            if actual != digest:
                raise damaged(folder, f"{path.name} is not what the training has written")
    return settings


def damaged(folder: Path, reason: object) -> InputError:
    """The error to raise about a folder whose model cannot be used."""
    return InputError(
        f"{folder}: not a whole checkpoint ({reason}). If a colleague has trained it, `dvc pull` "
        f"fetches it. If it was whole once, `rm -r {folder} && dvc checkout` brings it back. Else "
        f"`dvc repro -f train_{folder.name}` trains it anew."
    )
