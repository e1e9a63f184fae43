"""Frames to matplotlib figures: nothing is read, saved or shown here.

Titles are given whole: what is shown, of which data set and model.
"""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from cf.reporting.style import (
    COLORS,
    FILL,
    GRAY,
    INK,
    RC_PARAMS,
    Style,
    apply_layout,
    new_figure,
    with_commas,
)

BLUES = LinearSegmentedColormap.from_list("blues", ["#D3E3F3", "#6BAED6", "#2171B5", "#08306B"])


@matplotlib.rc_context(RC_PARAMS)
def loss_curves(
    histories: Mapping[str, pd.DataFrame],
    styles: Mapping[str, Style],
    title: str,
    burn_in: Mapping[str, int] | None = None,
) -> Figure:
    """Training and validation loss: by epoch of gradient descent, and by sweep of a sampler.

    The axis ends at three times the lowest validation loss, so that a model that starts far off
    does not flatten the others. The legend has each model's last validation loss.

    Args:
        histories: epoch (from 1), train_loss and valid_loss in stars², and noise_precision if
            the model is sampled; a row per epoch, perhaps none.
        styles: of these models at least.
        title: of the figure.
        burn_in: sweeps before the first sample, by sampled model.
    """
    last = {name: rows["valid_loss"].iloc[-1] for name, rows in histories.items() if len(rows)}
    order = sorted(last, key=lambda name: (np.isnan(last[name]), last[name]))
    sampled = [name for name in order if "noise_precision" in histories[name]]
    kinds = {"epoch": [name for name in order if name not in sampled], "sweep": sampled}
    kinds = {unit: names for unit, names in kinds.items() if names} or {"epoch": []}
    n_columns = 1 + len(order) // 16
    figure = new_figure(title, (3 * len(kinds) + 1 + 1.8 * n_columns, 4.4))
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    lines = {}
    for axes, (unit, names) in zip(panels, kinds.items(), strict=True):
        for name in names:
            rows, label = histories[name], f"{last[name]:.3f}  {name}"
            look: dict[str, Any] = {"color": styles[name].color, "marker": styles[name].marker}
            look["markevery"] = max(1, len(rows) // 8)
            axes.plot(rows["epoch"], rows["train_loss"], ls="--", lw=1.1, mfc="white", **look)
            (lines[name],) = axes.plot(rows["epoch"], rows["valid_loss"], label=label, **look)
            if end := (burn_in or {}).get(name):
                axes.axvline(end, color=GRAY, lw=1, ls=":")
                at = {"transform": axes.get_xaxis_transform(), "va": "top", "color": INK}
                axes.text(end, 0.99, " end of burn-in", **at)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel(unit)
        axes.grid(axis="y")
    panels[0].set_ylabel("mean squared error (stars²)")
    limit = 3 * min((histories[name]["valid_loss"].min() for name in order), default=np.inf)
    low = min(axes.dataLim.y0 for axes in panels)
    if max(axes.dataLim.y1 for axes in panels) > limit:
        panels[0].set_ylim(low - 0.05 * (limit - low), limit)
        panels[0].set_title(f"losses above {limit:.2f} are not shown", loc="left")
    text: dict[str, Any] = {"title": "last validation loss", "alignment": "left"}
    handles = [lines[name] for name in order]
    figure.legend(handles=handles, loc="outside right upper", ncols=n_columns, **text)
    look = {"color": INK, "marker": "o"}
    handles = [
        Line2D([], [], label="validation", **look),
        Line2D([], [], label="training", ls="--", lw=1.1, mfc="white", **look),
    ]
    figure.legend(handles=handles, loc="outside right lower")
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def predicted_against_observed(
    predicted: "pd.Series[float]",
    observed: "pd.Series[float]",
    rating_range: tuple[float, float],
    title: str,
) -> Figure:
    """Counts of (predicted, observed) pairs, one row of bins a rating, and both histograms.

    Both axes show the range of ratings and a sixth of its width on either side, whatever the
    predictions, so that models compare; the text above counts the predictions that leave the
    range and the axes.

    Args:
        predicted: (n,) in stars.
        observed: (n,) in stars.
        rating_range: lowest and highest rating that the data set allows, in stars.
        title: of the figure.

    Source: the notebook, `sns.jointplot(preds, y, kind='hex')`.
    """
    low, high = rating_range
    margin = (high - low) / 6
    limits = low - margin, high + margin
    step = rating_step(observed, rating_range)
    shown = predicted.between(*limits)
    x, y = predicted[shown], low + step * ((observed[shown] - low) / step).round()
    bins = np.linspace(*limits, 49)
    levels = np.arange(low, high + step / 2, step)
    rows = (levels[:, None] + step * np.array([-0.42, 0.42])).ravel()

    grid = seaborn.JointGrid(height=7.4, ratio=6, space=0.1, xlim=limits, ylim=limits)
    figure: Figure = grid.figure
    pyplot.close(figure)  # pyplot would keep it alive
    figure.set_layout_engine(None)  # seaborn's would draw it once more at each saving
    figure.subplots_adjust(left=0.09, right=0.86, bottom=0.08, top=0.85)
    title = textwrap.fill(title, 76)
    figure.suptitle(title, x=0.09, y=0.98, ha="left")
    rmse = (predicted.astype(float) - observed).pow(2).mean() ** 0.5
    outside, beyond = ((~predicted.between(*ends)).sum() for ends in (rating_range, limits))
    text = (
        f"RMSE {rmse:.3f} stars over {len(predicted):,} ratings; "
        "dashed: predicted = observed; dots: mean prediction\n"
        f"predictions outside {low:g} to {high:g} stars: {outside:,}, of which beyond these axes: "
        f"{beyond:,}"
    )
    figure.text(0.09, 0.935 - 0.026 * title.count("\n"), text, va="top", linespacing=1.4)

    counts, *_ = np.histogram2d(x, y, [bins, rows])
    norm = LogNorm(1, max(2, counts.max()))
    cells = grid.ax_joint.pcolormesh(
        bins, rows, np.ma.masked_equal(counts.T, 0), cmap=BLUES, norm=norm, rasterized=True
    )
    grid.ax_joint.plot(limits, limits, color=COLORS[1], lw=1.4, ls="--")
    means = x.groupby(y).mean()
    grid.ax_joint.plot(means, means.index, ls="", marker="o", mfc="white", color=INK)
    grid.set_axis_labels("predicted (stars)", "observed (stars)")
    grid.ax_marg_x.stairs(*np.histogram(x, bins), fill=True, color=FILL)
    for axes in (grid.ax_marg_x, grid.ax_marg_y):
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    sizes = y.value_counts()
    grid.ax_marg_y.barh(sizes.index, sizes, height=0.84 * step, color=FILL)
    scale = figure.add_axes((0.89, 0.08, 0.02, 0.66))
    ticks: dict[str, Any] = {"ticks": LogLocator(subs=(1, 3)), "format": FuncFormatter(with_commas)}
    figure.colorbar(cells, cax=scale, label="number of ratings", **ticks)
    scale.minorticks_off()
    return figure


def rating_step(observed: "pd.Series[float]", rating_range: tuple[float, float]) -> float:
    """The grid that ratings lie on: whole or half stars, else a twentieth of the range."""
    low, high = rating_range
    finest = (high - low) / 20
    for step in (1.0, 0.5):
        if step >= finest and ((observed - low) % step == 0).all():
            return step
    return finest


@matplotlib.rc_context(RC_PARAMS)
def calibration(
    coverage: pd.DataFrame, deciles: pd.DataFrame, styles: Mapping[str, Style], title: str
) -> Figure:
    """Coverage of prediction intervals, and RMSE by decile of the predicted standard deviation.

    Perfectly calibrated, both panels have all points on the dashed diagonal.

    Args:
        coverage: model, level in percent and coverage in [0, 1].
        deciles: model, decile, predicted_sd, rmse, rmse_low and rmse_high in stars; NaN where
            there is no interval.
        styles: of these models at least.
        title: of the figure.
    """
    figure = new_figure(title, (8.6, 5.2))
    shares, errors = figure.subplots(1, 2)
    for name, curve in coverage.groupby("model", sort=False):
        style, decile = styles[str(name)], deciles[deciles["model"] == name]
        look: dict[str, Any] = {"color": style.color, "marker": style.marker}
        shares.plot(curve["level"], 100 * curve["coverage"], label=name, markevery=(9, 10), **look)
        ends = decile["predicted_sd"], decile["rmse_low"], decile["rmse_high"]
        errors.vlines(*ends, color=style.color, lw=1, alpha=0.5)
        errors.plot(decile["predicted_sd"], decile["rmse"], lw=0.7, **look)
    shares.set(xlabel="level of the prediction interval (%)", ylabel="coverage (% of ratings)")
    shares.set_title(
        "coverage of prediction intervals;\nabove the diagonal they are too wide", loc="left"
    )
    errors.set(xlabel="predicted standard deviation (stars)", ylabel="RMSE (stars)")
    errors.set_title(
        "deciles of predicted standard deviation (bars: 95%);\nabove the diagonal it is too small",
        loc="left",
    )
    values = deciles[["predicted_sd", "rmse", "rmse_low", "rmse_high"]].to_numpy(float)
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.05 * (high - low) or 0.1
    for axes, limits in ((shares, (0, 100)), (errors, (max(0, low - margin), high + margin))):
        axes.plot(limits, limits, color=GRAY, ls="--", lw=1, zorder=1)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid()
    handles, labels = shares.get_legend_handles_labels()
    n_columns = max(1, int(8.6 / (0.6 + 0.09 * max(map(len, labels)))))
    figure.legend(handles, labels, loc="outside lower left", ncols=n_columns)
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def activity(user_counts: "pd.Series[int]", item_counts: "pd.Series[int]", title: str) -> Figure:
    """Ratings of each user and of each item against its rank, on logarithmic axes.

    Args:
        user_counts: ratings of each user, > 0, the most first, as `value_counts` gives them.
        item_counts: of each item.
        title: of the figure.
    """
    figure = new_figure(title, (8, 4))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, counts, what in zip(
        panels, (user_counts, item_counts), ("user", "item"), strict=True
    ):
        n = len(counts)
        # A few hundred ranks, evenly spaced on the axis, look the same as a hundred thousand.
        ranks = np.unique(np.geomspace(1, max(1, n), 400).round().astype(int))[:n]
        ranked = counts.iloc[ranks - 1]
        axes.plot(ranks, ranked, color=COLORS[0], marker="." if n < 20 else "")
        axes.fill_between(ranks, ranked, 0.8, color=FILL, alpha=0.4, lw=0)
        axes.set(xscale="log", yscale="log", xlim=(0.8, 1.25 * max(10, n)), ylim=(0.8, None))
        axes.set(xlabel=f"rank of the {what}", ylabel=f"number of ratings of the {what}")
        axes.xaxis.set_major_formatter(with_commas)
        axes.yaxis.set_major_formatter(with_commas)
        axes.minorticks_off()
        axes.grid()
        if n:
            share = counts.iloc[: -(-n // 10)].sum() / counts.sum()
            axes.set_title(
                f"{n:,} {what}s: median {counts.median():,g} ratings, maximum {counts.max():,};\n"
                f"the top 10% have {share:.0%} of the ratings",
                loc="left",
            )
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def ranking(metrics: pd.DataFrame, styles: Mapping[str, Style], title: str) -> Figure:
    """Each model's ranking metrics as bars with their values, a panel per metric.

    Args:
        metrics: a row per model, from the top down, and a column per metric, under its heading.
        styles: of these models at least.
        title: of the figure.
    """
    figure = new_figure(title, (9.6, 1.4 + 0.3 * len(metrics)))
    panels = figure.subplots(1, len(metrics.columns), sharey=True, squeeze=False)[0]
    for axes, (heading, values) in zip(panels, metrics.items(), strict=True):
        bars = axes.barh(
            metrics.index, values, color=[styles[name].color for name in metrics.index]
        )
        labels = [f"{value:.2f}" if value >= 1 else f"{value:.4f}" for value in values]
        axes.bar_label(bars, labels, padding=3)
        axes.set_title(str(heading), loc="left")
        axes.margins(x=0.35)
        axes.tick_params(length=0, labelbottom=False)
        axes.spines["bottom"].set_visible(False)
    panels[0].invert_yaxis()
    return apply_layout(figure)
