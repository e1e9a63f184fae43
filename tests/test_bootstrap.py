import numpy as np
import pandas as pd
import pytest

from cf.evaluation import metrics
from cf.evaluation.bootstrap import ROUNDING, intervals, resample


def interval(resampled: pd.Series) -> tuple[float, float]:
    low, high = intervals(pd.DataFrame({"x": resampled})).loc["x"]
    return low, high


@pytest.fixture
def any_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cf.evaluation.bootstrap.MIN_USERS", 1)


@pytest.mark.usefixtures("any_users")
def test_two_users_worked_by_hand() -> None:
    """One user has an error of 1, the other three errors of 2: 1, √(13/4) or 2 stars."""
    predicted, observed = np.array([4, 5, 1, 2.0]), np.array([3, 3, 3, 4.0])
    drawn = resample({"dot": predicted}, observed, np.array([7, 3, 3, 3]), 4000, 1)["dot"]
    values, counts = np.unique(drawn.round(12), return_counts=True)
    assert values == pytest.approx([1, np.sqrt(13 / 4), 2])
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert interval(drawn) == (1, 2)


def test_the_interval_is_the_middle_95_percent() -> None:
    resampled = pd.Series(np.random.default_rng(0).permutation(1001) / 10)
    assert interval(resampled) == pytest.approx((2.5, 97.5))


def clustered(seed: int, n_users: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Errors of users with 20 rows each and the users; each has a spread of their own.

    The mean squared error is 1.
    """
    draw = np.random.default_rng(seed)
    users = np.repeat(np.arange(n_users), 20)
    spread = np.sqrt(draw.gamma(4, 1 / 4, n_users))
    return draw.normal(0, 1, len(users)) * spread[users], users


def coverage(by_user: bool, n_sets: int) -> float:
    inside = []
    for seed in range(n_sets):
        errors, users = clustered(seed, 150)
        units = users if by_user else np.arange(len(errors))
        low, high = interval(resample({"a": errors}, 0 * errors, units, 400, seed)["a"])
        inside.append(low <= 1 <= high)
    return float(np.mean(inside))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """95 % of 200, give or take three standard deviations of a binomial."""
    assert 0.904 <= coverage(by_user=True, n_sets=200) <= 0.996


def test_over_rows_they_would_be_too_narrow() -> None:
    assert coverage(by_user=False, n_sets=20) < 0.85


def test_models_are_compared_on_the_same_resamples() -> None:
    errors, users = clustered(0)
    nothing = np.zeros(len(errors))
    drawn = resample({"a": errors, "twin": errors, "b": 1.01 * errors}, nothing, users, 500, 1)
    assert (drawn["a"] == drawn["twin"]).all()
    low, high = interval(drawn["b"] - drawn["a"])
    assert 0.009 < low < high < 0.0112, "far narrower than either model's own interval"
    assert np.subtract(*interval(drawn["a"])) < -0.05


@pytest.mark.parametrize("n_models", [1, 2, 3, 7, 16])
def test_a_model_has_the_same_resamples_whatever_the_other_models(n_models: int) -> None:
    errors, users = clustered(0)
    models = {str(number): errors for number in range(n_models)}
    alone = resample({"a": errors}, 0 * errors, users, 100, 1)["a"]
    drawn = resample(models, 0 * errors, users, 100, 1)
    assert all((drawn[name] == alone).all() for name in drawn)


def test_seed_order_of_rows_and_names_of_users() -> None:
    errors, users = clustered(0)
    first = resample({"a": errors}, 0 * errors, users, 2000, 1)["a"]
    order = np.random.default_rng(0).permutation(len(users))
    shuffled = resample({"a": errors[order]}, 0 * errors, users[order], 2000, 1)["a"]
    assert shuffled.to_numpy() == pytest.approx(first, abs=60 / ROUNDING)
    for users_, seed in ((users, 2), (users[::-1], 1)):  # other draws
        other = resample({"a": errors}, 0 * errors, users_, 2000, seed)["a"]
        assert (other != first).any()
        assert interval(other) == pytest.approx(interval(first), abs=0.01)


def test_chunks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, users = clustered(0)
    whole = resample({"a": errors}, 0 * errors, users, 50, 1)["a"]
    for cells in (60 * 7, 1):
        monkeypatch.setattr("cf.evaluation.bootstrap.CELLS_PER_CHUNK", cells)
        assert (resample({"a": errors}, 0 * errors, users, 50, 1)["a"] == whole).all()


def test_few_users_give_no_intervals() -> None:
    errors, users = np.ones(10), np.arange(10)
    assert resample({"dot": errors}, 0 * errors, users, 10, 1)["dot"].notna().all()
    users[0] = 1
    found = resample({"dot": errors}, 0 * errors, users, 10, 1)
    assert intervals(found).isna().all(axis=None)
    assert found["dot"].dtype == np.float64


@pytest.mark.usefixtures("any_users")
def test_one_user_has_no_other_resample() -> None:
    predicted, observed = np.array([3.5, 4.5]), np.array([3.0, 5.0])
    drawn = resample({"dot": predicted}, observed, np.array([4, 4]), 10, 1)["dot"]
    assert drawn.to_numpy() == pytest.approx(np.full(10, metrics.rmse(predicted, observed)))


@pytest.mark.parametrize(("n", "n_users"), [(0, 0), (2, 3), (2, 1)])
def test_what_cannot_be_compared_is_refused(n: int, n_users: int) -> None:
    with pytest.raises(ValueError, match="expected arrays of one length, not 0, got lengths"):
        resample({"dot": np.ones(n)}, np.ones(n), np.arange(n_users), 10, 1)
