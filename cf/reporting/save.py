"""Figures to files."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from cf.files import written
from cf.reporting.style import HOUSE


def save(figure: Figure, folder: Path, name: str) -> Path:
    """The path of the PNG, 144 dots an inch; an SVG lies beside it.

    The same figure gives the same bytes: neither file says when it was made.

    Raises:
        InputError: the system refused to write.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    title = figure.get_suptitle().replace("\n", " ")
    settings: Any = {**HOUSE, "svg.hashsalt": "cf", "svg.fonttype": "path"}
    with matplotlib.rc_context(settings):
        with written(png) as beside:
            figure.savefig(beside, dpi=144, metadata={"Title": title})
        with written(svg) as beside:
            figure.savefig(beside, metadata={"Title": title, "Date": None})
    return png
