"""What every model is: a module from users and items to stars."""

import importlib
import pkgutil
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import mse_loss

import cf.models
from cf.core.config import Config, Range
from cf.core.errors import InputError
from cf.core.ratings import Indices, Stars


class Model(nn.Module):
    """A model that predicts ratings; `forward(users, items)` takes (B,) indices, gives (B,) stars.

    A subclass lives in a file of its own, whose name is the model's name in params.yaml, and is
    built as `Subclass(config, n_users, n_items, rating_range)`.

    Attributes:
        Config: what the model takes from its `model` section, besides `name`.
        takes_time: whether `forward` takes the (B,) times as well, in seconds since 1970 UTC.
    """

    Config: ClassVar[type[Config]]
    takes_time: ClassVar[bool] = False

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__()

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), of (B,) users and (B,) items."""
        raise NotImplementedError

    def predict_mean_and_std(
        self, users: Tensor, items: Tensor, times: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What `forward` predicts, and the standard deviation of the rating about it, (B,) each.

        A model that knows how far off it may be overrides this; the others have no deviation.
        """
        return self(users, items) if times is None else self(users, items, times), None

    def losses(self, users: Tensor, items: Tensor, values: Tensor) -> Tensor:
        """The mean squared error in stars², a scalar; or one for each part that learns alone, (n,).

        Training descends their sum, and reports their mean.
        """
        return mse_loss(self(users, items), values)

    def gradients(
        self, users: Tensor, items: Tensor, values: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The mean of `losses`, and the gradients of their sum.

        They come from autograd; a model that knows them in closed form may give them in less
        time.

        Args:
            users: (B,) indices.
            items: (B,) indices.
            values: (B,) observed stars.

        Returns:
            The mean, a scalar; the gradient of each look-up of the embeddings, in the order of
            `embeddings`, then of each of `others`.
        """
        losses = self.losses(users, items, values)
        rows = [rows for table in self.embeddings() for _, rows in table.lookups]
        return losses.detach().mean(), list(grad(losses.sum(), [*rows, *self.dense_parameters()]))

    def embeddings(self) -> "list[Embedding]":
        """The tables, in the order in which they were set."""
        return [module for module in self.modules() if isinstance(module, Embedding)]

    def dense_parameters(self) -> list[Tensor]:
        """The learnt parameters that are in no table."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


class Embedding(nn.Module):
    """A table with a row for each user or item, whose gradient is that of the rows looked up.

    `nn.Embedding` makes a dense gradient, mostly zeros, at every step; on a laptop that takes as
    long as the rest of the step. Here autograd sees just the rows of a batch, and
    `training.optimizers` puts their gradients into place.

    Attributes:
        weight: (n_rows, n_factors), or (n_rows,) for a bias.
        lookups: in training, the indices and the rows of each look-up since the last step.
    """

    def __init__(self, n_rows: int, n_factors: int | None, init_range: Range) -> None:
        super().__init__()
        shape = (n_rows,) if n_factors is None else (n_rows, n_factors)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(*init_range), requires_grad=False)
        self.lookups: list[tuple[Tensor, Tensor]] = []

    def forward(self, indices: Tensor) -> Tensor:
        """The rows at `indices`: (B, n_factors), or (B,) for a bias."""
        rows = self.weight.index_select(0, indices)
        if self.training:
            self.lookups.append((indices, rows.requires_grad_(torch.is_grad_enabled())))
        return rows


def sigmoid_range(scores: Tensor, low: float, high: float) -> Tensor:
    """Scores of any size squeezed into (low, high) by a sigmoid."""
    return torch.sigmoid(scores) * (high - low) + low


def names() -> list[str]:
    """The names of all models, in alphabetical order."""
    found = (module.name for module in pkgutil.iter_modules(cf.models.__path__))
    return sorted(set(found) - {"base", "baseline"})


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
    models = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Model)
        and value.__module__ == module.__name__
    ]
    if len(models) != 1:
        raise InputError(
            f"cf/models/{name}.py: expected one class that is a Model, got {len(models)}."
        )
    return models[0]


def predict(
    model: Model,
    users: Indices,
    items: Indices,
    times: Indices | None = None,
    chunk: int = 65536,
) -> Stars:
    """The model's predictions, (n,) in stars; arguments as for `predict_mean_and_std`."""
    return predict_mean_and_std(model, users, items, times, chunk)[0]


@torch.no_grad()
def predict_mean_and_std(
    model: Model,
    users: Indices,
    items: Indices,
    times: Indices | None = None,
    chunk: int = 65536,
) -> tuple[Stars, Stars | None]:
    """The model's predictions and their standard deviations, without dropout, chunk by chunk.

    Args:
        model: in any mode; left in evaluation mode.
        users: (n,) indices.
        items: (n,) indices.
        times: (n,) in seconds since 1970 UTC, for models that ask; None where not known.
        chunk: rows at a time, which bounds the memory.

    Returns:
        (n,) each in stars; no deviations of a model that has none.
    """
    model.eval()
    device = next(model.parameters()).device
    inputs = [users, items]
    if model.takes_time and times is not None:
        inputs.append(times)
    means, deviations = [], []
    for start in range(0, max(1, len(users)), chunk):
        batch = (torch.tensor(array[start : start + chunk], device=device) for array in inputs)
        mean, deviation = model.predict_mean_and_std(*batch)
        means.append(mean.cpu().numpy())
        if deviation is not None:
            deviations.append(deviation.cpu().numpy())
    return np.concatenate(means), np.concatenate(deviations) if deviations else None
