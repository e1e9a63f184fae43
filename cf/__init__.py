"""Collaborative filtering: models, training and evaluation, apart from the workflow around them.

`cf.load()` gives a trained model that answers: predict, recommend, similar, explain.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cf.inference.recommender import Recommender


def load(name: "str | os.PathLike[str] | None" = None) -> "Recommender":
    """A trained model, ready to answer; see `cf.inference.load`."""
    from cf.inference.load import load  # late: whoever imports cf for something else need not wait

    return load(name)
