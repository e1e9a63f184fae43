from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cf.reporting import small_multiples as panels
from cf.reporting.save import save
from cf.reporting.small_multiples import Panel, multiples
from cf.reporting.style import model_styles

NAN = np.nan


def panel(title: str, n_groups: int, ordered: bool = True, **values: list[list[float]]) -> Panel:
    given = {name: np.array(rows, dtype=np.float64) for name, rows in values.items()}
    default = {name: np.tile([[0.9], [0.8], [1.0]], n_groups) for name in ("dot", "embnet")}
    labels = [f"group {number}" for number in range(n_groups)]
    return Panel(title, ordered, labels, np.arange(n_groups) * 1000, given or default)


def draw(*drawn: Panel) -> Figure:
    styles = model_styles(drawn[0].values)
    return multiples(drawn, styles, (0.5, 1.5), "RMSE (stars)", "a note", "Toy: all models")


def markers(axes: Axes) -> list[tuple[str, float, str]]:
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
    assert markers(axes) == [
        (style.marker, 0.9, style.colour),
        (style.marker, 0.8, "white"),
        ("^", 1.5, style.colour),
        ("v", 0.5, style.colour),
    ]
    bars = [segment for bar in axes.collections for segment in bar.get_segments()]
    assert [bar[:, 1].tolist() for bar in bars] == [[0.8, 1.1]]
    assert axes.get_ylim() == (0.5, 1.5)


def test_lines_join_only_groups_that_follow_each_other_and_are_shown() -> None:
    value = [[0.9, 2.5, 0.8]] * 3
    (line,) = (
        line
        for line in draw(panel("odd", 3, dot=value)).axes[0].get_lines()
        if line.get_linestyle() == "-"
    )
    assert np.array_equal(line.get_ydata(), [0.9, NAN, 0.8], equal_nan=True)
    apart = draw(panel("odd", 3, False, dot=value)).axes[0]
    assert not [line for line in apart.get_lines() if line.get_linestyle() == "-"]


def test_panels_share_the_scale_and_say_what_they_are_once() -> None:
    figure = draw(panel("one", 11), panel("two", 10), panel("three", 2))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["one", "two", "three"]
    assert {axes.get_ylim() for axes in figure.axes} == {(0.5, 1.5)}
    tops = [axes.get_position().y1 for axes in figure.axes]
    assert tops[0] == tops[1] > tops[2], "as many in a line as there is room for"
    labels = [label.get_text() for label in figure.axes[2].get_xticklabels()]
    assert labels == ["group 0 (0)", "group 1 (1.0k)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dot", "embnet"]
    assert [text.get_text() for text in figure.texts[-2:]] == ["a note", "RMSE (stars)"]
    assert figure.get_suptitle() == "Toy: all models"


def test_a_line_at_zero_where_the_scale_is_of_differences() -> None:
    one = panel("one", 2)
    for limits, n_lines in (((-1.0, 1.0), 1), ((0.5, 1.5), 0)):
        figure = multiples([one], model_styles(one.values), limits, "y", "note", "Toy")
        flat = [line for line in figure.axes[0].get_lines() if list(line.get_ydata()) == [0, 0]]
        assert len(flat) == n_lines


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (813, "813"), (999, "999"), (1000, "1.0k"), (9949, "9.9k"), (9950, "10k"),
     (640_012, "640k"), (999_600, "1.0M"), (12_345_678, "12M")],
)  # fmt: skip
def test_counts_are_short(number: int, text: str) -> None:
    assert panels._short(number) == text


@pytest.mark.filterwarnings("error")
def test_nothing_overlaps_or_leaves_the_paper(tmp_path: Path) -> None:
    names = [f"a_model_with_a_long_name_{number}" for number in range(12)]
    many = {name: np.tile([[0.9], [0.8], [1.0]], 36).tolist() for name in names}
    one = {name: [[0.9], [NAN], [NAN]] for name in names}
    title = "RMSE by group of ratings: a-data-set-whose-name-is-rather-long-all-told, all " * 2
    figure = multiples(
        [panel("long", 36, **many), panel("short", 1, **one)],
        model_styles(names), (0.5, 1.5), "RMSE (stars)", "a note", title,
    )  # fmt: skip
    for suffix in (".png", ".svg"):
        save(figure, tmp_path / f"toy{suffix}")
    box, paper = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0) >= -0.05
    assert box.x1 <= paper[0] + 0.05
    assert box.y1 <= paper[1] + 0.05
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [
        figure.legends[0].get_tightbbox(),
        *(text.get_window_extent() for text in figure.texts),
    ]
    for place, first in enumerate(boxes):
        assert not any(first.overlaps(other) for other in boxes[place + 1 :])
