"""Gradients of a model's tables at the price of a batch's rows instead of whole tables.

`nn.Embedding` makes a gradient as large as its table, mostly zeros, at every step. Within
`fast_gradients`, autograd sees the rows that a batch looks up and nothing else. Their gradients
are added to a dense `weight.grad` that stays from step to step, in which only the rows touched
are set back to zero.

The loss of the dot products is computed in closed form, compiled where numba is installed; and so
is the network's, by PyTorch's operators. By benchmarks.epoch, on one thread, an epoch of dotbias
takes 0.5 of the time of plain PyTorch with fused Adam, of which Adam's updates of all parameters
are 0.34; 0.80 without the closed form, 0.86 without this module.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from cf.models.base import Model

DOT, EMBNET = "cf.models.dot.Dot", "cf.models.embnet.EmbNet"
CLOSED_FORMS = {"cf.models.dotbias.DotBias", "cf.models.dotbias_ensemble.DotBiasEnsemble"}
"""Classes whose loss `_dot_bias_loss` computes: by name, since a training imports its own model's
file only. A subclass computes its own."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
ONE = torch.ones(())
LARGE = 1.0  # as the largest factor of a trained model is


def tables_of(model: Model) -> "list[Table]":
    """The tables of the model whose gradients `fast_gradients` keeps."""
    return [Table(m) for m in model.modules() if type(m) is nn.Embedding and _is_plain(m)]


def closed_form_holds(model: Model, batch: Sequence[Tensor]) -> bool:
    """Whether the model's class has a loss in closed form, and that is still what its file says.

    Loss and gradients of a batch, which is users, items and ratings, are compared with autograd's:
    whoever edits the file of such a model trains what is written there. Once with the weights as
    they are, and once with larger ones, as a training ends with. Nothing is drawn from the
    generator of the CPU.
    """
    tables = tables_of(model)
    loss = _closed_form(model, tables)
    if loss is None:
        return False
    model.train()

    def computed(compute: Loss) -> list[Tensor]:
        model.zero_grad()
        with torch.random.fork_rng(devices=[]):
            losses = compute(*batch)
            if compute is loss:
                losses.backward(torch.ones_like(losses))  # type: ignore[no-untyped-call]
            else:  # not by ones, for which PyTorch would import SymPy
                losses.sum().backward()  # type: ignore[no-untyped-call]
        grads = (p.grad for p in model.parameters())
        return [losses.detach(), *(torch.zeros(()) if g is None else g.clone() for g in grads)]

    def agree(rtol: float, atol: float) -> bool:
        pairs = zip(computed(model.loss), computed(loss), strict=True)
        model.zero_grad()
        return all(a.shape == b.shape and torch.allclose(a, b, rtol, atol) for a, b in pairs)

    if not agree(rtol=1e-4, atol=1e-8):
        return False
    before = [table.rows.clone() for table in tables]
    for table in tables:
        table.rows.mul_(LARGE / table.rows.abs().max().clamp(min=1e-30))
    holds = agree(rtol=1e-2, atol=1e-6)  # rounding differs more where a sigmoid saturates
    for table, rows in zip(tables, before, strict=True):
        table.rows.copy_(rows)
    return holds


@contextmanager
def fast_gradients(
    model: Model, tables: "list[Table] | None" = None, closed_form: bool = True
) -> Iterator[Callable[[Tensor], Tensor | None]]:
    """While the block lasts, `model.loss` and its `backward` give what they always give, sooner.

    All look-ups of the model's `nn.Embedding` tables are replaced; and, unless there is to be no
    `closed_form`, the whole loss of `DOT`, of the classes in `CLOSED_FORMS`, and of `EMBNET`.
    `zero_grad` must set `weight.grad` to None, as torch.optim does.

    Yields a function from a weight to the (n,) indices of the rows that this step has looked up,
    on a GPU with repetitions. It returns None where it does not know all rows that have a gradient:
    of a weight that is used directly, is no plain table, or belongs to two.

    `tables` are those of `tables_of`, where their gradients are to outlive the block.
    """
    tables = tables_of(model) if tables is None else tables
    for table in tables:
        table.module.forward = partial(_look_up, table)  # type: ignore[method-assign]
    if loss := _closed_form(model, tables) if closed_form else None:
        model.loss = loss  # type: ignore[method-assign,assignment]
    by_weight = {id(table.weight): table for table in reversed(tables)}

    def rows_looked_up(weight: Tensor) -> Tensor | None:
        table = by_weight.get(id(weight))
        return table.rows_looked_up() if table else None

    try:
        yield rows_looked_up
    finally:
        vars(model).pop("loss", None)
        for table in tables:
            del table.module.forward


