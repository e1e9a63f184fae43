"""Measurements of several systems as a Markdown table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass


@dataclass(frozen=True)
class Measured:
    """What one run of a system gave and cost.

    Attributes:
        score: RMSE in stars, or NDCG.
        imported: seconds to import the library, besides numpy and pyarrow.
        fitted: seconds from the rows as arrays to the fitted model.
        predicted: seconds for all predictions.
        cpu: seconds of all threads while fitting and predicting.
        peak: most memory that the process had resident, MiB.
    """

    score: float
    imported: float
    fitted: float
    predicted: float
    cpu: float
    peak: float

    @property
    def seconds(self) -> float:
        """To fit and predict."""
        return self.fitted + self.predicted


def medians(rounds: Mapping[str, Sequence[Measured]]) -> dict[str, dict[str, float]]:
    """Of each system, the median over its rounds of each figure, by its name in `Measured`."""
    return {
        name: {key: statistics.median(asdict(run)[key] for run in runs) for key in asdict(runs[0])}
        for name, runs in rounds.items()
    }


def changes(
    scored: str, now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """A line for each system of both runs: score and seconds of `medians`, before and now."""
    lines = []
    for name in now:
        if name in before:
            then, seconds = before[name], now[name]["fitted"] + now[name]["predicted"]
            ratio = seconds / (then["fitted"] + then["predicted"])
            score = f"{scored} {then['score']:.4f}, now {now[name]['score']:.4f}"
            lines.append(f"{name}: {score}; {ratio:.2f} times the seconds")
    return lines


def table(
    scored: str, rounds: Mapping[str, Sequence[Measured]], versions: Mapping[str, str]
) -> list[str]:
    """The lines of a table with a row a system: medians over the rounds.

    The ratio is of the time to fit and predict to that of the first system: the median of the
    rounds' own, so that a machine that slows down slows both.

    Args:
        scored: heading of the score.
        rounds: of each system, the first of which is the measure of the others.
    """
    first = next(iter(rounds))
    costs = ("fit, s", "predict, s", f"times {first}", "CPU, s", "import, s", "peak, MiB")
    rows = [["system", "version", scored, *costs]]
    for name, runs in rounds.items():
        ratio = statistics.median(
            run.seconds / base.seconds for run, base in zip(runs, rounds[first], strict=True)
        )
        score, imported, fitted, predicted, cpu, peak = (
            statistics.median(figures) for figures in zip(*map(astuple, runs), strict=True)
        )
        times = (f"{figure:.2f}" for figure in (fitted, predicted, ratio, cpu, imported))
        rows.append([name, versions[name], f"{score:.4f}", *times, f"{peak:.0f}"])
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table that reads well as it is; the first row is its head.

    The first two columns are aligned to the left, all others to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rule = [
        "-" * (width + 2) if place < 2 else "-" * (width + 1) + ":"
        for place, width in enumerate(widths)
    ]
    lines.insert(1, f"|{'|'.join(rule)}|")
    return lines
