"""Curves of several systems: when each reaches the target, and a Markdown table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.peers.table import markdown


class Point(NamedTuple):
    """A fit, or its state after some epochs.

    Attributes:
        seconds: of fitting, without importing, converting and predicting.
        rmse: on the held-out rows, in stars.
    """

    epochs: int
    seconds: float
    rmse: float


@dataclass(frozen=True)
class Measured:
    """One round of a system.

    Attributes:
        converted: seconds from the rows as arrays to what the library takes.
        points: in the order of their epochs, up to the first that reaches the target.
    """

    converted: float
    points: Sequence[Point]

    def seconds_to(self, target: float) -> float:
        """Of fitting until the RMSE is `target`; infinite if it never is."""
        return next((point.seconds for point in self.points if point.rmse <= target), float("inf"))


def middle(runs: Sequence[Measured], target: float) -> dict[str, Any]:
    """The round with the median time: `converted`, `fitted` to the target or None, `points`.

    Of an even number of rounds, the slower one of the two in the middle.
    """
    ordered = sorted(runs, key=lambda run: run.converted + run.seconds_to(target))
    run = ordered[len(runs) // 2]
    fitted = run.seconds_to(target)
    reached = fitted < float("inf")
    return {
        "converted": run.converted,
        "fitted": fitted if reached else None,
        "points": run.points,
    }


def table(
    rounds: Mapping[str, Sequence[Measured]],
    versions: Mapping[str, str],
    floor: float,
    target: float,
) -> list[str]:
    """The lines of a table with a row a system: the round with the median time.

    Ratios are to the first system's seconds: the median of the rounds' own, so that a machine that
    slows down slows both.
    """
    first = next(iter(rounds.values()))
    times = f"times {next(iter(rounds))}"
    costs = ("to 1%, s", times, "fit alone, s", times)
    rows = [["system", "version", "above the floor", "epochs", *costs]]
    for name, runs in rounds.items():
        found = middle(runs, target)
        best = min(found["points"], key=lambda point: point.rmse)
        row = [name, versions[name], f"{best.rmse / floor - 1:.2%}", f"{best.epochs}"]
        for converting in (True, False):
            ratio = statistics.median(
                (run.converted * converting + run.seconds_to(target))
                / (base.converted * converting + base.seconds_to(target))
                for run, base in zip(runs, first, strict=True)
            )
            reached = found["fitted"] is not None
            seconds = found["converted"] * converting + (found["fitted"] or 0)
            row += [f"{seconds:.2f}", f"{ratio:.2f}"] if reached else ["never", "never"]
        rows.append(row)
    return markdown(rows)


def changes(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """A line for each system that reached the target in both runs: seconds as a multiple."""
    totals = [
        {name: of["converted"] + of["fitted"] for name, of in run.items() if of["fitted"]}
        for run in (now, before)
    ]
    return [
        f"{name}: {seconds:.2f} s, {seconds / totals[1][name]:.2f} times as much as before"
        for name, seconds in totals[0].items()
        if name in totals[1]
    ]