def _closed_form(model: Model, tables: "list[Table]") -> Loss | None:
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    n_tables = 4 if name in CLOSED_FORMS else 2
    if len(tables) != n_tables or not all(p.requires_grad for p in model.parameters()):
        return None
    on_cpu = all(t.rows.device.type == "cpu" and t.rows.dtype == torch.float32 for t in tables)
    if name == EMBNET:
        return partial(_network_loss, model, tables) if on_cpu else None
    if name in {DOT, *CLOSED_FORMS} and on_cpu and (kernel := batch_kernel()):
        return partial(_compiled_loss, model, _arrays(model, tables), tables, kernel)
    return partial(_dot_bias_loss, model, tables) if name in CLOSED_FORMS else None


def _is_plain(table: nn.Embedding) -> bool:
    """Whether the table is trained, and without any of nn.Embedding's options."""
    options = table.padding_idx is not None, table.max_norm, table.scale_grad_by_freq, table.sparse
    return table.weight.requires_grad and not any(options)


class Table:
    """An `nn.Embedding` in training.

    `gradient` is `weight.grad` from the first look-up of a step on. `version` is that after the
    last change made here: autograd, where the weight is used directly, and users' code change it
    too.
    """

    def __init__(self, module: nn.Embedding) -> None:
        self.module, self.weight = module, module.weight
        self.rows, self.gradient = module.weight.detach(), torch.zeros_like(module.weight)
        self.touched: list[Tensor] = []  # indices of rows of the gradient that may not be zero
        self.version = self.gradient._version

    def open_gradient(self, indices: Tensor) -> Tensor:
        """`weight.grad`, of which the rows at `indices` are about to be added to."""
        if self.weight.grad is None:
            self.clear()
            self.weight.grad = self.gradient
        if self.weight.grad is self.gradient:  # else autograd's own, or that of a tied table
            self.touched.append(indices)
        return self.weight.grad

    def clear(self) -> None:
        """Set the gradient back to zero, where it may be another."""
        if self.gradient._version != self.version:
            self.gradient.zero_()
        for rows in self.touched:
            self.gradient.index_fill_(0, rows, 0.0)
        self.touched.clear()
        self.version = self.gradient._version

    def add_gradient(self, indices: Tensor, gradient: Tensor) -> None:
        """Add a gradient of the rows at `indices` to `weight.grad`."""
        whole = self.open_gradient(indices)
        only_here = self.gradient._version == self.version
        whole.index_add_(0, indices, gradient)
        if only_here:
            self.version = self.gradient._version

    def rows_looked_up(self) -> Tensor | None:
        """Indices of all rows that may have a gradient, (n,); None where others changed it too."""
        is_own = self.weight.grad is self.gradient and self.gradient._version == self.version
        if not is_own or not self.touched:
            return None
        rows = self.touched[0] if len(self.touched) == 1 else torch.cat(self.touched)
        self.touched = [distinct(rows)]
        return self.touched[0]


def distinct(rows: Tensor) -> Tensor:
    """The rows once each; on a GPU as they are.

    It computes repeated rows sooner than it tells how many different ones there are.
    """
    return rows.unique() if rows.device.type == "cpu" else rows  # type: ignore[no-untyped-call]


def _look_up(table: Table, indices: Tensor) -> Tensor:
    """`nn.Embedding.forward`: the rows are a leaf of autograd, whose gradient goes to the table."""
    if not torch.is_grad_enabled():
        return embedding(indices, table.weight)
    flat = indices.reshape(-1)
    rows = table.rows.index_select(0, flat).requires_grad_()
    rows.register_hook(partial(table.add_gradient, flat))  # type: ignore[no-untyped-call]
    return rows.view(*indices.shape, table.module.embedding_dim)


def batch_kernel() -> ModuleType | None:
    """The compiled loss and gradients of a batch; None without numba, which is optional."""
    try:
        from cf.training import batch_kernel
    except ImportError:
        return None
    return batch_kernel


def _arrays(model: Any, tables: list[Table]) -> tuple[Any, Any]:
    """What the kernel takes besides a batch: four tables, and offsets, range and sizes."""
    none = np.zeros((0, 1), np.float32)  # stands for what a model does not have
    rows = [table.rows.numpy() for table in tables]
    offset = model.user_offset.numpy() if hasattr(model, "user_offset") else none
    low, high = getattr(model, "low", 0.0), getattr(model, "high", 1.0)
    return (*rows, none, none)[:4], (offset, np.float32(low), np.float32(high - low))


