"""Tables as heat maps: the crosstab of the data, and a grid of experiments."""

import re
import textwrap
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cf.reporting.figures import rating_step
from cf.reporting.style import RC_PARAMS, apply_layout, new_figure


@matplotlib.rc_context(RC_PARAMS)
def crosstab_heatmap(
    table: pd.DataFrame,
    item_titles: "pd.Series[str]",
    rating_range: tuple[float, float],
    title: str,
) -> Figure:
    """The table as colored cells with their values; a cell without a rating is blank.

    Args:
        table: user ids by item ids, in stars; NaN where there is no rating.
        item_titles: by item id; where a title is missing, the id stands alone.
        rating_range: the ends of the color scale, in stars.
        title: of the figure.
    """
    (low, high), (n_rows, n_columns) = rating_range, table.shape
    labels = [_item_label(item_titles.get(item), item) for item in table.columns]
    longest = max(map(len, labels), default=0)
    figure = new_figure(title, (3.4 + 0.44 * n_columns, 1.4 + 0.05 * longest + 0.36 * n_rows))
    axes = figure.add_subplot()
    # One color a rating, so that neighbors such as 4.5 and 5 can be told apart.
    step = rating_step(pd.Series(table.to_numpy().ravel()).dropna(), rating_range)
    colors = matplotlib.colormaps["RdYlBu"].resampled(round((high - low) / step) + 1)
    _heatmap(
        axes, table, "g", {"label": "rating (stars)", "shrink": 0.8},
        cmap=colors, vmin=low - step / 2, vmax=high + step / 2,
    )  # fmt: skip
    axes.set_xticklabels(labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set(xlabel="item: title and id; a blank cell is not rated", ylabel="user id")
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def grid_heatmap(rmse: pd.DataFrame, title: str) -> Figure:
    """RMSE over two parameters as colored cells with their values, the lowest in bold.

    Args:
        rmse: in stars, by the values of one parameter and of another, whose names the index and
            the columns have; NaN where an experiment failed: a blank cell.
        title: of the figure.
    """
    n_rows, n_columns = rmse.shape
    digits = partial(np.format_float_positional, trim="-")  # 0.00005, not 5e-05
    rmse = rmse.rename(index=digits, columns=digits)
    figure = new_figure(title, (3.2 + 0.9 * n_columns, 1.8 + 0.55 * n_rows))
    axes = figure.add_subplot()
    _heatmap(axes, rmse, ".4f", {"label": "validation RMSE (stars)"}, cmap="viridis")
    lowest = f"{np.nanmin(rmse.to_numpy()):.4f}"
    for text in axes.texts:
        text.set_fontweight("bold" if text.get_text() == lowest else "normal")
    return apply_layout(figure)


def _heatmap(
    axes: Axes, table: pd.DataFrame, fmt: str, colorbar: dict[str, Any], **look: Any
) -> None:
    """seaborn's, with a tick at every row and column and a color bar that layouts can move."""
    look |= {"annot": True, "fmt": fmt, "linewidths": 1.5, "linecolor": "white"}
    colorbar |= {"use_gridspec": False}
    seaborn.heatmap(table, ax=axes, xticklabels=True, yticklabels=True, cbar_kws=colorbar, **look)
    axes.tick_params(length=0, rotation=0)


def _item_label(title: object, item: object) -> str:
    """A label of at most about 30 characters: no bracketed parts, the article in front, the id."""
    name = re.sub(r"\s*\([^)]*\)", "", title if isinstance(title, str) else "")
    name = re.sub(r"^(.*), (The|A|An)$", r"\2 \1", name)
    if len(name) > 24:
        name = (textwrap.shorten(name, 24, placeholder="") or name[:23]).rstrip(" -:,") + "…"
    return f"{name}  {item}".strip()
