"""Optimisers that know of embedding tables."""

from torch import Tensor, nn, no_grad, zeros, zeros_like
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from cf import params
from cf.models.base import Embedding


class Optimizer:
    """One update of a model's parameters for each loss.

    PyTorch's functional updates are called directly: the classes around them import the
    compiler at their first step, which takes longer than an epoch.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters: list[Tensor] = list(model.parameters())
        self._tables = [module for module in model.modules() if isinstance(module, Embedding)]
        tabled = {id(table.weight) for table in self._tables}
        self._others = [tensor for tensor in self.parameters if id(tensor) not in tabled]

    def step(self, loss: Tensor, learning_rate: float) -> None:
        """Move the parameters against the gradient of `loss`, a scalar."""
        loss.backward()  # type: ignore[no-untyped-call]
        for table in self._tables:
            table.collect_gradient()
        gradients = [p.grad if p.grad is not None else zeros_like(p) for p in self.parameters]
        with no_grad():
            self._update(gradients, learning_rate)
        for table in self._tables:
            table.clear_gradient()
        for parameter in self._others:
            parameter.grad = None

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, which outlives changes of the learning rate."""

    def __init__(self, model: nn.Module, momentum: float, weight_decay: float) -> None:
        super().__init__(model)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocities = [zeros_like(tensor) for tensor in self.parameters]

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        sgd(
            self.parameters,
            gradients,
            list(self.velocities),
            fused=True,
            lr=learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


class Adam(Optimizer):
    """Adam on every row of every table at every step.

    Source:
        Kingma and Ba 2015, "Adam", algorithm 1; the decay is L2, added to the gradient.
    """

    def __init__(self, model: nn.Module, betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(model)
        self.betas, self.weight_decay = betas, weight_decay
        self.means = [zeros_like(tensor) for tensor in self.parameters]
        self.squares = [zeros_like(tensor) for tensor in self.parameters]
        self.steps = [zeros((), device=tensor.device) for tensor in self.parameters]

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        adam(
            self.parameters,
            gradients,
            self.means,
            self.squares,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def build(settings: params.Optimizer, model: nn.Module) -> Optimizer:
    """The optimiser that params.yaml asks for."""
    if settings.name == "sgd":
        return SGD(model, settings.momentum, settings.weight_decay)
    return Adam(model, settings.betas, settings.weight_decay)
