"""Corrections of predictions by the residuals of similar items."""

import numpy as np
import pytest

from cf.core.neighbors import (
    RECENT_WEIGHT,
    SHRINKAGE,
    TIME_SCALE,
    UserResiduals,
    corrections,
    weights,
)

DRAW = np.random.default_rng(0)
N_USERS, N_ITEMS = 6, 30


def directions(k: int = 4) -> np.ndarray:
    rows = DRAW.normal(size=(N_ITEMS, k)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_correction_is_a_shrunken_mean_of_residuals_by_hand() -> None:
    of_items = np.array([[1, 0], [1, 0], [0.6, 0.8], [-1, 0]], np.float32)
    wanted, rated = np.array([0]), np.array([1, 2, 3])  # similarities 1, 0.6 and -1
    residuals = np.array([0.5, -1, 2], np.float32)
    np.testing.assert_allclose(weights(of_items, wanted, rated), [[1, 0.6**8, 0]], rtol=1e-5)
    expected = (0.5 - 0.6**8) / (1 + 0.6**8 + SHRINKAGE)
    assert corrections(of_items, wanted, rated, residuals) == pytest.approx(expected, rel=1e-5)
    gaps = np.array([[10**9, TIME_SCALE, 0]])
    near = weights(of_items, wanted, rated, gaps)
    expected = [[1, 0.6**8 + RECENT_WEIGHT * 0.36 / np.e, 0]]
    np.testing.assert_allclose(near, expected, rtol=1e-5)


def test_a_rating_says_nothing_beyond_the_model_of_its_own_item() -> None:
    of_items = directions()
    rated, residuals = np.array([3, 8]), np.array([5.0, 0.5], np.float32)
    gaps = np.zeros((1, 2), np.int64)
    assert weights(of_items, np.array([3]), rated)[0, 0] == 0
    assert weights(of_items, np.array([3]), rated, gaps)[0, 0] == 0
    found = corrections(of_items, np.array([3]), rated, residuals)
    residuals[0] = -5
    assert found == corrections(of_items, np.array([3]), rated, residuals)


@pytest.mark.parametrize("timed", [False, True])
def test_pairs_in_any_order_are_corrected_by_their_own_users_ratings(
    timed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf.core.neighbors.CHUNK", 20)
    counts = np.array([5, 0, 12, 1, 30, 2])
    starts = np.concatenate([[0], np.cumsum(counts)])
    items = np.concatenate([DRAW.permutation(N_ITEMS)[:n] for n in counts])
    residuals = DRAW.normal(size=len(items)).astype(np.float16)
    times = 10**9 + DRAW.integers(0, 2000, len(items)) if timed else None
    of_items = directions()
    rated = UserResiduals(starts, items, residuals, of_items, times)
    users, wanted = DRAW.integers(0, N_USERS, 100), DRAW.integers(0, N_ITEMS, 100)
    when = 10**9 + DRAW.integers(0, 2000, 100)
    found = rated.corrections(users, wanted, when)
    for row, (user, item) in enumerate(zip(users, wanted, strict=True)):
        total, sums = SHRINKAGE, 0.0
        for j in range(starts[user], starts[user + 1]):
            cosine = max(0.0, float(of_items[item] @ of_items[items[j]]))
            w = cosine**8
            if times is not None:
                gap = abs(int(when[row] - times[j]))
                w += RECENT_WEIGHT * cosine**2 * np.exp(-gap / TIME_SCALE)
            if items[j] == item:
                w = 0.0
            total, sums = total + w, sums + w * float(residuals[j])
        assert found[row] == pytest.approx(sums / total, abs=1e-5)
    assert (found[users == 1] == 0).all(), "nothing is known of a user without ratings"
    assert np.abs(found).max() > 0.3


def test_without_stored_residuals_nothing_is_corrected() -> None:
    none = np.zeros(0, np.float16)
    starts, flat = np.zeros(N_USERS + 1, np.int64), np.zeros((N_ITEMS, 0), np.float32)
    rated = UserResiduals(starts, none.astype(np.int32), none, flat)
    assert (rated.corrections(*np.ones((2, 5), int)) == 0).all()
    assert rated.corrections(*np.zeros((2, 0), int)).shape == (0,)


def test_an_item_without_a_direction_is_like_no_other() -> None:
    of_items = directions()
    of_items[3] = 0
    rated = UserResiduals(np.array([0, 2]), np.array([1, 2]), np.float16([1, -1]), of_items)
    assert rated.corrections(np.array([0]), np.array([3])) == 0
