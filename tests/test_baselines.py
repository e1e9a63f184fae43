import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cf.baselines.base import interaction_matrix, rating_scorer
from cf.baselines.bias import Bias, GlobalMean, damped_means
from cf.baselines.ranking import (
    EASE,
    ItemKNN,
    PairCounts,
    Popularity,
    co_ratings,
    interaction_scorers,
)
from cf.core import io
from cf.core.config import Ease, Knn, Rank
from cf.core.ratings import Ratings, RatingStats
from cf.distributed import stream
from cf.distributed.stream import RatingStream

N_USERS, N_ITEMS = 40, 25


@pytest.fixture
def train() -> Ratings:
    """Ratings of 40 users, some items far more popular than others and the last never rated."""
    draw = np.random.default_rng(0)
    chance = np.linspace(0.6, 0.05, N_ITEMS) * (np.arange(N_ITEMS) < N_ITEMS - 1)
    users, items = np.nonzero(draw.random((N_USERS, N_ITEMS)) < chance)
    values = draw.integers(1, 6, len(users)).astype(np.float32)
    return Ratings(users, items, values, None, np.arange(len(users)))


@pytest.fixture
def matrix(train: Ratings) -> Any:
    return interaction_matrix(train, N_USERS, N_ITEMS)


def test_a_pair_that_occurs_twice_counts_once() -> None:
    twice = np.array([1, 1, 0])
    ratings = Ratings(twice, twice, np.full(3, 5, dtype=np.float32), None, np.arange(3))
    assert interaction_matrix(ratings, 2, 3).toarray().tolist() == [[1, 0, 0], [0, 1, 0]]


def test_popularity_counts_ratings(train: Ratings) -> None:
    scores = Popularity().fit(train, N_USERS, N_ITEMS).score(np.array([3, 3, 7]))
    expected = [(train.items == item).sum() for item in range(N_ITEMS)]
    assert scores.tolist() == [expected] * 3
    assert scores.dtype == np.float32


@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
@pytest.mark.parametrize("memory", [1, 2**20])
@pytest.mark.parametrize("many", [0, np.inf])
def test_itemknn_by_brute_force(
    train: Ratings,
    matrix: Any,
    shrinkage: float,
    memory: int,
    many: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cf.baselines.base.MEMORY", memory)
    monkeypatch.setattr("cf.baselines.ranking.MANY_PAIRS", many)
    x = matrix.toarray().astype(np.float64)
    similarity = np.zeros((N_ITEMS, N_ITEMS))
    for i in range(N_ITEMS):
        for j in range(N_ITEMS):
            length = np.sqrt(x[:, i].sum() * x[:, j].sum())
            if i != j and length:
                similarity[i, j] = x[:, i] @ x[:, j] / (length + shrinkage)
    expected = np.zeros((N_USERS, N_ITEMS))
    for i in range(N_ITEMS):
        for j in sorted(range(N_ITEMS), key=lambda j: -np.float32(similarity[i, j]))[:4]:
            expected[:, i] += x[:, j] * similarity[i, j]
    users = np.arange(N_USERS)[::-1]
    scores = ItemKNN(4, shrinkage).fit(train, N_USERS, N_ITEMS).score(users)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected[users], atol=1e-5)
    assert (scores[:, -1] == 0).all()


def test_ease_by_equation_8(train: Ratings, matrix: Any) -> None:
    x = matrix.toarray().astype(np.float64)[:, :-1]
    p = np.linalg.inv(x.T @ x + 2.5 * np.eye(N_ITEMS - 1))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    users = np.arange(N_USERS)[::-1]
    ease = EASE(2.5, N_ITEMS).fit(train, N_USERS, N_ITEMS)
    scores = ease.score(users)
    assert ease.weights.dtype == scores.dtype == np.float32
    np.testing.assert_allclose(scores[:, :-1], (x @ b)[users], atol=1e-5)
    assert (scores[:, -1] == -np.inf).all()


def test_ease_is_the_best_reconstruction_with_an_empty_diagonal(
    train: Ratings, matrix: Any
) -> None:
    x = matrix.toarray().astype(np.float64)[:, :-1]
    scores = EASE(2.5, N_ITEMS).fit(train, N_USERS, N_ITEMS).score(np.arange(N_USERS))[:, :-1]
    for item in range(N_ITEMS - 1):
        others = np.delete(x, item, axis=1)
        penalty = 2.5 * np.eye(N_ITEMS - 2)
        ridge = np.linalg.solve(others.T @ others + penalty, others.T @ x[:, item])
        np.testing.assert_allclose(scores[:, item], others @ ridge, atol=1e-5)


