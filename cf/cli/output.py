"""Frames as people and programs want them: a table, JSON, or CSV."""

import json
import sys
from contextlib import suppress
from typing import Any, Literal

import pandas as pd

from cf.core import io

Format = Literal["table", "json", "csv"]
DECIMALS = {"prediction": 2, "std": 2, "low": 1, "high": 1, "similarity": 2, "effect": 3}
DECIMALS |= dict.fromkeys(("rmse", "mae", "rmse_warm", "rmse_cold"), 4)
GENRES_WIDTH = 24  # characters
HEADINGS = {
    "item_id": "id",
    "user_id": "user",
    "n_ratings": "ratings",
    "prediction": "expected",
    "std": "± sd",
}


def show(frame: pd.DataFrame, title: str, form: Format, caption: str = "") -> None:
    """Print a frame; JSON is a list of objects, CSV has the columns' names, both all digits."""
    if form != "table":
        with suppress(AttributeError):  # a notebook's
            sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    if form == "json":
        records = json.loads(frame.to_json(orient="records", double_precision=6))
        print(json.dumps(records, indent=2, ensure_ascii=False))
    elif form == "csv":
        io.without_formulas(frame).to_csv(sys.stdout, index=False)
    else:
        show_table(frame, title, caption)


def show_table(frame: pd.DataFrame, title: str, caption: str) -> None:
    """Print a table that people read: an interval in one column, few decimals, no empty columns."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    frame = frame.copy()
    if {"low", "high"} <= set(frame):
        ends = zip(frame.pop("low"), frame.pop("high"), strict=True)
        frame["95%"] = [f"{low:.1f}\N{EN DASH}{high:.1f}" for low, high in ends]
        del frame["std"]
    if "year" in frame and frame["title"].str.contains(r"\(\d{4}", na=False).all():
        del frame["year"]
    empty = [key for key in frame if (frame[key].isna() | (frame[key] == "")).all()]
    frame = frame.drop(columns=empty)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in frame:
        number = pd.api.types.is_numeric_dtype(frame[name]) and name not in ("user_id", "item_id")
        genres = name == "genres"  # which give way to titles
        table.add_column(
            HEADINGS.get(str(name), str(name)),
            justify="right" if number else "left",
            overflow="ellipsis" if genres else "fold",
            no_wrap=genres or number,
            max_width=GENRES_WIDTH if genres else None,
        )
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(_text(name, value)) for name, value in zip(frame, row, strict=True)))
    console = Console(highlight=False)
    console.print(f"[bold]{escape(title)}[/]")
    console.print(table)
    console.print(escape(caption))


def _text(name: Any, value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
        return ""
    if name in DECIMALS:
        sign = "+" if name == "effect" else ""
        return f"{value:{sign}.{DECIMALS[name]}f}"
    return str(value).replace("|", ", ") if name == "genres" else str(value)
