"""Where the ratings came from, and how they were split."""

from dataclasses import dataclass, field
from typing import Any

from cf.core.errors import InputError

SUBSET_LABELS = {"train": "training", "valid": "validation", "test": "test"}
"""The subsets of a split, in order, and what they are called in words."""


@dataclass(frozen=True)
class Provenance:
    """Where the ratings came from, and their size.

    Attributes:
        dataset: its true name.
        requested: what params.yaml asked for; differs from `dataset` after a fallback.
        source: its URL, or the file's name.
        sha256: of the file it was read from.
        rating_range: lowest and highest rating that the data set allows, in stars.
    """

    dataset: str
    requested: str
    source: str
    sha256: str
    n_ratings: int
    n_users: int
    n_items: int
    rating_range: tuple[float, float]


@dataclass(frozen=True)
class SplitInfo:
    """How the rows were divided.

    Attributes:
        fraction: as `seed`, of params.yaml, whether the method uses it or not.
        sha256: of the validation rows' numbers (int64, little endian), and where there is a test
            set, of the word test and its rows' numbers after that.
        settings: the values of params.yaml that the method uses.
        parts: the counts of each subset, train, valid and perhaps test, by `cf.data.describe`.
    """

    fraction: float
    seed: int
    sha256: str
    method: str = "random"
    settings: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, dict[str, int]] = field(default_factory=dict)

    def n_leaked_in(self, part: str) -> int:
        """Ratings of a held-out part whose user rates the same item in train.

        Raises:
            InputError: the split holds out no such part.
        """
        if part == "test" and "test" not in self.parts:
            raise InputError(
                "params.yaml: evaluate.part: there is no test part. Set split.test to true, or "
                "evaluate.part to valid."
            )
        return self.parts.get(part, {}).get("n_leaked", 0)

    @property
    def n_leaked(self) -> int:
        """Held-out rows whose user rates the same item in train."""
        return sum(counts.get("n_leaked", 0) for counts in self.parts.values())
