"""The items to recommend to somebody: cf recommend."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

import cf
from cf.cli.output import Format, show
from cf.core import io
from cf.core.config import TextLayout
from cf.core.errors import InputError
from cf.inference.recommender import Recommender


def main(
    user: str | None,
    ratings: str | None,
    everybody: str | None,
    options: dict[str, Any],
    force: bool,
    model: str | None,
    form: Format,
) -> None:
    """Print a list for a user or a file of ratings, or write one for everybody into a file.

    Raises:
        InputError: none of these is given, or several; or something cannot be read or written.
    """
    if sum(value is not None for value in (user, ratings, everybody)) != 1:
        raise InputError("give one of --user ID, --ratings FILE and --all FILE.")
    options = options | {"year": parse_years(options["year"])}
    recommender = cf.load(model)
    if everybody is not None:
        write_all(recommender, Path(everybody), options, force)
        return
    given = None if ratings is None else read_ratings(Path(ratings))
    frame = recommender.recommend(user, ratings=given, **options)
    whose = f"user {user}" if user is not None else Path(str(ratings)).name
    new = user is not None and recommender.catalog.find_users([user])[0] < 0
    unit = recommender.facts["unit"]
    caption = f"expected {unit}; 95% interval of the rating"
    if new:
        caption += f". There is no user {user} in the data: these are for anybody."
    show(frame, f"Recommended to {whose}: {recommender.name}", form, caption)


def parse_years(text: str | None) -> tuple[int | None, int | None] | None:
    """The first and the last year of 1995, 1990-1999, 2000- or -1999.

    Raises:
        InputError: it is none of these.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{4})?(-)?(\d{4})?", text)
    if not found or not (found[1] or found[3]):
        raise InputError(f"--year: expected 1995, 1990-1999, 2000- or -1999, got {text!r}.")
    first, last = (None if year is None else int(year) for year in (found[1], found[3]))
    return first, first if found[2] is None else last


def read_ratings(path: Path) -> pd.DataFrame:
    """Somebody's ratings: columns item_id or title, by their names or the first, and rating.

    Raises:
        InputError: it cannot be read, or has no such columns.
    """
    from cf.data import columns, side_tables, table_file

    table = table_file.read_whole(path, TextLayout())
    names = list(table.column_names)
    rating = columns.named(names, columns.NAMES["rating"]) or (names[-1] if names else None)
    items = columns.named([n for n in names if n != rating], columns.NAMES["item_id"])
    items = items or columns.named(names, side_tables.NAMES["title"]) or names[0]
    if rating is None or items == rating:
        raise InputError(f"{path}: expected columns with items and ratings, got {names}.")
    frame = table.select([items, rating]).to_pandas().set_axis(["item_id", "rating"], axis=1)
    numbers = pd.to_numeric(frame["rating"], errors="coerce")
    if numbers.isna().any():
        row = int(numbers.isna().to_numpy().argmax())
        raise InputError(
            f"{path}, row {row + 1}: expected a rating, got {frame['rating'].iat[row]!r}."
        )
    return pd.DataFrame(frame.assign(rating=numbers.astype(float)))


def write_all(recommender: Recommender, path: Path, options: dict[str, Any], force: bool) -> None:
    """Write a list for each user of the data into a Parquet file.

    Raises:
        InputError: there is such a file already.
    """
    refuse_to_overwrite(path, force)
    frames = []
    for user in recommender.catalog.user_ids:
        frame = recommender.recommend(user, **options)
        frame.insert(0, "user_id", user)
        frame.insert(1, "rank", range(1, len(frame) + 1))
        frames.append(frame)
    io.write_parquet(path, pd.concat(frames, ignore_index=True))
    print(f"{path}: {len(frames):,} lists by {recommender.name}")


def refuse_to_overwrite(path: Path, force: bool) -> None:
    """Raise InputError where there is a file already, unless that is meant."""
    if path.exists() and not force:
        raise InputError(f"{path} exists. Give another name, or --force to overwrite it.")
