"""The name of the model that a training stage is called with."""

import sys
from pathlib import Path

from cf.core import paths
from cf.core.errors import InputError
from cf.evaluation.predictions import is_taken


def the_name() -> str:
    """The model's name, from the command line.

    Raises:
        InputError: there is none, or it means something else in the reports.
    """
    if len(sys.argv) != 2:
        raise InputError(f"which model? Usage: python -m stages.{Path(sys.argv[0]).stem} NAME.")
    name = sys.argv[1]
    if is_taken(name):
        raise InputError(
            f"{paths.PARAMS}: train_{name}: the reports use the name {name} otherwise. Give the "
            "section and its stage in dvc.yaml another one."
        )
    return name
