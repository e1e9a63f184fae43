from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cf.evaluation import calibration
from cf.evaluation.calibration import coverage, coverage_curves, error_by_decile, nll, summary

N = 20_000
LEVELS = [0.5, 0.8, 0.95]


def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, deviations that differ fourfold, and ratings that scatter as these say."""
    draw = np.random.default_rng(seed)
    mean = draw.uniform(1, 5, N).astype(np.float32)
    sd = draw.uniform(0.4, 1.6, N).astype(np.float32)
    return mean, sd, (mean + sd * draw.standard_normal(N)).astype(np.float32)


def by_decile(
    mean: np.ndarray, sd: np.ndarray, observed: np.ndarray, users: np.ndarray
) -> pd.DataFrame:
    return error_by_decile({"dot": mean, "bayesmf": mean}, {"bayesmf": sd}, observed, users)


def test_likelihood_is_scipys() -> None:
    mean, sd, observed = made()
    expected = -stats.norm.logpdf(*(array.astype(np.float64) for array in (observed, mean, sd)))
    assert nll(mean, sd, observed) == pytest.approx(expected.mean(), rel=1e-12)


def test_likelihood_and_coverage_by_hand() -> None:
    mean, sd = np.full(4, 3, np.float32), np.full(4, 0.5, np.float32)
    observed = np.array([3.0, 3.5, 2.0, 4.5], np.float32)
    # 0, 1, 2 and 3 deviations away: the squares' mean is 3.5
    assert nll(mean, sd, observed) == pytest.approx(0.5 * np.log(2 * np.pi) + np.log(0.5) + 1.75)
    assert coverage(mean, sd, observed, LEVELS).tolist() == [0.25, 0.5, 0.5]
    assert summary(mean, sd, observed) == {
        "nll": nll(mean, sd, observed), "coverage_50": 0.25, "coverage_80": 0.5, "coverage_95": 0.5,
    }  # fmt: skip
    assert tuple(summary(mean, sd, observed)) == calibration.METRICS
    assert [*summary(*made()).values()] == [nll(*made()), *coverage(*made(), LEVELS)]


def test_an_interval_has_its_ends() -> None:
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    end = np.array([NormalDist().inv_cdf(0.75)])
    assert coverage(zero, one, end, [0.5 - 1e-9, 0.5]).tolist() == [0, 1]


def test_coverage_is_the_level_where_deviations_are_right() -> None:
    levels = np.arange(1, 100) / 100
    error = np.abs(coverage(*made(), levels) - levels)
    assert error.max() < 1.63 / np.sqrt(N)  # Kolmogorov and Smirnov's bound of 1%


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_coverage_and_likelihood_tell_deviations_that_are_wrong(factor: float) -> None:
    mean, sd, observed = made()
    sd = factor * sd
    expected = 2 * stats.norm.cdf(factor * stats.norm.ppf((1 + np.array(LEVELS)) / 2)) - 1
    assert coverage(mean, sd, observed, LEVELS) == pytest.approx(expected, abs=0.015)
    assert nll(mean, sd, observed) > nll(*made()) + 0.1


def test_one_deviation_for_all_may_cover_as_well_but_is_less_likely_and_its_deciles_are_flat() -> (
    None
):
    mean, sd, observed = made()
    flat = np.full_like(sd, np.sqrt(np.mean(sd.astype(np.float64) ** 2)))
    assert coverage(mean, flat, observed, LEVELS) == pytest.approx(LEVELS, abs=0.07)
    assert nll(mean, flat, observed) > nll(mean, sd, observed) + 0.05
    users = np.arange(N) % 500
    table = by_decile(mean, sd, observed, users)
    assert table["predicted_sd"].to_numpy() == pytest.approx(table["rmse"], rel=0.06)
    assert (table["predicted_sd"].diff()[1:] > 0.1).all()
    assert ((table["rmse_low"] < table["rmse"]) & (table["rmse"] < table["rmse_high"])).all()
    table = by_decile(mean, flat, observed, users)
    assert np.ptp(table["predicted_sd"]) < 1e-6
    assert np.ptp(table["rmse"]) < 0.1


def test_deciles_by_hand() -> None:
    """Twenty rows in an order of their own, of one user."""
    sd = np.random.default_rng(0).permutation(np.arange(1, 21)).astype(np.float32)
    zero = np.zeros(20, np.float32)
    table = by_decile(zero, sd, 2 * sd, np.zeros(20, np.int64))
    pairs = np.arange(1, 21).reshape(10, 2)
    assert table["decile"].tolist() == list(range(1, 11))
    assert table["predicted_sd"].to_numpy() == pytest.approx(np.sqrt((pairs**2).mean(1)))
    assert table["rmse"].to_numpy() == pytest.approx(2 * table["predicted_sd"])
    assert table["rmse_low"].isna().all()
    few = by_decile(zero[:3], sd[:3], sd[:3], np.arange(3))
    assert few["predicted_sd"].tolist() == sorted(sd[:3].tolist())


def test_rows_of_equal_deviations_are_in_deciles_in_their_order() -> None:
    sd = np.tile(np.array([1, 2], np.float32), 500)
    observed = np.repeat(np.arange(5, dtype=np.float32), 200)
    table = by_decile(np.zeros(1000, np.float32), sd, observed, np.arange(1000))
    assert table["predicted_sd"].tolist() == [1] * 5 + [2] * 5
    assert table["rmse"].tolist() == [0, 1, 2, 3, 4] * 2


def test_each_model_with_deviations_has_its_rows() -> None:
    mean, sd, observed = (array[:40] for array in made())
    means, sds = {"a": mean, "b": mean + 1}, {"a": sd, "b": 2 * sd}
    users = np.arange(40)
    for table in (
        lambda means, sds: coverage_curves(means, sds, observed),
        lambda means, sds: error_by_decile(means, sds, observed, users),
    ):
        alone = [table({name: means[name]}, {name: sds[name]}) for name in means]
        pd.testing.assert_frame_equal(table(means, sds), pd.concat(alone, ignore_index=True))


def test_curves_are_of_the_models_with_deviations() -> None:
    mean, sd, observed = made()
    curves = coverage_curves({"bias": mean, "bayesmf": mean}, {"bayesmf": sd}, observed)
    assert curves["level"].tolist() == list(range(1, 100))
    assert curves["coverage"][49] == coverage(mean, sd, observed, [0.5])
    deciles = by_decile(mean, sd, observed, np.arange(N) % 500)
    assert set(curves["model"]) == set(deciles["model"]) == {"bayesmf"}
    none = coverage_curves({"bias": mean}, {}, observed), error_by_decile({}, {}, observed, mean)
    assert [list(table) for table in none] == [list(curves), list(deciles)]
    assert all(table.empty for table in none)


def test_what_cannot_be_judged_is_refused() -> None:
    mean, sd, observed = (array[:4] for array in made())
    with pytest.raises(ValueError, match=r"above 0, of shape \(4,\), got shape \(4, 1\)$"):
        nll(mean, sd[:, None], observed)
    with pytest.raises(ValueError, match=r"\(1,\)"):
        coverage(mean[:1], sd, observed, LEVELS)
    with pytest.raises(ValueError, match="no rows"):
        summary(mean[:0], sd[:0], observed[:0])
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=rf"above 0, of shape \(4,\), got {bad}$"):
            nll(mean, np.array([1, 1, bad, 1], np.float32), observed)
