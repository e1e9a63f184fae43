import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cf.core import io as cf_io
from cf.core import ratings as cf_ratings
from cf.core.names import KEYS
from cf.core.ratings import Ratings, RatingStats
from cf.distributed import stream
from cf.distributed.stream import RatingStream
from cf.reporting import gallery
from cf.reporting.gallery import Results, top_crosstab
from tests.results import toy_results

matplotlib.use("agg")

# The notebook's printed output; its last column, item 2959, is cut off at the edge of the page.
COLUMNS = [1, 50, 110, 260, 296, 318, 356, 480, 527, 589, 593, 1196, 2571, 2858]
PRINTED = """
68  2.5 3.0 2.5 5.0 2.0 3.0 3.5 3.5 4.0 3.5 3.5 5.0 4.5 5.0
182 4.0 4.5 3.5 3.5 5.0 4.5 5.0 3.5 4.0 2.0 4.5 3.0 5.0 5.0
249 4.0 4.0 5.0 5.0 4.0 4.5 4.5 4.0 4.5 4.0 4.0 5.0 5.0 4.5
274 4.0 4.0 4.5 3.0 5.0 4.5 4.5 3.5 4.0 4.5 4.0 4.5 4.0 5.0
288 4.5 NaN 5.0 5.0 5.0 5.0 5.0 2.0 5.0 4.0 5.0 4.5 3.0 NaN
307 4.0 4.5 3.5 3.5 4.5 4.5 4.0 3.5 4.5 2.5 4.5 3.0 3.5 4.0
380 5.0 4.0 4.0 5.0 5.0 3.0 5.0 5.0 NaN 5.0 5.0 5.0 4.5 NaN
387 NaN 4.5 3.5 4.5 5.0 3.5 4.0 3.0 NaN 3.5 4.0 4.5 4.0 4.5
414 4.0 5.0 5.0 5.0 5.0 5.0 5.0 4.0 4.0 5.0 4.0 5.0 5.0 5.0
448 5.0 4.0 NaN 5.0 5.0 NaN 3.0 3.0 NaN 3.0 5.0 5.0 2.0 4.0
474 4.0 4.0 3.0 4.0 4.0 5.0 3.0 4.5 5.0 4.0 4.5 5.0 4.5 3.5
599 3.0 3.5 3.5 5.0 5.0 4.0 3.5 4.0 NaN 4.5 3.0 5.0 5.0 5.0
603 4.0 NaN 1.0 4.0 5.0 NaN 3.0 NaN 3.0 NaN 5.0 3.0 5.0 5.0
606 2.5 4.5 3.5 4.5 5.0 3.5 4.0 2.5 5.0 3.5 4.5 4.5 5.0 4.5
610 5.0 4.0 4.5 5.0 5.0 3.0 3.0 5.0 3.5 5.0 4.5 5.0 5.0 3.5
"""


def crosstab(frame: pd.DataFrame, n_top: int, path: Path | None = None) -> pd.DataFrame:
    """Of ratings with user_id, item_id and rating; streamed from a file at `path`, if given."""
    users, user_ids = pd.factorize(frame["user_id"])
    items, item_ids = pd.factorize(frame["item_id"])
    values, rows = frame["rating"].to_numpy("float32"), np.arange(len(frame))
    ratings: RatingStats = Ratings(users, items, values, None, rows)
    if path:
        cf_io.write_parquet(path, ratings.to_frame())
        ratings = RatingStream(path)
    counts = ratings.user_counts(len(user_ids)), ratings.item_counts(len(item_ids))
    by_id = (pd.Series(*each) for each in zip(counts, (user_ids, item_ids), strict=True))
    return top_crosstab(ratings, *by_id, n_top)


def test_the_crosstab_equals_the_notebooks_cells() -> None:
    path = Path(os.environ.get("CF_DATA_HOME", "")) / "ml-latest-small.zip"
    if not path.is_file():
        pytest.skip("ml-latest-small.zip not at hand; set CF_DATA_HOME to its folder")
    with zipfile.ZipFile(path) as archive, archive.open("ml-latest-small/ratings.csv") as file:
        ratings = pd.read_csv(file)
    names = {"userId": "user_id", "movieId": "item_id"}
    table = crosstab(ratings.rename(columns=names).astype({"rating": "float32"}), 15)
    printed = pd.read_csv(io.StringIO(PRINTED), sep=r"\s+", index_col=0, header=None)
    assert table.columns.tolist() == [*COLUMNS, 2959]
    assert table.index.tolist() == printed.index.tolist()
    np.testing.assert_array_equal(table.to_numpy()[:, :-1], printed.to_numpy())


