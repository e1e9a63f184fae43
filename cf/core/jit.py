"""Functions compiled by numba, which is optional: import this only to use it."""

from collections.abc import Callable
from typing import Any

from numba import njit

# A change here needs a change in the files of the functions: by these alone numba tells whether
# what it kept is out of date.
OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    # Sums in any order, as the registers fit, but always in the same one; NaN and infinity stay.
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled by numba, kept on disk where there is a place to write to."""
    try:
        found: Callable[..., Any] = njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # neither here, nor in NUMBA_CACHE_DIR, nor in the home
        found = njit(**OPTIONS)(function)
    return found
