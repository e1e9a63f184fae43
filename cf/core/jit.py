"""Functions compiled by numba, which is optional: import this only to use it.

What is compiled is kept in the user's folder for caches, by the content of all files that compile.
So a fresh clone, or the folder of an experiment, compiles nothing that another one has.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
import platformdirs
from numba import njit
from numba.core import caching

OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    # Sums in any order, as the registers fit, but always in the same one; NaN and infinity stay.
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled by numba, kept on disk where there is a place to write to."""
    before = getattr(numba.config, "CACHE_LOCATOR_CLASSES", "")
    numba.config.CACHE_LOCATOR_CLASSES = before or LOCATORS  # for this function alone
    try:
        found: Callable[..., Any] = njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # neither there, nor in NUMBA_CACHE_DIR, nor beside the code
        found = njit(**OPTIONS)(function)
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before
    _save_where_there_is_room(found)
    return found


def _save_where_there_is_room(function: Any) -> None:
    """Let a function that is compiled, but cannot be kept, be used all the same."""
    save = function._cache.save_overload

    def save_overload(*compiled: Any) -> None:
        with suppress(OSError):
            save(*compiled)

    function._cache.save_overload = save_overload


@cache
def sources_digest() -> str:
    """A digest of this file and of those of the package that import it: a function may call others.

    numba itself looks at a function's own file alone.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        content = path.read_bytes()
        if b"cf.core.jit" in content or path == Path(__file__):
            digest.update(content)
    return digest.hexdigest()[:16]


# As in numba's documentation of NUMBA_CACHE_LOCATOR_CLASSES.
LOCATORS = ""
if not numba.config.CACHE_DIR:

    class ByContent(caching.UserWideCacheLocator):  # type: ignore[misc]
        """The folder of a compiled function: the same wherever its code lies."""

        def get_cache_path(self) -> str:
            """One folder for each state of the code, and in it one for each folder of the code."""
            root = platformdirs.user_cache_path("cf") / "compiled" / sources_digest()
            return str(root / Path(self._py_file).parent.name)

        def get_source_stamp(self) -> str:
            """What tells that the code has changed; in an older numba it is a file's time."""
            return sources_digest()

    LOCATORS = f"{ByContent.__module__}.{ByContent.__name__},InTreeCacheLocator"
