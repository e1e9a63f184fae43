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


def ask(rank: int, wanted: Wanted, sides: list[int], folder: Path) -> list[Any]:
    """The rows that a worker gets, and the gradients of its block, of two batches."""
    n_workers = len(wanted)
    group = f"file://{folder}/group"
    dist.init_process_group("gloo", init_method=group, rank=rank, world_size=n_workers)
    blocks = [-(-N_ROWS[side] // n_workers) for side in sides]
    here = [
        table(side)[rank * block : (rank + 1) * block].requires_grad_()
        for side, block in zip(sides, blocks, strict=True)
    ]
    share = [torch.tensor(wanted[rank][side], dtype=torch.int64) for side in sides]
    request = Request(share, blocks)
    request.send()
    ahead: list[Request] = []
    look_ups = [lambda rows, each=each: each[rows] for each in here]
    found = []
    for _ in range(2):
        meanwhile = partial(lambda: ahead.append(Request(share, blocks)))
        rows = request.fetch(look_ups, meanwhile)
        sum((each * (1 + torch.arange(len(each)))[:, None]).sum() for each in rows).backward()
        request = ahead.pop()
        request.send()
        found.append([each.tolist() for each in rows])
    gradients = [each.grad.tolist() for each in here if each.grad is not None]
    request.fetch(look_ups, lambda: None)
    dist.destroy_process_group()
    return [found, gradients]


WANTED: dict[str, Wanted] = {
    "one worker": [[[3, 3, 9, 0], [2, 0, 2, 1]]],
    "two workers, one with an empty share": [[[3, 3, 9, 0], [3, 0, 3, 1]], [[], []]],
    "three, one without items": [[[3, 3, 9], [3, 0, 3]], [[9, 8], [1, 2]], [[0, 4], [0, 3]]],
}


@pytest.mark.parametrize("name", WANTED)
def test_rows_and_gradients_are_those_of_whole_tables(name: str, tmp_path: Path) -> None:
    wanted = WANTED[name]
    n_workers = len(wanted)
    with ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn")) as pool:
        for sides in ([0, 1], [1]):
            folder = tmp_path / f"{len(sides)}"
            folder.mkdir()
            given = partial(ask, wanted=wanted, sides=sides, folder=folder)
            answers = list(pool.map(given, range(n_workers), timeout=120))
            for at, side in enumerate(sides):
                check(side, [share[side] for share in wanted], at, answers)


def check(side: int, shares: list[list[int]], at: int, answers: list[Any]) -> None:
    """Whether all workers got the rows of a side, and the blocks their gradients, averaged."""
    whole = table(side).requires_grad_()
    for share, (found, _) in zip(shares, answers, strict=True):
        rows = whole[torch.tensor(share, dtype=torch.int64)]
        assert found[0][at] == found[1][at] == rows.tolist()
        weights = (1 + torch.arange(len(rows)))[:, None]
        (2 * rows * weights / len(shares)).sum().backward()
    blocks = [row for _, gradients in answers for row in gradients[at]]
    assert torch.allclose(torch.tensor(blocks), whole.grad)
