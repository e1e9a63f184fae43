"""Tables for the terminal."""

from math import sqrt

from rich import box
from rich.table import Table

from cf.evaluation.leaderboard import Row

DASH = "\N{EN DASH}"


def leaderboard_table(rows: list[Row]) -> Table:
    """The leaderboard as a table for 80 columns, all in stars.

    The notebook's MSE stands as the RMSE that it is the square of, where it is comparable.

    Args:
        rows: as `evaluation.leaderboard.read` gives them, at least one.
    """
    best = rows[0]
    notebook = any(row["notebook_mse"] is not None for row in rows)
    table = Table(
        title=f"{best['dataset']}: {best['n']} validation ratings, {best['n_cold']} cold",
        caption="95% intervals, in stars; tied: may be as good as the best",
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


def _range(low: float, high: float) -> str:
    return f"{low:.3f}{DASH}{high:.3f}"


def _stars(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _root(value: float | None) -> str:
    return "" if value is None else f"{sqrt(value):.4f}"