def _compiled_loss(
    model: Any,
    arrays: tuple[Any, Any],
    tables: list[Table],
    kernel: Any,
    users: Tensor,
    items: Tensor,
    ratings: Tensor,
) -> Tensor:
    """As `_dot_bias_loss`, and of `Dot`, in two calls: of small batches, calls take the time."""
    weights, fixed = arrays
    n_members = model.row_parts
    slopes, losses = np.empty((len(users), n_members), np.float32), np.empty(n_members, np.float32)
    pairs = users.numpy(), items.numpy()
    kernel.forward(*pairs, ratings.numpy(), *weights, *fixed, slopes, losses)
    found = torch.from_numpy(losses)
    loss = found if hasattr(model, "members") else found[0]

    def backward(upstream: Tensor = ONE) -> None:
        gradients = [
            table.open_gradient(indices).numpy()
            for table, indices in zip(tables, (users, items, users, items), strict=False)
        ]
        filled = (*gradients, *weights[2:])[:4]
        kernel.backward(*pairs, slopes, upstream.numpy().reshape(-1), weights, filled)

    loss.backward = backward  # type: ignore[method-assign,assignment]
    return loss


def _dot_bias_loss(
    model: Any, tables: list[Table], users: Tensor, items: Tensor, ratings: Tensor
) -> Tensor:
    """The loss of `DotBias`, a scalar, or of `DotBiasEnsemble`, (n_members,).

    Its own `backward` does without autograd's engine, which takes as long as the rest. With
    s = sigmoid(p · q + b + c + o), where only the ensemble has an offset o, the gradient of a
    squared error by the logit is 2 (high - low) (predicted - rating) s (1 - s); that of the logit
    by p is q, and so on.
    """
    user_factors, item_factors, user_bias, item_bias = tables
    p, q = user_factors.rows.index_select(0, users), item_factors.rows.index_select(0, items)
    b, c = user_bias.rows.index_select(0, users), item_bias.rows.index_select(0, items)
    n_members, width = b.shape[1], model.high - model.low
    dots = (p * q).view(len(p), n_members, -1).sum(2)
    logits = dots + b + c
    if hasattr(model, "user_offset"):
        logits += model.user_offset.index_select(0, users)
    s = torch.sigmoid(logits)
    error = s * width + (model.low - ratings[:, None])
    losses: Tensor = error.square().mean(0)
    loss = losses if hasattr(model, "members") else losses[0]

    def backward(upstream: Tensor = ONE) -> None:
        grad_logit = error * s * (1 - s) * (upstream * (2 * width / len(ratings)))
        grad_dot = grad_logit
        if n_members > 1:
            grad_dot = grad_logit.repeat_interleave(p.shape[1] // n_members, 1)
        user_factors.add_gradient(users, grad_dot * q)
        item_factors.add_gradient(items, grad_dot * p)
        user_bias.add_gradient(users, grad_logit)
        item_bias.add_gradient(items, grad_logit)

    loss.backward = backward  # type: ignore[method-assign,assignment]
    return loss


def _network_loss(
    model: Any, tables: list[Table], users: Tensor, items: Tensor, ratings: Tensor
) -> Tensor:
    """The loss of `EmbNet`, a scalar: to the bit autograd's, which takes half as long again.

    Dropout draws what `nn.Dropout` does on the CPU: a factor for each value.
    """
    (user_factors, item_factors), hidden, output = tables, model.hidden, model.output
    p = user_factors.rows.index_select(0, users)
    x = torch.cat([p, item_factors.rows.index_select(0, items)], dim=1)
    kept_x = _dropout_factors(x, model.dropout[0])
    x *= kept_x
    with torch.no_grad():
        h = torch.addmm(hidden.bias, x, hidden.weight.T).relu_()
        kept_h = _dropout_factors(h, model.dropout[1])
        dropped = h * kept_h
        s = torch.addmm(output.bias, dropped, output.weight.T).sigmoid_()
    width = model.high - model.low
    error = s * width + model.low - ratings[:, None]
    loss: Tensor = error.square().mean()

    @torch.no_grad()
    def backward(upstream: Tensor = ONE) -> None:
        grad_logit = error * (2 / len(ratings)) * upstream * width * (1 - s) * s
        grad_h = (grad_logit @ output.weight) * kept_h * (h > 0)
        grad_x = (grad_h @ hidden.weight) * kept_x
        _add_gradient(output.weight, grad_logit.T @ dropped)
        _add_gradient(output.bias, grad_logit.sum(0))
        _add_gradient(hidden.weight, grad_h.T @ x)
        _add_gradient(hidden.bias, grad_h.sum(0))
        user_factors.add_gradient(users, grad_x[:, : p.shape[1]])
        item_factors.add_gradient(items, grad_x[:, p.shape[1] :])

    loss.backward = backward  # type: ignore[method-assign,assignment]
    return loss


def _dropout_factors(values: Tensor, dropout: nn.Dropout) -> Tensor:
    if dropout.p == 0 or not dropout.training:
        return torch.ones_like(values)
    return torch.empty_like(values).bernoulli_(1 - dropout.p).div_(1 - dropout.p)


def _add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
