"""The ratings that users would give to items: cf predict."""

from collections.abc import Sequence

import cf
from cf.cli.output import Format, show


def main(
    users: Sequence[str], items: Sequence[str], time: int | None, model: str | None, form: Format
) -> None:
    """Print predictions, one for each user with each item.

    Raises:
        InputError: there is no such model.
    """
    recommender = cf.load(model)
    pairs = [(user, item) for user in users for item in items]
    users, items = zip(*pairs, strict=True)
    frame = recommender.predict(users, items, time)
    unit = recommender.facts["unit"]
    caption = f"expected {unit}"
    if "std" in frame:
        caption += ", and the standard deviation of the rating about them"
    notes = zip(items, frame["note"], strict=True)
    for item in dict.fromkeys(item for item, note in notes if "item" in note):
        caption += f"\n{item} is not in the data.{recommender.catalog.suggest(item)}"
    show(frame, f"{recommender.name}, {recommender.facts['dataset']}", form, caption)
