"""Ask somebody for ratings, and show what to recommend: cf rate."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

import cf
from cf.cli.output import show
from cf.cli.recommend import refuse_to_overwrite
from cf.core import io
from cf.core.errors import InputError

N_SHOWN = 5


def main(out: str | None, n: int, force: bool, model: str | None) -> None:
    """Ask for a rating of one item after the other, and show the list as it changes.

    Raises:
        InputError: the file is there already, or nothing is left to ask.
    """
    if out is not None:
        refuse_to_overwrite(Path(out), force)
    recommender, console = cf.load(model), Console(highlight=False)
    low, high = recommender.facts["rating_range"]
    ratings: dict[object, float] = {}
    unknown: list[object] = []
    console.print(f"A number from {low:g} to {high:g}; Enter: I don't know it; q: enough.")
    while len(ratings) < n:
        item = recommender.ask(ratings, unknown)
        title = recommender.catalog.name(recommender.catalog.require_item(item))
        console.print(f"\n[bold]{escape(title)}[/] ", end="")
        try:
            said = input().strip().casefold()
        except EOFError:
            console.print()
            break
        if said in ("q", "quit"):
            break
        if not said:
            unknown.append(item)
            continue
        try:
            rating = float(said.replace(",", "."))
        except ValueError:
            rating = low - 1
        if not low <= rating <= high:
            console.print(f"Expected a number from {low:g} to {high:g}, got {escape(said[:40])}.")
            continue
        ratings[item] = rating
        frame = recommender.recommend(ratings=ratings, n=N_SHOWN)
        show(frame, f"After {len(ratings)}", "table", f"expected {recommender.facts['unit']}")
    if not ratings:
        raise InputError("no rating was given, so there is nothing to go by.")
    if out is not None:
        frame = pd.DataFrame({"item_id": list(ratings), "rating": list(ratings.values())})
        with io.atomic_write(Path(out)) as tmp_path:
            frame.to_csv(tmp_path, index=False, float_format="%g")
        name = escape(out)
        console.print(f"{name}: {len(ratings)} ratings. `cf recommend --ratings {name}` uses them.")
