from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from cf.evaluation.rating_scale import RatingScale
from cf.reporting import figures
from cf.reporting.style import model_styles, save

SCALE = RatingScale(0.5, 5.0, 0.5, "points")
COLUMNS = ["epoch", "train_loss", "valid_loss", "learning_rate"]
NO_EPOCHS = pd.DataFrame(columns=COLUMNS, dtype=float)

matplotlib.use("agg")


def history(*valid: float, train: float = 0.5, last: str = "learning_rate") -> pd.DataFrame:
    epochs = np.arange(1, len(valid) + 1)
    return pd.DataFrame({"epoch": epochs, "train_loss": train, "valid_loss": valid, last: 0.1})


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def loss_curves(burn_in: dict[str, int] | None = None, **histories: pd.DataFrame) -> Figure:
    return figures.loss_curves(
        histories, model_styles(histories), "points", "Loss: toy", burn_in or {}
    )


def test_styles_differ_and_baselines_are_gray() -> None:
    styles = model_styles([f"m{number}" for number in range(40)], ["bias", "mean"])
    assert len({(style.color, style.marker) for style in styles.values()}) == 42
    assert styles["bias"].color == styles["mean"].color
    assert styles["bias"].color not in {styles[f"m{number}"].color for number in range(40)}


def test_loss_curves_draw_two_lines_a_model_that_differ_without_color() -> None:
    figure = loss_curves(dot=history(1.2, 1.1), embnet=history(0.9, 0.8, 0.77))
    (axes,) = figure.axes
    assert axes.get_ylabel() == "mean squared error (points²)"
    assert axes.get_xlabel() == "epoch"
    lines = axes.get_lines()
    for (train, valid), style in zip(
        (lines[2:], lines[:2]), model_styles(["dot", "embnet"]).values(), strict=True
    ):
        assert train.get_linestyle() != valid.get_linestyle()
        assert train.get_markerfacecolor() == "white" != valid.get_markerfacecolor()
        assert train.get_color() == valid.get_color() == style.color
    assert all(tick == round(tick) for tick in axes.get_xticks())
    assert figure.get_suptitle() == "Loss: toy"


def test_sweeps_of_a_sampler_have_a_panel_of_their_own_with_the_end_of_burn_in() -> None:
    gibbs = history(*np.linspace(0.9, 0.7, 200), last="noise_precision")
    epochs, sweeps = loss_curves({"gibbs": 20}, gibbs=gibbs, dot=history(1.2, 1.1, 1.0)).axes
    assert (epochs.get_xlabel(), sweeps.get_xlabel()) == ("epoch", "sweep")
    assert [len(axes.get_lines()[0].get_xdata()) for axes in (epochs, sweeps)] == [3, 200]
    assert list(sweeps.get_lines()[-1].get_xdata()) == [20, 20]
    assert [text.get_text() for text in sweeps.texts] == [" end of burn-in"]
    assert epochs.get_ylim() == sweeps.get_ylim()
    (alone,) = loss_curves(gibbs=gibbs).axes
    assert alone.get_xlabel() == "sweep"


def test_loss_legend_has_the_last_loss_lowest_first() -> None:
    figure = loss_curves(dot=history(1.2, 1.134), empty=NO_EPOCHS, embnet=history(0.7, 0.773))
    labels = [text.get_text().split() for text in figure.legends[0].get_texts()]
    assert labels == [["0.773", "embnet"], ["1.134", "dot"]]


def test_a_loss_far_off_does_not_flatten_the_others() -> None:
    figure = loss_curves(dot=history(10.84, 1.13, train=12.1), embnet=history(0.9, 0.8))
    assert figure.axes[0].get_ylim()[1] == pytest.approx(3 * 0.8)
    assert "losses above 2.40 are not shown" in texts(figure)
    within = loss_curves(dot=history(1.61, 1.13), embnet=history(0.9, 0.8))
    assert within.axes[0].get_ylim()[1] > 1.61
    assert "not shown" not in texts(within)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_model_leaves_the_others_readable(bad: float) -> None:
    figure = loss_curves(dot=history(2.0, bad, bad), embnet=history(0.9, 0.8))
    low, high = figure.axes[0].get_ylim()
    assert 0 < low < 0.5 < 2 < high < 2.5


def joint(predicted: list[float], observed: list[float]) -> Figure:
    given = pd.Series(predicted, dtype="float32"), pd.Series(observed, dtype="float32")
    return figures.predicted_against_observed(*given, SCALE, "Toy")


def test_joint_axes_are_equal_whatever_the_predictions() -> None:
    for figure in (joint([3.0, 3.5], [3, 4]), joint([-40.0, 900.0], [3, 4])):
        axes = figure.axes[0]
        assert axes.get_xlim() == axes.get_ylim() == (0.25, 5.25)
        assert axes.get_xlabel() == "predicted (points)"
        assert axes.get_ylabel() == "observed (points)"
        box = axes.get_window_extent()
        assert box.width == pytest.approx(box.height, rel=1e-3)
        assert np.array_equal(*axes.get_lines()[0].get_data()), "the diagonal"
        assert figure.axes[-1].get_ylabel() == "number of ratings"


