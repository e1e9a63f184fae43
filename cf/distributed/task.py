"""What the workers of a training are told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cf.core.config import Training
from cf.training.checkpoint import ModelSpec


@dataclass(frozen=True)
class Task:
    """What all workers are told.

    Attributes:
        context: begins error messages.
        train: a Parquet file or a folder of them; valid alike.
        grouped: a folder that all workers share, for the ratings in `train` grouped by users.
        batch_size: of all workers together.
        progress: the `ProgressActor`.
    """

    context: str
    section: Training
    spec: ModelSpec
    train: Path
    valid: Path
    grouped: Path
    batch_size: int
    progress: Any
