"""How every figure looks and is saved: colors, markers, type, title."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, repeat
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cf.core.io import atomic_write

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
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.facecolor": "white",
    "figure.titlesize": 12,
    "font.size": 9,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Style:
    """How one model looks, on every figure."""

    color: str
    marker: str


def model_styles(models: Iterable[str], baselines: Iterable[str] = ()) -> dict[str, Style]:
    """The style of each model, by its place among `models`; baselines are gray."""
    colored = zip(models, map(Style, cycle(COLORS), cycle(MARKERS)), strict=False)
    gray = zip(baselines, map(Style, repeat(GRAY), cycle(MARKERS[::-1])), strict=False)
    return dict([*colored, *gray])


def new_figure(title: str, size: tuple[float, float]) -> Figure:
    """An empty figure with its title, `size` in inches."""
    figure = Figure(figsize=size)
    figure.suptitle(textwrap.fill(title, int(12 * (size[0] - 1.6))), x=0.01, ha="left")
    return figure


def apply_layout(figure: Figure) -> Figure:
    """The figure with nothing cut off or overlapping, settled once instead of at each drawing."""
    ConstrainedLayoutEngine().execute(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as what the suffix of `path` says: .png, 144 dots an inch, or .svg.

    The same figure gives the same bytes. Raises `InputError` if the system refuses to write.
    """
    settings: Any = {**RC_PARAMS, "svg.hashsalt": "cf", "svg.fonttype": "path"}
    metadata: dict[str, Any] = {"Title": figure.get_suptitle().replace("\n", " ")}
    metadata |= {"Date": None} if path.suffix == ".svg" else {}
    with matplotlib.rc_context(settings), atomic_write(path) as tmp_path:
        figure.savefig(tmp_path, dpi=144, metadata=metadata)
