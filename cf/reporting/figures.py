"""Frames to matplotlib figures: nothing is read, saved or shown here.

Titles are given whole: what is shown, of which data set and model. Styles are those of the models
drawn, or of more.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, LogLocator, MaxNLocator

from cf.evaluation.rating_scale import RatingScale, round_ticks
from cf.reporting.style import COLORS, FILL, GRAY, INK, RC_PARAMS, Style, apply_layout, new_figure

DASHED: Any = {"ls": "--", "lw": 1.1, "mfc": "white"}
WITH_COMMAS = "{x:,.0f}"
BLUES = LinearSegmentedColormap.from_list("blues", ["#D3E3F3", "#6BAED6", "#2171B5", "#08306B"])


@matplotlib.rc_context(RC_PARAMS)
def loss_curves(
    histories: Mapping[str, pd.DataFrame],
    styles: Mapping[str, Style],
    unit: str,
    title: str,
    burn_in: Mapping[str, int],
) -> Figure:
    """Training and validation loss: by epoch of gradient descent, and by sweep of a sampler.

    The axis ends at three times the lowest validation loss, so that a model that starts far off
    does not flatten the others. The legend has each model's last validation loss.

    A history has epoch (from 1), train_loss and valid_loss in `unit` squared, and noise_precision
    if the model is sampled; perhaps no row. `burn_in` has each sampled model's sweeps before the
    first sample.
    """
    last = {name: rows["valid_loss"].iloc[-1] for name, rows in histories.items() if len(rows)}
    order = sorted(last, key=lambda name: (np.isnan(last[name]), last[name]))
    counted = ["sweep" if "noise_precision" in histories[name] else "epoch" for name in order]
    kinds = sorted(set(counted)) or ["epoch"]
    n_columns = 1 + len(order) // 16
    figure = new_figure(title, (3 * len(kinds) + 1 + 1.8 * n_columns, 4.4))
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    lines = []
    for name, kind in zip(order, counted, strict=True):
        axes, rows, label = panels[kinds.index(kind)], histories[name], f"{last[name]:.3f}  {name}"
        look: Any = {**vars(styles[name]), "markevery": max(1, len(rows) // 8)}
        axes.plot(rows["epoch"], rows["train_loss"], **DASHED, **look)
        lines += axes.plot(rows["epoch"], rows["valid_loss"], label=label, **look)
        if end := burn_in.get(name):
            axes.axvline(end, color=GRAY, lw=1, ls=":")
            at = {"transform": axes.get_xaxis_transform(), "va": "top", "color": INK}
            axes.text(end, 0.99, " end of burn-in", **at)
    for axes, kind in zip(panels, kinds, strict=True):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel(kind)
        axes.grid(axis="y")
    panels[0].set_ylabel(f"mean squared error ({unit}²)")
    limit = 3 * min((histories[name]["valid_loss"].min() for name in order), default=np.inf)
    low = min(axes.dataLim.y0 for axes in panels)
    if max(axes.dataLim.y1 for axes in panels) > limit:
        panels[0].set_ylim(low - 0.05 * (limit - low), limit)
        panels[0].set_title(f"losses above {limit:.2f} are not shown")
    text: dict[str, Any] = {"title": "last validation loss", "alignment": "left"}
    figure.legend(handles=lines, loc="outside right upper", ncols=n_columns, **text)
    solid = Line2D([], [], label="validation", color=INK, marker="o")
    dashed = Line2D([], [], label="training", color=INK, marker="o", **DASHED)
    figure.legend(handles=[solid, dashed], loc="outside right lower")
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def predicted_against_observed(
    predicted: "pd.Series[float]",
    observed: "pd.Series[float]",
    scale: RatingScale,
    title: str,
) -> Figure:
    """Counts of (predicted, observed) ratings, one row of bins a rating, and both histograms.

    Both axes end with the bins of the lowest and the highest rating, whatever the predictions, so
    that models compare; the text above counts the predictions that leave the range and the axes.

    Source: the notebook, `sns.jointplot(preds, y, kind='hex')`.
    """
    low, high, step, unit = scale.low, scale.high, scale.step, scale.unit
    margin = min(step / 2, (high - low) / 6)
    limits = low - margin, high + margin
    rounded = step * (observed / step).round()
    shown = predicted.between(*limits)
    x, y = predicted[shown], rounded[shown]
    bins = np.linspace(*limits, 49)
    height = 0.84 * 2 * margin
    rows = (scale.levels[:, None] + height * np.array([-0.5, 0.5])).ravel()

    grid = seaborn.JointGrid(height=7.4, ratio=6, space=0.1, xlim=limits, ylim=limits)
    figure: Figure = grid.figure
    pyplot.close(figure)  # pyplot would keep it alive
    figure.set_layout_engine(None)  # seaborn's would draw it once more at each saving
    figure.subplots_adjust(left=0.09, right=0.86, bottom=0.08, top=0.85)
    title = textwrap.fill(title, 76)
    figure.suptitle(title, x=0.09, y=0.98, ha="left")
    rounding = 1e-6 * (high - low)
    ends = (low - rounding, high + rounding), limits
    rmse = (predicted.astype(float) - observed).pow(2).mean() ** 0.5
    outside, beyond = ((~predicted.between(*pair)).sum() for pair in ends)
    text = (
        f"RMSE {rmse:.3f} {unit} over {len(predicted):,} ratings; "
        "dashed: predicted = observed; dots: mean prediction\n"
        f"predictions outside {low:g} to {high:g} {unit}: {outside:,}, of which beyond these axes: "
        f"{beyond:,}"
    )
    figure.text(0.09, 0.935 - 0.026 * title.count("\n"), text, va="top", linespacing=1.4)

    counts, *_ = np.histogram2d(x, y, [bins, rows])
    norm = LogNorm(1, max(2, counts.max()))
    cells = grid.ax_joint.pcolormesh(
        bins, rows, np.ma.masked_equal(counts.T, 0), cmap=BLUES, norm=norm, rasterized=True
    )
    grid.ax_joint.plot(limits, limits, color=COLORS[1], lw=1.4, ls="--")
    means = predicted.groupby(rounded).mean()
    grid.ax_joint.plot(means, means.index, ls="", marker="o", mfc="white", color=INK)
    few = len(scale.levels) < 5
    grid.ax_joint.set_yticks(scale.ticks, _tick_labels(scale.ticks))
    ticks = round_ticks(low, high) if few else scale.ticks
    grid.ax_joint.set_xticks(ticks, _tick_labels(ticks))
    grid.set_axis_labels(f"predicted ({unit})", f"observed ({unit})")
    grid.ax_marg_x.stairs(*np.histogram(x, bins), fill=True, color=FILL)
    for axes in (grid.ax_marg_x, grid.ax_marg_y):
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    sizes = y.value_counts()
    grid.ax_marg_y.barh(sizes.index, sizes, height=height, color=FILL)
    bar = figure.add_axes((0.89, 0.08, 0.02, 0.66))
    counted: dict[str, Any] = {"ticks": LogLocator(subs=(1, 3)), "format": WITH_COMMAS}
    figure.colorbar(cells, cax=bar, label="number of ratings", **counted)
    bar.minorticks_off()
    return figure


@matplotlib.rc_context(RC_PARAMS)
def calibration(
    coverage: pd.DataFrame,
    deciles: pd.DataFrame,
    styles: Mapping[str, Style],
    unit: str,
    title: str,
) -> Figure:
    """Coverage of prediction intervals, and RMSE by decile of the predicted standard deviation.

    Perfectly calibrated, both panels have all points on the dashed diagonal. `coverage` has model,
    level in percent and coverage in [0, 1]; `deciles` has model, decile, predicted_sd, rmse,
    rmse_low and rmse_high in `unit`, NaN where there is no interval.
    """
    figure = new_figure(title, (8.6, 5.2))
    shares, errors = figure.subplots(1, 2)
    for name, curve in coverage.groupby("model", sort=False):
        look, decile = vars(styles[str(name)]), deciles[deciles["model"] == name]
        shares.plot(curve["level"], 100 * curve["coverage"], label=name, markevery=(9, 10), **look)
        ends = decile["predicted_sd"], decile["rmse_low"], decile["rmse_high"]
        errors.vlines(*ends, color=look["color"], lw=1, alpha=0.5)
        errors.plot(decile["predicted_sd"], decile["rmse"], lw=0.7, **look)
    shares.set(xlabel="level of the prediction interval (%)", ylabel="coverage (% of ratings)")
    shares.set_title("coverage of prediction intervals;\nabove the diagonal they are too wide")
    errors.set(xlabel=f"predicted standard deviation ({unit})", ylabel=f"RMSE ({unit})")
    bars = " (bars: 95%)" if deciles["rmse_low"].notna().any() else ""
    errors.set_title(
        f"deciles of predicted standard deviation{bars};\nabove the diagonal it is too small"
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
    n_columns = max(1, int(8.6 / (0.6 + 0.09 * coverage["model"].str.len().max())))
    figure.legend(loc="outside lower left", ncols=n_columns)
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def activity(user_counts: "pd.Series[int]", item_counts: "pd.Series[int]", title: str) -> Figure:
    """Ratings of each user and of each item against its rank, on logarithmic axes.

    The counts, > 0, are in order, the most first, as `value_counts` gives them.
    """
    figure = new_figure(title, (8.6, 4))
    users, items = figure.subplots(1, 2, sharey=True)
    most = max(user_counts.max(), item_counts.max()) if len(user_counts) else 1
    for axes, counts, what in ((users, user_counts, "user"), (items, item_counts, "item")):
        n = len(counts)
        # A few hundred ranks, evenly spaced on the axis, look the same as a hundred thousand.
        ranks = np.unique(np.geomspace(1, max(1, n), 400).round().astype(int))[:n]
        ranked = counts.iloc[ranks - 1]
        axes.plot(ranks, ranked, color=COLORS[0], marker="." if n < 20 else "")
        axes.fill_between(ranks, ranked, 0.8, color=FILL, alpha=0.4, lw=0)
        axes.set(xscale="log", yscale="log", xlim=(0.8, 1.25 * max(10, n)), ylim=(0.8, 1.4 * most))
        axes.set(xlabel=f"rank of the {what}", ylabel=f"number of ratings of the {what}")
        axes.xaxis.set_major_formatter(WITH_COMMAS)
        axes.yaxis.set_major_formatter(WITH_COMMAS)
        axes.minorticks_off()
        if most < 100:
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.grid()
        if n:
            share = counts.iloc[: -(-n // 10)].sum() / counts.sum()
            axes.set_title(
                f"{n:,} {what}{'s' * (n != 1)}: "
                f"median {counts.median():,g} ratings, maximum {counts.max():,};\n"
                f"the top 10% have {share:.0%} of the ratings"
            )
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def ranking(metrics: pd.DataFrame, styles: Mapping[str, Style], title: str) -> Figure:
    """Each model's ranking metrics as bars with their values, a panel per metric.

    `metrics` has a row per model, from the top down, and a column per metric, under its heading.
    """
    figure = new_figure(title, (9.6, 1.4 + 0.3 * len(metrics)))
    panels = figure.subplots(1, len(metrics.columns), sharey=True, squeeze=False)[0]
    for axes, (heading, values) in zip(panels, metrics.items(), strict=True):
        colors = [styles[name].color for name in metrics.index]
        bars = axes.barh(metrics.index, values, color=colors)
        labels = [f"{value:.2f}" if value >= 1 else f"{value:.4f}" for value in values]
        axes.bar_label(bars, labels, padding=3)
        axes.set_title(str(heading))
        axes.margins(x=0.35)
        axes.tick_params(length=0, labelbottom=False)
        axes.spines["bottom"].set_visible(False)
    panels[0].invert_yaxis()
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def crosstab_heatmap(
    table: pd.DataFrame,
    item_titles: "pd.Series[str]",
    scale: RatingScale,
    title: str,
) -> Figure:
    """A table of user ids by item ids as cells in the color of their rating, with its value.

    Where there is none, NaN, a cell is blank. `item_titles` are by item id; where a title is
    missing, the id stands alone.
    """
    if table.empty:
        figure = new_figure(title, (6, 1.4))
        figure.text(0.01, 0.3, "There is no rating to show.")
        return figure
    n_rows, n_columns = table.shape
    has_titles = item_titles.reindex(table.columns).notna().any()
    labels = [_item_label(item_titles.get(item), item) for item in table.columns]
    longest = max(map(len, labels), default=0)
    figure = new_figure(title, (3.4 + 0.44 * n_columns, 1.4 + 0.05 * longest + 0.36 * n_rows))
    axes = figure.add_subplot()
    # One color a rating, so that neighbors such as 4.5 and 5 can be told apart.
    levels = scale.levels
    ticks = scale.ticks[:: 1 + len(scale.ticks) // (2 * n_rows + 2)]
    colors = matplotlib.colormaps["RdYlBu"].resampled(len(levels))
    bar = {"label": f"rating ({scale.unit})", "shrink": 0.8, "ticks": ticks}
    bar["format"] = FixedFormatter(_tick_labels(ticks))
    ends = {"vmin": levels[0] - scale.step / 2, "vmax": levels[-1] + scale.step / 2}
    _heatmap(axes, table, table.map(_rating_text), bar, cmap=colors, **ends)
    axes.set_xticklabels(labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticklabels([_short_id(user) for user in table.index])
    what = "item: title and id" if has_titles else "item id"
    axes.set(xlabel=f"{what}; a blank cell is not rated", ylabel="user id")
    return apply_layout(figure)


@matplotlib.rc_context(RC_PARAMS)
def grid_heatmap(rmse: pd.DataFrame, unit: str, title: str) -> Figure:
    """RMSE in `unit` over two parameters as colored cells with their values, the lowest in bold.

    The index and the columns of `rmse` have the parameters' names and values; NaN, where an
    experiment failed, is a blank cell.
    """
    n_rows, n_columns = rmse.shape
    digits = partial(np.format_float_positional, trim="-")  # 0.00005, not 5e-05
    rmse = rmse.rename(index=digits, columns=digits)
    figure = new_figure(title, (3.2 + 0.9 * n_columns, 1.8 + 0.55 * n_rows))
    axes = figure.add_subplot()
    texts, bar = rmse.map("{:.4f}".format), {"label": f"validation RMSE ({unit})"}
    _heatmap(axes, rmse, texts, bar, cmap="viridis")
    lowest = f"{np.nanmin(rmse.to_numpy()):.4f}"
    for text in axes.texts:
        text.set_fontweight("bold" if text.get_text() == lowest else "normal")
    return apply_layout(figure)


def _heatmap(
    axes: Axes, table: pd.DataFrame, texts: pd.DataFrame, colorbar: dict[str, Any], **look: Any
) -> None:
    """seaborn's, with a tick at every row and column and a color bar that layouts can move."""
    look |= {"annot": texts, "fmt": "", "linewidths": 1.5, "linecolor": "white"}
    colorbar |= {"use_gridspec": False}
    seaborn.heatmap(table, ax=axes, xticklabels=True, yticklabels=True, cbar_kws=colorbar, **look)
    axes.tick_params(length=0, rotation=0)


def _item_label(title: object, item: object) -> str:
    """A label of at most about 30 characters: no bracketed parts, the article in front, the id."""
    name = re.sub(r"\s*\([^)]*\)", "", title if isinstance(title, str) else "")
    name = re.sub(r"^(.*), (The|A|An)$", r"\2 \1", name)
    if len(name) > 24:
        name = (textwrap.shorten(name, 24, placeholder="") or name[:23]).rstrip(" -:,") + "…"
    return f"{name}  {_short_id(item)}".strip()


def _short_id(value: object) -> str:
    """An id of at most 16 characters."""
    text = str(value)
    return text if len(text) <= 16 else f"{text[:15]}…"


def _rating_text(value: float) -> str:
    """A rating as fits a cell: three digits or a whole number."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _tick_labels(ticks: Sequence[float]) -> list[str]:
    return [f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
