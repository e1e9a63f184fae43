"""The items most like one: cf similar."""

import cf
from cf.cli.output import Format, show


def main(item: str, n: int, min_ratings: int, model: str | None, form: Format) -> None:
    """Print the items most like one, the most similar first.

    Raises:
        InputError: there is no such item.
    """
    recommender = cf.load(model)
    index = recommender.catalog.require_item(item)
    title = recommender.catalog.name(index)
    frame = recommender.similar(item, n, min_ratings)
    caption = "similarity: cosine of the factors; 1 is the same direction"
    show(frame, f"Like {title}: {recommender.name}", form, caption)
