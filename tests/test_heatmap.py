from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cf.evaluation.rating_scale import RatingScale
from cf.reporting import figures
from cf.reporting.style import save
from tests.test_figures import SCALE, leaves_the_paper

matplotlib.use("agg")


def crosstab(values: np.ndarray, titles: dict[int, str | None]) -> Figure:
    rows, columns = values.shape
    table = pd.DataFrame(values, np.arange(1, rows + 1), np.arange(10, 10 + columns))
    return figures.crosstab_heatmap(table, pd.Series(titles, dtype=object), SCALE, "Crosstab: toy")


def test_crosstab_annotates_ratings_and_leaves_the_others_blank() -> None:
    axes = crosstab(np.array([[4.5, np.nan], [np.nan, 3.0]]), {}).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0.5, 0.5): "4.5", (1.5, 1.5): "3"}
    assert axes.collections[0].get_array().mask.tolist() == [[False, True], [True, False]]
    assert axes.yaxis_inverted()


def test_neighboring_ratings_can_be_told_apart() -> None:
    colors = crosstab(np.array([[0.5, 3.5, 4.0, 4.5, 5.0]]), {}).axes[0].collections[0]
    colors.update_scalarmappable()
    rgb = colors.get_facecolors()[:, :3]
    distances = np.abs(np.diff(rgb[1:], axis=0)).sum(axis=1)
    assert (distances > 0.3).all()


def test_crosstab_names_items_by_title_and_id_and_users_by_id() -> None:
    titles = {10: "Matrix, The (1999)", 11: None, 12: "Star Wars: Episode IV - A New Hope (1977)"}
    figure = crosstab(np.full((2, 4), 3.0), titles)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    axes = figure.axes[0]
    assert labels == ["The Matrix  10", "11", "Star Wars: Episode IV…  12", "13"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1", "2"]
    assert figure.axes[1].get_ylabel() == "rating (points)"
    assert axes.get_xlabel().startswith("item: title and id;")
    assert len(figures._item_label("W" * 60, 7)) < 30
    assert len(figures._item_label("W" * 60, "0b0be1f4-2f0c-44ab-9c3e-6a7d4f3f9c55")) < 45
    assert not leaves_the_paper(crosstab(np.full((15, 15), 4.5), {10: "A first title, quite long"}))


def test_crosstab_without_titles_and_with_long_ids() -> None:
    table = pd.DataFrame([[1.0, 10 / 3]], ["someone.with.a.name@example.com"], ["a" * 99, "b"])
    none = pd.Series([None, None], ["a" * 99, "b"], dtype=object)
    axes = figures.crosstab_heatmap(table, none, SCALE, "Crosstab: toy").axes[0]
    assert axes.get_xlabel().startswith("item id;")
    assert [text.get_text() for text in axes.get_yticklabels()] == ["someone.with.a.…"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a" * 15 + "…", "b"]
    assert [text.get_text() for text in axes.texts] == ["1", "3.33"]


def test_crosstab_has_a_color_and_a_tick_for_each_of_two_ratings() -> None:
    scale = RatingScale.of([np.float32([-1, 1])], (-1, 1), "points")
    table = pd.DataFrame([[-1.0, 1.0]] * 4)
    figure = figures.crosstab_heatmap(table, pd.Series(dtype=object), scale, "Crosstab: toy")
    labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert labels == ["\N{MINUS SIGN}1", "0", "1"]
    assert figure.axes[1].get_ylim() == (-1.5, 1.5)


def test_an_empty_crosstab_says_so() -> None:
    figure = figures.crosstab_heatmap(pd.DataFrame(), pd.Series(dtype=object), SCALE, "Toy")
    assert [text.get_text() for text in figure.texts] == ["Toy", "There is no rating to show."]


@pytest.mark.filterwarnings("error")
def test_odd_tables_and_titles_are_drawn_without_a_warning(tmp_path: Path) -> None:
    drawn = [
        crosstab(np.full((1, 2), 3.0), {10: "$5 a \\day", 11: "$9.99"}),  # no formula
        crosstab(np.array([[np.nan]]), {10: ""}),
    ]
    for figure in drawn:
        save(figure, tmp_path / "toy.svg")


def test_grid_has_the_values_and_the_lowest_in_bold(tmp_path: Path) -> None:
    rmse = pd.DataFrame(
        [[0.9, 0.85], [np.nan, 0.875]],
        pd.Index([10, 50], name="model.n_factors"),
        pd.Index([0.00001, 0.001], name="optimizer.weight_decay"),
    )
    figure = figures.grid_heatmap(rmse, "points", "RMSE: toy")
    axes = figure.axes[0]
    texts = {text.get_text(): text for text in axes.texts}
    assert set(texts) == {"0.9000", "0.8500", "0.8750"}
    assert [t for t, text in texts.items() if text.get_weight() == "bold"] == ["0.8500"]
    assert texts["0.8500"].get_position() == (1.5, 0.5)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.00001", "0.001"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["10", "50"]
    assert axes.get_ylabel() == "model.n_factors"
    assert figure.axes[1].get_ylabel() == "validation RMSE (points)"
