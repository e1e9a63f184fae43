import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from cf.evaluation.crosstab import Crosstab
from cf.reporting import figures
from cf.reporting.save import save
from cf.reporting.style import model_styles

RANGE = (0.5, 5.0)
NO_EPOCHS = {name: np.array([]) for name in ("epoch", "train_loss", "valid_loss")}


def history(*valid: float, train: float = 0.5) -> dict[str, np.ndarray]:
    epochs = np.arange(1, len(valid) + 1)
    return {
        "epoch": epochs,
        "train_loss": np.full(len(valid), train),
        "valid_loss": np.array(valid),
    }


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def loss_curves(**histories: dict[str, np.ndarray]) -> Figure:
    return figures.loss_curves(histories, model_styles(histories), "Loss: toy")


def test_styles_differ_and_baselines_are_grey() -> None:
    styles = model_styles([f"m{place}" for place in range(40)], ["bias", "mean"])
    assert len({(style.colour, style.marker) for style in styles.values()}) == 42
    assert styles["bias"].colour == styles["mean"].colour
    assert styles["bias"].colour not in {styles[f"m{place}"].colour for place in range(40)}


def test_loss_curves_draw_two_lines_a_model_that_differ_without_colour() -> None:
    figure = loss_curves(dot=history(1.2, 1.1), embnet=history(0.9, 0.8, 0.77))
    (axes,) = figure.axes
    assert axes.get_ylabel() == "mean squared error (stars²)"
    assert axes.get_xlabel() == "epoch"
    for name in ("dot", "embnet"):
        train, valid = (line for line in axes.get_lines() if line.get_label() == name)
        assert train.get_linestyle() != valid.get_linestyle()
        assert train.get_markerfacecolor() == "white" != valid.get_markerfacecolor()
        assert (
            train.get_color() == valid.get_color() == model_styles(["dot", "embnet"])[name].colour
        )
    assert all(tick == round(tick) for tick in axes.get_xticks())
    assert figure.get_suptitle() == "Loss: toy"


def test_loss_legend_has_the_last_loss_lowest_first() -> None:
    figure = loss_curves(dot=history(1.2, 1.134), empty=NO_EPOCHS, embnet=history(0.7, 0.773))
    legend = figure.legends[0]
    labels = [text.get_text().split() for text in legend.get_texts()]
    assert labels == [["0.773", "embnet"], ["1.134", "dot"], ["no", "epochs", "empty"]]


def test_a_loss_far_off_is_told_and_does_not_flatten_the_others() -> None:
    figure = loss_curves(dot=history(10.84, 1.13, train=12.1), embnet=history(0.9, 0.8))
    assert figure.axes[0].get_ylim()[1] == pytest.approx(3 * 0.8)
    assert "above the axis: dot up to 12.1" in words(figure)
    within = loss_curves(dot=history(1.61, 1.13), embnet=history(0.9, 0.8))
    assert within.axes[0].get_ylim()[1] > 1.61
    assert "above the axis" not in words(within)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_model_leaves_the_others_readable(bad: float) -> None:
    figure = loss_curves(dot=history(2.0, bad, bad), embnet=history(0.9, 0.8))
    low, high = figure.axes[0].get_ylim()
    assert 0 < low < 0.5 < 2 < high < 2.5


def test_long_and_short_trainings_share_a_logarithmic_axis() -> None:
    figure = loss_curves(gibbs=history(*np.linspace(0.9, 0.7, 200)), dot=history(1.2, 1.1, 1.0))
    left, right = (
        figure.axes[0]
        .transAxes.inverted()
        .transform(figure.axes[0].transData.transform([(1, 1), (3, 1)]))[:, 0]
    )
    assert right - left > 0.1


def joint(predicted: list[float], observed: list[float], **kwargs: object) -> Figure:
    return figures.predicted_against_observed(
        np.array(predicted, dtype=np.float32), np.array(observed, dtype=np.float32), RANGE, "Toy"
    )


def test_joint_axes_are_equal_whatever_the_predictions() -> None:
    usual, wild = joint([3.0, 3.5], [3, 4]), joint([-40.0, 900.0], [3, 4])
    for figure in (usual, wild):
        axes = figure.axes[0]
        assert axes.get_xlim() == axes.get_ylim() == (-0.25, 5.75)
        assert axes.get_aspect() == 1
        assert axes.get_xlabel() == "predicted (stars)"
        assert axes.get_ylabel() == "observed (stars)"
        box = axes.get_window_extent()
        assert box.width == pytest.approx(box.height)
        (diagonal,) = axes.get_lines()
        assert np.array_equal(*diagonal.get_data())


