"""Time against RMSE of every system: docs/images/frontier.png and docs/images/floor.png

Usage: python -m benchmarks.frontier

From benchmarks/peers.json and benchmarks/floor.json, which `make peers` writes.
"""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox

from cf.core import io
from cf.reporting.style import COLORS, GRAY, INK, MARKERS, RC_PARAMS, apply_layout, new_figure, save

ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
SIZE = 5.6, 6.6  # inches: on a telephone's screen the letters are still 8 pixels high
DISTANCES = (7, 12, 20, 30, 42, 56, 72, 90, 110, 135)  # of a label from its point, in points
NEAR = 14  # and where it needs no line to it
NOWHERE = 1000  # points, as if a name were so far away
N_ORDERS = 60
DIRECTIONS = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 65, 295, 115, 245)  # degrees


Point = tuple[float, float]


def best_so_far(points: Mapping[str, Point]) -> list[str]:
    """The names of those that nobody beats in the first figure without losing in the second."""
    names: list[str] = []
    for name in sorted(points, key=lambda name: points[name]):
        if not names or points[name][1] < points[names[-1]][1]:
            names.append(name)
    return names


def frontier(systems: Mapping[str, Mapping[str, float]]) -> Figure:
    """RMSE against seconds to fit and predict, a labeled point a system, cf's own in color."""
    points = {
        name: (figures["fitted"] + figures["predicted"], figures["score"])
        for name, figures in systems.items()
    }
    figure = new_figure("RMSE against the time to fit and predict", SIZE)
    axes = figure.add_subplot()
    corners = steps([points[name] for name in best_so_far(points)])
    axes.plot(*zip(*corners, strict=True), color=GRAY, linewidth=1, zorder=1)
    for ours, color in ((True, COLORS[0]), (False, INK)):
        mine = [point for name, point in points.items() if is_ours(name) == ours]
        fill = color if ours else "white"
        axes.plot(*zip(*mine, strict=True), "o", color=color, markerfacecolor=fill)
    axes.set(xscale="log", xlabel="seconds to fit and predict", ylabel="RMSE, stars")
    axes.set_title("Lower and further left is better; no system is below and left of the line")
    axes.margins(0.05, 0.05)
    seconds = [seconds for seconds, _ in points.values()]
    axes.set_xlim(min(seconds) / 5, 15 * max(seconds))  # room for names
    axes.grid(True)
    axes.xaxis.set_major_formatter("{x:g}")
    FigureCanvasAgg(figure)
    apply_layout(figure)
    label(axes, points, corners)
    return figure


