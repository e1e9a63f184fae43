"""How every figure looks: colors, markers, type, title."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's colors, those that read on white. Seven colors and eight markers have no
# common divisor, so 56 models all look different.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
GRAY = "#8A8A8A"
INK = "#333333"
FILL = "#9DB8D2"

RC_PARAMS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "white",
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.facecolor": "white",
    "figure.titlesize": 12,
    "font.size": 9,
    "grid.color": "#E4E4E4",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "text.parse_math": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


@dataclass(frozen=True)
class Style:
    """How one model looks, on every figure."""

    color: str
    marker: str


def model_styles(models: Iterable[str], baselines: Iterable[str] = ()) -> dict[str, Style]:
    """The style of each model, by its place among `models`; baselines are gray."""
    styles = {
        name: Style(COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)])
        for place, name in enumerate(models)
    }
    for place, name in enumerate(baselines):
        styles[name] = Style(GRAY, MARKERS[-1 - place % len(MARKERS)])
    return styles


def with_commas(number: float, _place: float = 0) -> str:
    """A whole number with commas between thousands, for the ticks of an axis."""
    return f"{number:,.0f}"


def new_figure(title: str, size: tuple[float, float]) -> Figure:
    """An empty figure with its title, `size` in inches."""
    figure = Figure(figsize=size)
    figure.suptitle(textwrap.fill(title, int(12 * (size[0] - 1.6))), x=0.01, ha="left")
    return figure


def apply_layout(figure: Figure) -> Figure:
    """The figure with nothing cut off or overlapping, settled once instead of at each drawing."""
    ConstrainedLayoutEngine().execute(figure)
    return figure
