"""Ask somebody for ratings, and show what to recommend: cf rate."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

import cf
from cf.cli import ratings_file
from cf.cli.output import show
from cf.cli.recommend import refuse_to_overwrite
from cf.core import io
from cf.core.errors import InputError
from cf.inference.recommender import Recommender

N_SHOWN = 5


def main(out: str | None, n: int, add: bool, force: bool, model: str | None) -> None:
    """Ask for a rating of one item after the other, and show the list as it changes.

    Raises:
        InputError: the file is there already, or cannot be read, or nothing is left to ask.
    """
    if add and (out is None or not Path(out).is_file()):
        raise InputError("--add: give the name of a file with ratings.")
    if out is not None:
        refuse_to_overwrite(Path(out), force or add, (".csv",))
    recommender, console = cf.load(model), Console(highlight=False)
    ratings: dict[object, float] = {}
    if out is not None and add:
        items, values = recommender.given(ratings_file.read(Path(out), recommender))
        ids = recommender.catalog.items["item_id"].iloc[items]
        ratings = dict(zip(ids, values.astype(float).round(6).tolist(), strict=True))
    before = dict(ratings)
    try:
        ask(recommender, ratings, len(ratings) + n, console, None if out is None else Path(out))
    except (EOFError, KeyboardInterrupt):
        console.print()
    if ratings == before:
        raise InputError("no rating was given, so there is nothing to go by.")
    if out is None:
        console.print("A name, as in `cf rate mine.csv`, would have kept these ratings.")
        return
    name = escape(out)
    console.print(
        f"{name}: {len(ratings)} rating{'s' * (len(ratings) != 1)}. "
        f"`cf recommend --ratings {name}` uses them."
    )


def ask(
    recommender: Recommender,
    ratings: dict[object, float],
    n: int,
    console: Console,
    path: Path | None,
) -> None:
    """Add ratings, and keep each in the file, until there are `n`, or somebody has enough."""
    low, high = recommender.facts["rating_range"]
    unknown: list[object] = []
    console.print(f"A number from {low:g} to {high:g}; Enter: I don't know it; q: enough.")
    while len(ratings) < n:
        try:
            item = recommender.ask(ratings, unknown)
        except InputError as error:  # no item is left
            console.print(escape(str(error)))
            break
        title = recommender.catalog.name(recommender.catalog.require_item(item))
        console.print(f"\n[bold]{escape(title)}[/] ", end="")
        said = input().strip().casefold()
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
        if path is not None:
            write(recommender, ratings, path)
        frame = recommender.recommend(ratings=ratings, n=N_SHOWN)
        caption = f"expected {recommender.facts['unit']}; 95% interval of the rating"
        show(frame, f"After {len(ratings)}", "table", caption)


def write(recommender: Recommender, ratings: dict[object, float], path: Path) -> None:
    """Keep the ratings as CSV: item_id, title, rating."""
    items = recommender.catalog.require_items(ratings)
    titles = recommender.catalog.items["title"].iloc[items]
    frame = pd.DataFrame({"item_id": list(ratings), "title": titles, "rating": ratings.values()})
    with io.atomic_write(path) as tmp_path:
        io.without_formulas(frame).to_csv(tmp_path, index=False, float_format="%g")