def test_joint_counts_every_pair_once_in_the_row_of_its_rating() -> None:
    rng = np.random.default_rng(0)
    observed, predicted = rng.integers(1, 11, 2000) / 2, rng.uniform(0.5, 5, 2000)
    figure = joint(predicted.tolist(), observed.tolist())
    mesh = figure.axes[0].collections[0]
    counts = mesh.get_array().filled(0).sum(axis=1)
    corners = mesh.get_coordinates()[:, 0, 1]
    for row, rating in enumerate(np.arange(1, 11) / 2):
        assert corners[2 * row] < rating < corners[2 * row + 1]
        assert counts[2 * row] == (observed == rating).sum()
    assert counts.sum() == 2000
    means = figure.axes[0].get_lines()[1]
    assert means.get_ydata().tolist() == (np.arange(1, 11) / 2).tolist()
    assert means.get_xdata()[0] == pytest.approx(predicted[observed == 0.5].mean())


def test_joint_marginals_sum_to_the_rows() -> None:
    _, above, right, _ = joint([1.1, 2.2, 3.3, 5.0], [1, 2, 2, 4.5]).axes
    assert above.patches[0].get_data().values.sum() == 4
    bars = {bar.get_y() + bar.get_height() / 2: bar.get_width() for bar in right.patches}
    assert bars == pytest.approx({1: 1, 2: 2, 4.5: 1})


def test_joint_has_the_rmse_and_what_lies_outside_in_words() -> None:
    text = texts(joint([4.0, 5.2, 7.0, -1.0], [4, 5, 4, 1]))
    assert f"RMSE {np.sqrt((0.2**2 + 9 + 4) / 4):.3f} points over 4 ratings" in text
    assert "outside 0.5 to 5 points: 3, of which beyond these axes: 2" in text


def test_joint_of_a_scale_of_percent_ends_at_the_range() -> None:
    scale = RatingScale.of([np.arange(101, dtype="f4")], (0, 100), "percent")
    observed, predicted = pd.Series([0.0, 41, 44, 100]), pd.Series([-0.00001, 50, 60, 180])
    figure = figures.predicted_against_observed(predicted, observed, scale, "Toy")
    axes = figure.axes[0]
    assert axes.get_xlim() == axes.get_ylim() == (-2.5, 102.5)
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        str(n) for n in range(0, 101, 10)
    ]
    assert "outside 0 to 100 percent: 1, of which beyond these axes: 1" in texts(figure)
    means = axes.get_lines()[1]
    assert means.get_ydata().tolist() == [0, 40, 45, 100]
    assert means.get_xdata().tolist() == pytest.approx([0, 50, 60, 180], abs=1e-3), (
        "of all predictions"
    )


def test_joint_of_two_levels_has_two_rows_and_ticks_between_them() -> None:
    scale = RatingScale.of([np.float32([0, 1])], (0, 1), "likes")
    figure = figures.predicted_against_observed(pd.Series([0.2]), pd.Series([1.0]), scale, "Toy")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "1"]
    assert len(axes.get_xticks()) == 11
    low, high = axes.get_ylim()
    assert low <= axes.collections[0].get_coordinates()[0, 0, 1]
    assert high >= axes.collections[0].get_coordinates()[-1, 0, 1]


def calibration(*names: str, deciles: dict[str, list[float]] | None = None) -> Figure:
    curve = {"level": [25, 50, 95], "coverage": [0.3, 0.55, 0.9]}
    found = deciles or {
        "predicted_sd": [0.5, 1.0], "rmse": [0.6, 1.2], "rmse_low": [0.4, 1.1],
        "rmse_high": [0.8, 1.3],
    }  # fmt: skip
    frames = (
        pd.concat([pd.DataFrame({"model": name, **columns}) for name in names])
        for columns in (curve, found)
    )
    return figures.calibration(*frames, model_styles(names), "points", "Calibration: toy")


