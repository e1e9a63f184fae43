"""Figures to files."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from cf.core.io import atomic_write
from cf.reporting.style import RC_PARAMS


def save(figure: Figure, path: Path) -> None:
    """Write a figure as what the suffix of `path` says: .png, 144 dots an inch, or .svg.

    The same figure gives the same bytes: the file does not say when it was made.

    Raises:
        InputError: the system refused to write.
    """
    settings: Any = {**RC_PARAMS, "svg.hashsalt": "cf", "svg.fonttype": "path"}
    metadata: dict[str, Any] = {"Title": figure.get_suptitle().replace("\n", " ")}
    if path.suffix == ".svg":
        metadata["Date"] = None
    with matplotlib.rc_context(settings), atomic_write(path) as tmp_path:
        figure.savefig(tmp_path, dpi=144, metadata=metadata)
