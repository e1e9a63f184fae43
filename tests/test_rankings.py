from pathlib import Path

import pytest
from rich.console import Console

from cf.core.errors import InputError
from cf.evaluation import rankings
from cf.reporting.tables import ranking_table

BEHIND = {"behind": 0.1, "behind_low": 0.05, "behind_high": 0.15}


def metrics(ndcg: float) -> dict[str, float]:
    others = {"recall_at_10": 0.125, "map_at_10": 0.0625, "coverage_at_10": 0.5}
    return {
        "ndcg_at_10": ndcg,
        **others,
        "novelty_at_10": 2.5,
        **BEHIND,
        "n_users": 610,
        "n_left_out": 7,
    }


def test_the_best_comes_first_and_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ranking.csv"
    rankings.write(path, {"dot": metrics(0.01), "ease": metrics(0.25)}, 10, "valid", {"dot": "ab"})
    assert path.read_text().splitlines() == [
        "model,ndcg_at_10,recall_at_10,map_at_10,coverage_at_10,novelty_at_10,behind,behind_low,behind_high,n_users,n_left_out,part,execution",
        "ease,0.250000,0.125000,0.062500,0.500000,2.500000,0.100000,0.050000,0.150000,610,7,valid,",
        "dot,0.010000,0.125000,0.062500,0.500000,2.500000,0.100000,0.050000,0.150000,610,7,valid,ab",
    ]
    first, _ = rankings.read(path)
    assert rankings.figures(first) == {k: v for k, v in metrics(0.25).items() if "_at_" in k}


def test_a_table_without_rows_and_none(tmp_path: Path) -> None:
    rankings.write(tmp_path / "ranking.csv", {}, 10, "valid", {})
    assert rankings.read(tmp_path / "ranking.csv") == []
    with pytest.raises(InputError, match=r"gone.csv: expected a table .* `dvc repro` makes it"):
        rankings.read(tmp_path / "gone.csv")


@pytest.mark.parametrize("change", [("0.25", "x"), (",7,valid,ab", ""), ("part", "p")])
def test_a_table_that_is_damaged_is_named(tmp_path: Path, change: tuple[str, str]) -> None:
    path = tmp_path / "ranking.csv"
    rankings.write(path, {"dot": metrics(0.25)}, 10, "valid", {"dot": "ab"})
    damaged = path.read_text().replace(*change)
    path.write_text(damaged)
    with pytest.raises(InputError, match=r"ranking.csv: expected a table with the columns"):
        rankings.read(path)


def test_the_table_fits_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rankings.write(tmp_path / "r.csv", {"dotbias_sgd": metrics(0.25)}, 10, "valid", {})
    Console(width=80).print(ranking_table(rankings.read(tmp_path / "r.csv"), "toy"))
    printed = capsys.readouterr().out
    for word in ("toy: 610 users", "dotbias_sgd", "NDCG @10", "0.2500", "2.5000"):
        assert word in printed
