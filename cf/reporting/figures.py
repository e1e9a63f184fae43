"""Arrays to matplotlib figures: nothing is read, saved or shown here.

Every title is given whole: what is shown, of which data set and model. pyplot stays out of it,
for it keeps every figure alive.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray

from cf.core.ratings import Indices
from cf.evaluation.crosstab import Crosstab
from cf.reporting.style import (
    BLUES,
    COLOURS,
    FILL,
    GREY,
    HOUSE,
    INK,
    Style,
    arranged,
    titled,
    with_commas,
)

Floats = NDArray[np.floating]


@matplotlib.rc_context(HOUSE)
def loss_curves(
    histories: Mapping[str, Mapping[str, Floats]], styles: Mapping[str, Style], title: str
) -> Figure:
    """Training and validation loss by epoch, all models on one pair of axes.

    The axis ends at three times the lowest validation loss, so that a model that starts far off
    does not flatten the others; arrows and a line of text tell what lies above it. The legend
    has each model's last validation loss, the lowest first.

    Args:
        histories: each model's columns epoch (from 1), train_loss and valid_loss, (n_epochs,)
            each, the losses in stars²; n_epochs may be 0.
        styles: of these models at least.
        title: of the figure.
    """
    figure = titled(title, (8, 4.6))
    axes = figure.add_subplot()
    last = {
        name: history["valid_loss"][-1] if len(history["valid_loss"]) else np.nan
        for name, history in histories.items()
    }
    handles = []
    for name in sorted(histories, key=lambda name: (np.isnan(last[name]), last[name])):
        epochs, style = histories[name]["epoch"], styles[name]
        look: dict[str, Any] = {"color": style.colour, "marker": style.marker}
        look["markevery"] = max(1, len(epochs) // 20)
        train, valid = histories[name]["train_loss"], histories[name]["valid_loss"]
        axes.plot(epochs, train, label=name, ls="--", lw=1.1, mfc="white", **look)
        axes.plot(epochs, valid, label=name, **look)
        label = f"{last[name]:.3f}  {name}" if len(epochs) else f"no epochs  {name}"
        handles.append(Line2D([], [], label=label, **look))
    losses = np.concatenate([[np.inf], *(history["valid_loss"] for history in histories.values())])
    _end_above(axes, 3 * np.nanmin(losses))
    lengths = [len(history["epoch"]) for history in histories.values() if len(history["epoch"])]
    if lengths and max(lengths) > 20 * min(lengths):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(with_commas)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel="mean squared error (stars²)")
    axes.grid(axis="y")
    _legend(figure, handles, "last validation loss")
    look = {"color": INK, "marker": "o"}
    kinds = [
        Line2D([], [], label="validation", **look),
        Line2D([], [], label="training", ls="--", lw=1.1, mfc="white", **look),
    ]
    figure.legend(handles=kinds, loc="outside right lower")
    return arranged(figure)


@matplotlib.rc_context(HOUSE)
def predicted_against_observed(
    predicted: Floats, observed: Floats, rating_range: tuple[float, float], title: str
) -> Figure:
    """Numbers of (predicted, observed) pairs in hexagons, with the histogram of either.

    Both axes show the range of ratings and a sixth of its width on either side, whatever the
    predictions, so that models compare; the text above counts the predictions that leave the
    range and those that leave the axes. Where the ratings are whole or half stars, each row of
    hexagons is one rating.

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
    step = _rating_step(observed, rating_range)
    figure = Figure(figsize=(7.6, 7.2))
    title = textwrap.fill(title, 76)
    figure.suptitle(title, x=0.085, y=0.98, ha="left")
    words = _fit_in_words(predicted, observed, rating_range, limits)
    figure.text(0.085, 0.935 - 0.026 * title.count("\n"), words, va="top", linespacing=1.4)
    width, height = 0.66 * 7.2 / 7.6, 0.66
    joint = figure.add_axes((0.085, 0.075, width, height))
    above = figure.add_axes((0.085, 0.745, width, 0.11), sharex=joint)
    right = figure.add_axes((0.72, 0.075, 0.11, height), sharey=joint)
    scale = figure.add_axes((0.86, 0.075, 0.02, height))

    # Rows of hexagons are half a cell apart, so cells of two steps from `low` on have a row on
    # every rating.
    cells = np.ceil(np.array([margin, high - low + margin]) / (2 * step)).astype(int)
    ends = low - 2 * step * cells[0], low + 2 * step * cells[1]
    n_across = round(18 * (ends[1] - ends[0]) / (high - low))
    hexagons = joint.hexbin(
        predicted,
        observed,
        gridsize=(n_across, int(cells.sum())),
        extent=(*ends, *ends),
        mincnt=1,
        cmap=BLUES,
        linewidths=0.2,
    )
    counts = np.asarray(hexagons.get_array(), dtype=np.float64)
    hexagons.set_norm(LogNorm(1, counts.max(initial=2)))
    joint.plot(limits, limits, color=COLOURS[1], lw=1.4, ls="--")
    joint.set(xlim=limits, ylim=limits, xlabel="predicted (stars)", ylabel="observed (stars)")
    joint.set_aspect("equal")
    above.stairs(*np.histogram(predicted, np.linspace(*limits, 49)), fill=True, color=FILL)
    levels, n_rows = np.unique(np.round((observed - low) / step), return_counts=True)
    right.barh(low + step * levels, n_rows, height=0.8 * step, color=FILL)
    for axes in (above, right):
        axes.tick_params(labelbottom=False, labelleft=False, left=False, bottom=False)
        axes.spines[:].set_visible(False)
    ticks = LogLocator(subs=(1, 3))
    figure.colorbar(
        hexagons,
        cax=scale,
        ticks=ticks,
        format=FuncFormatter(with_commas),
        label="ratings in a hexagon",
    )
    scale.minorticks_off()
    return figure


