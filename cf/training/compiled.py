"""Epochs of steps that are compiled, on several threads."""

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cf.core.ratings import Indices, Ratings
from cf.models.base import Model
from cf.training.optim import Optimizer, RowwiseAdagrad
from cf.training.rating_blocks import RatingBlocks, steps_in_blocks
from cf.training.resume import TrainingState

Arrays = tuple[NDArray[Any], ...]
ROUNDS_AHEAD = 2
"""Rounds of blocks that wait for a thread: few, as all are awaited before a state is saved."""


class CompiledEpochs:
    """Epochs of a model whose `loss` is `Dot`'s, `DotBias`'s or `DotBiasEnsemble`'s.

    The tables and the optimizer's state change in place.

    Args:
        values: (n,) the training ratings on the model's scale.
    """

    def __init__(
        self,
        model: Model,
        optimizer: RowwiseAdagrad,
        blocks: RatingBlocks,
        train: Ratings,
        values: NDArray[np.float32],
    ) -> None:
        self.blocks, order = blocks, blocks.ratings
        users, items = (indices[order].astype(np.uint32) for indices in (train.users, train.items))
        self.ratings = users, items, values[order]
        names = [name for name, _ in model.named_parameters()]
        index = {name.removesuffix(".weight"): i for i, name in enumerate(names)}
        nothing = np.zeros(0, np.float32)  # stands for the biases of a model without

        def tables(kind: str) -> tuple[Arrays, tuple[np.float32, ...]]:
            if f"user_{kind}" not in index:
                return (nothing,) * 4, (np.float32(0),) * 2
            user, item = index[f"user_{kind}"], index[f"item_{kind}"]
            params, squares = optimizer.params, optimizer.state[0]
            both = params[user].detach(), params[item].detach(), squares[user], squares[item]
            decays = np.float32(optimizer.decays[user]), np.float32(optimizer.decays[item])
            return tuple(tensor.numpy().reshape(-1) for tensor in both), decays

        factors, biases = tables("factors"), tables("bias")
        self.tables = (*factors, *biases)
        offset = vars(model)["_buffers"].get("user_offset", torch.zeros(0))
        self.offset = offset.numpy().reshape(-1)
        low, high = getattr(model, "low", 0.0), getattr(model, "high", 1.0)
        self.scalars = np.float32(low), np.float32(high - low), np.float32(optimizer.eps)
        self.n_members = model.row_parts

    @classmethod
    def of(
        cls,
        model: Model,
        optimizer: Optimizer | torch.optim.Optimizer,
        blocks: RatingBlocks,
        train: Ratings,
        values: NDArray[np.float32],
    ) -> "CompiledEpochs | None":
        """The epochs of a model; None without numba, and on a GPU or with fixed parameters."""
        parameters = list(model.parameters())
        on_cpu = all(p.device.type == "cpu" and p.dtype == torch.float32 for p in parameters)
        fits = on_cpu and all(p.requires_grad for p in parameters)
        if not fits or not isinstance(optimizer, RowwiseAdagrad) or not _kernel():
            return None
        return cls(model, optimizer, blocks, train, values)

    def run(self, drawn: Indices, rates: NDArray[np.float64], state: TrainingState) -> float:
        """One epoch, on as many threads as torch has; the mean squared error of the ratings as met.

        The result does not depend on the number of threads.

        Args:
            drawn: (G, G) as `RatingBlocks.draw` gives them.
            rates: (G²,) the learning rate of each block, in that order.
            state: is told when a block is done, and saved between two.
        """
        n_groups = self.blocks.n_groups
        done: dict[tuple[int, int], Future[float]] = {}
        starts, kernel = self.blocks.starts, _kernel()
        assert kernel

        def process(round_: int, place: int) -> float:
            # What has been submitted before has begun before, so that no two wait for each other.
            for before in (place, (place + 1) % n_groups):
                if earlier := done.get((round_ - 1, before)):
                    earlier.result()
            block = drawn[round_, place]
            rows = slice(starts[block], starts[block + 1])
            ratings = (array[rows] for array in self.ratings)
            rate = np.float32(rates[round_ * n_groups + place])
            tables = (*self.tables, self.offset, self.n_members)
            return float(kernel.steps(*ratings, *tables, rate, *self.scalars))

        keys = list(np.ndindex(n_groups, n_groups))
        losses: list[float] = state.losses.tolist()  # of each block that is done

        def await_next() -> None:
            key = keys[len(losses)]
            losses.append(done[key].result())
            state.advance(int(starts[drawn[key] + 1] - starts[drawn[key]]))

        pool = ThreadPoolExecutor(torch.get_num_threads())
        try:
            for n_submitted, key in islice(enumerate(keys), len(losses), None):
                if state.is_due():
                    while len(losses) < n_submitted:
                        await_next()
                    state.save(torch.tensor(losses, dtype=torch.float64))
                done[key] = pool.submit(process, *key)
                if n_submitted - len(losses) > ROUNDS_AHEAD * n_groups:
                    await_next()
            while len(losses) < len(keys):
                await_next()
        finally:
            pool.shutdown(cancel_futures=True)
        total = 0.0
        for loss in losses:
            total += loss
        return total / self.n_members / len(self.blocks.ratings)


def advise_numba(
    model: Model, optimizer: Optimizer | torch.optim.Optimizer, batch_size: int
) -> str:
    """A sentence where steps of one rating would be compiled, but cannot be; else empty."""
    if not steps_in_blocks(model, optimizer, batch_size):
        return ""
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return (
            "batch_size 1 is compiled for the CPU only; a GPU takes a step for each rating, which "
            "is some thousand times slower. Set device to cpu, or batch_size to 1000 or more."
        )
    if _kernel():
        return ""
    return (
        "numba is not installed, so PyTorch takes a step for each rating, which is some thousand "
        "times slower. Run `pip install numba`, or set batch_size to 1000 or more."
    )


def _kernel() -> ModuleType | None:
    """The compiled steps; None without numba, which takes a second to import: only if needed."""
    try:
        from cf.training import rowwise_kernel
    except ImportError:
        return None
    return rowwise_kernel
