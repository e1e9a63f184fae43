"""How every figure looks: colours, markers, type, title."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's colours, those that read on white. Seven colours and eight markers have no
# common divisor, so 56 models all look different.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
GREY = "#8A8A8A"
INK = "#333333"
FILL = "#9DB8D2"
BLUES = LinearSegmentedColormap.from_list("blues", ["#D3E3F3", "#6BAED6", "#2171B5", "#08306B"])

HOUSE: Any = {
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

    colour: str
    marker: str


def model_styles(models: Iterable[str], baselines: Iterable[str] = ()) -> dict[str, Style]:
    """The style of each model, by its place among `models`; baselines are grey."""
    styles = {
        name: Style(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])
        for place, name in enumerate(models)
    }
    for place, name in enumerate(baselines):
        styles[name] = Style(GREY, MARKERS[-1 - place % len(MARKERS)])
    return styles


def with_commas(number: float, _place: float = 0) -> str:
    """A whole number with commas between thousands, for the ticks of an axis."""
    return f"{number:,.0f}"


def titled(title: str, size: tuple[float, float]) -> Figure:
    """An empty figure with its title, `size` in inches."""
    figure = Figure(figsize=size)
    figure.suptitle(textwrap.fill(title, int(12 * (size[0] - 1.6))), x=0.01, ha="left")
    return figure


def arranged(figure: Figure) -> Figure:
    """The figure with nothing cut off or overlapping, settled once instead of at each drawing."""
    ConstrainedLayoutEngine().execute(figure)
    return figure
