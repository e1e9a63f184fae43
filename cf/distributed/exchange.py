"""The rows that a batch needs, from the workers that have them: one exchange for all tables."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Counts = list[list[int]]
"""For each worker, and each side, users or items: a number of rows."""


class Request:
    """The rows that a worker's share of a batch needs, each once, from the workers that have them.

    To make a request tells each worker how many rows it is asked for, `send` which ones, and
    `fetch` gets them; gradients go back the same way. That is one message each, whatever the number
    of tables. All workers have to do the same things in the same order, since each of these waits
    for all others.
    """

    def __init__(self, wanted: Sequence[Tensor], block_sizes: Sequence[int]) -> None:
        """Begin to tell each worker how many rows it is asked for.

        Args:
            wanted: for each side that has tables, the rows of the batch, (B,).
            block_sizes: for each side, how many rows a worker has.
        """
        self.block_sizes = block_sizes
        n_workers = dist.get_world_size()
        pairs = [torch.unique(rows, return_inverse=True) for rows in wanted]
        self._ids, self._inverse = zip(*pairs, strict=True)
        n_asked = []
        for ids, block_size in zip(self._ids, block_sizes, strict=True):
            starts = torch.arange(n_workers + 1) * block_size
            n_asked.append(torch.searchsorted(ids, starts).diff())
        self._n_asked = torch.stack(n_asked, dim=1)
        self._n_to_send = torch.empty_like(self._n_asked)
        self._counted = dist.all_to_all_single(self._n_to_send, self._n_asked, async_op=True)

    def send(self) -> None:
        """Begin to tell each worker which rows it is asked for."""
        self._counted.wait()
        self.n_asked: Counts = self._n_asked.tolist()
        self.n_to_send: Counts = self._n_to_send.tolist()
        input_splits = [sum(each) for each in self.n_asked]
        output_splits = [sum(each) for each in self.n_to_send]
        self._ids_to_send = torch.empty(sum(output_splits), dtype=torch.int64)
        message = by_worker(self._ids, self.n_asked)
        self._sent = dist.all_to_all_single(
            self._ids_to_send, message, output_splits, input_splits, async_op=True
        )

    def fetch(
        self, look_ups: Sequence[Callable[[Tensor], Tensor]], while_waiting: Callable[[], None]
    ) -> list[Tensor]:
        """For each side, the rows of the batch: (B, columns).

        Args:
            look_ups: for each side, from numbers of rows in this worker's block, (n,), to the
                columns of all tables, (n, columns).
            while_waiting: is called while rows are on their way.
        """
        self._sent.wait()
        found = []
        ids = by_side(self._ids_to_send, self.n_to_send, [1] * len(look_ups))
        for look_up, rows, block_size in zip(look_ups, ids, self.block_sizes, strict=True):
            found.append(look_up(rows.flatten() - dist.get_rank() * block_size))
        widths = [rows.shape[1] for rows in found]
        splits = [message_sizes(counts, widths) for counts in (self.n_asked, self.n_to_send)]
        message = by_worker(found, self.n_to_send)
        received: Tensor = _Exchange.apply(message, *splits, while_waiting)  # type: ignore[no-untyped-call]
        answers = by_side(received, self.n_asked, widths)
        pairs = zip(answers, self._inverse, strict=True)
        return [rows.index_select(0, inverse) for rows, inverse in pairs]


def message_sizes(counts: Counts, widths: Sequence[int]) -> list[int]:
    """How many numbers the message to each worker has."""
    return [sum(n * width for n, width in zip(each, widths, strict=True)) for each in counts]


def by_worker(sides: Sequence[Tensor], counts: Counts) -> Tensor:
    """Make one message to each worker of the rows of each side, which are in order of workers."""
    pieces = [
        torch.split(rows, list(n_rows))
        for rows, n_rows in zip(sides, zip(*counts, strict=True), strict=True)
    ]
    return torch.cat([piece.flatten() for each in zip(*pieces, strict=True) for piece in each])


def by_side(message: Tensor, counts: Counts, widths: Sequence[int]) -> list[Tensor]:
    """The rows of each side, (n, width), that the messages from all workers have."""
    sizes = [n * width for each in counts for n, width in zip(each, widths, strict=True)]
    pieces, n_sides = torch.split(message, sizes), len(widths)
    return [torch.cat(pieces[i::n_sides]).view(-1, width) for i, width in enumerate(widths)]


class _Exchange(torch.autograd.Function):
    """Send each worker its message; gradients go back, and are averaged over workers.

    So DistributedDataParallel averages the gradients of all that is no table.
    """

    @staticmethod
    def forward(
        ctx: Any,
        message: Tensor,
        output_splits: list[int],
        input_splits: list[int],
        while_waiting: Callable[[], None],
    ) -> Tensor:
        ctx.splits = input_splits, output_splits
        received = message.new_empty(sum(output_splits))
        work = dist.all_to_all_single(received, message, output_splits, input_splits, async_op=True)
        while_waiting()
        work.wait()
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        received = gradient.new_empty(sum(ctx.splits[0]))
        dist.all_to_all_single(received, gradient.contiguous(), *ctx.splits)
        return received.div_(dist.get_world_size()), None, None, None
