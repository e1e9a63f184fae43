"""What each epoch came to, and the file of it, which repeats to the bit."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cf.core.errors import InputError
from cf.core.io import atomic_write

COLUMNS = ("epoch", "train_loss", "valid_loss")


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the training ratings came to, however a model learns from them.

    Attributes:
        epoch: from 1.
        train_loss: mean squared error in stars².
        valid_loss: mean squared error in stars² of the validation ratings after the pass.
    """

    epoch: int
    train_loss: float
    valid_loss: float


@dataclass(frozen=True)
class Epoch(EpochResult):
    """A pass in batches, down the gradient.

    Attributes:
        train_loss: over the epoch's batches as they were met, each
            rating weighing the same; dropout on.
        learning_rate: mean over the epoch's steps.
        seconds: wall time of the pass, without validation.
    """

    learning_rate: float
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The figures under the names they have in MLflow, the same for every model."""
        return {
            "loss/train": self.train_loss,
            "loss/valid": self.valid_loss,
            "learning_rate": self.learning_rate,
            "seconds_an_epoch": self.seconds,
        }


def write(path: Path, passes: Sequence[EpochResult]) -> None:
    """Write passes of one kind as CSV; seconds, which never repeat, are left out."""
    columns = [field.name for field in fields(passes[0]) if field.name != "seconds"]
    with atomic_write(path) as tmp_path, tmp_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([getattr(one, column) for column in columns] for one in passes)


def read(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns that every history has, (n_epochs,) each.

    Raises:
        InputError: no such file, a column is missing, or a field is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected numbers in the columns {', '.join(COLUMNS)}, got {error}. "
            "`dvc repro` makes it; if it is damaged, delete it first."
        ) from None
