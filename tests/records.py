"""Run records of made-up trainings."""

from collections.abc import Sequence
from pathlib import Path

from cf.core import config
from cf.core.ratings import Provenance, SplitInfo
from cf.tracking.record import Recorder, RunRecord, new_training_record, recording

PROVENANCE = Provenance(
    dataset="made-up",
    requested="made-up",
    source="test",
    sha256="ab" * 32,
    n_ratings=10,
    n_users=3,
    n_items=4,
    rating_range=(0.5, 5.0),
)
SETTINGS = {"fraction": 0.2, "seed": 42}
SPLIT = SplitInfo(0.2, 42, "cd" * 32, "random", SETTINGS)
TRAINING = config.Training.model_validate(
    {
        "model": {"name": "dot", "n_factors": 3, "init_range": [0.0, 0.1]},
        "seed": 1,
        "device": "auto",
        "n_threads": 1,
        "batch_size": 8,
        "optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0},
        "schedule": {"n_epochs": [2], "learning_rate": 0.1, "anneal": "none"},
    }
)
ON = config.Tracking(enabled=True, experiment="cf")
OFF = config.Tracking(enabled=False, experiment="cf")
LOSSES = [(1, 0.75), (2, 0.5)]
"""The validation loss of each epoch."""


def metrics(loss: float) -> dict[str, float]:
    return {"loss/train": loss / 2, "loss/valid": loss, "learning_rate": 0.1}


def new(name: str = "dot") -> RunRecord:
    """The record of a training that begins."""
    return new_training_record("cf", name, TRAINING, PROVENANCE, SPLIT)


def finished(name: str = "dot", files: Sequence[Path] = ()) -> RunRecord:
    """The record of a training that has ended."""
    record = new(name)
    for epoch, loss in LOSSES:
        record.log_epoch(epoch, metrics(loss))
    record.finish(files)
    return record


def begin(recorder: Recorder, record: RunRecord) -> None:
    """Train without an end, as a stage does."""
    recorder.upsert(record)
    for epoch, loss in LOSSES:
        record.log_epoch(epoch, metrics(loss))
        recorder.upsert(record)


def train(settings: config.Tracking = ON) -> RunRecord:
    """The record of a training, which a process has recorded."""
    record = new()
    with recording(settings) as recorder:
        begin(recorder, record)
        record.finish()
        recorder.upsert(record)
    return record