@pytest.mark.parametrize(
    ("ratings", "n_top", "table"),
    [
        (  # counted over all ratings, sorted by id
            {9: {30: 1, 10: 2, 20: 3}, 2: {30: 4, 10: 5}, 5: {30: 0.5}},
            2,
            {10: {2: 5, 9: 2}, 30: {2: 4, 9: 1}},
        ),
        ({7: {1: 1}, 3: {1: 2}, 5: {1: 3}}, 2, {1: {3: 2, 5: 3}}),  # of equal counts the lower id
        ({1: {4: 2.5}, 2: {5: 1}}, 15, {4: {1: 2.5, 2: np.nan}, 5: {1: np.nan, 2: 1}}),
        ({1: {1: 0}}, 1, {1: {1: 0}}),  # a rating of 0 is no missing one
    ],
)
def test_the_most_active_users_by_the_most_rated_items(
    ratings: dict[int, dict[int, float]], n_top: int, table: dict[int, dict[int, float]]
) -> None:
    rows = [(user, item, stars) for user, items in ratings.items() for item, stars in items.items()]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rating"])
    pd.testing.assert_frame_equal(
        crosstab(frame, n_top), pd.DataFrame(table), check_names=False, check_dtype=False
    )


def test_ratings_of_one_item_by_one_user_are_summed() -> None:
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": [4, 4], "rating": [2.5, 3.0]})
    assert crosstab(frame, 15).to_numpy().tolist() == [[5.5]]


def test_top_users_who_rated_no_top_item_stay_as_a_blank_row() -> None:
    frame = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [5, 6, 7], "rating": [1.0, 2.0, 3.0]})
    table = crosstab(frame, 2)
    assert table.index.tolist() == [1, 2]
    assert table.loc[2].isna().all()


def test_where_the_most_active_rated_none_of_the_most_rated_those_that_meet_are_shown() -> None:
    active = [(user, f"rare{user}{number}") for user in "ab" for number in range(9)]
    rated = [(f"user{number}", f"hit{number % 2}") for number in range(16)]
    together = [("fan", "hit0"), ("fan", "hit1")]
    frame = pd.DataFrame([*active, *rated, *together], columns=["user_id", "item_id"])
    table = crosstab(frame.assign(rating=2.0), 2)
    assert table.columns.tolist() == ["hit0", "hit1"]
    assert table.index.tolist() == ["fan", "user0"]
    assert table.notna().sum().sum() == 3
    assert table.notna().any(axis="index").all()


def crosstab_of_frame(ratings: pd.DataFrame, n_top: int) -> pd.DataFrame:
    """The same from all ratings at once, in pandas."""

    def most_frequent(ids: pd.Series) -> pd.Index:
        return ids.value_counts().sort_index().nlargest(n_top).index.sort_values()

    users, items = most_frequent(ratings["user_id"]), most_frequent(ratings["item_id"])
    top = ratings[ratings["user_id"].isin(users) & ratings["item_id"].isin(items)]
    if 2 * len(top) < len(users) * len(items):
        for _ in range(gallery.MAX_ROUNDS):
            users = most_frequent(ratings["user_id"][ratings["item_id"].isin(items)])
            items = most_frequent(ratings["item_id"][ratings["user_id"].isin(users)])
        top = ratings[ratings["user_id"].isin(users) & ratings["item_id"].isin(items)]
        users, items = users[users.isin(top["user_id"])], items[items.isin(top["item_id"])]
    table = pd.crosstab(top["user_id"], top["item_id"], top["rating"], aggfunc="sum")
    return table.reindex(index=users, columns=items)


def id_of(number: int) -> str:
    return f"{'Zzé_🎬'[number % 5]}{number}"


