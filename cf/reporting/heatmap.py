"""A grid of experiments as a picture."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cf.evaluation.grid import Grid
from cf.reporting.style import BLUES, HOUSE


@matplotlib.rc_context(HOUSE)
def grid_heatmap(grid: Grid, title: str) -> Figure:
    """RMSE over two parameters as coloured cells with their values, the lowest in bold.

    Dark is good; an experiment that did not succeed is a blank cell.
    """
    n_rows, n_columns = grid.rmse.shape
    figure = Figure(figsize=(3.2 + 0.9 * n_columns, 1.8 + 0.55 * n_rows))
    figure.suptitle(title, x=0.01, ha="left")
    axes = figure.add_subplot()
    cells = axes.pcolormesh(grid.rmse, cmap=BLUES.reversed(), edgecolors="white", linewidth=1.5)
    middle = (np.nanmin(grid.rmse) + np.nanmax(grid.rmse)) / 2
    best = np.unravel_index(np.nanargmin(grid.rmse), grid.rmse.shape)
    for row, column in np.argwhere(~np.isnan(grid.rmse)):
        value = grid.rmse[row, column]
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{value:.4f}",
            ha="center",
            va="center",
            color="white" if value < middle else "black",
            weight="bold" if (row, column) == best else "normal",
        )
    axes.set_xticks(np.arange(n_columns) + 0.5, [f"{value:g}" for value in grid.columns])
    axes.set_yticks(np.arange(n_rows) + 0.5, [f"{value:g}" for value in grid.rows])
    axes.set(xlabel=grid.keys[1], ylabel=grid.keys[0])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(cells, label="validation RMSE (stars)", use_gridspec=False)
    bar.ax.invert_yaxis()
    ConstrainedLayoutEngine().execute(figure)
    return figure
