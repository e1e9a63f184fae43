"""Time and bytes of a step on one and two workers: tables divided by TorchRec, or copied by DDP.

Usage: python -m benchmarks.distributed [--workers 1 2] [--json FILE], after make ray

Needs Linux. dotbias with 50 factors, 50,000 users and 20,000 items, and the same with tables ten
times as long, on made-up ratings. Each worker is a process of one thread; they talk by gloo over
the loopback interface, whose bytes are counted. Systems take turns, round by round; medians are
printed.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cf.core.config import RowwiseAdagrad
from cf.distributed.blocks import n_rows_held, n_rows_of_worker, rows_of
from cf.distributed.tables import ShardedModel, ShardedTable
from cf.models.base import Model, use_table_factory
from cf.training.checkpoint import ModelSpec

N_FACTORS = 50
SIZES = {"50,000 x 20,000": (50_000, 20_000), "500,000 x 200,000": (500_000, 200_000)}
BATCHES = (8_192, 65_536)
ROUNDS, N_STEPS, N_WARM = 5, 8, 2
LOOPBACK = "lo"
DECAY = 0.0002
ROWWISE = RowwiseAdagrad(name="rowwise_adagrad", weight_decay=DECAY, eps=1.0)
Batch = tuple[Tensor, Tensor, Tensor]
Step = Callable[[Batch, Batch | None], None]  # a batch, and the one after it


def spec(size: tuple[int, int]) -> ModelSpec:
    """dotbias for that many users and items."""
    model = {"name": "dotbias", "n_factors": N_FACTORS, "init_range": [-0.05, 0.05]}
    return ModelSpec(model, *size, (0.5, 5.0))


def torchrec(size: tuple[int, int]) -> Step:
    """Rows of tables on either worker, with row-wise Adagrad: what launcher: ray does."""
    with use_table_factory(ShardedTable):
        model = spec(size).build("")
    sharded = ShardedModel(model, ROWWISE, DECAY, seed=1)
    sharded.set_learning_rate(0.1)

    def step(batch: Batch, following: Batch | None) -> None:
        sharded.lookup.next = following[:2] if following else None
        loss = sharded.module(*batch)
        loss.backward(torch.ones_like(loss))
        sharded.step_dense()

    return step


class Loss(nn.Module):
    """A model's loss as a module, since DDP hooks `forward`."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
        """As `Model.loss`."""
        return self.model.loss(users, items, ratings)


def ddp(size: tuple[int, int], sparse: bool) -> Step:
    """All tables on each worker, with Adam on all rows or on those of a batch (SparseAdam)."""
    model = spec(size).build("")
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = sparse
    module = DistributedDataParallel(Loss(model))
    kind: Any = torch.optim.SparseAdam if sparse else torch.optim.Adam
    optimizer = kind(list(model.parameters()), lr=0.01)

    def step(batch: Batch, _: Batch | None) -> None:
        optimizer.zero_grad()
        module(*batch).backward()
        optimizer.step()

    return step


SYSTEMS: dict[str, Callable[[tuple[int, int]], Step]] = {
    "TorchRec, row-wise Adagrad": torchrec,
    "DDP, SparseAdam": lambda size: ddp(size, sparse=True),
    "DDP, Adam on all rows": lambda size: ddp(size, sparse=False),
}


