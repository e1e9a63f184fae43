"""The rows that a batch needs, from the workers that have them: one exchange for all tables."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Counts = list[list[int]]
"""For each worker: rows of users, and rows of items."""


class Request:
    """The users and items of a worker's share of a batch, each once, whose rows others may have.

    Four messages go from worker to worker, whatever the number of tables: how many rows are asked
    for, which ones, the rows, and later their gradients. All workers send theirs in the same order.

    Attributes:
        wanted: the batch's users and items, (B,) each.
    """

    def __init__(self, wanted: Sequence[Tensor], blocks: Sequence[int]) -> None:
        """Begin to tell each worker how many rows are asked for.

        Args:
            wanted: the batch's users and items, (B,) each.
            blocks: rows of a table of users that a worker has, and rows of one of items. The first
                worker has the first block.
        """
        self.wanted, self.blocks = wanted, blocks
        n_workers = dist.get_world_size()
        pairs = [torch.unique(rows, return_inverse=True) for rows in wanted]
        self._distinct, self._places = zip(*pairs, strict=True)
        counts = []
        for rows, block in zip(self._distinct, blocks, strict=True):
            bounds = torch.arange(n_workers + 1) * block
            counts.append(torch.searchsorted(rows, bounds).diff())
        self._counts = torch.stack(counts, dim=1)
        self._counts_here = torch.empty_like(self._counts)
        self._counted = dist.all_to_all_single(self._counts_here, self._counts, async_op=True)

    def send(self) -> None:
        """Begin to tell each worker which rows are asked for."""
        self._counted.wait()
        self.counts: Counts = self._counts.tolist()
        self.counts_here: Counts = self._counts_here.tolist()
        sizes, sizes_here = ([sum(each) for each in n] for n in (self.counts, self.counts_here))
        message = by_worker(self._distinct, self.counts)
        self._rows_here = torch.empty(sum(sizes_here), dtype=torch.int64)
        self._sent = dist.all_to_all_single(
            self._rows_here, message, sizes_here, sizes, async_op=True
        )

    def fetch(
        self, look_ups: Sequence[Callable[[Tensor], Tensor]], meanwhile: Callable[[], None]
    ) -> list[Tensor]:
        """The rows of the batch's users, and of its items: (B, columns) each.

        Args:
            look_ups: for users and for items, from numbers of rows in this worker's block, (n,), to
                the columns of all tables, (n, columns).
            meanwhile: is called while rows are on their way.
        """
        self._sent.wait()
        ones = [1] * len(look_ups)
        found = [
            look_up(rows.flatten() - dist.get_rank() * block)
            for look_up, rows, block in zip(
                look_ups, by_side(self._rows_here, self.counts_here, ones), self.blocks, strict=True
            )
        ]
        widths = [rows.shape[1] for rows in found]
        message = by_worker(found, self.counts_here)
        sizes = message_sizes(self.counts_here, widths), message_sizes(self.counts, widths)
        received: Tensor = _Exchange.apply(message, *sizes, meanwhile)  # type: ignore[no-untyped-call]
        answers = by_side(received, self.counts, widths)
        return [
            rows.index_select(0, places) for rows, places in zip(answers, self._places, strict=True)
        ]


def message_sizes(counts: Counts, widths: Sequence[int]) -> list[int]:
    """How many numbers the message to each worker has."""
    return [sum(n * width for n, width in zip(each, widths, strict=True)) for each in counts]


def by_worker(sides: Sequence[Tensor], counts: Counts) -> Tensor:
    """Put rows of users and of items, each in the order of workers, into a message for each."""
    pieces = [
        torch.split(rows, list(n_rows))
        for rows, n_rows in zip(sides, zip(*counts, strict=True), strict=True)
    ]
    return torch.cat([piece.flatten() for pair in zip(*pieces, strict=True) for piece in pair])


def by_side(message: Tensor, counts: Counts, widths: Sequence[int]) -> list[Tensor]:
    """The rows of users, and those of items, (n, width) each, in messages from all workers."""
    sizes = [n * width for each in counts for n, width in zip(each, widths, strict=True)]
    pieces, n_sides = torch.split(message, sizes), len(widths)
    return [torch.cat(pieces[i::n_sides]).view(-1, width) for i, width in enumerate(widths)]


class _Exchange(torch.autograd.Function):
    """Send each worker its part of a message; gradients go the way back, and are averaged.

    They are averaged over workers as DistributedDataParallel averages those of all else.
    """

    @staticmethod
    def forward(
        ctx: Any, sent: Tensor, sizes: list[int], sizes_back: list[int], meanwhile: Any
    ) -> Tensor:
        ctx.sizes, ctx.sizes_back = sizes, sizes_back
        received = sent.new_empty(sum(sizes_back))
        work = dist.all_to_all_single(received, sent, sizes_back, sizes, async_op=True)
        meanwhile()
        work.wait()
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        received = gradient.new_empty(sum(ctx.sizes))
        dist.all_to_all_single(received, gradient.contiguous(), ctx.sizes, ctx.sizes_back)
        return received.div_(dist.get_world_size()), None, None, None
