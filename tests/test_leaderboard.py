from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cf.data.tables import Provenance, SplitFacts
from cf.errors import InputError
from cf.evaluation import leaderboard
from cf.reporting.terminal import leaderboard_table

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
SPLIT = SplitFacts(0.2, 42, 8, 2, 1, "0" * 64)


def score(rmse: float) -> dict[str, float | None]:
    scores = {"rmse": rmse, "mse": rmse**2, "mae": 0.5, "rmse_warm": rmse, "n": 10, "n_cold": 0}
    return {**scores, "rmse_cold": None}


def test_only_the_notebooks_own_data_and_split_are_compared_with_it() -> None:
    assert leaderboard.is_notebooks(PROVENANCE, SPLIT)
    assert not leaderboard.is_notebooks(replace(PROVENANCE, dataset="ml-100k"), SPLIT)
    assert not leaderboard.is_notebooks(PROVENANCE, replace(SPLIT, seed=43))
    assert not leaderboard.is_notebooks(PROVENANCE, replace(SPLIT, fraction=0.1))
    assert not leaderboard.is_notebooks(PROVENANCE, replace(SPLIT, method="per_user"))
    assert not leaderboard.is_notebooks(PROVENANCE, replace(SPLIT, parts={"test": {}}))


def test_the_best_comes_first_and_the_notebook_stands_beside(tmp_path: Path) -> None:
    scores = {"dot": score(1.5), "bias": score(0.25), "dotbias": score(0.5)}
    executions = {"dotbias": "5e"}
    rows = leaderboard.rank(scores, "ml-latest-small", True, executions=executions)
    assert [row["model"] for row in rows] == ["bias", "dotbias", "dot"]
    assert [row["notebook_mse"] for row in rows] == [None, 0.734226, 1.134128]
    leaderboard.write(tmp_path / "l.csv", rows)
    assert (tmp_path / "l.csv").read_text().splitlines()[1:3] == [
        "bias,0.250000,0.500000,0.250000,,10,0,0.062500,,ml-latest-small,valid,0,",
        "dotbias,0.500000,0.500000,0.500000,,10,0,0.250000,0.734226,ml-latest-small,valid,0,5e",
    ]


def test_without_the_notebooks_split_its_column_is_empty() -> None:
    (row,) = leaderboard.rank({"dot": score(1.0)}, "ml-100k", notebook=False)
    assert row["notebook_mse"] is None
    assert row["dataset"] == "ml-100k"


def test_the_table_says_data_set_counts_and_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = leaderboard.rank({"dot": score(1.25)}, "ml-100k", notebook=False)
    leaderboard.write(tmp_path / "l.csv", rows)
    Console().print(leaderboard_table(leaderboard.read(tmp_path / "l.csv")))
    printed = capsys.readouterr().out
    assert "ml-100k: 10 validation ratings, 0 cold" in printed
    assert "1.2500" in printed
    assert "LEAKAGE" not in printed


def test_the_tables_title_says_test_and_leakage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = leaderboard.rank({"dot": score(1.25)}, "ml-100k", False, "test", n_leaked=3)
    leaderboard.write(tmp_path / "l.csv", rows)
    Console().print(leaderboard_table(leaderboard.read(tmp_path / "l.csv")))
    printed = capsys.readouterr().out
    assert "ml-100k: 10 test ratings, 0 cold" in printed
    assert "LEAKAGE: 3 held-out ratings" in printed


@pytest.mark.parametrize("content", [None, "", "model,rmse\n"])
def test_no_leaderboard_yet(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "l.csv").write_text(content)
    with pytest.raises(InputError, match=r"l.csv: no leaderboard yet. `dvc repro` makes it"):
        leaderboard.read(tmp_path / "l.csv")
