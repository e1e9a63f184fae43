import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from cf.reporting import small_multiples as module
from cf.reporting.small_multiples import Panel, small_multiples
from cf.reporting.style import model_styles

matplotlib.use("agg")

NAN = np.nan
LIMITS = (0.5, 1.5)


def panel(title: str, n_groups: int, ordered: bool = True, **values: list[list[float]]) -> Panel:
    """Of each model: the metric of each group, and the ends of its interval."""
    given = values or dict.fromkeys(("dot", "embnet"), np.tile([[0.9], [0.8], [1.0]], n_groups))
    groups = {
        "label": [f"group {number}" for number in range(n_groups)],
        "n": np.arange(n_groups) * 1000,
    }
    rows = [
        pd.DataFrame({"model": name, **groups, "rmse": m, "rmse_low": low, "rmse_high": high})
        for name, (m, low, high) in given.items()
    ]
    return Panel(title, ordered, pd.concat(rows))


def draw(*panels: Panel, limits: tuple[float, float] = LIMITS) -> Figure:
    styles = model_styles(panels[0].rows["model"].unique())
    return small_multiples(panels, "rmse", styles, "RMSE (stars)", limits, "a note", "Toy")


def points(axes: Axes) -> list[tuple[str, float, str]]:
    """Shape, height and filling of every marker."""
    return [
        (str(line.get_marker()), float(y), str(line.get_markerfacecolor()))
        for line in axes.get_lines()
        if line.get_marker() != "None"
        for y in line.get_ydata()
    ]


def test_each_point_has_its_bar_or_is_hollow_or_an_arrow_at_the_edge() -> None:
    value = [[0.9, 0.8, 2.5, 0.1], [0.8, NAN, 2.0, 0.0], [1.1, NAN, 3.0, 0.2]]
    axes = draw(panel("odd", 4, dot=value)).axes[0]
    (style,) = model_styles(["dot"]).values()
    assert points(axes) == [(style.marker, 0.9, style.color), (style.marker, 0.8, "white")]
    arrows = [text for text in axes.texts if isinstance(text, Annotation)]
    assert [(arrow.xy, arrow.get_position()[1] < arrow.xy[1]) for arrow in arrows] == [
        ((2, 1.5), True),
        ((3, 0.5), False),
    ]
    bars = [segment for bar in axes.collections for segment in bar.get_segments()]
    assert [bar[:, 1].tolist() for bar in bars] == [[0.8, 1.1]]


def test_lines_join_only_groups_that_follow_each_other_and_are_shown() -> None:
    def lines(ordered: bool) -> list[list[float]]:
        axes = draw(panel("odd", 3, ordered, dot=[[0.9, 2.5, 0.8]] * 3)).axes[0]
        return [line.get_ydata() for line in axes.get_lines() if line.get_linestyle() == "-"]

    (line,) = lines(ordered=True)
    assert np.array_equal(line, [0.9, NAN, 0.8], equal_nan=True)
    assert lines(ordered=False) == []


def test_panels_of_a_line_share_a_scale_that_holds_its_values_within_the_limits() -> None:
    far = {"dot": [[0.9, 9.0, 1.1]] * 3, "embnet": [[0.9, 1.0, 1.1]] * 3}
    figure = draw(panel("one", 11), panel("two", 10), panel("three", 3, **far))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["one", "two", "three"]
    tops = [axes.get_position().y1 for axes in figure.axes]
    assert tops[0] == tops[1] > tops[2], "as many in a line as there is room for"
    scales = [axes.get_ylim() for axes in figure.axes]
    assert scales[0] == scales[1] == pytest.approx((0.788, 1.012))
    assert scales[2] == pytest.approx((0.864, 1.5))
    labels = [label.get_text() for label in figure.axes[2].get_xticklabels()]
    assert labels == ["group 0 (0)", "group 1 (1.0k)", "group 2 (2.0k)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dot", "embnet"]
    assert [text.get_text() for text in figure.texts] == ["Toy", "a note", "RMSE (stars)"]


def test_a_line_at_zero_where_the_scale_is_of_differences() -> None:
    for limits, n_lines in (((-1.0, 1.0), 1), ((0.5, 1.5), 0)):
        axes = draw(panel("one", 2), limits=limits).axes[0]
        flat = [line for line in axes.get_lines() if list(line.get_ydata()) == [0, 0]]
        assert len(flat) == n_lines
        assert not n_lines or axes.get_ylim()[0] < 0 < axes.get_ylim()[1]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (813, "813"), (999, "999"), (1000, "1.0k"), (9949, "9.9k"), (9950, "10k"),
     (640_012, "640k"), (999_600, "1.0M"), (12_345_678, "12M")],
)  # fmt: skip
def test_counts_are_short(number: int, text: str) -> None:
    assert module._short(number) == text


@pytest.mark.filterwarnings("error")
def test_nothing_overlaps_or_leaves_the_paper() -> None:
    names = [f"a_model_with_a_long_name_{number}" for number in range(12)]
    many = {name: np.tile([[0.9], [0.8], [1.0]], 36) for name in names}
    one = {name: [[0.9], [NAN], [NAN]] for name in names}
    title = "RMSE by group of ratings: a-data-set-whose-name-is-rather-long-all-told, all " * 2
    panels = [panel("long", 36, **many), panel("short", 1, **one)]
    figure = small_multiples(
        panels, "rmse", model_styles(names), "RMSE (stars)", LIMITS, "A note. " * 60, title
    )
    figure.canvas.draw()
    box, paper = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0) >= -0.05
    assert box.x1 <= paper[0] + 0.05
    assert box.y1 <= paper[1] + 0.05
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [figure.legends[0].get_tightbbox()]
    boxes += [text.get_window_extent() for text in figure.texts]
    for number, first in enumerate(boxes):
        assert not any(first.overlaps(other) for other in boxes[number + 1 :])
