"""Optimisers that know of embedding tables."""

from collections.abc import Sequence

from torch import Tensor, no_grad, zeros, zeros_like
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from cf.core import config
from cf.models.base import Model


class Optimizer:
    """One update of a model's parameters for each batch.

    PyTorch's functional updates are called directly: the classes around them import the
    compiler at their first step, which takes longer than an epoch.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._tables = model.embeddings()
        weights = [table.weight for table in self._tables]
        self.parameters: list[Tensor] = [*weights, *model.dense_parameters()]
        self._dense = [zeros_like(weight) for weight in weights]  # all zero between steps

    def step(self, users: Tensor, items: Tensor, values: Tensor, learning_rate: float) -> Tensor:
        """Move the parameters against the gradient of the batch's mean squared error.

        Returns:
            That error before the step, in stars²: a scalar.
        """
        loss, gradients = self.model.gradients(users, items, values)
        with no_grad():
            places = [
                (dense, indices)
                for table, dense in zip(self._tables, self._dense, strict=True)
                for indices, _ in table.lookups
            ]
            for (dense, indices), gradient in zip(places, gradients, strict=False):
                dense.index_add_(0, indices, gradient)
            self._update([*self._dense, *gradients[len(places) :]], learning_rate)
            for dense, indices in places:
                dense.index_fill_(0, indices, 0.0)
        for table in self._tables:
            table.lookups.clear()
        return loss

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, which outlives changes of the learning rate."""

    def __init__(self, model: Model, momentum: float, weight_decay: float) -> None:
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

    def __init__(self, model: Model, betas: Sequence[float], weight_decay: float) -> None:
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


def build(settings: config.SGD | config.Adam, model: Model) -> Optimizer:
    """The optimiser that params.yaml asks for."""
    if isinstance(settings, config.SGD):
        return SGD(model, settings.momentum, settings.weight_decay)
    return Adam(model, settings.betas, settings.weight_decay)
