"""Optimizers in the shape of torch.optim's, which may stand in for them."""

from collections.abc import Iterable, Sequence
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
    operator's. The learning rate is 0 until it is set. `weight_decay` is one number, or one for
    each parameter.
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


def build(settings: config.SGD | config.Adam, model: Model, n_ratings: int) -> Optimizer:
    """The optimizer that params.yaml asks for, of a model trained on so many ratings."""
    decay, scales = settings.decay(n_ratings), model.decay_scales
    decays = [decay * scales.get(name, 1.0) for name, _ in model.named_parameters()]
    if isinstance(settings, config.SGD):
        return SGD(model.parameters(), settings.momentum, decays)
    return Adam(model.parameters(), settings.betas, decays)
