"""The ratings that somebody would give to items: cf predict."""

import sys
from collections.abc import Sequence

import cf
from cf.cli.output import Format, show
from cf.cli.recommend import read_ratings
from cf.core.errors import InputError


def main(
    users: Sequence[str],
    items: Sequence[str],
    ratings: str | None,
    time: int | None,
    model: str | None,
    form: Format,
) -> None:
    """Print predictions, one for each user with each item.

    Raises:
        InputError: there is no such model, or neither or both of users and ratings are given.
    """
    if bool(users) == (ratings is not None):
        raise InputError("give one of --user ID and --ratings FILE.")
    recommender = cf.load(model)
    if ratings is None:
        of_pairs = [user for user in users for _ in items]
        frame = recommender.predict(of_pairs, list(items) * len(users), time)
    else:
        given = read_ratings(ratings, recommender)
        frame = recommender.predict(items=list(items), ratings=given)
    unit = recommender.facts["unit"]
    caption = f"expected {unit}"
    if "std" in frame:
        caption += ", and the standard deviation of the rating about them"
    found = zip(items, recommender.catalog.find_items(items), strict=True)
    unknown = [item for item, index in found if index < 0]
    hints = [f"{item} is not in the data.{recommender.catalog.suggest(item)}" for item in unknown]
    show(frame, f"{recommender.name}, {recommender.facts['dataset']}", form, caption)
    for hint in hints:
        print(hint, file=sys.stderr)
