"""The part of the held-out rows that models are judged on."""

from cf.core import paths
from cf.core.errors import InputError
from cf.core.provenance import SplitInfo


def leaked(part: str, split: SplitInfo) -> int:
    """How many of the part's ratings are in train as well.

    Raises:
        InputError: there is no such part.
    """
    if part == "test" and "test" not in split.parts:
        raise InputError(
            f"{paths.PARAMS}: evaluate.part: there is no test part. Set split.test to true, or "
            "evaluate.part to valid."
        )
    return split.parts.get(part, {}).get("n_leaked", 0)
