"""Optimizers in the shape of torch.optim's, which may stand in for them."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn, zeros_like

from cf.core import config
from cf.models.base import Model

Decay = float | Sequence[float]


class Optimizer:
    """What the training loop needs of a torch.optim.Optimizer, without importing the compiler.

    The first step of torch.optim's own classes imports torch._dynamo, which takes 1.5 to 4 s a
    process, more than an epoch. So the operators under them are called directly, which also
    saves a twentieth of a step; tests hold the updates to torch.optim's. The options are the
    operator's. The learning rate is 0 until it is set: a number, or a tensor of one on the
    parameters' device, so that a step that was captured once reads it anew. `weight_decay` is one
    number, or one for each parameter.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], weight_decay: Decay, **options: float | bool
    ) -> None:
        self.params, self.options = list(params), options
        if not isinstance(weight_decay, Sequence):
            weight_decay = [weight_decay] * len(self.params)
        self.decays = weight_decay
        self.param_groups: list[dict[str, Any]] = [{"params": self.params, "lr": 0.0}]
        self.state: list[list[Tensor]] = []  # lists of a tensor per parameter

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for param in self.params:
            param.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters against their gradients, but for those that have none."""
        grads = [param.grad for param in self.params]
        reached = [i for i, grad in enumerate(grads) if grad is not None]
        lists: list[list[Any]] = [self.params, grads, *self.state]
        rate = self.param_groups[0]["lr"]
        for decay in dict.fromkeys(self.decays):  # the operators take one
            alike = [i for i in reached if self.decays[i] == decay]
            if alike:
                chosen = ([tensors[i] for i in alike] for tensors in lists)
                self._update(*chosen, lr=rate, weight_decay=decay, **self.options)

    def _update(self, *lists: list[Any], **options: Any) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, which outlives changes of the learning rate."""

    def __init__(
        self, params: Iterable[nn.Parameter], momentum: float, weight_decay: Decay
    ) -> None:
        fixed = {"dampening": 0.0, "nesterov": False, "maximize": False, "is_first_step": False}
        super().__init__(params, weight_decay, momentum=momentum, **fixed)
        self.state = [[zeros_like(param) for param in self.params]] if momentum else []

    def _update(self, *lists: list[Any], **options: Any) -> None:
        params, grads, *momenta = lists
        torch._fused_sgd_(params, grads, momenta[0] if momenta else [], **options)


class Adam(Optimizer):
    """Adam on every row of every table at every step.

    Source:
        Kingma and Ba 2015, "Adam", algorithm 1; the decay is L2, added to the gradient.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], betas: Sequence[float], weight_decay: Decay
    ) -> None:
        fixed = {"eps": 1e-8, "amsgrad": False, "maximize": False}
        beta1, beta2 = betas
        super().__init__(params, weight_decay, beta1=beta1, beta2=beta2, **fixed)
        means, squares = ([zeros_like(param) for param in self.params] for _ in range(2))
        self.state = [means, squares, [torch.zeros((), device=p.device) for p in self.params]]

    def _update(self, *lists: list[Any], **options: Any) -> None:
        params, grads, means, squares, steps = lists
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(params, grads, means, squares, [], steps, **options)


class RowwiseAdagrad(Optimizer):
    """Adagrad that keeps one number for each row of a table, and updates the rows of a batch only.

    With g the gradient of a row summed over the batch, decay · row added to it:

        squares += mean over columns of g²
        row -= learning rate · g / (sqrt(squares) + eps)

    Rows that the batch does not look up cost nothing and do not decay. Parameters that are no
    tables get plain Adagrad: a number for each element, and decay at every step.

    `tables` are those of `params` that are tables. A row of one has `row_parts` equal parts with
    an accumulator each. `rows_looked_up` is what `fast_gradients` yields; without it, the rows
    looked up are those whose gradient is not zero, for which a GPU has to be waited for.

    Source:
        Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods", section 1.1, the diagonal
        form; by row as EXACT_ROWWISE_ADAGRAD in FBGEMM, which TorchRec uses.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        eps: float,
        weight_decay: Decay,
        tables: Collection[nn.Parameter],
        row_parts: int = 1,
    ) -> None:
        super().__init__(params, weight_decay, eps=eps)
        self.eps, self.row_parts = eps, row_parts
        of_tables = {id(table) for table in tables}
        self.is_table = [id(param) in of_tables for param in self.params]
        self.rows_looked_up: Callable[[Tensor], Tensor | None] = lambda weight: None
        squares = [
            param.new_zeros(len(param), row_parts) if is_table else zeros_like(param)
            for param, is_table in zip(self.params, self.is_table, strict=True)
        ]
        self.state = [[each.detach() for each in squares]]

    @torch.no_grad()
    def step(self) -> None:
        """As `Optimizer.step`."""
        rate = self.param_groups[0]["lr"]
        for param, squares, is_table, decay in zip(
            self.params, self.state[0], self.is_table, self.decays, strict=True
        ):
            if param.grad is None:
                continue
            if is_table:
                self._update_rows(param, squares, rate, decay)
            else:
                grad = param.grad.add(param, alpha=decay)
                squares.addcmul_(grad, grad)
                param.addcdiv_(grad.mul_(rate), squares.sqrt().add_(self.eps), value=-1)

    def _update_rows(
        self, param: nn.Parameter, squares: Tensor, rate: float | Tensor, decay: float
    ) -> None:
        assert param.grad is not None
        rows = self.rows_looked_up(param)
        if rows is None:
            rows = param.grad.any(1).nonzero()[:, 0]
        rows = rows.long()
        # A row that occurs repeatedly is computed and written as often, each time the same.
        weight = param.index_select(0, rows)
        grad = param.grad.index_select(0, rows).add_(weight, alpha=decay)
        n_columns = grad.shape[1] // self.row_parts
        parts = grad.view(len(rows), self.row_parts, n_columns)
        sums = squares.index_select(0, rows)
        sums.add_(
            torch.linalg.vector_norm(parts, dim=2).square_(), alpha=1 / max(1, parts.shape[2])
        )
        squares.index_copy_(0, rows, sums)
        parts.div_(sums.sqrt().add_(self.eps)[:, :, None])
        if isinstance(rate, Tensor):
            weight.addcmul_(grad, rate, value=-1)
        else:
            weight.add_(grad, alpha=-rate)
        param.index_copy_(0, rows, weight)


def build(
    settings: config.SGD | config.Adam | config.RowwiseAdagrad, model: Model, n_ratings: int
) -> Optimizer:
    """The optimizer that params.yaml asks for, of a model trained on so many ratings."""
    decay, scales = settings.decay(n_ratings), model.decay_scales
    decays = [decay * scales.get(name, 1.0) for name, _ in model.named_parameters()]
    if isinstance(settings, config.SGD):
        return SGD(model.parameters(), settings.momentum, decays)
    if isinstance(settings, config.RowwiseAdagrad):
        tables = [p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()]
        return RowwiseAdagrad(model.parameters(), settings.eps, decays, tables, model.row_parts)
    return Adam(model.parameters(), settings.betas, decays)