@pytest.mark.parametrize("name", [lambda number: 7 * number % 101, id_of])
@pytest.mark.parametrize("n_items", [10, 90])  # most cells are taken, or rounds are needed
@pytest.mark.parametrize("seed", range(3))
def test_streamed_or_in_memory_the_crosstab_is_that_of_the_whole_frame(
    name: Callable[[int], Any],
    n_items: int,
    seed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cf_io, "ROW_GROUP", 70)
    monkeypatch.setattr(stream, "BLOCK", 30)
    monkeypatch.setattr(cf_ratings, "BLOCK", 40)
    draw = np.random.default_rng(seed)  # few ratings each: many counts are equal, pairs come twice
    numbers = {key: draw.integers(0, n, 300) for key, n in (("user_id", 80), ("item_id", n_items))}
    frame = pd.DataFrame({key: [name(n) for n in found.tolist()] for key, found in numbers.items()})
    frame = frame.assign(rating=(draw.integers(1, 11, 300) / 2).astype("f4"))
    expected = crosstab_of_frame(frame, 8)
    for path in (None, tmp_path / "ratings.parquet"):
        found = crosstab(frame, 8, path)
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_names=False)


def test_titles_name_the_data_set_and_the_model() -> None:
    drawn = dict(gallery.draw(toy_results()))
    assert set(drawn) == {
        "activity", "calibration", "crosstab", "loss_curves", "predicted_dot", "predicted_embnet",
        "ranking", "strata_rmse", "strata_to_best",
    }  # fmt: skip
    for name, figure in drawn.items():
        title = figure.get_suptitle().replace("\n", " ")
        assert "toy-stars" in title
        if name.startswith("predicted_"):
            assert title.endswith(f", {name.removeprefix('predicted_')}")


def test_calibration_and_ranking_are_left_out_where_there_are_none() -> None:
    results = toy_results()
    none = replace(results, coverage=results.coverage[:0], ranking=results.ranking[:0])
    assert not {"calibration", "ranking"} & set(dict(gallery.draw(none)))


@pytest.mark.filterwarnings("error")
def test_one_model_and_one_row() -> None:
    results = toy_results()
    strata = results.strata.query("model != 'dot' and stratum == 'warm_cold'")
    one = replace(
        results,
        predictions=results.predictions[:1][[*KEYS, "bias", "embnet"]],
        strata=strata.assign(rmse_low=np.nan, rmse_high=np.nan),
        leaderboard=results.leaderboard.query("model in ['bias', 'embnet']"),
        histories={"embnet": results.histories["embnet"]},
    )
    assert "predicted_embnet" in dict(gallery.draw(one))


def figure(results: Results, name: str, n_left_out: int = 2) -> Figure:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "N_LEFT_OUT", n_left_out)
        return dict(gallery.strata_figures(results))[name]


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_strata_are_panels_and_the_best_model_is_the_reference() -> None:
    results = toy_results()
    panels = {axes.get_title(loc="left"): axes for axes in figure(results, "strata_rmse", 0).axes}
    assert list(panels) == [
        "training ratings of the item",
        "seen in training",
        "month of the rating",
    ]
    ticks = [text.get_text() for text in panels["month of the rating"].get_xticklabels()]
    assert ticks == ["2000-01 (30)", "2000-02 (50)"]
    drawn = figure(results, "strata_to_best", 0)
    assert drawn.get_suptitle().startswith("RMSE \N{MINUS SIGN} RMSE of embnet by group of")
    assert labels(drawn) == ["dot", "bias", "global_mean"]


def test_strata_leave_out_the_worst_models_and_the_note_says_which() -> None:
    drawn = figure(toy_results(), "strata_rmse", 1)
    assert labels(drawn) == ["embnet", "dot", "bias"]
    note = drawn.texts[1].get_text().replace("\n", " ")
    assert "Left out, highest RMSE: global_mean (RMSE " in note
    assert labels(figure(toy_results(), "strata_rmse", 2)) == [
        *("embnet", "dot", "bias", "global_mean")
    ], "two of four would leave too few"


def test_many_months_are_drawn_as_years() -> None:
    results = toy_results()
    month = results.strata.query("stratum == 'month' and label == '2000-01'")
    many = [month.assign(label=f"{number}") for number in range(gallery.MAX_MONTHS)]
    strata = pd.concat([results.strata, *many])
    titles = [
        axes.get_title(loc="left")
        for axes in figure(replace(results, strata=strata), "strata_rmse").axes
    ]
    assert titles[-1] == "year of the rating"
    assert "month of the rating" not in titles