def steps(points: Sequence[Point]) -> list[Point]:
    """The corners of a line that goes right, then down, from each point to the next."""
    corners = [points[0]]
    for x, y in points[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners


def is_ours(name: str) -> bool:
    """Whether a system is one of cf's."""
    return name.startswith("cf ")


def label(axes: Axes, points: Mapping[str, Point], line: Sequence[Point]) -> None:
    """Write each name near its point, where it covers no point, no other name, and not `line`.

    Names are placed one after the other. Of many orders, that one counts in which they are nearest
    to their points. A name that is not next to its point gets a line to it.
    """
    look: Any = {"textcoords": "offset points", "va": "center", "ha": "center", "size": 8.5}
    texts = {name: axes.annotate(name, points[name], (0, 0), **look) for name in points}
    sizes = {name: text.get_window_extent() for name, text in texts.items()}
    unit = axes.figure.dpi / 72  # pixels
    pixels = dict(zip(points, axes.transData.transform(list(points.values())), strict=True))
    dots = {name: box_around(center, (10, 10)) for name, center in pixels.items()}
    stretches = [
        Bbox([np.minimum(*ends) - 2, np.maximum(*ends) + 2])
        for ends in itertools.pairwise(axes.transData.transform(line))
    ]
    room = Bbox.from_extents(*axes.bbox.min, axes.figure.bbox.x1, axes.bbox.y1)

    def place(order: Sequence[str]) -> tuple[float, dict[str, Bbox]]:
        """The sum of the distances, in points, and the boxes of the names."""
        total, boxes, leaders = 0.0, dict[str, Bbox](), list[Path]()
        for name in order:
            other_dots = [dot for dot in dots.values() if not dot.overlaps(dots[name])]
            others = [*other_dots, *boxes.values()]
            for distance, degrees in itertools.product(DISTANCES, DIRECTIONS):
                x, y = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
                width = sizes[name].width * np.sign(x) * (abs(x) > 0.1) / 2
                center = pixels[name] + unit * distance * np.array([x, y]) + [width, 0]
                box = box_around(center, sizes[name].size)
                leader = Path([pixels[name], np.clip(pixels[name], box.min, box.max)])
                if (
                    room.contains(*box.min)
                    and room.contains(*box.max)
                    and not any(map(box.overlaps, (*dots.values(), *boxes.values(), *stretches)))
                    and not any(leader.intersects_bbox(other, filled=False) for other in others)
                    and not any(other.intersects_bbox(box, filled=False) for other in leaders)
                ):
                    break
            else:
                distance = NOWHERE
            total += distance if distance > NEAR else 0
            boxes[name] = box
            leaders.append(leader)
        return total, boxes

    rng = np.random.default_rng(0)
    placed = (place(rng.permutation(list(points)).tolist()) for _ in range(N_ORDERS))
    for name, box in min(placed, key=lambda found: found[0])[1].items():
        middle = np.add(box.min, box.max) / 2
        texts[name].set_position(((middle - pixels[name]) / unit).tolist())
        texts[name].set_color(COLORS[0] if is_ours(name) else INK)
        ends = np.array([pixels[name], np.clip(pixels[name], box.min, box.max)])
        if np.hypot(*(ends[1] - ends[0])) > unit * NEAR:
            x, y = axes.transData.inverted().transform(ends).T
            axes.plot(x, y, color=GRAY, linewidth=0.6, zorder=1, scalex=False, scaley=False)


def box_around(center: Any, size: Any) -> Bbox:
    """A box of (width, height) around (x, y), in pixels."""
    return Bbox([np.subtract(center, np.divide(size, 2)), np.add(center, np.divide(size, 2))])


def curves(floor: float, systems: Mapping[str, Mapping[str, Any]]) -> Figure:
    """How far each system's RMSE is above the floor, after how long, up to 1%."""
    figure = new_figure("RMSE on made-up ratings against time", SIZE)
    axes = figure.add_subplot()
    lines = []
    for k, (name, found) in enumerate(systems.items()):
        _, seconds, rmse = zip(*found["points"], strict=True)
        total = np.add(found["converted"], seconds)
        style: Any = {"color": COLORS[k % len(COLORS)], "marker": MARKERS[k % len(MARKERS)]}
        style |= {"markersize": 4, "linewidth": 2.2 if is_ours(name) else 1.2}
        axes.plot(total, 100 * (np.array(rmse) / floor - 1), **style)
        end = found["fitted"]
        reached = "not reached" if end is None else f"{found['converted'] + end:.1f} s"
        lines.append((end is None, total[-1], Line2D([], [], label=f"{name}: {reached}", **style)))
    axes.axhline(1, color=GRAY, linestyle="--", linewidth=1)
    where: Any = {"transform": axes.get_yaxis_transform(), "color": INK, "va": "bottom"}
    axes.text(0.01, 1.05, "1% above", **where)
    axes.set(xscale="log", xlabel="seconds to convert and fit", ylabel="RMSE above the floor, %")
    axes.set_ylim(0, None)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(True)
    handles = [line for *_, line in sorted(lines, key=lambda each: each[:2])]
    heading: Any = {"title": "until 1% above the floor", "alignment": "left"}
    figure.legend(handles=handles, loc="outside lower left", **heading)
    return apply_layout(figure)


def main() -> None:
    """Draw."""
    peers, floor = (io.read_json(ROOT / f"benchmarks/{name}.json") for name in ("peers", "floor"))
    with matplotlib.rc_context(RC_PARAMS):
        save(frontier(peers["RMSE"]), IMAGES / "frontier.png")
        save(curves(floor["floor"], floor["systems"]), IMAGES / "floor.png")


if __name__ == "__main__":
    main()
