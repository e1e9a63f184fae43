"""What every model is: a module from users and items to ratings."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import cf.models
from cf.core.config import BaseConfig, Range
from cf.core.errors import InputError
from cf.core.ratings import Indices, RatingStats, Stars

MODEL_RANGE = (0.5, 5.0)
"""The lowest and highest rating on the models' own scale, whatever they are in the data."""


class Model(nn.Module):
    """A model that predicts ratings; `forward(users, items)` takes (B,) indices, gives (B,) stars.

    Stars here are the models' own scale, `MODEL_RANGE`, whatever the unit of the data.

    A subclass lives in a file of its own, whose name is the model's name in params.yaml, and is
    built as `Subclass(config, n_users, n_items, rating_range)`. If it declares `item_features`,
    it is given the (n_items, n_columns) tensor of them as a fifth argument, which it hands on to
    this class: they are `self.item_columns` then, fixed, and saved with the model.

    Attributes:
        Config: what the model takes from its `model` section, besides `name`.
        takes_time: whether `forward` takes the (B,) times as well, in seconds since 1970 UTC.
        item_features: names from `cf.training.item_features`.
        decay_scales: by name of a parameter, what the optimizer's weight decay is multiplied with;
            1 for the others.
        row_parts: equal parts of a table's row that learn independently of each other, as an
            ensemble's members do: an optimizer that keeps one number a row keeps one for each.
        repeatable: whether `loss` is the same operators for all batches of a size, and reads no
            number from the device: a GPU then repeats them by itself, from `cf.training.graph`.
    """

    Config: ClassVar[type[BaseConfig]]
    takes_time: ClassVar[bool] = False
    item_features: ClassVar[tuple[str, ...]] = ()
    item_columns: Tensor
    decay_scales: Mapping[str, float] = MappingProxyType({})
    row_parts: int = 1
    repeatable: bool = False
    # A rating of the data is `factor` times the model's, plus `offset`: models see all ratings on
    # the scale MODEL_RANGE, since learning rates and priors fit no other.
    factor: float = 1.0
    offset: float = 0.0

    def __init__(
        self,
        config: BaseConfig,
        n_users: int,
        n_items: int,
        rating_range: Range,
        item_columns: Tensor | None = None,
    ) -> None:
        super().__init__()
        if item_columns is not None:
            self.register_buffer("item_columns", item_columns)

    def loss(self, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
        """Training loss: a scalar, or (n_members,) for an ensemble of independent members.

        Here the mean squared error in stars². Training descends the sum and reports the mean.
        """
        return mse_loss(self(users, items), ratings)

    def before_training(self, train: RatingStats) -> None:
        """Look at the training ratings, in the data's unit; here nothing."""

    def after_epoch(self, train: RatingStats) -> None:
        """Set what no gradient reaches, after each epoch's steps; here nothing."""

    def predict_mean_and_std(
        self, users: Tensor, items: Tensor, times: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The predicted stars and the standard deviation of the rating about them, (B,) each.

        None instead of the deviation here; a model that predicts one overrides this.
        """
        return self(users, items) if times is None else self(users, items, times), None


def on_model_scale(model: Model, ratings: Stars) -> Tensor:
    """The data's ratings on the scale of the model, (n,)."""
    return torch.tensor((ratings - np.float32(model.offset)) / np.float32(model.factor))


def embedding(n_rows: int, n_factors: int, init_range: Range, n_parts: int = 1) -> nn.Embedding:
    """A table with a row of factors, or one bias, for each user or item, uniform in the range.

    `n_parts` is how many equal parts of a row learn independently: see `Model.row_parts`. Within
    `use_table_factory` it is a module of another kind, called in the same way.
    """
    table: nn.Embedding = _make_table.get()(n_rows, n_factors, init_range, n_parts)
    return table


def _in_memory(n_rows: int, n_factors: int, init_range: Range, n_parts: int) -> nn.Embedding:
    weight = torch.empty(n_rows, n_factors).uniform_(*init_range)
    table: nn.Embedding = nn.Embedding.from_pretrained(weight, freeze=False)  # type: ignore[no-untyped-call]
    return table


MakeTable = Callable[[int, int, Range, int], Any]  # nn.Embedding, or a module called as one
_make_table: ContextVar[MakeTable] = ContextVar("_make_table", default=_in_memory)


@contextmanager
def use_table_factory(make: MakeTable) -> Iterator[None]:
    """Let the models that the block builds have tables of another kind, such as sharded ones."""
    token = _make_table.set(make)
    try:
        yield
    finally:
        _make_table.reset(token)


def sigmoid_range(scores: Tensor, low: float, high: float) -> Tensor:
    """Scores of any size squeezed into (low, high) by a sigmoid."""
    return torch.sigmoid(scores) * (high - low) + low


def names() -> list[str]:
    """The names of all models, in alphabetical order."""
    found = (module.name for module in pkgutil.iter_modules(cf.models.__path__))
    return sorted(set(found) - {"base"})


def find(name: str) -> type[Model]:
    """The model class in `cf/models/<name>.py`.

    Raises:
        InputError: there is no such model, or its file does not hold exactly one.
    """
    if name not in names():
        raise InputError(
            f"no model is called {name!r}. Choose one of {', '.join(names())}, or add "
            f"cf/models/{name}.py."
        )
    module = importlib.import_module(f"cf.models.{name}")
    classes = (value for value in vars(module).values() if isinstance(value, type))
    own = (cls for cls in classes if cls.__module__ == module.__name__)
    models = [cls for cls in own if issubclass(cls, Model)]
    if len(models) != 1:
        raise InputError(
            f"cf/models/{name}.py: expected one class that is a Model, got {len(models)}."
        )
    return models[0]


def predict(
    model: Model, users: Indices, items: Indices, times: Indices | None = None, chunk: int = 65536
) -> Stars:
    """The model's predictions, (n,) in the data's unit; arguments as for `predict_mean_and_std`."""
    return predict_mean_and_std(model, users, items, times, chunk)[0]


@torch.no_grad()
def predict_mean_and_std(
    model: Model, users: Indices, items: Indices, times: Indices | None = None, chunk: int = 65536
) -> tuple[Stars, Stars | None]:
    """The model's predictions and their standard deviations, (n,) each, in the data's unit.

    Without dropout. None instead of the deviations of a model that has none. The model is left in
    evaluation mode.

    Args:
        times: (n,) in seconds since 1970 UTC, for models that take them; None where unknown.
        chunk: rows at a time, which bounds the memory.
    """
    model.eval()
    device = next(model.parameters()).device
    inputs = [users, items, *([times] if model.takes_time and times is not None else [])]
    means, deviations = [], []
    for start in range(0, max(1, len(users)), chunk):
        batch = (torch.tensor(array[start : start + chunk], device=device) for array in inputs)
        mean, deviation = model.predict_mean_and_std(*batch)
        means.append(mean.cpu().numpy() * np.float32(model.factor) + np.float32(model.offset))
        if deviation is not None:
            deviations.append(deviation.cpu().numpy() * np.float32(model.factor))
    return np.concatenate(means), np.concatenate(deviations) if deviations else None
