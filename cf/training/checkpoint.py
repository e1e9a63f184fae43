"""A trained model as two files without executable data: weights and the settings to rebuild it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file, save_file
from torch import Tensor

from cf.core import config, io, model_files
from cf.core.errors import InputError
from cf.core.model_files import SETTINGS, WEIGHTS
from cf.core.ratings import Provenance
from cf.models import base
from cf.training.item_features import item_columns

N_SAMPLED = 16  # predictions that are kept beside the weights


@dataclass(frozen=True)
class ModelSpec:
    """What a model is built from."""

    model: dict[str, Any]  # its name and its own settings, as in params.yaml
    n_users: int
    n_items: int
    rating_range: tuple[float, float]  # of the data
    item_columns: Tensor | None = None  # (n_items, n_columns), for a class that declares features
    ids_sha256: str = ""  # of the data's users and items; empty in files of an earlier cf

    @classmethod
    def from_data(
        cls, model: dict[str, Any], provenance: Provenance, items: pd.DataFrame, context: str
    ) -> "ModelSpec":
        """The spec for a data set, with the item features that the model's class declares.

        `items` is data/encoded/items.parquet; `context` begins error messages.

        Raises:
            InputError: no such model, or no such feature.
        """
        features = find_class(model, context).item_features
        file = f"cf/models/{model['name']}.py"
        columns = item_columns(items, features, file) if features else None
        sizes = provenance.n_users, provenance.n_items, provenance.rating_range
        return cls(model, *sizes, columns, provenance.ids_sha256)

    def build(self, context: str) -> base.Model:
        """The untrained model on torch's default device; `context` begins error messages.

        Raises:
            InputError: no such model, settings that are not its own, or another signature.
        """
        cls = find_class(self.model, context)
        settings = {key: value for key, value in self.model.items() if key != "name"}
        own = config.validate(settings, context, cls.Config)
        columns = (self.item_columns,) if cls.item_features else ()
        arguments = own, self.n_users, self.n_items, list(base.MODEL_RANGE), *columns
        place = f"cf/models/{self.model['name']}.py: {cls.__name__}.__init__"
        try:
            inspect.signature(cls).bind(*arguments)
        except TypeError as error:
            needed = "config, n_users, n_items, rating_range" + ", item_columns" * len(columns)
            raise InputError(f"{place}: expected the arguments {needed}: {error}.") from None
        model = cls(*arguments)
        if columns and not hasattr(model, "item_columns"):
            raise InputError(f"{place}: hand item_columns on to super().__init__, as the last one.")
        (low, high), (model_low, model_high) = self.rating_range, base.MODEL_RANGE
        model.factor = (high - low) / (model_high - model_low)
        model.offset = low - model_low * model.factor
        return model


def save(folder: Path, model: base.Model, spec: ModelSpec) -> list[Path]:
    """Write the model into `folder`, and return the files written.

    A few predictions go with it, by which `cf.inference` knows that its formula is the model's.
    """
    with io.atomic_write(folder / WEIGHTS) as tmp_path:
        save_file({name: tensor.cpu() for name, tensor in model.state_dict().items()}, tmp_path)
    settings = {key: value for key, value in vars(spec).items() if key != "item_columns"}
    settings["weights_sha256"] = io.digest(folder / WEIGHTS)
    users, items = (
        np.linspace(0, n - 1, N_SAMPLED, dtype=int) for n in (spec.n_users, spec.n_items)
    )
    predicted = base.predict(model, users, items)
    if np.isfinite(predicted).all():
        arrays = {"users": users, "items": items, "predicted": predicted}
        settings["predictions"] = {name: array.tolist() for name, array in arrays.items()}
    io.write_json(folder / SETTINGS, settings)
    return [folder / WEIGHTS, folder / SETTINGS]


def load(folder: Path) -> base.Model:
    """The model that `save` wrote into `folder`, on the CPU.

    Raises:
        InputError: a file is missing, damaged, or the two do not belong together.
    """
    settings = model_files.verified_settings(folder)
    for about_weights in ("weights_sha256", "predictions"):
        settings.pop(about_weights, None)
    try:
        weights = load_file(folder / WEIGHTS)
        spec = ModelSpec(**settings, item_columns=weights.get("item_columns"))
        model = spec.build(str(folder / SETTINGS))
        model.load_state_dict(weights)
    except (*io.DAMAGE, RuntimeError) as error:
        raise model_files.damaged(folder, error) from None
    return model


def find_class(model: Mapping[str, Any], context: str) -> type[base.Model]:
    """The class of a section's `model`; raises `InputError`, which begins with `context`."""
    name = model.get("name")
    if not isinstance(name, str):
        raise InputError(f"{context}.name: expected a model's name, got {name!r}.")
    try:
        return base.find(name)
    except InputError as error:
        raise InputError(f"{context}.name: {error}") from None
