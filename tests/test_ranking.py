from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cf.baselines.base import Scorer, rating_scorer, top_k
from cf.core import io
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.evaluation import ranking
from cf.evaluation.bootstrap import MIN_USERS
from cf.evaluation.ranking import RankingTask
from cf.reporting.tables import ranking_table

PAIRS = list[tuple[int, int, float]]


def ratings(pairs: PAIRS) -> Ratings:
    users, items, values = (np.array(column) for column in zip(*pairs, strict=True))
    return Ratings(users, items, values.astype(np.float32), None, np.arange(len(pairs)))


def fixed(table: list[list[float]]) -> Scorer:
    scores = np.array(table, dtype=np.float32)
    return lambda users: scores[users]


TRAIN = ratings([(0, 0, 5.0), (0, 1, 1.0), (1, 0, 4.0), (2, 3, 3.0)])
HELD_OUT = ratings(
    [(0, 2, 4.0), (0, 4, 5.0), (0, 3, 3.5), (1, 1, 4.5), (2, 0, 3.0), (3, 0, 5.0)]
)  # user 2 has nothing relevant, user 3 no training rating


def small() -> RankingTask:
    return ranking.make_task(TRAIN, HELD_OUT, n_users=4, n_items=6, lowest_relevant=4.0)


def test_users_that_cannot_be_evaluated_are_left_out() -> None:
    found = small()
    assert found.users.tolist() == [0, 1]
    assert found.n_relevant.tolist() == [2, 1]
    assert found.n_left_out == 2


def test_what_was_rated_in_train_is_not_relevant_again() -> None:
    twice = ratings([(0, 0, 5.0), (0, 2, 5.0), (0, 2, 4.0), (1, 0, 5.0)])
    found = ranking.make_task(TRAIN, twice, n_users=4, n_items=6, lowest_relevant=4.0)
    assert found.users.tolist() == [0]
    assert found.n_relevant.tolist() == [1]


def test_what_the_user_has_seen_since_train_is_neither_recommended_nor_relevant() -> None:
    exclude = ratings([(0, 4, 5.0), (0, 5, 1.0)])
    found = ranking.make_task(TRAIN, HELD_OUT, 4, 6, 4.0, exclude)
    assert found.n_relevant.tolist() == [1, 1]
    scorer = fixed([[9, 9, 1, 2, 8, 8], [9, -1, 0, 0, -2, 3], [0] * 6, [0] * 6])
    assert ranking.recommend(scorer, found, 2)[0].tolist() == [3, 2]
    assert ranking.recommend(scorer, small(), 2)[0].tolist() == [4, 5]


def test_auto_counts_the_rating_that_nearest_to_half_of_train_reach() -> None:
    values = np.array([1, 1, 2, 3, 4, 4, 4, 5, 5, 5], dtype=np.float32)
    assert ranking.typical_rating(values) == 4, "60%; 30% reach 5"
    found = ranking.make_task(TRAIN, HELD_OUT, 4, 6, "auto")
    np.testing.assert_array_equal(found.relevant, small().relevant)


def test_without_users_to_evaluate_the_parameter_is_named() -> None:
    with pytest.raises(InputError) as caught:
        ranking.make_task(TRAIN, HELD_OUT, 4, 6, lowest_relevant=6.0)
    assert str(caught.value) == (
        "params.yaml: rank.relevant: no user has both a training rating and a held-out one of at "
        "least 6. Lower it, or hold out more ratings of users who stay in training."
    )


def test_lists_leave_out_what_was_seen_and_break_ties_by_index() -> None:
    scorer = fixed([[9, 9, 1, 2, 1, 1], [9, -1, 0, -0.0, -2, 3], [0] * 6, [0] * 6])
    assert ranking.recommend(scorer, small(), 3).tolist() == [[3, 2, 4], [5, 2, 3]]


def evaluated(lists: np.ndarray, task: RankingTask) -> dict[str, float]:
    """The metrics of one model's lists, and the numbers of users."""
    table = ranking.evaluate_lists({"dot": lists}, task, lists.shape[1], "valid")
    return (
        table.drop(columns=["model", "behind", "behind_low", "behind_high", "part"])
        .iloc[0]
        .to_dict()
    )


def test_metrics_by_hand() -> None:
    # User 0 (items 2 and 4 are relevant) hits at places 1 and 3; user 1 (item 1) at place 2.
    found = evaluated(np.array([[2, 3, 4], [2, 1, 5]]), small())
    third, second = 1 / np.log2(4), 1 / np.log2(3)
    assert found == pytest.approx(
        {
            "ndcg_at_3": ((1 + third) / (1 + second) + second) / 2,
            "recall_at_3": 1.0,
            "map_at_3": ((1 + 2 / 3) / 2 + 1 / 2) / 2,
            "coverage_at_3": 5 / 6,
            # Three users rated in train: item 1 and item 3 once, items 2, 4 and 5 never.
            "novelty_at_3": np.log2(3),
            "n_users": 2,
            "n_left_out": 2,
        }
    )
    again = evaluated(np.array([[3, 5, 2], [3, 2, 0]]), small())
    assert again["recall_at_3"] == pytest.approx((1 / 2 + 0) / 2)
    assert again["novelty_at_3"] == pytest.approx((5 * np.log2(3) + np.log2(3 / 2)) / 6)