@matplotlib.rc_context(HOUSE)
def calibration(
    levels: Sequence[int],
    marked: Sequence[int],
    coverage: Mapping[str, Floats],
    tenths: Mapping[str, Floats],
    styles: Mapping[str, Style],
    title: str,
) -> Figure:
    """What error bars are worth: do intervals hold as much as they say, and do wide ones err more?

    Where error bars are right, both panels have all on the dashed diagonal.

    Args:
        levels: of intervals, in percent, ascending.
        marked: those that have a marker, and their coverage in the legend.
        coverage: of each model, (n_levels,) in [0, 1].
        tenths: of each model, (4, n_tenths) in stars, as `evaluation.calibration.by_tenth` has it.
        styles: of these models at least.
        title: of the figure.
    """
    n_columns = max(1, int(8.6 / (2.2 + 0.09 * max(map(len, coverage)))))
    figure = titled(title, (8.6, 5.1 + 0.2 * -(-len(coverage) // n_columns)))
    shares, errors = figure.subplots(1, 2)
    places = [levels.index(level) for level in marked]
    handles = []
    for name, covered in coverage.items():
        look: dict[str, Any] = {"color": styles[name].colour, "marker": styles[name].marker}
        shares.plot(levels, 100 * covered, markevery=places, **look)
        predicted, rmse, low, high = tenths[name]
        errors.vlines(predicted, low, high, color=styles[name].colour, lw=1, alpha=0.5)
        errors.plot(predicted, rmse, lw=0.7, **look)
        told = "  ".join(f"{100 * covered[place]:.1f}" for place in places)
        handles.append(Line2D([], [], label=f"{told}  {name}", **look))
    shares.set(xlabel="level of the interval (%)", ylabel="ratings within it (%)")
    shares.set_title(
        "what intervals of each level hold;\nabove the diagonal they are too wide", loc="left"
    )
    errors.set(xlabel="predicted standard deviation (stars)", ylabel="RMSE (stars)")
    errors.set_title(
        "ratings in tenths by their error bars, with 95% intervals;\n"
        "above the diagonal error bars are too narrow",
        loc="left",
    )
    seen = np.concatenate([np.ravel(one) for one in tenths.values()])
    low, high = np.nanmin(seen), np.nanmax(seen)
    margin = 0.05 * (high - low) or 0.1
    for axes, ends in ((shares, (0, 100)), (errors, (max(0, low - margin), high + margin))):
        axes.plot(ends, ends, color=GREY, ls="--", lw=1, zorder=1)
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid()
    figure.legend(
        handles=handles,
        loc="outside lower left",
        title=f"ratings within the intervals of {', '.join(map(str, marked))}%, in percent",
        alignment="left",
        ncols=n_columns,
    )
    return arranged(figure)


@matplotlib.rc_context(HOUSE)
def crosstab_heatmap(
    table: Crosstab,
    item_titles: Mapping[int, str | None],
    rating_range: tuple[float, float],
    title: str,
) -> Figure:
    """The table as coloured cells with their values; a cell without a rating is blank.

    Args:
        table: users by items, in stars.
        item_titles: the titles of raw item ids; those that are missing or None show the id only.
        rating_range: the ends of the colour scale, in stars.
        title: of the figure.

    Source: the notebook, `pd.crosstab(top_r.userId, top_r.movieId, top_r.rating, aggfunc=np.sum)`.
    """
    (low, high), (n_rows, n_columns) = rating_range, table.values.shape
    labels = [_short(item_titles.get(int(item)), int(item)) for item in table.item_ids]
    longest = max(map(len, labels), default=0)
    figure = titled(title, (3.4 + 0.44 * n_columns, 1.4 + 0.05 * longest + 0.36 * n_rows))
    axes = figure.add_subplot()
    look: dict[str, Any] = {"cmap": BLUES, "edgecolors": "white", "linewidth": 1.5}
    cells = axes.pcolormesh(table.values, vmin=low, vmax=high, **look)
    for row, column in np.argwhere(~np.isnan(table.values)):
        value = table.values[row, column]
        dark = value > low + 0.6 * (high - low)
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{value:g}",
            ha="center",
            va="center",
            color="white" if dark else "black",
            in_layout=False,
        )
    axes.set_xticks(
        np.arange(n_columns) + 0.5, labels, rotation=45, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(np.arange(n_rows) + 0.5, [str(user) for user in table.user_ids])
    axes.set(xlabel="item: title and id; a blank cell is not rated", ylabel="user id")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    figure.colorbar(cells, label="rating (stars)", shrink=0.8, use_gridspec=False)
    return arranged(figure)


@matplotlib.rc_context(HOUSE)
def activity(user_counts: Indices, item_counts: Indices, title: str) -> Figure:
    """Ratings of each user and of each item against its rank, on logarithmic axes.

    Args:
        user_counts: (n_users,) ratings a user; those without any are left out.
        item_counts: (n_items,) ratings an item; likewise.
        title: of the figure.
    """
    figure = titled(title, (8, 4))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, counts, what in zip(
        panels, (user_counts, item_counts), ("user", "item"), strict=True
    ):
        ranked = np.sort(counts[counts > 0])[::-1]
        # A few hundred ranks, evenly spaced on the axis, look the same as a hundred thousand.
        ranks = np.unique(np.geomspace(1, max(1, len(ranked)), 400).round().astype(int))
        ranks = ranks[: len(ranked)]
        marker = "." if len(ranks) < 20 else ""
        axes.plot(ranks, ranked[ranks - 1], color=COLOURS[0], marker=marker)
        axes.fill_between(ranks, ranked[ranks - 1], 0.8, color=FILL, alpha=0.4, lw=0)
        axes.set(
            xscale="log", yscale="log", xlim=(0.8, 1.25 * max(10, len(ranked))), ylim=(0.8, None)
        )
        axes.set(xlabel=f"rank of the {what}", ylabel=f"ratings of the {what}")
        axes.xaxis.set_major_formatter(with_commas)
        axes.yaxis.set_major_formatter(with_commas)
        axes.minorticks_off()
        axes.grid()
        if len(ranked):
            share = ranked[: -(-len(ranked) // 10)].sum() / ranked.sum()
            axes.set_title(
                f"{what}s: {len(ranked):,}, median {np.median(ranked):,g}, most {ranked[0]:,}\n"
                f"the top tenth has {share:.0%} of the ratings",
                loc="left",
            )
    return arranged(figure)


@matplotlib.rc_context(HOUSE)
def ranking(
    metrics: Mapping[str, Mapping[str, float]], styles: Mapping[str, Style], title: str
) -> Figure:
    """Each model's ranking metrics as bars with their values, a panel a metric.

    Args:
        metrics: of each model, from the top down, the same ones of all.
        styles: of these models at least.
        title: of the figure.
    """
    names = list(metrics)
    kinds = list(metrics[names[0]])
    figure = titled(title, (9.6, 1.4 + 0.3 * len(names)))
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        values = [metrics[name][kind] for name in names]
        bars = axes.barh(names, values, color=[styles[name].colour for name in names])
        axes.bar_label(
            bars, [f"{value:.2f}" if value >= 1 else f"{value:.4f}" for value in values], padding=3
        )
        axes.set_title(kind, loc="left")
        axes.margins(x=0.35)
        axes.tick_params(length=0, labelbottom=False)
        axes.spines["bottom"].set_visible(False)
    panels[0].invert_yaxis()
    return arranged(figure)


def _legend(figure: Figure, handles: list[Line2D], title: str) -> None:
    n_columns = 1 + len(handles) // 16
    figure.set_figwidth(figure.get_figwidth() + 1.8 * (n_columns - 1))
    figure.legend(
        handles=handles, loc="outside right upper", title=title, ncols=n_columns, alignment="left"
    )


def _end_above(axes: Axes, limit: float) -> None:
    """End the y axis at `limit` if a labelled line goes beyond, and tell which and how far."""
    beyond: dict[str, float] = {}
    for line in axes.get_lines():
        name = str(line.get_label())
        x, y = (np.asarray(values, dtype=np.float64) for values in line.get_data())
        if name.startswith("_"):
            continue
        for place in np.flatnonzero(y > limit):
            beyond[name] = max(beyond.get(name, limit), y[place])
            axes.text(x[place], limit, "↑", color=line.get_color(), ha="center", va="bottom")
    if beyond:
        lowest = axes.dataLim.y0
        axes.set_ylim(lowest - 0.05 * (limit - lowest), limit)
        words = "; ".join(f"{name} up to {most:,.3g}" for name, most in beyond.items())
        axes.set_title(textwrap.fill(f"↑ above the axis: {words}", 90), loc="left", pad=14)


def _rating_step(observed: Floats, rating_range: tuple[float, float]) -> float:
    """The grid that ratings lie on: whole or half stars, else a twentieth of the range."""
    low, high = rating_range
    finest = (high - low) / 20
    for step in (1.0, 0.5):
        if step >= finest and np.all((observed - low) % step == 0):
            return step
    return finest


def _fit_in_words(
    predicted: Floats,
    observed: Floats,
    rating_range: tuple[float, float],
    limits: tuple[float, float],
) -> str:
    if not len(predicted):
        return "no ratings"
    rmse = np.sqrt(np.mean((predicted.astype(np.float64) - observed) ** 2))
    inside, shown = (
        (low <= predicted) & (predicted <= high) for low, high in (rating_range, limits)
    )
    words = f"RMSE {rmse:.3f} stars over {len(predicted):,} ratings; dashed: predicted = observed\n"
    stars = f"{rating_range[0]:g} to {rating_range[1]:g} stars"
    if inside.all():
        return f"{words}every prediction lies in {stars}"
    return (
        f"{words}predictions outside {stars}: {(~inside).sum():,}, of which beyond these axes: "
        f"{(~shown).sum():,}; lowest {np.min(predicted):.2f}, highest {np.max(predicted):.2f}"
    )


def _short(title: str | None, item: int) -> str:
    """A label of at most about 30 characters: no bracketed parts, the article in front, the id."""
    name = re.sub(r"\s*\([^)]*\)", "", title or "")
    name = re.sub(r"^(.*), (The|A|An)$", r"\2 \1", name)
    if len(name) > 24:
        name = (textwrap.shorten(name, 24, placeholder="") or name[:23]).rstrip(" -:,") + "…"
    return f"{name}  {item}".strip()