def test_calibration_stands_beside_the_diagonal_on_axes_that_are_equal() -> None:
    figure = calibration("dot")
    shares, errors = figure.axes
    line, _ = shares.get_lines()
    assert np.allclose(line.get_xydata(), [[25, 30], [50, 55], [95, 90]])
    line, _ = errors.get_lines()
    assert line.get_xydata().tolist() == [[0.5, 0.6], [1.0, 1.2]]
    bars = [segment.tolist() for segment in errors.collections[0].get_segments()]
    assert bars == [[[0.5, 0.4], [0.5, 0.8]], [[1.0, 1.1], [1.0, 1.3]]]
    assert errors.get_xlabel() == "predicted standard deviation (points)"
    assert errors.get_ylabel() == "RMSE (points)"
    assert "(bars: 95%)" in texts(figure)
    for axes in figure.axes:
        assert axes.get_xlim() == axes.get_ylim()
        assert axes.get_xticks().tolist() == axes.get_yticks().tolist()
        assert axes.get_aspect() == 1
        assert np.array_equal(*axes.get_lines()[-1].get_data())
    assert errors.get_xlim()[0] < 0.4 < 1.3 < errors.get_xlim()[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dot"]


def test_activity_ranks_users_and_items() -> None:
    figure = figures.activity(pd.Series([30, 5, 1]), pd.Series([32, 2, 2]), "Activity: toy")
    users, items = figure.axes
    assert users.get_lines()[0].get_xydata().tolist() == [[1, 30], [2, 5], [3, 1]]
    assert items.get_lines()[0].get_xydata().tolist() == [[1, 32], [2, 2], [3, 2]]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    assert users.get_xlabel() == "rank of the user"
    assert items.get_ylabel() == "number of ratings of the item"
    assert "3 users: median 5 ratings, maximum 30" in texts(figure)


def test_activity_shows_the_item_that_is_rated_more_than_any_user_rates() -> None:
    figure = figures.activity(pd.Series([30, 5]), pd.Series([900, 2]), "Activity: toy")
    assert all(axes.get_ylim()[1] > 900 for axes in figure.axes)


def test_activity_of_one_user_has_ticks_to_read_it_by() -> None:
    figure = figures.activity(pd.Series([5]), pd.Series([1] * 5), "Activity: toy")
    assert "1 user: median 5 ratings" in texts(figure)
    assert {1, 2, 5} <= set(figure.axes[0].get_yticks())


def test_activity_of_many_users_draws_a_few_hundred_with_the_first_and_the_last() -> None:
    counts = pd.Series(np.arange(200_000, 0, -1))
    line = figures.activity(counts, counts, "Activity: toy").axes[0].get_lines()[0]
    assert len(line.get_xdata()) <= 400
    assert line.get_xydata()[[0, -1]].tolist() == [[1, 200_000], [200_000, 1]]


def test_ranking_has_a_panel_a_metric_and_a_bar_a_model() -> None:
    metrics = pd.DataFrame({"NDCG": [0.25, 0.125], "novelty": [3.0, 9.0]}, ["ease", "dot"])
    figure = figures.ranking(metrics, model_styles(["dot"], ["ease"]), "Lists: toy")
    assert [axes.get_title("left") for axes in figure.axes] == ["NDCG", "novelty"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.25, 0.125]
    assert [text.get_text() for text in figure.axes[1].texts] == ["3.00", "9.00"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ease", "dot"]


def test_calibration_without_intervals_does_not_speak_of_them() -> None:
    point = {"predicted_sd": [0.5], "rmse": [0.5], "rmse_low": [np.nan], "rmse_high": [np.nan]}
    assert "95%" not in texts(calibration("dot", deciles=point))


def odd_figures() -> list[Figure]:
    many = [f"model_{number}" for number in range(30)]
    none = pd.Series([], dtype="int64")
    no_interval = {
        "predicted_sd": [0.5], "rmse": [0.5], "rmse_low": [np.nan], "rmse_high": [np.nan]
    }  # fmt: skip
    return [
        loss_curves(),
        loss_curves(dot=NO_EPOCHS),
        loss_curves(dot=history(1.2)),
        loss_curves(**{name: history(1.2, 0.9) for name in many}),
        joint([], []),
        joint([3.2], [3]),
        joint([np.nan, np.inf], [3, 4]),
        figures.activity(none, none, "Activity: toy"),
        figures.activity(pd.Series([1]), pd.Series([1]), "Activity: toy"),
        calibration("dot", deciles=no_interval),
        calibration(*many),
    ]


@pytest.mark.filterwarnings("error")
def test_odd_input_is_drawn_without_a_warning(tmp_path: Path) -> None:
    for number, figure in enumerate(odd_figures()):
        save(figure, tmp_path / f"odd_{number}.svg")
    assert pyplot.get_fignums() == [], "pyplot keeps no figure alive"


def leaves_the_paper(figure: Figure) -> bool:
    figure.canvas.draw()
    box, paper = figure.get_tightbbox(), figure.get_size_inches()
    return min(box.x0, box.y0) < -0.02 or box.x1 > paper[0] + 0.02 or box.y1 > paper[1] + 0.02


def test_nothing_leaves_the_paper() -> None:
    long = "Loss by epoch: a-data-set-whose-name-is-rather-long-all-told, and all models " * 2
    histories = {name: history(1.2, 0.9) for name in ("dot", "a_model_with_a_long_name")}
    histories["gibbs"] = history(9.9, 0.9, last="noise_precision")
    drawn = [
        figures.loss_curves(histories, model_styles(histories), "stars", long, {}),
        figures.activity(pd.Series([3, 2]), pd.Series(range(11_999, 0, -1)), long),
        calibration("dot", "a_model_with_a_long_name", "a_model_whose_name_is_longer_still"),
        figures.predicted_against_observed(
            pd.Series([-1234.5, 6789.0]), pd.Series([1.0, 2.0]), SCALE, long[:110]
        ),
    ]
    assert [leaves_the_paper(figure) for figure in drawn] == [False] * 4


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
