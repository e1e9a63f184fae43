"""Workers get the rows that they ask for, and owners the gradients, in whichever block a row is."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from cf.distributed.exchange import Request

N_ROWS, WIDTHS = (10, 4), (3, 2)
Wanted = list[list[list[int]]]
"""Of each worker, the users and the items of its share."""


def table(side: int) -> Tensor:
    """Rows that tell themselves apart."""
    return torch.arange(N_ROWS[side] * WIDTHS[side]).view(N_ROWS[side], WIDTHS[side]).float()


def ask(rank: int, batches: list[Wanted], sides: list[int], folder: Path) -> list[Any]:
    """The rows that a worker gets for each batch, and the sum of its block's gradients."""
    n_workers = len(batches[0])
    group = f"file://{folder}/group"
    dist.init_process_group("gloo", init_method=group, rank=rank, world_size=n_workers)
    block_sizes = [-(-N_ROWS[side] // n_workers) for side in sides]
    here = [
        table(side)[rank * size : (rank + 1) * size].requires_grad_()
        for side, size in zip(sides, block_sizes, strict=True)
    ]
    look_ups = [lambda rows, block=block: block[rows] for block in here]

    def request(wanted: Wanted) -> Request:
        shares = [torch.tensor(wanted[rank][side], dtype=torch.int64) for side in sides]
        return Request(shares, block_sizes)

    ahead = [request(batches[0])]
    found = []
    for number in range(len(batches)):
        following = batches[number + 1 :][:1]
        ahead[0].send()
        ask_ahead = partial(lambda given: ahead.extend(map(request, given)), following)
        rows = ahead.pop(0).fetch(look_ups, ask_ahead)
        sum((each * (1 + torch.arange(len(each)))[:, None]).sum() for each in rows).backward()
        found.append([each.tolist() for each in rows])
    dist.destroy_process_group()
    return [found, [block.grad.tolist() for block in here if block.grad is not None]]


BATCHES: dict[str, list[Wanted]] = {
    "one worker": [[[[3, 3, 9, 0], [2, 0, 2, 1]]], [[[1], [3]]]],
    "two workers, one with an empty share": [
        [[[3, 3, 9, 0], [3, 0, 3, 1]], [[], []]],
        [[[9, 1], [1, 2]], [[7, 1], [0, 0]]],
    ],
    "three, one without items": [
        [[[3, 3, 9], [3, 0, 3]], [[9, 8], [1, 2]], [[0, 4], [0, 3]]],
        [[[5], [2]], [[5], [2]], [[1, 0, 9], [2, 1, 1]]],
    ],
}


@pytest.mark.parametrize("name", BATCHES)
def test_rows_and_gradients_are_those_of_whole_tables(name: str, tmp_path: Path) -> None:
    batches = BATCHES[name]
    n_workers = len(batches[0])
    with ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn")) as pool:
        for sides in ([0, 1], [1]):
            folder = tmp_path / f"{len(sides)}"
            folder.mkdir()
            given = partial(ask, batches=batches, sides=sides, folder=folder)
            answers = list(pool.map(given, range(n_workers), timeout=120))
            for at, side in enumerate(sides):
                check(side, batches, at, answers)


def check(side: int, batches: list[Wanted], at: int, answers: list[Any]) -> None:
    """Whether all workers got the rows of a side, and the blocks their gradients, averaged."""
    whole = table(side).requires_grad_()
    for number, batch in enumerate(batches):
        for shares, (found, _) in zip(batch, answers, strict=True):
            rows = whole[torch.tensor(shares[side], dtype=torch.int64)]
            assert found[number][at] == rows.tolist()
            weights = (1 + torch.arange(len(rows)))[:, None]
            (rows * weights / len(batch)).sum().backward()
    blocks = [row for _, gradients in answers for row in gradients[at]]
    assert torch.allclose(torch.tensor(blocks), whole.grad)
