"""Small multiples: a metric of each model in groups of rows, one panel a way to group."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cf.reporting.style import INK, RC_PARAMS, Style, new_figure

GROUPS_PER_LINE = 24
MIN_GROUPS = 5  # that a panel has room for, so that its title fits
PLOT, SLOT, LEFT, BETWEEN = 1.5, 0.36, 0.8, 0.3
"""In inches: a panel's height, a group's width, and the space left of and between panels, which
are as wide as their groups are many: constrained layout cannot do that."""


@dataclass(frozen=True)
class Panel:
    """One way to group rows.

    `rows` has label, model, n (rows in the group), and a metric with the ends of its interval,
    which are NaN where it has none; the same labels in the same order for each model.
    """

    title: str  # what the groups have in common
    ordered: bool  # whether groups follow each other, so that lines may join them
    rows: pd.DataFrame

    @cached_property
    def labels(self) -> list[str]:
        """The name and size of each group."""
        groups = self.rows.drop_duplicates("label")[["label", "n"]].itertuples(index=False)
        return [f"{label} ({_short(n)})" for label, n in groups]

    @property
    def n_slots(self) -> int:
        """Groups that the panel has room for."""
        return max(MIN_GROUPS, len(self.labels))


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

    Bars are intervals, from the columns <metric>_low to <metric>_high; a point without one is
    hollow. No scale exceeds the limits: what lies beyond is an arrow at the edge. Models without
    a style are not drawn; the note stands below the title.
    """
    lines = _lines(panels)
    n_slots = max(sum(panel.n_slots for panel in line) for line in lines)
    width = LEFT + SLOT * n_slots + BETWEEN * (max(map(len, lines)) - 1) + 0.15
    n_columns = max(1, int(width / (0.45 + 0.09 * max(map(len, styles)))))
    figure = new_figure(title, (width, 1))
    note = textwrap.fill(note, int(14 * width))
    title_height = 0.4 + 0.2 * figure.get_suptitle().count("\n")
    head = title_height + 0.55 + 0.18 * note.count("\n")
    foot = 0.05 + 0.2 * -(-len(styles) // n_columns)
    below = 0.4 + 0.04 * max(len(label) for panel in panels for label in panel.labels)
    height = head + len(lines) * (PLOT + below) + foot
    figure.set_figheight(height)
    figure.suptitle(figure.get_suptitle(), x=0.01, y=1 - 0.1 / height, ha="left")
    figure.text(0.01, 1 - title_height / height, note, va="top", linespacing=1.3)
    figure.supylabel(ylabel, x=0.01, fontsize=10, ha="left")
    for number, line in enumerate(lines):
        left, bottom = LEFT, height - head - number * (PLOT + below) - PLOT
        scale = _scale(line, metric, list(styles), limits)
        for panel in line:
            box = np.array([left, bottom, SLOT * panel.n_slots, PLOT])
            axes = figure.add_axes(tuple(box / [width, height, width, height]), ylim=scale)
            _draw(axes, panel, metric, styles)
            axes.tick_params(labelleft=panel is line[0])
            left += box[2] + BETWEEN
    points = [Line2D([], [], ls="", **vars(style)) for style in styles.values()]
    figure.legend(points, styles, loc="lower left", ncols=n_columns, handletextpad=0.2)
    return figure


def _lines(panels: Sequence[Panel]) -> list[list[Panel]]:
    """The panels in lines, as many in each as there is room for."""
    lines: list[list[Panel]] = []
    for panel in panels:
        if lines and sum(other.n_slots for other in [*lines[-1], panel]) <= GROUPS_PER_LINE:
            lines[-1].append(panel)
        else:
            lines.append([panel])
    return lines


def _scale(
    line: Sequence[Panel], metric: str, models: Sequence[str], limits: tuple[float, float]
) -> tuple[float, float]:
    """The ends of an axis that holds all values and intervals of a line, within the limits."""
    rows = pd.concat([panel.rows for panel in line]).query("model in @models")
    values = rows[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(float)
    inside = np.clip(values[np.isfinite(values)], *limits)
    if limits[0] < 0:
        inside = np.append(inside, 0)
    margin = 0.06 * np.ptp(inside) or 0.1
    return max(inside.min() - margin, limits[0]), min(inside.max() + margin, limits[1])


def _draw(axes: Axes, panel: Panel, metric: str, styles: Mapping[str, Style]) -> None:
    positions = np.arange(len(panel.labels))
    low, high = axes.get_ylim()
    if low < 0 < high:
        axes.axhline(0, color=INK, lw=0.9)
    for number, (name, style) in enumerate(styles.items()):
        rows = panel.rows[panel.rows["model"] == name]
        columns = (metric, f"{metric}_low", f"{metric}_high")
        value, *ends = (rows[column].to_numpy(float) for column in columns)
        x = positions + 0.76 * ((number + 0.5) / len(styles) - 0.5)
        inside, has_bar = (low <= value) & (value <= high), ~np.isnan(ends[0])
        bars = (values[inside & has_bar] for values in (x, *ends))
        axes.vlines(*bars, color=style.color, lw=1, alpha=0.5)
        if panel.ordered:
            axes.plot(x, np.where(inside, value, np.nan), color=style.color, lw=0.7, alpha=0.6)
        for mask, face in ((inside & has_bar, style.color), (inside & ~has_bar, "white")):
            if mask.any():  # what is empty and not clipped would count as a point at the corner
                look = {**vars(style), "mfc": face}
                axes.plot(x[mask], value[mask], ls="", ms=4, clip_on=False, **look)
        for place, end in zip(x[~inside], np.clip(value[~inside], low, high), strict=True):
            tail = end + 0.15 * (low - high if end == high else high - low)
            arrow = {"arrowstyle": "->", "color": style.color, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (place, end), (place, tail), arrowprops=arrow)
    axes.set_xlim(-0.6, panel.n_slots - 0.4)
    axes.set_xticks(
        positions, panel.labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=8
    )
    axes.tick_params(axis="x", length=0)
    axes.set_title(panel.title)
    axes.grid(axis="y")
    for place in positions[1::2]:
        axes.axvspan(place - 0.5, place + 0.5, color="#F4F4F4", lw=0, zorder=0)


def _short(number: int) -> str:
    """A count in about three characters: 813, 2.0k, 13k, 1.2M."""
    for size, unit in ((10**6, "M"), (1000, "k")):
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return str(number)
