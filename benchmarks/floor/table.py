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


def medians(runs: Sequence[Measured], target: float) -> dict[str, Any]:
    """The rounds of a system in one: `converted`, `fitted` to the target or None, `points`.

    A point is there if it is in all rounds.
    """
    fitted = statistics.median(run.seconds_to(target) for run in runs)
    points = [
        Point(*map(statistics.median, zip(*same, strict=True)))
        for same in zip(*(run.points for run in runs), strict=False)
    ]
    return {
        "converted": statistics.median(run.converted for run in runs),
        "fitted": None if fitted == float("inf") else fitted,
        "points": points,
    }


def table(
    rounds: Mapping[str, Sequence[Measured]],
    versions: Mapping[str, str],
    floor: float,
    target: float,
) -> list[str]:
    """The lines of a table with a row a system: medians over the rounds.

    Ratios are to the first system's seconds: the median of the rounds' own, so that a machine that
    slows down slows both.
    """
    first = next(iter(rounds.values()))
    times = f"times {next(iter(rounds))}"
    costs = ("to 1%, s", times, "fit alone, s", times)
    rows = [["system", "version", "above the floor", "epochs", *costs]]
    for name, runs in rounds.items():
        found = medians(runs, target)
        last = found["points"][-1]
        cells = [name, versions[name], f"{last.rmse / floor - 1:.2%}", f"{last.epochs:.0f}"]
        for converting in (True, False):
            seconds, base = (
                [run.converted * converting + run.seconds_to(target) for run in each]
                for each in (runs, first)
            )
            ratios = [a / b for a, b in zip(seconds, base, strict=True)]
            reached = found["fitted"] is not None
            for values in (seconds, ratios):
                cells.append(f"{statistics.median(values):.2f}" if reached else "never")
        rows.append(cells)
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
