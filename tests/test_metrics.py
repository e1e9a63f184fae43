import numpy as np
import pytest

from cf.evaluation import metrics

PREDICTED = np.array([3.0, 4.0, 1.0, 5.0], dtype=np.float32)
OBSERVED = np.array([4.0, 4.0, 3.0, 4.0], dtype=np.float32)


def test_by_hand() -> None:
    # errors -1, 0, -2, 1
    assert metrics.mse(PREDICTED, OBSERVED) == 1.5
    assert metrics.rmse(PREDICTED, OBSERVED) == pytest.approx(1.5**0.5)
    assert metrics.mae(PREDICTED, OBSERVED) == 1.0


def test_strata_by_hand() -> None:
    cold = np.array([False, True, True, False])
    assert metrics.summary(PREDICTED, OBSERVED, cold) == {
        "rmse": pytest.approx(1.5**0.5),
        "mse": 1.5,
        "mae": 1.0,
        "rmse_warm": 1.0,
        "rmse_cold": pytest.approx(2**0.5),
        "n": 4,
        "n_cold": 2,
    }


def test_a_stratum_without_rows_is_none() -> None:
    assert metrics.summary(PREDICTED, OBSERVED, np.zeros(4, bool))["rmse_cold"] is None
    assert metrics.summary(PREDICTED, OBSERVED, np.ones(4, bool))["rmse_warm"] is None


@pytest.mark.parametrize("metric", [metrics.mse, metrics.rmse, metrics.mae])
def test_shapes_that_would_broadcast_are_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match=r"\(4, 1\)"):
        metric(PREDICTED[:, None], OBSERVED)
    with pytest.raises(ValueError, match=r"\(1,\)"):
        metric(PREDICTED[:1], OBSERVED)
    with pytest.raises(ValueError, match=r"^no rows to compare$"):
        metric(PREDICTED[:0], OBSERVED[:0])


def test_many_rows_keep_their_precision() -> None:
    predicted = np.zeros(10**6, dtype=np.float32)
    observed = np.full(10**6, 0.1, dtype=np.float32)
    assert metrics.mse(predicted, observed) == pytest.approx(0.01, rel=1e-6)
