"""What every model is: a module from users and items to stars."""

import importlib
import pkgutil
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import cf.models
from cf.errors import InputError
from cf.params import RatingRange, Section
from cf.ratings import Indices, Stars


class Model(nn.Module):
    """A model that predicts ratings; `forward(users, items)` takes (B,) indices, gives (B,) stars.

    A subclass lives in a file of its own, whose name is the model's name in params.yaml, and is
    built as `Subclass(config, n_users, n_items, rating_range)`.

    Attributes:
        Config: what the model takes from its `model` section, besides `name`.
    """

    Config: ClassVar[type[Section]]

    def __init__(
        self, config: Section, n_users: int, n_items: int, rating_range: RatingRange
    ) -> None:
        super().__init__()

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), of (B,) users and (B,) items."""
        raise NotImplementedError


class Embedding(nn.Module):
    """A table with a row for each user or item, whose gradient costs the rows of a batch only.

    `nn.Embedding` makes a new dense gradient, mostly zeros, at every step; on a laptop that
    takes as long as the rest of the step. Here autograd sees just the rows that were looked up;
    `collect_gradient` adds them to one lasting `weight.grad`, `clear_gradient` zeroes those rows
    again.

    Attributes:
        weight: (n_rows, n_factors), or (n_rows,) for a bias.
    """

    def __init__(self, n_rows: int, n_factors: int | None, init_range: RatingRange) -> None:
        super().__init__()
        shape = (n_rows,) if n_factors is None else (n_rows, n_factors)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(*init_range))
        self._looked_up: list[tuple[Tensor, Tensor]] = []

    def forward(self, indices: Tensor) -> Tensor:
        """The rows at `indices`: (B, n_factors), or (B,) for a bias."""
        rows = self.weight.detach().index_select(0, indices)
        if self.training and torch.is_grad_enabled():
            self._looked_up.append((indices, rows.requires_grad_()))
        return rows

    def collect_gradient(self) -> None:
        """Add the gradients of the rows looked up since the last clearing to `weight.grad`."""
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight)
        for indices, rows in self._looked_up:
            if rows.grad is not None:
                self.weight.grad.index_add_(0, indices, rows.grad)

    def clear_gradient(self) -> None:
        """Zero the rows of `weight.grad` that were looked up, and forget them."""
        for indices, _ in self._looked_up:
            if self.weight.grad is not None:
                self.weight.grad.index_fill_(0, indices, 0.0)
        self._looked_up.clear()


def within(scores: Tensor, low: float, high: float) -> Tensor:
    """Scores of any size squeezed into (low, high) by a sigmoid."""
    return torch.sigmoid(scores) * (high - low) + low


def names() -> list[str]:
    """The names of all models, in alphabetical order."""
    found = (module.name for module in pkgutil.iter_modules(cf.models.__path__))
    return sorted(set(found) - {"base", "baseline"})


def find(name: str) -> type[Model]:
    """The model class in `cf/models/<name>.py`.

    Raises:
        InputError: there is no such model.
    """
    if name not in names():
        raise InputError(
            f"no model is called {name!r}. Choose one of {', '.join(names())}, or add "
            f"cf/models/{name}.py."
        )
    module = importlib.import_module(f"cf.models.{name}")
    (model,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Model) and value is not Model
    )
    return model


@torch.no_grad()
def predict(model: Model, users: Indices, items: Indices, chunk: int = 65536) -> Stars:
    """The model's predictions in stars, without dropout, chunk by chunk.

    Args:
        model: in any mode; left in evaluation mode.
        users: (n,) indices.
        items: (n,) indices.
        chunk: rows at a time, which bounds the memory.

    Returns:
        (n,) in stars.
    """
    model.eval()
    device = next(model.parameters()).device
    predicted = np.empty(len(users), dtype=np.float32)
    for start in range(0, len(users), chunk):
        rows = slice(start, start + chunk)
        batch = (torch.tensor(indices[rows], device=device) for indices in (users, items))
        predicted[rows] = model(*batch).cpu().numpy()
    return predicted
