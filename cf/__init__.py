"""Collaborative filtering: models, training and evaluation, apart from the workflow around them.

`cf.load()` gives a trained model that answers: predict, recommend, similar, explain.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cf.inference.recommender import Recommender


def load(name: "str | os.PathLike[str] | None" = None) -> "Recommender":
    """A trained model, ready to answer.

    Args:
        name: as for `cf.inference.load.load`; or a model that is registered in MLflow, such as
            models:/cf@champion.
    """
    # Late: whoever imports cf for something else need not wait.
    if str(name).startswith("models:/"):
        from cf.serving.registry import load_registered

        return load_registered(str(name))
    from cf.inference.load import load

    return load(name)
