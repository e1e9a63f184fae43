"""The name of the model that a training stage is called with."""

import sys
from pathlib import Path

from cf.core.errors import InputError
from cf.core.names import check_model_name


def the_name() -> str:
    """The model's name, from the command line.

    Raises:
        InputError: there is none, or it means something else in the reports.
    """
    if len(sys.argv) != 2:
        raise InputError(f"which model? Usage: python -m stages.{Path(sys.argv[0]).stem} NAME.")
    check_model_name(sys.argv[1])
    return sys.argv[1]
