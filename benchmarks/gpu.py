"""The notebook's epoch, and an epoch and a sweep of ml-32m's shape, on the CPU and on a GPU.

Usage: python -m benchmarks.gpu [--json FILE], or make bench-gpu; --device cpu --small tries it out

The ratings are made up, whose users and items are as unequal as in MovieLens, so nothing else is
needed. The first round of each line, in which ratings are sorted, loops compiled and steps
captured, is not counted. Lines end early rather than that all take more than about five minutes.
The loss is that of the first round that counts: where lines do the same, it is about the same.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.adagrad import made_up
from cf.bayes.gibbs import EntitySide, Priors, Sampler
from cf.bayes.sample import RELAXATION
from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.ratings import Ratings
from cf.training import device as devices
from cf.training import optim
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit

ROUNDS, SECONDS = 5, 30  # at most, of each line
N_FACTORS = 64
LARGE_BATCH = 65_536
ROWWISE = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.08, eps=1.0)


class Round(NamedTuple):
    """An epoch, or a sweep: what it took, and the mean squared error of the ratings in it."""

    seconds: float
    loss: float


class Size(NamedTuple):
    """Of a rating table."""

    n_users: int
    n_items: int
    n_ratings: int


NOTEBOOK, LARGE = Size(610, 9724, 80_669), Size(200_948, 87_585, 32_000_204)
SMALL = Size(300, 200, 5_000)


def epochs(
    device: torch.device,
    train: Ratings,
    size: Size,
    n_factors: int,
    optimizer: config.Adam | config.RowwiseAdagrad,
    batch_size: int,
    n_threads: int,
    repeated: bool = True,
) -> Iterator[Round]:
    """Epochs of dotbias, on a GPU of steps that are captured and `repeated`, or are not."""
    settings = {"name": "dotbias", "n_factors": n_factors, "init_range": [-0.05, 0.05]}
    spec = ModelSpec(settings, size.n_users, size.n_items, (0.5, 5.0))
    devices.prepare(device, n_threads, seed=1)
    model = spec.build("dotbias").to(device)
    model.repeatable = repeated
    schedule = config.Schedule(n_epochs=[ROUNDS + 1], learning_rate=0.01, anneal="none")
    nobody = train.take(np.arange(0))
    optimizer_ = optim.build(optimizer, model, len(train))
    for epoch in fit(model, train, nobody, optimizer_, schedule, batch_size):
        yield Round(epoch.seconds, epoch.train_loss)


def sweeps(device: torch.device, train: Ratings, size: Size, n_threads: int) -> Iterator[Round]:
    """Sweeps of bayesmf's sampler, without side information."""
    devices.prepare(device, n_threads, seed=1)
    users, items = (
        torch.tensor(each, dtype=torch.int32, device=device) for each in (train.users, train.items)
    )
    values = torch.tensor((train.values - train.values.mean()) / train.values.std(), device=device)
    sides = (EntitySide(n, N_FACTORS, []).to(device) for n in (size.n_users, size.n_items))
    user_side, item_side = sides
    sampler = Sampler(users, items, values, user_side, item_side, True, Priors())
    while True:
        started = time.perf_counter()
        loss = float(sampler.sweep(RELAXATION).square().mean())  # for which a GPU is waited for
        yield Round(time.perf_counter() - started, loss)


def lines(
    device: torch.device,
    notebook: tuple[Ratings, Size],
    large: tuple[Ratings, Size],
    n_threads: int,
    every: bool,
) -> Iterator[tuple[str, int, Iterator[Round]]]:
    """What is measured: its name, the ratings of a round, and the rounds.

    A CPU takes least for steps of a rating each, a GPU for large batches; `every`: both. The
    notebook's epoch has the threads that params.yaml says, since for small batches more are slower.
    """
    section = config.load(paths.PARAMS, "train_dotbias", config.Training)
    assert isinstance(section.optimizer, config.Adam)
    adam, batch_size = section.optimizer, section.batch_size
    on_gpu, n_factors = device.type != "cpu", section.model["n_factors"]
    what = f"notebook's epoch, batches of {batch_size}"
    small = partial(epochs, device, *notebook, n_factors, adam, batch_size, section.n_threads)
    yield what, len(notebook[0]), small()
    if on_gpu or every:
        yield f"{what}, not captured", len(notebook[0]), small(repeated=False)
    for batch_size, fits in ((LARGE_BATCH, on_gpu), (1, not on_gpu)):
        if fits or every:
            rounds = epochs(device, *large, N_FACTORS, ROWWISE, batch_size, n_threads)
            yield f"epoch, batches of {batch_size:,}", len(large[0]), rounds
    yield "sweep", len(large[0]), sweeps(device, *large, n_threads)


def measured(rounds: Iterator[Round]) -> list[Round]:
    """Up to `ROUNDS` rounds after the first one, fewer where time is up."""
    next(rounds)
    until, found = time.perf_counter() + SECONDS, [next(rounds)]
    while len(found) < ROUNDS and time.perf_counter() < until:
        found.append(next(rounds))
    return found


def name_of(device: torch.device, n_threads: int) -> str:
    """What the device calls itself, and a CPU's number of threads for large data."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.processor() or platform.machine()}, {n_threads} threads"


@exit_on_input_error
def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", help="cpu or cuda; by default both, if there are both")
    parser.add_argument("--small", action="store_true", help="few ratings: to try the script out")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    names = [options.device] if options.device else ["cpu", *["cuda"] * torch.cuda.is_available()]
    chosen = [devices.choose(name, "--device") for name in names]
    sizes = (SMALL, SMALL) if options.small else (NOTEBOOK, LARGE)
    notebook, large = (
        (made_up(size.n_ratings, size.n_users, size.n_items), size) for size in sizes
    )
    n_threads = torch.get_num_threads()
    console = Console(width=110)
    results: list[dict[str, Any]] = []
    for device in chosen:
        for what, n_ratings, rounds in lines(device, notebook, large, n_threads, options.small):
            found = measured(rounds)
            seconds = statistics.median(each.seconds for each in found)
            results.append(
                {
                    **{
                        "what": what,
                        "device": device.type,
                        "device_name": name_of(device, n_threads),
                    },
                    **{"n_ratings": n_ratings, "rounds": len(found), "seconds": seconds},
                    **{"ratings_per_second": n_ratings / seconds, "loss": found[0].loss},
                }
            )
            console.print(f"{device.type}: {what}: {seconds:.3g} s")
    table = Table(
        title=f"PyTorch {torch.__version__}; "
        + "; ".join(name_of(device, n_threads) for device in chosen)
    )
    for heading in ("what", "device", "ratings", "rounds", "median, s", "M ratings/s", "loss"):
        table.add_column(heading, justify="left" if heading in ("what", "device") else "right")
    for each in results:
        numbers = each["seconds"], each["ratings_per_second"] / 1e6, each["loss"]
        counts = f"{each['n_ratings']:,}", f"{each['rounds']}"
        table.add_row(each["what"], each["device"], *counts, *(f"{x:.3g}" for x in numbers))
    console.print(table)
    if options.small:
        console.print("With so few ratings the script is tried out; the figures mean nothing.")
    if not any(device.type == "cuda" for device in chosen):
        console.print("No GPU was measured.")
    if options.json:
        figures = {"torch": torch.__version__, "small": options.small, "results": results}
        io.write_json(options.json, figures)


if __name__ == "__main__":
    main()
