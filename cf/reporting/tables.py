"""Tables for the terminal, of 80 columns."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Column, Table

from cf.core.ratings import SUBSET_LABELS, SplitInfo

COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": 0, "show_edge": False}

RANKING_HEADINGS = {"ndcg": "NDCG", "map": "MAP", "novelty": "novelty, bits"}

SPLIT_HEADINGS = {
    "n": "ratings",
    "n_users": "users",
    "n_items": "items",
    "n_cold_users": "cold users",
    "n_cold_items": "cold items",
    "n_cold": "cold ratings",
}


def leaderboard_table(board: pd.DataFrame, unit: str) -> Table:
    """reports/leaderboard.csv, with the calibration of models that predict standard deviations.

    RMSE, MAE and their intervals are in `unit`, such as stars.
    """
    first = board.iloc[0]
    subset = SUBSET_LABELS[first["part"]]
    title = f"{escape(first['dataset'])}: {first['n']} {subset} ratings, {first['n_cold']} cold"
    if first["n_leaked"]:
        title += f"\n[bold red]{leakage(first['n_leaked'])}[/]"
    others = {"mae": "MAE", "rmse_warm": "warm", "rmse_cold": "cold"}
    if board["notebook_rmse"].notna().any():
        others["notebook_rmse"] = "notebook"
    covered = [str(name) for name in board.filter(regex="^coverage_")]
    levels = "/".join(name.removeprefix("coverage_") for name in covered)
    caption = f"95% intervals, in {unit}; tied: may be as good as the best"
    if board["rmse_low"].isna().all():
        caption = f"in {unit}; too few users for intervals"
    rows: list[Sequence[str]] = []
    for row in board.to_dict("records"):
        interval = _range(row["rmse_low"], row["rmse_high"])
        behind = _behind(rows, row["tied"], row["to_best_low"], row["to_best_high"])
        cells = (_number(row[key]) for key in others)
        rows.append((row["model"], _number(row["rmse"]), interval, behind, *cells))
        if pd.notna(row["nll"]):
            percents = "/".join(f"{100 * row[name]:.1f}" for name in covered)
            caption += f"\n{row['model']}: NLL {row['nll']:.3f}"
            caption += f", {levels}% intervals contain {percents}%"
    headings = ["model", "RMSE", "95%", "behind best", *others.values()]
    return _table(title, headings, rows, caption=escape(caption), **COMPACT)


def ranking_table(ranking: pd.DataFrame, title: str) -> Table:
    """reports/ranking.csv, with one row at least."""
    first = ranking.iloc[0]
    title = f"{escape(title)}: {first['n_users']} users counted, {first['n_left_out']} left out"
    caption = "95% intervals of the NDCG behind the best; tied: may be as good"
    if ranking["behind_low"].isna().all():
        caption = "too few users for intervals"
    metrics = [str(name) for name in ranking.filter(like="_at_")]
    names, (k, *_) = zip(*(name.split("_at_") for name in metrics), strict=True)
    ndcg, *others = (RANKING_HEADINGS.get(name, name) for name in names)
    rows: list[Sequence[str]] = []
    for row in ranking.to_dict("records"):
        low, high = row["behind_low"], row["behind_high"]
        best, *rest = (_number(row[name]) for name in metrics)
        rows.append((row["model"], best, _behind(rows, low <= 0 <= high, low, high), *rest))
    headings = ["model", f"{ndcg} @{k}", "behind best", *others]
    return _table(title, headings, rows, caption=caption, **COMPACT)


def cv_table(compared: pd.DataFrame, title: str, unit: str) -> Table:
    """A cross-validation in `unit`, as `evaluation.cross_validation.compare` returns it."""
    caption = f"in {unit}; tied: the 95% interval of the difference contains 0"
    if compared["low"].isna().any():
        caption = f"in {unit}; too few users for intervals"
    headings = ["model", "RMSE", "± folds", "± seeds", "to best", "95% interval", ""]
    rows: list[Sequence[str]] = []
    for row in compared.to_dict("records"):
        interval = "" if pd.isna(row["low"]) else f"{row['low']:+.4f} to {row['high']:+.4f}"
        to_best = f"{row['to_best']:+.4f}", interval, "tied" if row["tied"] else ""
        cells = (_number(row[key]) for key in ("rmse", "sd_folds", "sd_seeds"))
        rows.append((row["model"], *cells, *(to_best if rows else ())))
    return _table(escape(title), headings, rows, caption=escape(caption))


def split_table(info: SplitInfo, dataset: str) -> Table:
    """The size of each subset of a split, and how much of it is cold."""
    settings = ", ".join(f"{key} {value}" for key, value in info.settings.items())
    title = f"{escape(dataset)} split by {info.method}: {settings}"
    rows = (
        [part, *(f"{counts[key]:,}" if key in counts else "" for key in SPLIT_HEADINGS)]
        for part, counts in info.parts.items()
    )
    return _table(title, ["part", *SPLIT_HEADINGS.values()], rows)


def leakage(n_leaked: int) -> str:
    """A warning of held-out ratings that are in train as well."""
    return (
        f"LEAKAGE: {n_leaked:,} held-out ratings are of a user and an item that train has a rating "
        "of as well, so scores flatter models that memorize. Remove the repeated ratings."
    )


def _table(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], **options: Any
) -> Table:
    """A table with the first column to the left and never wrapped, the others to the right."""
    first, *others = headings
    columns = [Column(first, no_wrap=True), *(Column(name, justify="right") for name in others)]
    table = Table(*columns, title=title, **options)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _behind(better: Sequence[Any], tied: bool, low: float, high: float) -> str:
    return "best" if not better else "tied" if tied else _range(low, high)


def _range(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"{low:.3f}\N{EN DASH}{high:.3f}"


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.4f}"
