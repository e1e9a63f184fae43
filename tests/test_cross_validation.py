import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from cf.evaluation.cross_validation import compare, run_metrics
from cf.reporting.tables import cv_table

RMSE = {
    "bias": np.array([[0.9], [0.8], [1.0]]),
    "dot": np.array([[0.95], [0.95], [0.95]]),
}


def test_means_spreads_and_the_corrected_interval_by_hand() -> None:
    best, other = compare(RMSE).itertuples()
    assert (best.model, other.model) == ("bias", "dot")
    assert best.rmse == pytest.approx(0.9)
    assert best.sd_folds == pytest.approx(0.1)
    assert (best.to_best, best.low, best.high, best.tied) == (0, 0, 0, True)
    # differences 0.05, 0.15, -0.05: mean 0.05, variance 0.01, times 1/3 + 1/2
    half = 4.302653 * (0.01 * 5 / 6) ** 0.5  # t with two degrees of freedom, 97.5%
    assert other.to_best == pytest.approx(0.05)
    assert (other.low, other.high) == pytest.approx((0.05 - half, 0.05 + half))
    assert other.tied


@pytest.mark.filterwarnings("error")
def test_seeds_are_averaged_in_a_fold_and_told_apart() -> None:
    values = np.array([[0.8, 0.9], [0.9, 1.0]])
    row, other = compare({"dot": values, "embnet": 3 * values}).itertuples()
    assert row.rmse == pytest.approx(0.9)
    assert row.sd_folds == pytest.approx(np.std([0.85, 0.95], ddof=1))
    assert row.sd_seeds == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert other.sd_seeds == pytest.approx(3 * row.sd_seeds)
    alone = compare({"dot": values[:, :1]})
    assert np.isnan(alone["sd_seeds"][0])
    assert run_metrics(alone) == {
        "dot": {"rmse": 0.85, "rmse_sd_folds": 0.070711, "rmse_to_best": 0.0}
    }


def test_models_of_the_same_rmse_stay_in_their_order() -> None:
    names = [f"m{number}" for number in range(40, 0, -1)]
    better, worse = names[::2], names[1::2]
    rmse = {name: RMSE["bias" if name in better else "dot"] for name in names}
    assert compare(rmse)["model"].tolist() == better + worse


def test_a_constant_difference_is_told_apart() -> None:
    draw = np.random.default_rng(0)
    fold = draw.normal(0.9, 0.05, (5, 1))
    wobble = draw.normal(0, 1e-4, (5, 1))
    _, worse = compare({"a": fold, "b": fold + 0.01 + wobble}).itertuples()
    assert not worse.tied
    assert 0 < worse.low < worse.to_best < worse.high
    plain = stats.ttest_1samp((0.01 + wobble).ravel(), 0).confidence_interval()
    assert worse.high - worse.low > plain.high - plain.low, "folds share their training rows"


@pytest.mark.parametrize("shape", [(1, 3), (0, 1)])
def test_one_fold_is_none(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="folds >= 2"):
        compare({"dot": np.zeros(shape)})


def test_the_table() -> None:
    console = Console(width=80, record=True)
    console.print(cv_table(compare(RMSE), "toy", "points"))
    text = console.export_text()
    assert "0.9500" in text
    assert "tied" in text
    assert "in points;" in text
    assert "…" not in text


def test_few_users_have_no_intervals() -> None:
    compared = compare(RMSE, n_users=9)
    assert compared[["low", "high"]].isna().all(axis=None)
    assert not compared["tied"].any()
    assert compared["to_best"].tolist() == pytest.approx([0, 0.05])
    console = Console(width=80, record=True)
    console.print(cv_table(compared, "toy", "points"))
    text = console.export_text()
    assert "in points; too few users for intervals" in text
    assert "nan" not in text
