from typing import Any

import numpy as np
import pytest

from cf.baselines.ease import ease
from cf.baselines.item_knn import itemknn
from cf.baselines.popularity import popularity
from cf.baselines.top_k import rated
from cf.core.ratings import Ratings

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
    return rated(train, N_USERS, N_ITEMS)


def test_a_pair_that_occurs_twice_counts_once() -> None:
    twice = np.array([1, 1, 0])
    ratings = Ratings(twice, twice, np.full(3, 5, dtype=np.float32), None, np.arange(3))
    assert rated(ratings, 2, 3).toarray().tolist() == [[1, 0, 0], [0, 1, 0]]


def test_popularity_counts_ratings(train: Ratings) -> None:
    scores = popularity(train.items, N_ITEMS)(np.array([3, 3, 7]))
    expected = [(train.items == item).sum() for item in range(N_ITEMS)]
    assert scores.tolist() == [expected] * 3


@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
@pytest.mark.parametrize("memory", [1, 2**20])
def test_itemknn_by_brute_force(matrix: Any, shrinkage: float, memory: int) -> None:
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
    scores = itemknn(matrix, 4, shrinkage, memory)(users)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected[users], atol=1e-5)
    assert (scores[:, -1] == 0).all()


@pytest.mark.parametrize("memory", [1, 2**20])
def test_ease_by_equation_8(matrix: Any, memory: int) -> None:
    x = matrix.toarray().astype(np.float64)[:, :-1]
    p = np.linalg.inv(x.T @ x + 2.5 * np.eye(N_ITEMS - 1))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    users = np.arange(N_USERS)[::-1]
    scores = ease(matrix, 2.5, N_ITEMS, memory)(users)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[:, :-1], (x @ b)[users], atol=1e-5)
    assert (scores[:, -1] == -np.inf).all()


def test_ease_is_the_best_reconstruction_with_an_empty_diagonal(matrix: Any) -> None:
    x = matrix.toarray().astype(np.float64)[:, :-1]
    scores = ease(matrix, 2.5, N_ITEMS)(np.arange(N_USERS))[:, :-1]
    for item in range(N_ITEMS - 1):
        others = np.delete(x, item, axis=1)
        penalty = 2.5 * np.eye(N_ITEMS - 2)
        ridge = np.linalg.solve(others.T @ others + penalty, others.T @ x[:, item])
        np.testing.assert_allclose(scores[:, item], others @ ridge, atol=1e-5)


def test_ease_keeps_to_the_most_rated_items(matrix: Any) -> None:
    counts = np.bincount(matrix.indices, minlength=N_ITEMS)
    kept = np.sort(np.argsort(-counts, kind="stable")[:10])
    scores = ease(matrix, 2.5, 10)(np.arange(N_USERS))
    assert np.flatnonzero(np.isfinite(scores[0])).tolist() == kept.tolist()
    np.testing.assert_allclose(
        scores[:, kept], ease(matrix[:, kept].tocsr(), 2.5, 10)(np.arange(N_USERS)), rtol=1e-5
    )
