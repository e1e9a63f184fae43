"""Memory and time that a training by gradients takes on several machines, on paper.

Usage: python -m benchmarks.scaling

For dotbias with 50 factors and 65,536 ratings of each worker in a batch, from what `make bench-ray`
measured with tables of 500,000 x 200,000 rows (benchmarks/distributed.json). One worker runs on
each core. Computation, which includes the cores' work for the exchange of rows, and the network
take turns; the network is fully used. What ratings, gradients and Ray need is not in the memory.
"""

import json
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

FIGURES = Path(__file__).with_name("distributed.json")
TABLES, BATCH, SYSTEM = "500,000 x 200,000", 65_536, "TorchRec, row-wise Adagrad"
ROW_BYTES = 4 * (52 + 1 + 4 + 1)  # factors and bias, each padded and with its mean square
GIGABIT = 1e9 / 8  # bytes a second


class Case(NamedTuple):
    """A size of data, and machines for it."""

    n_ratings: float
    n_users: float
    n_items: float
    machines: int
    cores: int
    gigabits: float


CASES = (
    Case(1e8, 1e6, 1e5, 1, 16, 25),
    Case(1e9, 1e7, 1e6, 4, 16, 25),
    Case(1e10, 1e8, 1e7, 4, 16, 25),
    Case(1e11, 1e9, 1e8, 4, 16, 25),
    Case(1e11, 1e9, 1e8, 4, 16, 100),
)
"""With at most `cf.distributed.stream.N_LANES` workers."""


class Constants(NamedTuple):
    """What was measured.

    Attributes:
        alone: seconds of a rating on a core whose worker has all rows.
        exchange: seconds more where its item's row is another worker's.
        moved: bytes that such a rating moves.
        worker: bytes of a worker with all imports, and no model.
    """

    alone: float
    exchange: float
    moved: float
    worker: float


def constants() -> Constants:
    """From benchmarks/distributed.json, where two workers have half of the rows of items each."""
    content = json.loads(FIGURES.read_text())
    wanted = {"tables": TABLES, "batch": BATCH, "system": SYSTEM}
    one, two = (row for row in content["figures"] if wanted.items() <= row.items())
    alone, together = 1e-3 * one["ms"] / BATCH, 1e-3 * two["ms"] / (BATCH / 2)
    return Constants(
        alone=alone,
        exchange=2 * (together - alone),
        moved=2 * 1e6 * two["megabytes"] / BATCH,
        worker=1e6 * content["worker_megabytes"],
    )


def seconds_of_epoch(case: Case, known: Constants) -> tuple[float, float]:
    """Of computation, and of the network: an item's row is with any worker alike."""
    n_workers = case.machines * case.cores
    each = known.alone + known.exchange * (1 - 1 / n_workers)
    computing = case.n_ratings * each / n_workers
    moved = case.n_ratings * known.moved * (1 - 1 / case.machines)
    return computing, moved / (case.machines * case.gigabits * GIGABIT)


def bytes_of_machine(case: Case, known: Constants) -> float:
    """Of its part of the tables, and of its workers without them."""
    return (case.n_users + case.n_items) * ROW_BYTES / case.machines + case.cores * known.worker


def main() -> None:
    """Print a row for each case."""
    known = constants()
    table = Table(title="dotbias with 50 factors, on paper")
    headings = ("ratings", "users", "items", "machines", "GB a machine", "computing", "network")
    for heading in (*headings, "an epoch", "machine hours of 10 epochs"):
        table.add_column(heading, justify="right")
    for case in CASES:
        times = seconds_of_epoch(case, known)
        table.add_row(
            *(f"{number:,.0f}" for number in case[:3]),
            f"{case.machines} x {case.cores} cores, {case.gigabits:.0f} Gbit/s",
            f"{bytes_of_machine(case, known) / 1e9:.0f}",
            *(duration(each) for each in (*times, sum(times))),
            f"{case.machines * 10 * sum(times) / 3600:.2f}",
        )
    console = Console(width=150)
    console.print(table)
    console.print(
        f"Measured: {1e6 * known.alone:.2f} µs a rating on a core, {1e6 * known.exchange:.2f} more "
        f"and {known.moved:.0f} bytes if its item's row is elsewhere; "
        f"{known.worker / 1e9:.2f} GB a worker."
    )


def duration(seconds: float) -> str:
    """In seconds below two minutes, else in minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main()
