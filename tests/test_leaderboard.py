from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cf.core import io
from cf.core.ratings import Provenance, SplitInfo
from cf.evaluation.leaderboard import DTYPES, build, is_notebooks, run_metrics
from cf.reporting.tables import leaderboard_table

PROVENANCE = Provenance(
    dataset="ml-latest-small",
    requested="ml-latest-small",
    source="cache",
    sha256="0" * 64,
    n_ratings=10,
    n_users=3,
    n_items=4,
    rating_range=(0.5, 5.0),
)
SPLIT = SplitInfo(0.2, 42, "0" * 64)


def score(rmse: float) -> dict[str, float | None]:
    scores = {"rmse": rmse, "mse": rmse**2, "mae": 0.5, "rmse_warm": rmse, "n": 10, "n_cold": 0}
    return {**scores, "rmse_cold": None}


def test_only_the_notebooks_own_data_and_split_are_compared_with_it() -> None:
    assert is_notebooks(PROVENANCE, SPLIT)
    assert not is_notebooks(replace(PROVENANCE, dataset="ml-100k"), SPLIT)
    assert not is_notebooks(PROVENANCE, replace(SPLIT, seed=43))
    assert not is_notebooks(PROVENANCE, replace(SPLIT, fraction=0.1))
    assert not is_notebooks(PROVENANCE, replace(SPLIT, method="per_user"))
    assert not is_notebooks(PROVENANCE, replace(SPLIT, parts={"test": {}}))


def drawn(**low_high: tuple[float, float]) -> pd.DataFrame:
    """Resamples of which all lie at either end, as often at the one as at the other."""
    return pd.DataFrame({name: np.tile(ends, 50) for name, ends in low_high.items()})


DRAWN = drawn(dot=(1.25, 1.75), bias=(0.25, 0.5), dotbias=(0.5, 0.75))
SCORES = {"dot": score(1.5), "bias": score(0.25), "dotbias": score(0.5)}


def test_the_best_comes_first_and_the_notebook_stands_beside(tmp_path: Path) -> None:
    board = build(SCORES, DRAWN, "ml-latest-small", notebook=True)
    assert board["model"].tolist() == ["bias", "dotbias", "dot"]
    assert (board["notebook_rmse"] ** 2)[1:].to_numpy() == pytest.approx([0.734226, 1.134128], 1e-5)
    io.write_csv(tmp_path / "l.csv", board)
    assert (tmp_path / "l.csv").read_text().splitlines()[1:3] == [
        "bias,0.250000,0.250000,0.500000,0.000000,0.000000,0.000000,true,-0.250000,-0.250000,"
        "-0.250000,0.500000,0.250000,,,,,,,10,0,0.062500,,ml-latest-small,valid,0",
        "dotbias,0.500000,0.500000,0.750000,0.250000,0.250000,0.250000,false,0.000000,0.000000,"
        "0.000000,0.500000,0.500000,,,,,,,10,0,0.250000,0.856870,ml-latest-small,valid,0",
    ]
    pd.testing.assert_frame_equal(io.read_csv(tmp_path / "l.csv", DTYPES), board)


def test_differences_are_paired_and_tell_who_is_tied() -> None:
    """Each model's interval overlaps the best's; only where the difference may be 0 is a tie."""
    draws = drawn(bias=(0.25, 0.75), dot=(0.375, 0.875), dotbias=(0.75, 0.25))
    scores = {"bias": score(0.5), "dot": score(0.625), "dotbias": score(0.5625)}
    board = build(scores, draws, "toy", notebook=False)
    best, tied, behind = board.itertuples()
    assert (best.model, tied.model, behind.model) == ("bias", "dotbias", "dot")
    assert (best.tied, tied.tied, behind.tied) == (True, True, False)
    assert (tied.to_best, tied.to_best_low, tied.to_best_high) == (0.0625, -0.5, 0.5)
    assert (behind.to_best, behind.to_best_low, behind.to_best_high) == (0.125,) * 3
    assert (behind.to_notebook, behind.to_notebook_low) == (0.0625, -0.375)


def test_a_runs_metrics_have_the_interval_and_the_name_of_the_test_part() -> None:
    values = {name: value for name, value in score(1.5).items() if value is not None}
    values |= {"rmse_low": 1.25, "rmse_high": 1.75}
    board = build(SCORES, DRAWN, "toy", notebook=False)
    assert run_metrics(SCORES, board)["dot"] == values
    board = build(SCORES, DRAWN, "toy", notebook=False, part="test")
    assert run_metrics(SCORES, board)["dot"] == {f"test/{k}": v for k, v in values.items()}


def test_without_the_notebooks_split_or_model_its_columns_are_empty() -> None:
    board = build({"dot": score(1.0)}, DRAWN, "ml-100k", notebook=False)
    empty = ["notebook_rmse", "to_notebook", "to_notebook_low", "to_notebook_high"]
    assert board[empty].isna().all(axis=None)


def printed(board: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> str:
    Console(width=80).print(leaderboard_table(board, "[b]points"))
    return capsys.readouterr().out


def test_the_table_says_data_set_counts_and_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    names = {"dotbias": "a_model_with_a_name"}
    scores = {names.get(name, name): values for name, values in SCORES.items()}
    draws = DRAWN.rename(columns=names).assign(a_model_with_a_name=DRAWN["bias"])
    text = printed(build(scores, draws, "ml-100k", notebook=True), capsys)
    assert "ml-100k: 10 validation ratings, 0 cold" in text
    lines = [line.replace("\N{EN DASH}", "-").split() for line in text.splitlines()]
    assert lines[3:6] == [
        ["bias", "0.2500", "0.250-0.500", "best", "0.5000", "0.2500"],
        ["a_model_with_a_name", "0.5000", "0.250-0.500", "tied", "0.5000", "0.5000"],
        ["dot", "1.5000", "1.250-1.750", "1.000-1.250", "0.5000", "1.5000", "1.0650"],
    ]
    assert "notebook" not in printed(build(scores, draws, "toy", notebook=False), capsys)
    assert "LEAKAGE" not in text


def test_calibration_is_a_line_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    bars = {"nll": 1.1234, "coverage_50": 0.5092, "coverage_80": 0.8162, "coverage_95": 0.9459}
    board = build({**SCORES, "dotbias": {**score(0.5), **bars}}, DRAWN, "toy", notebook=True)
    lines = [line.strip() for line in printed(board, capsys).splitlines()]
    assert lines[-1] == "dotbias: NLL 1.123, 50/80/95% intervals contain 50.9/81.6/94.6%"
    assert lines[-2].startswith("95% intervals, in [b]points;")
    plain = build(SCORES, DRAWN, "toy", notebook=True)
    assert "NLL" not in printed(plain, capsys)
    assert plain["nll"].isna().all()


def test_the_tables_title_says_test_and_leakage(capsys: pytest.CaptureFixture[str]) -> None:
    board = build({"dot": score(1.25)}, DRAWN, "ml-100k", False, "test", n_leaked=3)
    text = printed(board, capsys)
    assert "ml-100k: 10 test ratings, 0 cold" in text
    assert "LEAKAGE: 3 held-out ratings" in text
