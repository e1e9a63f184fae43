"""A trained model as two files without executable data: weights and the settings to rebuild it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cf.core import config
from cf.core.errors import InputError
from cf.core.io import atomic_write
from cf.models import base

WEIGHTS = "weights.safetensors"
SETTINGS = "model.json"


@dataclass(frozen=True)
class ModelSpec:
    """What a model is built from.

    Attributes:
        model: its name and its own settings, as in params.yaml.
        rating_range: lowest and highest rating, in stars.
    """

    model: dict[str, Any]
    n_users: int
    n_items: int
    rating_range: tuple[float, float]

    def build(self, where: str) -> base.Model:
        """The untrained model on torch's default device; `where` begins error messages.

        Raises:
            InputError: no such model, or settings that are not its own.
        """
        settings = dict(self.model)
        name = settings.pop("name", None)
        if not isinstance(name, str):
            raise InputError(f"{where}.name: expected a model's name, got {name!r}.")
        kind = base.find(name)
        own = config.validate(settings, where, kind.Config)
        return kind(own, self.n_users, self.n_items, list(self.rating_range))


def save(folder: Path, model: base.Model, spec: ModelSpec) -> list[Path]:
    """Write the model into `folder`, and return the files written."""
    with atomic_write(folder / WEIGHTS) as tmp_path:
        save_file({name: tensor.cpu() for name, tensor in model.state_dict().items()}, tmp_path)
    with atomic_write(folder / SETTINGS) as tmp_path:
        tmp_path.write_text(json.dumps(asdict(spec), indent=2) + "\n", encoding="utf-8")
    return [folder / WEIGHTS, folder / SETTINGS]


def load(folder: Path) -> base.Model:
    """The model that `save` wrote into `folder`, on the CPU.

    Raises:
        InputError: a file is missing, damaged, or the two do not belong together.
    """
    try:
        settings = (folder / SETTINGS).read_text(encoding="utf-8")
        spec = ModelSpec(**json.loads(settings))
        model = spec.build(str(folder / SETTINGS))
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{folder}: not a whole checkpoint ({error}). Delete the folder and run `dvc repro`."
        ) from None
    return model
