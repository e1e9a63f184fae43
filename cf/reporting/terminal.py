"""Tables for the terminal."""

from rich.table import Table

from cf.data.splitting import PARTS
from cf.data.tables import SplitFacts

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
    part = PARTS[first["part"]]
    title = f"{first['dataset']}: {first['n']} {part} ratings, {first['n_cold']} cold"
    if int(first["n_leaked"]):
        title += f"\n[bold red]{leakage(int(first['n_leaked']))}[/]"
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


SPLIT_HEADINGS = {
    "n": "ratings",
    "n_users": "users",
    "n_items": "items",
    "n_cold_users": "cold users",
    "n_cold_items": "cold items",
    "n_cold": "cold ratings",
}


def split_table(facts: SplitFacts, dataset: str) -> Table:
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
