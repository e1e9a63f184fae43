"""Tables for the terminal."""

from rich.table import Table

HEADINGS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "rmse_warm": "RMSE warm",
    "rmse_cold": "RMSE cold",
    "mse": "MSE",
    "notebook_mse": "notebook",
}


def leaderboard_table(rows: list[dict[str, str]]) -> Table:
    """The leaderboard as a table for 80 columns, figures to four decimals.

    Args:
        rows: as `evaluation.leaderboard.read` gives them, at least one.
    """
    first = rows[0]
    title = f"{first['dataset']}: {first['n']} validation ratings, {first['n_cold']} cold"
    table = Table(title=title)
    table.add_column("model", no_wrap=True)
    for heading in HEADINGS.values():
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row["model"], *(f"{float(row[k]):.4f}" if row[k] else "" for k in HEADINGS))
    return table


RANKING_HEADINGS = {
    "ndcg": "NDCG",
    "recall": "recall",
    "map": "MAP",
    "coverage": "coverage",
    "novelty": "novelty, bits",
}


def ranking_table(rows: list[dict[str, str]], title: str) -> Table:
    """How well models rank items, as a table for 80 columns.

    Args:
        rows: as `evaluation.rankings.read` gives them, at least one.
    """
    table = Table(title=title)
    table.add_column("model", no_wrap=True)
    keys = [key for key in rows[0] if "_at_" in key]
    for key in keys:
        name, _, k = key.partition("_at_")
        heading, *unit = RANKING_HEADINGS[name].split(", ")
        table.add_column(", ".join([f"{heading} @{k}", *unit]), justify="right")
    for row in rows:
        table.add_row(row["model"], *(f"{float(row[key]):.4f}" for key in keys))
    return table
