"""Epochs on a GPU as one launch a step, which is captured once and then repeated."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cf.models.base import Model
from cf.training.fast_gradients import fast_gradients, tables_of
from cf.training.optim import Optimizer, RowwiseAdagrad
from cf.training.resume import TrainingState

Step = Callable[[], None]
Capture = Callable[[Step], Step]
N_WARM_UP = 3
"""Steps before one is captured, since libraries set up at their first call what they need."""


def cuda_graph(step: Step) -> Step:
    """Take `N_WARM_UP` steps, and return what repeats one: it runs no Python but a single call.

    Source:
        PyTorch's documentation, "CUDA semantics", section "Whole-network capture".
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(N_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()  # is recorded, and not executed
    return graph.replay


def can_repeat(
    model: Model, optimizer: Optimizer | torch.optim.Optimizer, n_batches: int, device: torch.device
) -> bool:
    """Whether the steps of an epoch with so many whole batches can be `RepeatedSteps`."""
    fits = model.repeatable and isinstance(optimizer, Optimizer)
    return fits and device.type == "cuda" and n_batches > N_WARM_UP


class RepeatedSteps:
    """Epochs whose steps of `batch_size` ratings are captured, where these `can_repeat`.

    Order, learning rates and losses of an epoch lie in tensors that stay where they are, and a
    counter on the device says which batch is next. So a step takes the host one call, whatever the
    model, and nothing is read from the device before the epoch's end. What remains of an epoch, a
    shorter batch, is not captured.

    Args:
        step: moves the model by a batch's users, items and ratings, and returns the loss.
        arrays: (n,) users, items and ratings of the training set, on the model's device.
        capture: `cuda_graph`; a stand-in takes as many steps and returns a function alike.
        closed_form: as `cf.training.fast_gradients` has it.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer | torch.optim.Optimizer,
        step: Callable[[Tensor, Tensor, Tensor], Tensor],
        arrays: Sequence[Tensor],
        batch_size: int,
        capture: Capture = cuda_graph,
        closed_form: bool = True,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.step, self.arrays, self.batch_size, self.capture = step, arrays, batch_size, capture
        self.closed_form = closed_form
        self.tables = tables_of(model)
        n, device = len(arrays[0]), arrays[0].device
        self.n_batches = n // batch_size
        self.order = torch.zeros(n, dtype=torch.int64, device=device)
        self.places = torch.arange(batch_size, device=device)
        self.batch = torch.zeros(1, dtype=torch.int64, device=device)  # the number of the next one
        self.rates = torch.zeros(-(-n // batch_size), device=device)
        self.losses = torch.zeros(len(self.rates), dtype=torch.float64, device=device)
        self.repeat: Step | None = None

    def run(self, order: Tensor, rates: NDArray[np.float64], state: TrainingState) -> float:
        """One epoch: the mean loss, each rating weighing the same.

        Args:
            order: (n,) positions of the ratings, on the device.
            rates: the learning rate of each batch.
        """
        self.order.copy_(order)
        self.rates.copy_(torch.tensor(rates))
        n_before = n_taken = len(state.losses)
        self.batch.fill_(n_before)
        if n_before:
            self.losses[:n_before] = state.losses
        with fast_gradients(self.model, self.tables, self.closed_form) as rows_looked_up:
            if isinstance(self.optimizer, RowwiseAdagrad):
                self.optimizer.rows_looked_up = rows_looked_up
            if self.repeat is None and self.n_batches - n_before > N_WARM_UP:
                try:
                    self.repeat = self.capture(self._step)
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError as error:
                    warnings.warn(
                        f"CUDA cannot capture a step, so steps take longer: {error}", stacklevel=2
                    )
                    self.repeat = self._step
                    for table in self.tables:  # which rows a broken capture has touched is unknown
                        table.touched.clear()
                        table.gradient.zero_()
                n_taken = int(self.batch)
            repeat = self.repeat or self._step
            for number in range(n_before, self.n_batches):
                if number >= n_taken:
                    repeat()
                state.advance(self.batch_size)
                if number + 1 >= n_taken and state.is_due():
                    state.save(self.losses[: number + 1])
            n_left = len(order) - self.n_batches * self.batch_size
            if n_left:
                self._take(self.order[-n_left:])
                state.advance(n_left)
        sizes = [self.batch_size] * self.n_batches + [n_left] * (n_left > 0)
        return float(np.average(self.losses.cpu().numpy(), weights=sizes))

    def _step(self) -> None:
        start = self.batch * self.batch_size
        self._take(self.order.index_select(0, start + self.places))

    def _take(self, ratings: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates.index_select(0, self.batch)[0]
        loss = self.step(*(array.index_select(0, ratings) for array in self.arrays))
        self.losses.index_copy_(0, self.batch, loss.double().mean().reshape(1))
        self.batch += 1
        # At the end, while this batch's rows are those that were touched.
        for table in self.tables:
            table.clear()