def test_joint_counts_every_pair_once_on_the_row_of_its_rating() -> None:
    draw = np.random.default_rng(0)
    observed = draw.integers(1, 11, 2000) / 2
    predicted = draw.uniform(0.5, 5, 2000)
    hexagons = joint(predicted, observed).axes[0].collections[0]
    centres, counts = hexagons.get_offsets()[:, 1], hexagons.get_array()
    for rating in np.arange(1, 11) / 2:
        on_row = np.isclose(centres, rating)
        assert counts[on_row].sum() == (observed == rating).sum()


def test_joint_marginals_sum_to_the_rows() -> None:
    figure = joint([1.1, 2.2, 3.3, 5.0], [1, 2, 2, 4.5])
    above, right = figure.axes[1:3]
    assert above.patches[0].get_data().values.sum() == 4
    bars = {bar.get_y() + bar.get_height() / 2: bar.get_width() for bar in right.patches}
    assert bars == pytest.approx({1: 1, 2: 2, 4.5: 1})


def test_joint_tells_the_rmse_and_what_lies_outside() -> None:
    text = words(joint([4.0, 5.5, 7.0, -1.0], [4, 5, 4, 1]))
    assert f"RMSE {np.sqrt((0.25 + 9 + 4) / 4):.3f} stars over 4 ratings" in text
    assert "outside 0.5 to 5 stars: 3, of which beyond these axes: 2" in text
    assert "lowest -1.00, highest 7.00" in text
    assert "every prediction lies in 0.5 to 5 stars" in words(joint([4.0], [4]))


def test_joint_has_a_count_legend() -> None:
    assert joint([4.0], [4]).axes[3].get_ylabel() == "ratings in a hexagon"


@pytest.mark.parametrize(
    ("observed", "rating_range", "step"),
    [
        ([1, 2, 5], (1, 5), 1),
        ([0.5, 2, 5], (0.5, 5), 0.5),
        ([1, 2.5], (1, 5), 0.5),
        ([0, 33], (0, 100), 5),
        ([1.25, 2], (1, 5), 0.2),
    ],
)
def test_rating_step(observed: list[float], rating_range: tuple[float, float], step: float) -> None:
    assert figures._rating_step(np.array(observed), rating_range) == step


def crosstab(values: np.ndarray, titles: dict[int, str | None]) -> Figure:
    rows, columns = values.shape
    table = Crosstab(np.arange(1, rows + 1), np.arange(10, 10 + columns), values)
    return figures.crosstab_heatmap(table, titles, RANGE, "Crosstab: toy")


def test_crosstab_annotates_ratings_and_leaves_the_others_blank() -> None:
    axes = crosstab(np.array([[4.5, np.nan], [np.nan, 3.0]]), {}).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0.5, 0.5): "4.5", (1.5, 1.5): "3"}
    assert axes.collections[0].get_array().mask.tolist() == [[False, True], [True, False]]
    assert axes.yaxis_inverted()


