"""Small multiples: a figure of each model in groups of rows, one panel a way to group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cf.reporting.style import HOUSE, INK, Style, titled

GROUPS_A_LINE = 24
LEAST_GROUPS = 4  # that a panel has room for, so that its title fits

# Inches. Constrained layout cannot be had: panels of a line are as wide as their groups are many.
GROUP, PLOT, CHARACTER = 0.36, 1.5, 0.04  # a group's width, a panel's height, a slanted letter
LEFT, BETWEEN, RIGHT = 0.8, 0.3, 0.15
ABOVE, BELOW = 0.3, 0.1  # a panel: its title, and what is between lines
HEAD, FOOT = 0.68, 0.25


@dataclass(frozen=True)
class Panel:
    """One way to group rows.

    Attributes:
        title: what groups are told apart by.
        ordered: whether groups follow each other, so that lines may join them.
        labels: of the groups.
        n: (n_groups,) rows.
        values: of each model, (3, n_groups): the figure and the ends of its interval, which are
            NaN where it has none.
    """

    title: str
    ordered: bool
    labels: Sequence[str]
    n: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


@matplotlib.rc_context(HOUSE)
def multiples(
    panels: Sequence[Panel],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    ylabel: str,
    note: str,
    title: str,
) -> Figure:
    """The panels side by side on one scale, the models of a group next to each other.

    What lies beyond the limits is an arrow at the edge. Bars are 95% intervals; a point without
    one is hollow.

    Args:
        styles: of the models to draw.
        limits: of the scale.
        ylabel: what is drawn, with its unit.
        note: what to know in order to read the figure.
        title: of the figure.
    """
    lines = _lines(panels)
    width = LEFT + RIGHT + max(BETWEEN * (len(line) - 1) + GROUP * _room(*line) for line in lines)
    entries = max(1, int(width / (0.45 + 0.09 * max(map(len, styles)))))
    foot = FOOT + 0.2 * -(-len(styles) // entries)
    heights = [ABOVE + PLOT + BELOW + CHARACTER * max(map(_longest, line)) for line in lines]
    figure = titled(title, (width, 1))
    head = HEAD + 0.2 * figure.get_suptitle().count("\n")
    size = width, head + sum(heights) + foot
    figure.set_size_inches(size)
    figure.suptitle(figure.get_suptitle(), x=0.01, y=1 - 0.1 / size[1], ha="left")
    figure.text(0.01, 1 - (head - 0.28) / size[1], note, va="top")
    figure.text(0.01, (foot + sum(heights) / 2) / size[1], ylabel, rotation=90, va="center")
    top = size[1] - head
    for line, height in zip(lines, heights, strict=True):
        left = LEFT
        for panel in line:
            box = left, top - ABOVE - PLOT, GROUP * _room(panel), PLOT
            axes = figure.add_axes(tuple(np.array(box) / np.tile(size, 2)))
            _draw(axes, panel, styles, limits)
            axes.tick_params(labelleft=panel is line[0])
            left += box[2] + BETWEEN
        top -= height
    handles = [
        Line2D([], [], label=name, color=style.colour, marker=style.marker, ls="")
        for name, style in styles.items()
    ]
    figure.legend(handles=handles, loc="lower left", ncols=entries, handletextpad=0.2)
    return figure


def _draw(
    axes: Axes, panel: Panel, styles: Mapping[str, Style], limits: tuple[float, float]
) -> None:
    low, high = limits
    gap = 0.76 / max(1, len(styles))
    places = np.arange(len(panel.labels))
    if low < 0 < high:
        axes.axhline(0, color=INK, lw=0.9)
    for number, (name, style) in enumerate(styles.items()):
        value, *ends = panel.values[name]
        x = places + gap * (number - (len(styles) - 1) / 2)
        look: dict[str, Any] = {"color": style.colour, "ls": "", "clip_on": False, "ms": 4}
        sure, inside = ~np.isnan(ends[0]), (low <= value) & (value <= high)
        barred = sure & inside
        axes.vlines(
            x[barred], ends[0][barred], ends[1][barred], color=style.colour, lw=1, alpha=0.5
        )
        if panel.ordered:
            axes.plot(x, np.where(inside, value, np.nan), color=style.colour, lw=0.7, alpha=0.6)
        for some, y, marker in (
            (barred, value, {"marker": style.marker}),
            (inside & ~sure, value, {"marker": style.marker, "mfc": "white"}),
            (value > high, np.full_like(value, high), {"marker": "^", "ms": 3}),
            (value < low, np.full_like(value, low), {"marker": "v", "ms": 3}),
        ):
            if some.any():
                axes.plot(x[some], y[some], **{**look, **marker})
    axes.set(xlim=(-0.6, max(LEAST_GROUPS, len(places)) - 0.4), ylim=limits)
    axes.set_xticks(
        places, _labels(panel), rotation=45, ha="right", rotation_mode="anchor", fontsize=8
    )
    axes.tick_params(axis="x", length=0)
    axes.set_title(panel.title, loc="left")
    axes.grid(axis="y")
    for place in places[1::2]:
        axes.axvspan(place - 0.5, place + 0.5, color="#F4F4F4", lw=0, zorder=0)


def _lines(panels: Sequence[Panel]) -> list[list[Panel]]:
    """The panels in lines, as many in each as there is room for."""
    lines: list[list[Panel]] = []
    for panel in panels:
        if lines and _room(*lines[-1], panel) <= GROUPS_A_LINE:
            lines[-1].append(panel)
        else:
            lines.append([panel])
    return lines


def _room(*line: Panel) -> int:
    return sum(max(LEAST_GROUPS, len(panel.labels)) for panel in line)


def _labels(panel: Panel) -> list[str]:
    return [f"{label} ({_short(n)})" for label, n in zip(panel.labels, panel.n, strict=True)]


def _longest(panel: Panel) -> int:
    return max(map(len, _labels(panel)))


def _short(number: int) -> str:
    """A count in about three characters: 813, 2.0k, 13k, 1.2M."""
    for size, unit in ((10**6, "M"), (1000, "k")):
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return str(number)
