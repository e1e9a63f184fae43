"""Small multiples: a metric of each model in groups of rows, one panel a way to group."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cf.reporting.style import INK, RC_PARAMS, Style, new_figure

GROUPS_PER_LINE = 24
MIN_GROUPS = 5  # that a panel has room for, so that its title fits

# Inches. Constrained layout cannot be had: panels are as wide as their groups are many.
GROUP, PLOT, CHARACTER = 0.36, 1.5, 0.04  # a group's width, a panel's height, a slanted letter
LEFT, BETWEEN, RIGHT = 0.8, 0.3, 0.15
ABOVE, BELOW = 0.3, 0.1  # a panel: its title, and what is between lines
HEAD, FOOT = 0.68, 0.25


@dataclass(frozen=True)
class Panel:
    """One way to group rows.

    Attributes:
        title: what the groups have in common.
        ordered: whether groups follow each other, so that lines may join them.
        rows: label, model, n (rows in the group), and a metric with the ends of its interval,
            which are NaN where it has none; the same labels in the same order for each model.
    """

    title: str
    ordered: bool
    rows: pd.DataFrame

    @property
    def labels(self) -> list[str]:
        """The name and size of each group."""
        groups = self.rows.drop_duplicates("label")
        return [
            f"{label} ({_short(n)})" for label, n in zip(groups["label"], groups["n"], strict=True)
        ]

    @property
    def n_slots(self) -> int:
        """Groups that the panel has room for."""
        return max(MIN_GROUPS, self.rows["label"].nunique())


@matplotlib.rc_context(RC_PARAMS)
def small_multiples(
    panels: Sequence[Panel],
    metric: str,
    styles: Mapping[str, Style],
    ylabel: str,
    limits: tuple[float, float],
    note: str,
    title: str,
) -> Figure:
    """The panels in lines, each line on one scale, the models of a group next to each other.

    Bars are intervals; a point without one is hollow. What lies beyond the limits is an arrow
    at the edge.

    Args:
        metric: the column to draw; its interval is in <metric>_low and <metric>_high.
        styles: of the models to draw.
        ylabel: what is drawn, with its unit.
        limits: that no scale exceeds.
        note: what to know in order to read the figure.
        title: of the figure.
    """
    lines = _lines(panels)
    width = LEFT + RIGHT + max(map(_width, lines))
    n_columns = max(1, int(width / (0.45 + 0.09 * max(map(len, styles)))))
    foot = FOOT + 0.2 * -(-len(styles) // n_columns)
    longest = [max(len(label) for panel in line for label in panel.labels) for line in lines]
    heights = [ABOVE + PLOT + BELOW + CHARACTER * length for length in longest]
    figure = new_figure(title, (width, 1))
    n_breaks = figure.get_suptitle().count("\n")
    note = textwrap.fill(note, int(14 * width))
    head = HEAD + 0.2 * n_breaks + 0.17 * note.count("\n")
    size = width, head + sum(heights) + foot
    figure.set_size_inches(size)
    figure.suptitle(figure.get_suptitle(), x=0.01, y=1 - 0.1 / size[1], ha="left")
    figure.text(0.01, 1 - (0.4 + 0.2 * n_breaks) / size[1], note, va="top", linespacing=1.3)
    figure.text(0.01, (foot + sum(heights) / 2) / size[1], ylabel, rotation=90, va="center")
    top = size[1] - head
    for line, height in zip(lines, heights, strict=True):
        left = LEFT
        scale = _scale(line, metric, list(styles), limits)
        for panel in line:
            box = left, top - ABOVE - PLOT, GROUP * panel.n_slots, PLOT
            axes = figure.add_axes(tuple(np.array(box) / np.tile(size, 2)))
            _draw(axes, panel, metric, styles, scale)
            axes.tick_params(labelleft=panel is line[0])
            left += box[2] + BETWEEN
        top -= height
    handles = [
        Line2D([], [], label=name, color=style.color, marker=style.marker, ls="")
        for name, style in styles.items()
    ]
    figure.legend(handles=handles, loc="lower left", ncols=n_columns, handletextpad=0.2)
    return figure


def _scale(
    line: Sequence[Panel], metric: str, models: Sequence[str], limits: tuple[float, float]
) -> tuple[float, float]:
    """The ends of the axis of a line of panels: all values and intervals that are within limits."""
    rows = pd.concat([panel.rows for panel in line])
    rows = rows[rows["model"].isin(models)]
    values = rows[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(float).ravel()
    values = np.clip(values[np.isfinite(values)], *limits)
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    if limits[0] < 0:
        low, high = min(low, 0), max(high, 0)
    margin = 0.06 * (high - low) or 0.1
    return max(low - margin, limits[0]), min(high + margin, limits[1])


def _draw(
    axes: Axes,
    panel: Panel,
    metric: str,
    styles: Mapping[str, Style],
    scale: tuple[float, float],
) -> None:
    low, high = scale
    gap = 0.76 / max(1, len(styles))
    positions = np.arange(len(panel.labels))
    if low < 0 < high:
        axes.axhline(0, color=INK, lw=0.9)
    for number, (name, style) in enumerate(styles.items()):
        rows = panel.rows[panel.rows["model"] == name]
        value, *ends = (
            rows[key].to_numpy(float) for key in (metric, f"{metric}_low", f"{metric}_high")
        )
        x = positions + gap * (number - (len(styles) - 1) / 2)
        inside, has_bar = (low <= value) & (value <= high), ~np.isnan(ends[0])
        barred = inside & has_bar
        bars = x[barred], ends[0][barred], ends[1][barred]
        axes.vlines(*bars, color=style.color, lw=1, alpha=0.5)
        if panel.ordered:
            axes.plot(x, np.where(inside, value, np.nan), color=style.color, lw=0.7, alpha=0.6)
        for mask, face in ((barred, style.color), (inside & ~has_bar, "white")):
            if mask.any():
                look: dict[str, Any] = {"color": style.color, "marker": style.marker, "mfc": face}
                axes.plot(x[mask], value[mask], ls="", ms=4, clip_on=False, **look)
        for mask, end, start in ((value > high, high, 0.15), (value < low, low, -0.15)):
            for place in x[mask]:
                arrow = {"arrowstyle": "->,head_width=0.12,head_length=0.2", "color": style.color}
                tail = end - start * (high - low)
                axes.annotate("", (place, end), (place, tail), arrowprops={**arrow, "shrinkA": 0})
    axes.set(xlim=(-0.6, panel.n_slots - 0.4), ylim=scale)
    axes.set_xticks(
        positions, panel.labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=8
    )
    axes.tick_params(axis="x", length=0)
    axes.set_title(panel.title, loc="left")
    axes.grid(axis="y")
    for place in positions[1::2]:
        axes.axvspan(place - 0.5, place + 0.5, color="#F4F4F4", lw=0, zorder=0)


def _lines(panels: Sequence[Panel]) -> list[list[Panel]]:
    """The panels in lines, as many in each as there is room for."""
    lines: list[list[Panel]] = []
    for panel in panels:
        if lines and sum(other.n_slots for other in [*lines[-1], panel]) <= GROUPS_PER_LINE:
            lines[-1].append(panel)
        else:
            lines.append([panel])
    return lines


def _width(line: Sequence[Panel]) -> float:
    return BETWEEN * (len(line) - 1) + GROUP * sum(panel.n_slots for panel in line)


def _short(number: int) -> str:
    """A count in about three characters: 813, 2.0k, 13k, 1.2M."""
    for size, unit in ((10**6, "M"), (1000, "k")):
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return str(number)