def test_fewer_candidates_than_places() -> None:
    lowest = [-np.inf] * 6
    scorer = fixed([[1, 1, -np.inf, -np.inf, 5, -np.inf], [1, 2, 3, 4, 5, 6], lowest, lowest])
    lists = ranking.recommend(scorer, small(), 10)
    assert lists.tolist() == [[4] + [-1] * 9, [5, 4, 3, 2, 1] + [-1] * 5]
    found = evaluated(lists, small())
    assert found["recall_at_10"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["map_at_10"] == pytest.approx((1 / 2 + 1 / 5) / 2)
    assert found["coverage_at_10"] == pytest.approx(5 / 6)
    nothing = evaluated(np.full((2, 10), -1), small())
    assert set(nothing.values()) == {0.0, 2}


def test_models_are_compared_user_by_user(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    better = rng.random(200)
    worse = better - 0.1 + 0.01 * rng.normal(size=200)
    ndcg = iter((worse, better, better))
    user_metrics = lambda lists, task: pd.DataFrame({"ndcg": next(ndcg)})  # noqa: E731
    monkeypatch.setattr(ranking, "user_metrics", user_metrics)
    lists = dict.fromkeys(("worse", "better", "same"), np.array([[0]]))
    table = ranking.evaluate_lists(lists, small(), 1, "valid").set_index("model")
    assert (table.loc[["better", "same"], ["behind", "behind_low", "behind_high"]] == 0).all(
        axis=None
    )
    drawn = rng.integers(0, 200, (4000, 200))
    ends = np.quantile((better - worse)[drawn].mean(1), (0.025, 0.975))
    low, high = table.loc["worse", ["behind_low", "behind_high"]]
    assert (low, high) == pytest.approx(tuple(ends), abs=2e-4)
    assert low < table["behind"]["worse"] < high


@pytest.mark.parametrize("n_users", [MIN_USERS - 1, MIN_USERS])
def test_few_users_have_no_interval(n_users: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ndcg = pd.DataFrame({"ndcg": np.linspace(0, 1, n_users)})
    monkeypatch.setattr(ranking, "user_metrics", lambda lists, task: ndcg)
    table = ranking.evaluate_lists({"dot": np.array([[0]])}, small(), 1, "valid")
    ends = table[["behind_low", "behind_high"]]
    assert (ends.isna() == (n_users < MIN_USERS)).all(axis=None)


def test_models_of_the_same_ndcg_stay_in_their_order() -> None:
    names = [f"m{number}" for number in range(40, 0, -1)]
    better, worse = names[::2], names[1::2]
    lists = {name: LISTS["ease" if name in better else "dot"] for name in names}
    table = ranking.evaluate_lists(lists, small(), 3, "valid")
    assert table["model"].tolist() == better + worse


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ranking.recommend(fixed([[0, 0, 0, np.nan, 0, 0]] * 4), small(), 3)
    with pytest.raises(ValueError, match=r"expected \(2, 6\) scores, got \(2, 5\)"):
        ranking.recommend(fixed([[0] * 5] * 4), small(), 3)


def made_up(seed: int, n_users: int = 80, n_items: int = 150) -> tuple[RankingTask, Scorer]:
    draw = np.random.default_rng(seed)
    users, items = np.divmod(draw.permutation(n_users * n_items)[:3000], n_items)
    values = (draw.integers(1, 11, 3000) / 2).astype(np.float32)
    rows = Ratings(users, items, values, None, np.arange(3000))
    train, held_out = rows.take(np.arange(1500)), rows.take(np.arange(1500, 3000))
    scores = draw.permutation(n_users * n_items).reshape(n_users, n_items).astype(np.float32)
    found = ranking.make_task(train, held_out, n_users, n_items, lowest_relevant=4.0)
    return found, lambda users: scores[users]


@pytest.mark.parametrize("seed", range(5))
def test_equals_trec_eval_by_way_of_ir_measures(seed: int) -> None:
    ir_measures = pytest.importorskip("ir_measures", reason="it is not built for ARM")
    at_10 = {
        "ndcg": ir_measures.nDCG @ 10,
        "recall": ir_measures.R @ 10,
        "map": ir_measures.AP @ 10,
    }
    found, scorer = made_up(seed)
    n_items = found.train.shape[1]
    lists = ranking.recommend(scorer, found, 10)
    judged = np.isin(found.relevant // n_items, found.users)
    qrels = [
        ir_measures.Qrel(str(pair // n_items), str(pair % n_items), 1)
        for pair in found.relevant[judged]
    ]
    scores, seen = scorer(found.users), found.train[found.users].toarray()
    run = [
        ir_measures.ScoredDoc(str(user), str(item), float(scores[row, item]))
        for row, user in enumerate(found.users)
        for item in np.flatnonzero(seen[row] == 0)
    ]
    theirs = ir_measures.pytrec_eval.calc_aggregate(at_10.values(), qrels, run)
    ours = evaluated(lists, found)
    assert 0 < ours["recall_at_10"] < 1
    for name, metric in at_10.items():
        assert ours[f"{name}_at_10"] == pytest.approx(theirs[metric], abs=1e-6)


def test_the_size_of_chunks_changes_nothing_and_what_was_seen_is_never_recommended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, scorer = made_up(0)
    lists = ranking.recommend(scorer, found, 10)
    calls: list[int] = []

    def counted(users: np.ndarray) -> np.ndarray:
        calls.append(len(users))
        return scorer(users)

    for memory in (1, 10_000, 50_000):
        monkeypatch.setattr("cf.baselines.base.MEMORY", memory)
        np.testing.assert_array_equal(ranking.recommend(counted, found, 10), lists)
    assert set(calls) >= {1, 2, 10}
    assert not (found.train.toarray()[found.users[:, None], lists] > 0).any()


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=4, max_size=4), max_size=5),
    st.integers(1, 6),
)
def test_the_best_are_those_that_sorting_finds(table: list[list[float]], k: int) -> None:
    scores = np.array(table, dtype=np.float32).reshape(-1, 4)
    order = [sorted(range(4), key=lambda item: (-row[item], item)) for row in scores.tolist()]
    expected = [
        ([item for item in items if row[item] > -np.inf] + [-1] * k)[:k]
        for row, items in zip(scores.tolist(), order, strict=True)
    ]
    assert top_k(scores, k).tolist() == expected


@pytest.mark.parametrize("n_levels", [1, 3, 40, 10**6])
@pytest.mark.parametrize("k", [1, 7, 60])
def test_the_best_of_many_are_those_of_a_full_sort(n_levels: int, k: int) -> None:
    draw = np.random.default_rng(n_levels)
    scores = draw.integers(0, n_levels, (20, 1001)).astype(np.float32)
    scores[draw.random(scores.shape) < draw.random((20, 1))] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best[np.take_along_axis(scores, best, axis=1) == -np.inf] = -1
    np.testing.assert_array_equal(top_k(scores, k), best)


def test_stars_of_pairs_rank_all_items() -> None:
    table = np.arange(12, dtype=np.float32).reshape(2, 6)
    predict: Callable[..., np.ndarray] = lambda users, items: table[users, items]  # noqa: E731
    np.testing.assert_array_equal(rating_scorer(predict, 6)(np.array([1, 0])), table[::-1])


LISTS = {"dot": np.array([[3, 5, 2], [3, 2, 0]]), "ease": np.array([[2, 3, 4], [2, 1, 5]])}


def test_models_are_compared_the_best_first_and_what_is_written_is_read(tmp_path: Path) -> None:
    table = ranking.evaluate_lists(LISTS, small(), 3, "test")
    assert table["model"].tolist() == ["ease", "dot"]
    ease = pd.Series(evaluated(LISTS["ease"], small()))
    assert table.filter(like="_at_").iloc[0].equals(ease.filter(like="_at_"))
    gap = table["ndcg_at_3"][0] - table["ndcg_at_3"][1]
    assert table["behind"].tolist() == pytest.approx([0, gap])
    assert table[["n_users", "n_left_out", "part"]].iloc[1].tolist() == [2, 2, "test"]
    assert ranking.run_metrics(table)["dot"]["test/ndcg_at_3"] == round(table["ndcg_at_3"][1], 6)
    io.write_csv(tmp_path / "ranking.csv", table)
    pd.testing.assert_frame_equal(io.read_csv(tmp_path / "ranking.csv"), table.round(6))


def test_without_lists_the_table_has_no_rows(tmp_path: Path) -> None:
    io.write_csv(tmp_path / "ranking.csv", ranking.evaluate_lists({}, None, 5, "valid"))
    table = io.read_csv(tmp_path / "ranking.csv", ["model", "ndcg_at_5", "part"])
    assert table.empty
    assert ranking.run_metrics(table) == {}


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lists = {"a_model_with_a_name": LISTS["ease"]}
    table = ranking.evaluate_lists(lists, small(), 3, "valid")
    Console(width=80).print(ranking_table(table, "toy"))
    printed = capsys.readouterr().out
    assert "too few users for intervals" in printed
    assert "95%" not in printed
    enough = table.assign(behind_low=0.0, behind_high=0.0)
    Console(width=80).print(ranking_table(enough, "toy"))
    assert "95% intervals of the NDCG" in capsys.readouterr().out
    for word in ("toy: 2 users", "a_model_with_a_name", "NDCG @3", "0.8333", "1.5850"):
        assert word in printed
