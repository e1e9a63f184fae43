import numpy as np
import pytest

from cf.baselines import bias as baseline
from cf.core.ratings import Ratings

TRAIN = Ratings(
    users=np.array([0, 0, 1, 2]),
    items=np.array([0, 1, 0, 1]),
    values=np.array([5.0, 3.0, 4.0, 2.0], dtype=np.float32),
    timestamps=None,
    rows=np.arange(4),
)


def test_damped_means_by_hand() -> None:
    values, groups = np.array([1.0, 2.0, -4.0]), np.array([0, 0, 2])
    assert baseline.damped_means(values, groups, 4, damping=1.0).tolist() == [1.0, 0.0, -2.0, 0.0]
    assert baseline.damped_means(values, groups, 4, damping=0.0).tolist() == [1.5, 0.0, -4.0, 0.0]
    with pytest.raises(ValueError, match="3 values for 2 groups"):
        baseline.damped_means(values, groups[:2], 4, damping=1.0)


def test_the_global_mean_is_trains() -> None:
    assert baseline.global_mean(TRAIN, np.arange(2), np.arange(2)).tolist() == [3.5, 3.5]


def test_biases_solve_the_ridge_regression() -> None:
    damping = 0.7
    design = np.zeros((4, 5))
    design[np.arange(4), TRAIN.users] = 1
    design[np.arange(4), 3 + TRAIN.items] = 1
    target = TRAIN.values - 3.5
    exact = np.linalg.solve(design.T @ design + damping * np.eye(5), design.T @ target)
    users, items = np.array([0, 1, 2]), np.array([1, 1, 0])
    expected = 3.5 + exact[users] + exact[3 + items]
    np.testing.assert_allclose(baseline.bias(TRAIN, users, items, damping), expected, atol=1e-4)


def test_a_cold_user_and_item_get_the_mean() -> None:
    assert baseline.bias(TRAIN, np.array([9]), np.array([9]), damping=5.0).tolist() == [3.5]
