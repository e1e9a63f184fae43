"""Optimizers in the shape of torch.optim's, which may stand in for them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn, zeros_like

from cf.core import config


class Optimizer:
    """What the training loop needs of a torch.optim.Optimizer, without importing the compiler.

    The first step of torch.optim's own classes imports torch._dynamo, which takes 1.5 to 4 s a
    process, more than an epoch. So the operators under them are called directly, which also
    saves a twentieth of a step; tests hold the updates to torch.optim's.

    Attributes:
        param_groups: one: its `params`, and their learning rate `lr`, 0 until it is set.
        state: lists of a tensor per parameter.
    """

    def __init__(self, params: Iterable[nn.Parameter]) -> None:
        self.params = list(params)
        self.param_groups: list[dict[str, Any]] = [{"params": self.params, "lr": 0.0}]
        self.state: list[list[Tensor]] = []

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
        self._update(
            self.param_groups[0]["lr"], *([tensors[i] for i in reached] for tensors in lists)
        )

    def _update(self, lr: float, params: list[Any], grads: list[Any], *state: list[Any]) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, which outlives changes of the learning rate."""

    def __init__(
        self, params: Iterable[nn.Parameter], momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.state = [[zeros_like(param) for param in self.params]] if momentum else []

    def _update(self, lr: float, params: list[Any], grads: list[Any], *state: list[Any]) -> None:
        torch._fused_sgd_(
            params,
            grads,
            state[0] if state else [],
            lr=lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )


class Adam(Optimizer):
    """Adam on every row of every table at every step.

    Source:
        Kingma and Ba 2015, "Adam", algorithm 1; the decay is L2, added to the gradient.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], betas: Sequence[float], weight_decay: float
    ) -> None:
        super().__init__(params)
        self.betas, self.weight_decay = betas, weight_decay
        means, squares = ([zeros_like(param) for param in self.params] for _ in range(2))
        self.state = [means, squares, [torch.zeros((), device=p.device) for p in self.params]]

    def _update(self, lr: float, params: list[Any], grads: list[Any], *state: list[Any]) -> None:
        means, squares, steps = state
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            params,
            grads,
            means,
            squares,
            [],
            steps,
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


def build(settings: config.SGD | config.Adam, params: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer that params.yaml asks for."""
    if isinstance(settings, config.SGD):
        return SGD(params, settings.momentum, settings.weight_decay)
    return Adam(params, settings.betas, settings.weight_decay)