def test_crosstab_names_items_by_title_and_id_and_users_by_id() -> None:
    titles = {10: "Matrix, The (1999)", 11: None, 12: "Star Wars: Episode IV - A New Hope (1977)"}
    figure = crosstab(np.full((2, 4), 3.0), titles)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["The Matrix  10", "11", "Star Wars: Episode IV…  12", "13"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1", "2"]
    assert figure.axes[1].get_ylabel() == "rating (stars)"
    assert len(figures._short("W" * 60, 7)) < 30


def test_dollars_in_titles_are_no_formula(tmp_path: Path) -> None:
    save(crosstab(np.full((1, 2), 3.0), {10: "$5 a \\day", 11: "$9.99"}), tmp_path / "toy.svg")


def calibration(*names: str, tenths: list[list[float]] | None = None) -> Figure:
    found = np.array(tenths or [[0.5, 1.0], [0.6, 1.2], [0.4, 1.1], [0.8, 1.3]])
    shares = np.array([0.3, 0.55, 0.9])
    return figures.calibration(
        [25, 50, 95],
        [50, 95],
        dict.fromkeys(names, shares),
        dict.fromkeys(names, found),
        model_styles(names),
        "Calibration: toy",
    )


def test_calibration_stands_beside_the_diagonal_on_axes_that_are_equal() -> None:
    figure = calibration("dot")
    shares, errors = figure.axes
    line, _ = shares.get_lines()
    assert np.allclose(line.get_xydata(), [[25, 30], [50, 55], [95, 90]])
    assert line.get_markevery() == [1, 2]
    line, _ = errors.get_lines()
    assert line.get_xydata().tolist() == [[0.5, 0.6], [1.0, 1.2]]
    bars = [segment.tolist() for segment in errors.collections[0].get_segments()]
    assert bars == [[[0.5, 0.4], [0.5, 0.8]], [[1.0, 1.1], [1.0, 1.3]]]
    for axes in figure.axes:
        assert axes.get_xlim() == axes.get_ylim()
        assert axes.get_xticks().tolist() == axes.get_yticks().tolist()
        assert axes.get_aspect() == 1
        diagonal = axes.get_lines()[-1]
        assert np.array_equal(*diagonal.get_data())
    assert errors.get_xlim()[0] < 0.4 < 1.3 < errors.get_xlim()[1]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "ratings within the intervals of 50, 95%, in percent"
    assert [text.get_text() for text in legend.get_texts()] == ["55.0  90.0  dot"]


def test_activity_ranks_users_and_items() -> None:
    figure = figures.activity(np.array([1, 30, 0, 5]), np.array([2, 2, 32]), "Activity: toy")
    users, items = figure.axes
    assert users.get_lines()[0].get_xydata().tolist() == [[1, 30], [2, 5], [3, 1]]
    assert items.get_lines()[0].get_xydata().tolist() == [[1, 32], [2, 2], [3, 2]]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    assert users.get_xlabel() == "rank of the user"
    assert items.get_ylabel() == "ratings of the item"
    assert "users: 3, median 5, most 30" in words(figure)


def test_activity_of_many_users_keeps_the_first_and_the_last() -> None:
    counts = np.arange(200_000, 0, -1)
    line = figures.activity(counts, counts, "Activity: toy").axes[0].get_lines()[0]
    assert len(line.get_xdata()) <= 400
    assert line.get_xydata()[[0, -1]].tolist() == [[1, 200_000], [200_000, 1]]


def odd_figures() -> list[Figure]:
    many = [f"model_{place}" for place in range(30)]
    nowhere = np.array([], dtype=np.int64)
    return [
        loss_curves(),
        loss_curves(dot=NO_EPOCHS),
        loss_curves(dot=history(1.2)),
        loss_curves(**{name: history(1.2, 0.9) for name in many}),
        joint([], []),
        joint([3.2], [3]),
        joint([np.nan, np.inf], [3, 4]),
        crosstab(np.full((0, 0), np.nan), {}),
        crosstab(np.array([[np.nan]]), {10: ""}),
        figures.activity(nowhere, nowhere, "Activity: toy"),
        figures.activity(np.array([1]), np.array([1]), "Activity: toy"),
        calibration("dot", tenths=[[0.5], [0.5], [np.nan], [np.nan]]),
        calibration(*many),
    ]


@pytest.mark.filterwarnings("error")
def test_odd_input_is_drawn_without_a_warning(tmp_path: Path) -> None:
    for place, figure in enumerate(odd_figures()):
        save(figure, tmp_path / f"odd_{place}.png")
        save(figure, tmp_path / f"odd_{place}.svg")


def test_nothing_leaves_the_paper() -> None:
    long = "Loss by epoch: a-data-set-whose-name-is-rather-long-all-told, and all models " * 2
    histories = {name: history(1.2, 0.9) for name in ("dot", "a_model_with_a_long_name")}
    drawn = [
        figures.loss_curves(histories, model_styles(histories), long),
        crosstab(np.full((15, 15), 4.5), {10: "The first item's title is long"}),
        figures.activity(np.array([3, 2]), np.arange(1, 12000), long),
        calibration("dot", "a_model_with_a_long_name", "a_model_whose_name_is_longer_still"),
    ]
    for figure in drawn:
        figure.canvas.draw()
        box, paper = figure.get_tightbbox(), figure.get_size_inches()
        assert min(box.x0, box.y0) >= -0.02
        assert box.x1 <= paper[0] + 0.02
        assert box.y1 <= paper[1] + 0.02


def test_saved_twice_to_the_same_bytes_white_and_without_a_date(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        for name in ("toy.png", "toy.svg"):
            save(joint([3.0], [4]), tmp_path / folder / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["toy.png", "toy.svg"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    svg = (tmp_path / "one" / "toy.svg").read_text(encoding="utf-8")
    assert "<dc:title>Toy</dc:title>" in svg
    assert "dc:date" not in svg
    assert to_hex(joint([3.0], [4]).get_facecolor()) == "#ffffff"


def test_pyplot_is_not_used() -> None:
    assert "matplotlib.pyplot" not in vars(figures)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
