"""Tables for the terminal."""

from math import sqrt

from rich import box
from rich.table import Table

from cf.core.provenance import SUBSET_LABELS, SplitInfo
from cf.evaluation.rows import Row

DASH = "\N{EN DASH}"


def leaderboard_table(rows: list[Row]) -> Table:
    """The leaderboard as a table for 80 columns, all in stars.

    The notebook's MSE stands as the RMSE that it is the square of, where it is comparable. Below
    is a line of each model that has error bars, on what they are worth.

    Args:
        rows: as `evaluation.leaderboard.read` gives them, at least one.
    """
    best = rows[0]
    notebook = any(row["notebook_mse"] is not None for row in rows)
    part = SUBSET_LABELS[best["part"]]
    title = f"{best['dataset']}: {best['n']} {part} ratings, {best['n_cold']} cold"
    if best["n_leaked"]:
        title += f"\n[bold red]{leakage(best['n_leaked'])}[/]"
    bars = [_error_bars(row) for row in rows if row["nll"] is not None]
    table = Table(
        title=title,
        caption="\n".join(["95% intervals, in stars; tied: may be as good as the best", *bars]),
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    table.add_column("model", no_wrap=True)
    headings = ("RMSE", "95%", "behind best", "MAE", "warm", "cold")
    for heading in (*headings, *(["notebook"] if notebook else [])):
        table.add_column(heading, justify="right")
    for row in rows:
        behind = "tied" if row["tied"] else _range(row["to_best_low"], row["to_best_high"])
        table.add_row(
            row["model"],
            f"{row['rmse']:.4f}",
            _range(row["rmse_low"], row["rmse_high"]),
            "best" if row is best else behind,
            *(_stars(row[key]) for key in ("mae", "rmse_warm", "rmse_cold")),
            *([_root(row["notebook_mse"])] if notebook else []),
        )
    return table


RANKING_HEADINGS = {
    "ndcg": "NDCG",
    "recall": "recall",
    "map": "MAP",
    "coverage": "coverage",
    "novelty": "novelty, bits",
}


def ranking_table(rows: list[Row], title: str) -> Table:
    """How well models rank items, as a table for 80 columns.

    Args:
        rows: as `evaluation.rankings.read` gives them, at least one.
    """
    best = rows[0]
    counted = f"{best['n_users']} users counted, {best['n_left_out']} left out"
    table = Table(
        title=f"{title}: {counted}",
        caption="95% intervals of the NDCG behind the best one's; tied: may be as good",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    table.add_column("model", no_wrap=True)
    keys = [key for key in best if "_at_" in key]
    ndcg, *others = (RANKING_HEADINGS[key.partition("_at_")[0]] for key in keys)
    for heading in (f"{ndcg} @{keys[0].partition('_at_')[2]}", "behind best", *others):
        table.add_column(heading, justify="right")
    for row in rows:
        low, high = row["behind_low"], row["behind_high"]
        behind = "tied" if low <= 0 <= high else _range(low, high)
        first, *rest = (f"{row[key]:.4f}" for key in keys)
        table.add_row(row["model"], first, "best" if row is best else behind, *rest)
    return table


SPLIT_HEADINGS = {
    "n": "ratings",
    "n_users": "users",
    "n_items": "items",
    "n_cold_users": "cold users",
    "n_cold_items": "cold items",
    "n_cold": "cold ratings",
}


def split_table(facts: SplitInfo, dataset: str) -> Table:
    """What each part of a split holds, and how much of that train does not know."""
    settings = ", ".join(f"{key} {value}" for key, value in facts.settings.items())
    table = Table(title=f"{dataset} split by {facts.method}: {settings}")
    table.add_column("part", no_wrap=True)
    for heading in SPLIT_HEADINGS.values():
        table.add_column(heading, justify="right")
    for part, counts in facts.parts.items():
        cells = (f"{counts[key]:,}" if key in counts else "" for key in SPLIT_HEADINGS)
        table.add_row(part, *cells)
    return table


def leakage(n_leaked: int) -> str:
    """What it means that so many held-out ratings are in train as well."""
    return (
        f"LEAKAGE: {n_leaked:,} held-out ratings are of a user and an item that train has a rating "
        "of as well, so scores flatter models that remember. Remove the repeated ratings."
    )


def _error_bars(row: Row) -> str:
    held = {key.split("_")[1]: row[key] for key in row if key.startswith("coverage_")}
    shares = "/".join(f"{100 * share:.1f}" for share in held.values())
    return f"{row['model']}: NLL {row['nll']:.3f}, intervals of {'/'.join(held)}% hold {shares}%"


def _range(low: float, high: float) -> str:
    return f"{low:.3f}{DASH}{high:.3f}"


def _stars(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _root(value: float | None) -> str:
    return "" if value is None else f"{sqrt(value):.4f}"
