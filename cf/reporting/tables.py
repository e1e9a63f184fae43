"""Tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from cf.core.provenance import SUBSET_LABELS, SplitInfo

DASH = "\N{EN DASH}"

COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": 0, "show_edge": False}


def leaderboard_table(board: pd.DataFrame) -> Table:
    """The leaderboard as a table for 80 columns, in stars.

    Below is a line on the calibration of each model that predicts standard deviations.

    Args:
        board: as reports/leaderboard.csv has it.
    """
    first = board.iloc[0]
    subset = SUBSET_LABELS[first["part"]]
    title = f"{first['dataset']}: {first['n']} {subset} ratings, {first['n_cold']} cold"
    if first["n_leaked"]:
        title += f"\n[bold red]{leakage(first['n_leaked'])}[/]"
    notebook = {"notebook_rmse": "notebook"} if board["notebook_rmse"].notna().any() else {}
    others = {"mae": "MAE", "rmse_warm": "warm", "rmse_cold": "cold", **notebook}
    headings = ["model", "RMSE", "95%", "behind best", *others.values()]
    rows = board.to_dict("records")
    caption = ["95% intervals, in stars; tied: may be as good as the best"]
    caption += [_calibration(row) for row in rows if pd.notna(row["nll"])]
    table = _table(title, headings, caption="\n".join(caption), **COMPACT)
    for position, row in enumerate(rows):
        interval = _range(row["rmse_low"], row["rmse_high"])
        behind = _behind(position, row["tied"], row["to_best_low"], row["to_best_high"])
        cells = (_number(row[key]) for key in others)
        table.add_row(row["model"], _number(row["rmse"]), interval, behind, *cells)
    return table


RANKING_HEADINGS = {"ndcg": "NDCG", "map": "MAP", "novelty": "novelty, bits"}


def ranking_table(ranking: pd.DataFrame, title: str) -> Table:
    """The ranking metrics as a table for 80 columns.

    Args:
        ranking: as reports/ranking.csv has it, with one row at least.
    """
    first = ranking.iloc[0]
    title = f"{title}: {first['n_users']} users counted, {first['n_left_out']} left out"
    caption = "95% intervals of the NDCG behind the best one's; tied: may be as good"
    metrics = [str(name) for name in ranking.filter(like="_at_")]
    names = (name.partition("_at_")[0] for name in metrics)
    ndcg, *others = (RANKING_HEADINGS.get(name, name) for name in names)
    k = metrics[0].partition("_at_")[2]
    headings = ["model", f"{ndcg} @{k}", "behind best", *others]
    table = _table(title, headings, caption=caption, **COMPACT)
    for position, row in enumerate(ranking.to_dict("records")):
        low, high = row["behind_low"], row["behind_high"]
        best, *rest = (_number(row[name]) for name in metrics)
        table.add_row(row["model"], best, _behind(position, low <= 0 <= high, low, high), *rest)
    return table


def cv_table(compared: pd.DataFrame, title: str) -> Table:
    """A cross-validation, the best model first.

    Args:
        compared: as `evaluation.cross_validation.compare` returns it.
    """
    caption = "tied: the 95% interval of the difference contains 0"
    headings = ["model", "RMSE", "± folds", "± seeds", "to best", "95% interval", ""]
    table = _table(title, headings, caption=caption)
    for position, row in enumerate(compared.to_dict("records")):
        interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
        to_best = f"{row['to_best']:+.4f}", interval, "tied" if row["tied"] else ""
        cells = (_number(row[key]) for key in ("rmse", "sd_folds", "sd_seeds"))
        table.add_row(row["model"], *cells, *(to_best if position else ()))
    return table


SPLIT_HEADINGS = {
    "n": "ratings",
    "n_users": "users",
    "n_items": "items",
    "n_cold_users": "cold users",
    "n_cold_items": "cold items",
    "n_cold": "cold ratings",
}


def split_table(info: SplitInfo, dataset: str) -> Table:
    """The size of each subset of a split, and how much of it is cold."""
    settings = ", ".join(f"{key} {value}" for key, value in info.settings.items())
    title = f"{dataset} split by {info.method}: {settings}"
    table = _table(title, ["part", *SPLIT_HEADINGS.values()])
    for part, counts in info.parts.items():
        cells = (f"{counts[key]:,}" if key in counts else "" for key in SPLIT_HEADINGS)
        table.add_row(part, *cells)
    return table


def leakage(n_leaked: int) -> str:
    """A warning of held-out ratings that are in train as well."""
    return (
        f"LEAKAGE: {n_leaked:,} held-out ratings are of a user and an item that train has a rating "
        "of as well, so scores flatter models that memorize. Remove the repeated ratings."
    )


def _table(title: str, headings: Sequence[str], **options: Any) -> Table:
    """An empty table: the first column to the left and never wrapped, the others to the right."""
    table = Table(title=title, **options)
    table.add_column(headings[0], no_wrap=True)
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    return table


def _calibration(row: Mapping[Any, Any]) -> str:
    covered = {key.split("_")[1]: row[key] for key in row if key.startswith("coverage_")}
    percents = "/".join(f"{100 * value:.1f}" for value in covered.values())
    return (
        f"{row['model']}: NLL {row['nll']:.3f}, {'/'.join(covered)}% intervals contain {percents}%"
    )


def _behind(position: int, tied: bool, low: float, high: float) -> str:
    return "best" if position == 0 else "tied" if tied else _range(low, high)


def _range(low: float, high: float) -> str:
    return f"{low:.3f}{DASH}{high:.3f}"


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.4f}"