def test_ease_scores_other_items_by_the_nearest_of_the_most_rated(
    train: Ratings, matrix: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf.baselines.ranking.N_NEIGHBORS", 3)
    monkeypatch.setattr("cf.baselines.ranking.ITEMS_PER_BLOCK", 4)
    x = matrix.toarray().astype(np.float64)
    counts = x.sum(0)
    most_rated = np.sort(np.argsort(-counts, kind="stable")[:10])
    ease = EASE(2.5, 10).fit(train, N_USERS, N_ITEMS)
    scores = ease.score(np.arange(N_USERS))
    assert scores.dtype == np.float32
    part = train.take(np.flatnonzero(np.isin(train.items, most_rated)))
    alone = EASE(2.5, N_ITEMS).fit(part, N_USERS, N_ITEMS).score(np.arange(N_USERS))
    np.testing.assert_allclose(scores[:, most_rated], alone[:, most_rated], rtol=1e-5)
    others = np.setdiff1d(np.arange(N_ITEMS - 1), most_rated)
    assert ease.others.items.tolist() == others.tolist()
    assert (ease.others.neighbors.dtype, ease.others.weights.dtype) == (np.int32, np.float32)
    for item in others:
        cosine = x[:, item] @ x[:, most_rated] / np.sqrt(counts[most_rated])
        near = x[:, most_rated[np.argsort(-cosine.astype(np.float32), kind="stable")[:3]]]
        ridge = np.linalg.solve(near.T @ near + 2.5 * np.eye(3), near.T @ x[:, item])
        np.testing.assert_allclose(scores[:, item], near @ ridge, atol=1e-5)
    assert (scores[:, -1] == -np.inf).all()


def test_ease_weights_the_first_of_items_that_are_rated_alike() -> None:
    items = np.append(np.arange(100), np.arange(1, 100, 2))  # odd ones are rated twice
    users = np.arange(150)
    ratings = Ratings(users, items, np.ones(150, dtype=np.float32), None, users)
    chosen = EASE(2.5, 60).fit(ratings, 150, 101).items
    assert chosen.tolist() == sorted([*range(0, 20, 2), *range(1, 100, 2)])


def test_each_scorer_is_of_its_section(train: Ratings) -> None:
    rank = Rank(
        k=10,
        relevant="auto",
        knn=Knn(n_neighbors=4, shrinkage=3.0),
        ease=Ease(l2=2.5, max_items=5),
    )
    baselines = {"popularity": Popularity(), "itemknn": ItemKNN(4, 3.0), "ease": EASE(2.5, 5)}
    users, data = np.arange(N_USERS), (train, N_USERS, N_ITEMS)
    scorers = dict(interaction_scorers(data, rank))
    assert list(scorers) == list(baselines)
    for name, baseline in baselines.items():
        np.testing.assert_array_equal(scorers[name](users), baseline.fit(*data).score(users))


@pytest.mark.parametrize("many", [0, np.inf])
def test_pairs_of_items_are_counted_once_each(
    matrix: Any, many: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf.baselines.ranking.MANY_PAIRS", many)
    x = matrix.toarray()
    for block in (1, 7, N_ITEMS):
        monkeypatch.setattr("cf.baselines.ranking.ITEMS_PER_BLOCK", block)
        np.testing.assert_array_equal(co_ratings(matrix), x.T @ x)
        assert co_ratings(matrix).dtype == np.float32
    of_some = PairCounts(matrix[:, 3:9].tocsr(), matrix[:, ::2].tocsr())
    np.testing.assert_array_equal(of_some.of(slice(1, 4), 2), x[:, 4:7].T @ x[:, 4::2])


def test_many_pairs_are_counted_by_compiled_loops_where_numba_is_installed(
    matrix: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    assert PairCounts(matrix, matrix).kernel is None
    monkeypatch.setattr("cf.baselines.ranking.MANY_PAIRS", 0)
    assert PairCounts(matrix, matrix).kernel is not None
    monkeypatch.delattr("cf.baselines.compiled")
    monkeypatch.setitem(sys.modules, "cf.baselines.compiled", None)
    assert PairCounts(matrix, matrix).kernel is None


FOUR = Ratings(
    users=np.array([0, 0, 1, 2]),
    items=np.array([0, 1, 0, 1]),
    values=np.array([5.0, 3.0, 4.0, 2.0], dtype=np.float32),
    timestamps=None,
    rows=np.arange(4),
)


def test_damped_means_by_hand() -> None:
    sums, sizes = np.array([3.0, 0.0, -4.0, 0.0]), np.array([2, 0, 1, 0])
    assert damped_means(sums, sizes, damping=1.0).tolist() == [1.0, 0.0, -2.0, 0.0]
    assert damped_means(sums, sizes, damping=0.0).tolist() == [1.5, 0.0, -4.0, 0.0]


def test_the_global_mean_is_trains() -> None:
    baseline = GlobalMean().fit(FOUR, 3, 2)
    predicted = baseline.predict(np.arange(2), np.arange(2))
    assert predicted.tolist() == [3.5, 3.5]
    assert (predicted.dtype, baseline.mean.dtype) == (np.float32, np.float64)


def test_biases_solve_the_ridge_regression() -> None:
    damping = 0.7
    design = np.zeros((4, 5))
    design[np.arange(4), FOUR.users] = 1
    design[np.arange(4), 3 + FOUR.items] = 1
    target = FOUR.values - 3.5
    exact = np.linalg.solve(design.T @ design + damping * np.eye(5), design.T @ target)
    users, items = np.array([0, 1, 2]), np.array([1, 1, 0])
    expected = 3.5 + exact[users] + exact[3 + items]
    bias = Bias(damping).fit(FOUR, 3, 2)
    predicted = bias.predict(users, items)
    np.testing.assert_allclose(predicted, expected, atol=1e-4)
    assert (predicted.dtype, bias.mean.dtype) == (np.float32, np.float64)


def test_a_cold_user_and_item_get_the_mean() -> None:
    assert Bias(damping=5.0).fit(FOUR, 10, 10).predict(np.array([9]), np.array([9])).tolist() == [
        3.5
    ]


def test_bias_ranks_as_its_predictions_do(train: Ratings) -> None:
    baseline = Bias(damping=5.0).fit(train, N_USERS, N_ITEMS)
    users = np.array([3, 0])
    by_ratings = rating_scorer(baseline.predict, N_ITEMS)(users)
    assert baseline.score(users).argsort(1).tolist() == by_ratings.argsort(1).tolist()
    assert baseline.score(users).dtype == np.float32


def streamed(train: Ratings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> RatingStream:
    """The ratings from a file with many row groups, each of several blocks."""
    monkeypatch.setattr(io, "ROW_GROUP", 50)
    monkeypatch.setattr(stream, "BLOCK", 16)
    io.write_parquet(folder / "train.parquet", train.to_frame())
    found = RatingStream(folder / "train.parquet")
    assert len(found.groups) == -(-len(train) // 50) > 3
    return found


def test_baselines_of_streamed_ratings_are_the_same_to_the_bit(
    train: Ratings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of whole and half stars are exact in any order, so the mean is, too."""
    sizes, pairs = (N_USERS + 2, N_ITEMS), (train.users, train.items)
    from_file = streamed(train, tmp_path, monkeypatch)
    for baseline in (GlobalMean, lambda: Bias(damping=5.0)):
        expected = baseline().fit(train, *sizes).predict(*pairs)
        assert baseline().fit(from_file, *sizes).predict(*pairs).tolist() == expected.tolist()
    one, other = (Bias(damping=5.0).fit(each, *sizes) for each in (train, from_file))
    assert one.user_bias.tolist() == other.user_bias.tolist()
    assert one.item_bias.tolist() == other.item_bias.tolist()
    assert len(set(one.user_bias.tolist())) > N_USERS / 2


def test_baselines_of_streamed_ratings_off_a_grid_differ_by_rounding_alone(
    train: Ratings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(1).normal(3, 1, len(train)).astype(np.float32)
    rough = Ratings(train.users, train.items, values, None, train.rows)
    from_file = streamed(rough, tmp_path, monkeypatch)
    one, other = (Bias(damping=5.0).fit(each, N_USERS, N_ITEMS) for each in (rough, from_file))
    assert one.mean == pytest.approx(other.mean, rel=1e-14)
    np.testing.assert_allclose(other.user_bias, one.user_bias, rtol=0, atol=1e-13)
    np.testing.assert_allclose(other.item_bias, one.item_bias, rtol=0, atol=1e-13)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_fitting_biases_takes_less_memory_than_one_column_of_the_ratings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    n, block = 60_000, 2000
    users, items = np.divmod(np.random.default_rng(0).permutation(n), 300)
    ratings = Ratings(users, items, (users % 5).astype(np.float32), None, np.arange(n))
    train: RatingStats = ratings
    monkeypatch.setattr("cf.core.ratings.BLOCK", block)
    if where == "file":
        monkeypatch.setattr(io, "ROW_GROUP", block)
        io.write_parquet(tmp_path / "train.parquet", ratings.to_frame())
        train = RatingStream(tmp_path / "train.parquet")
    Bias(damping=5.0).fit(ratings.take(np.arange(9)), 200, 300)  # what is imported late, is
    tracemalloc.start()
    try:
        Bias(damping=5.0).fit(train, 200, 300)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ratings.values.nbytes
