"""What every stage does around its work: plain messages instead of tracebacks."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from cf.core.errors import InputError

P = ParamSpec("P")


def stage(main: Callable[P, None]) -> Callable[P, None]:
    """`main`, ending with exit status 1 and a message where the input cannot be used."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            main(*args, **kwargs)
        except InputError as error:
            name = os.environ.get("DVC_STAGE") or Path(sys.argv[0]).stem
            sys.exit(f"{name}: {error}")
        except KeyboardInterrupt:
            sys.exit(130)

    return run
