"""Popularity and activity of made-up ratings beside the real ones: docs/images/synthetic_curves.png

Usage: python -m benchmarks.synthetic [SHAPE ...], of cf.data.synthetic; all by default, which takes
two minutes.
"""

import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cf.data import datasets, movielens, synthetic
from cf.reporting.style import COLORS, INK, RC_PARAMS, apply_layout, new_figure, save

IMAGE = Path("docs/images/synthetic_curves.png")
REAL = "ml-latest-small"
QUANTITIES = {
    "item_id": ("Popularity of items", "ratings of an item / mean"),
    "user_id": ("Activity of users", "ratings of a user / mean"),
}
Counts = dict[str, NDArray[np.integer]]


def counts(ratings: pd.DataFrame) -> Counts:
    """The numbers of ratings of each item and of each user, descending."""
    return {name: ratings[name].value_counts().to_numpy() for name in QUANTITIES}


def draw(curves: dict[str, Counts]) -> Figure:
    """A panel for items and one for users; the real curve in black."""
    figure = new_figure(
        "Made-up ratings have long tails like the real ones: few items and users have most ratings",
        (10, 4.4),
    )
    styles = {True: (INK, "-", 2.6), False: ("", "--", 1.6)}
    for panel, (name, (title, label)) in enumerate(QUANTITIES.items(), start=1):
        axes = figure.add_subplot(1, 2, panel)
        for color, (curve, of_ids) in zip((INK, *COLORS), curves.items(), strict=False):
            values = of_ids[name]
            rank = (np.arange(len(values)) + 0.5) / len(values)
            _, line, width = styles[color == INK]
            axes.plot(rank, values / values.mean(), line, color=color, linewidth=width, label=curve)
        axes.set(xscale="log", yscale="log", title=title, ylabel=label)
        axes.set_xlabel("rank / number of them (0.01: the first percent)")
        axes.grid(True)
        if panel == 1:
            axes.legend(loc="lower left")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
    return apply_layout(figure)


def main() -> None:
    """Make each shape, print its shares, and draw."""
    shapes = sys.argv[1:] or list(synthetic.SHAPES)
    source = datasets.fetch(REAL, [])
    real, _, _ = movielens.read(source.path, source.rating_range)
    curves = {f"{REAL}, real": counts(real)}
    for name in shapes:
        started = time.perf_counter()
        made = synthetic.make(synthetic.SHAPES[name], seed=1)
        curves[f"{name}, made up"] = counts(made.ratings)
        print(f"{name}: made in {time.perf_counter() - started:.0f} s, ", end="")
        print(f"noise floor {made.noise_floor:.4f}, {made.noise_floor_no_time:.4f} without times")
    for curve, of_ids in curves.items():
        for name, values in of_ids.items():
            top = [
                values[: round(share * len(values))].sum() / values.sum() for share in (0.01, 0.1)
            ]
            quantiles = np.quantile(values, (0.5, 0.9, 0.99)).round().astype(int).tolist()
            print(
                f"{curve:26} {name}: {top[0]:.1%} of the ratings are of the top 1%, {top[1]:.1%} "
                f"of the top 10%; median, 90%, 99%, most: {quantiles} {values[0]}"
            )
    with matplotlib.rc_context(RC_PARAMS):
        save(draw(curves), IMAGE)


if __name__ == "__main__":
    main()