def batches(size: tuple[int, int], n: int, rank: int, n_workers: int) -> Iterator[Batch]:
    """Made-up ratings on the scale of the model, of users and items that are alike.

    A worker's ratings are of users in its own block of rows, as `cf.distributed.grouping` groups
    them, and of any items.
    """
    draw = np.random.default_rng(rank)
    n_rows = n_rows_held(size[0])
    block_size = n_rows_of_worker(n_rows, n_workers)
    own = np.flatnonzero(rows_of(np.arange(size[0]), n_rows) // block_size == rank)
    while True:
        users, items = draw.choice(own, n), draw.integers(0, size[1], n)
        ratings = draw.uniform(-1, 1, n).astype(np.float32)
        yield torch.from_numpy(users), torch.from_numpy(items), torch.from_numpy(ratings)


def work(rank: int, n_workers: int, folder: str) -> None:
    """Measure all systems together with the other workers; the first one writes the figures."""
    torch.set_num_threads(1)
    names = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": n_workers,
        "LOCAL_WORLD_SIZE": n_workers,
    }
    os.environ |= {name: str(value) for name, value in names.items()}
    group = f"file://{folder}/group"
    dist.init_process_group("gloo", init_method=group, rank=rank, world_size=n_workers)
    figures = []
    resident = psutil.Process().memory_info().rss  # with all imports, and no model
    for title, size in SIZES.items():
        steps = {name: build(size) for name, build in SYSTEMS.items()}
        for batch_size in BATCHES:
            given = batches(size, batch_size // n_workers, rank, n_workers)
            measured: dict[str, list[tuple[float, float]]] = {name: [] for name in SYSTEMS}
            for name, step in [*steps.items()] * ROUNDS:
                measured[name].append(measure(step, [next(given) for _ in range(N_WARM + N_STEPS)]))
            for name, pairs in measured.items():
                seconds, n_bytes = (
                    statistics.median(column) for column in zip(*pairs, strict=True)
                )
                figures.append(
                    {
                        "tables": title,
                        "batch": batch_size,
                        "system": name,
                        "workers": n_workers,
                        "ms": 1e3 * seconds,
                        "megabytes": n_bytes / 1e6,
                    }
                )
    if rank == 0:
        Path(folder, "figures.json").write_text(json.dumps([resident / 1e6, figures]))
    dist.destroy_process_group()


def measure(step: Step, given: list[Batch]) -> tuple[float, float]:
    """Seconds of a step, and bytes that go over the loopback interface meanwhile."""
    for batch in given[:N_WARM]:
        step(batch, None)
    dist.barrier()
    before, started = psutil.net_io_counters(pernic=True)[LOOPBACK].bytes_sent, time.perf_counter()
    timed = given[N_WARM:]
    for batch, following in zip(timed, [*timed[1:], None], strict=True):
        step(batch, following)
    dist.barrier()
    after, ended = psutil.net_io_counters(pernic=True)[LOOPBACK].bytes_sent, time.perf_counter()
    return (ended - started) / N_STEPS, (after - before) / N_STEPS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures: list[dict[str, Any]] = []
    for n_workers in given.workers:
        with tempfile.TemporaryDirectory() as folder:
            with ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn")) as pool:
                list(pool.map(partial(work, n_workers=n_workers, folder=folder), range(n_workers)))
            megabytes, found = json.loads(Path(folder, "figures.json").read_text())
            figures += found
    show(figures, given.workers)
    if given.json:
        machine = {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "worker_megabytes": megabytes,
        }
        given.json.write_text(json.dumps({**machine, "figures": figures}, indent=2) + "\n")


def show(figures: list[dict[str, Any]], workers: list[int]) -> None:
    """A table with a row a system, and how many times as fast the last number of workers is."""
    console = Console(width=110)
    for title in SIZES:
        for batch_size in BATCHES:
            table = Table(title=f"tables of {title}, batches of {batch_size:,}")
            table.add_column("system")
            for n in workers:
                table.add_column(f"ms a step, {n} worker{'s' * (n > 1)}", justify="right")
            table.add_column("MB a step", justify="right")
            table.add_column("times as fast", justify="right")
            for name in SYSTEMS:
                wanted = {"tables": title, "batch": batch_size, "system": name}
                rows = [row for row in figures if wanted.items() <= row.items()]
                times = [row["ms"] for row in rows]
                moved, gain = f"{rows[-1]['megabytes']:.1f}", f"{times[0] / times[-1]:.2f}"
                table.add_row(name, *(f"{each:.0f}" for each in times), moved, gain)
            console.print(table)


if __name__ == "__main__":
    main()
