"""Which ratings speak for an item and which against it: cf explain."""

import cf
from cf.cli.output import Format, show
from cf.cli.recommend import read_ratings
from cf.core.errors import InputError


def main(
    user: str | None, ratings: str | None, item: str, n: int, model: str | None, form: Format
) -> None:
    """Print which ratings speak for and against an item, the strongest first.

    Raises:
        InputError: there is no such user or item.
    """
    if (user is None) == (ratings is None):
        raise InputError("give one of --user ID and --ratings FILE.")
    recommender = cf.load(model)
    given = None if ratings is None else read_ratings(ratings, recommender)
    frame = recommender.explain(user, item, n, ratings=given)
    title = recommender.catalog.name(recommender.catalog.require_item(item))
    expected, unit = frame.attrs["prediction"], recommender.facts["unit"]
    caption = f"effect: without the rating, the prediction would be lower by as many {unit}"
    caption += ", or higher where it is negative"
    if given is None:
        caption += "\ncomputed as for a new person with these ratings; `cf predict` differs a bit"
    show(
        frame,
        f"{title}: {expected:.2f} {unit} expected, and what speaks for and against",
        form,
        caption,
    )
