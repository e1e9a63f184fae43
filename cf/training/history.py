"""The losses of each epoch as a file that repeats to the bit."""

import csv
from pathlib import Path

from cf.files import written
from cf.training.fit import Epoch

COLUMNS = ("epoch", "train_loss", "valid_loss", "learning_rate")


def write(path: Path, epochs: list[Epoch]) -> None:
    """Write epochs as CSV; seconds, which never repeat, are left out."""
    with written(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(epoch, column) for column in COLUMNS] for epoch in epochs)
