"""The training of one model, for the stage train."""

import pandas as pd

from cf.core import io, paths
from cf.core.config import Training
from cf.core.errors import InputError
from cf.core.provenance import Provenance
from cf.core.ratings import Ratings
from cf.tracking.record import Recorder, RunRecord
from cf.training import checkpoint as checkpoints
from cf.training import device as devices
from cf.training import optim as optimizers
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit
from stages.progress import training_progress


def train(
    name: str, training: Training, provenance: Provenance, record: RunRecord, recorder: Recorder
) -> None:
    """Train the model `name`, record it, and write the model and its history."""
    train, valid = (
        Ratings.from_frame(io.read_parquet(paths.TRAIN)),
        Ratings.from_frame(io.read_parquet(paths.VALID)),
    )
    where = f"{paths.PARAMS}: train_{name}"
    sizes = provenance.n_users, provenance.n_items, provenance.rating_range
    spec = ModelSpec(training.model, *sizes)
    device = devices.choose(training.device, f"{where}.device")
    devices.check_memory(spec, f"{where}.model", device)
    devices.prepare(device, training.n_threads, training.seed)
    model = spec.build(f"{where}.model").to(device)
    optimizer = optimizers.build(training.optimizer, model.parameters())
    if not any(param.requires_grad for param in model.parameters()):
        raise InputError(
            f"{where}.model.name: {training.model['name']} is sampled: the cmd of its stage in "
            f"dvc.yaml is `python -m stages.sample {name}`."
        )
    schedule, batch_size = training.schedule, training.batch_size

    record.parameters["device"] = str(device)
    path = paths.RUNS / f"{name}.json"
    recorder.upsert(record, path)
    epochs = []
    with training_progress(name, sum(schedule.n_epochs), len(train)) as progress:
        for epoch in fit(model, train, valid, optimizer, schedule, batch_size, progress.on_batch):
            progress.on_epoch(epoch)
            record.log_epoch(epoch.epoch, epoch.metrics())
            recorder.upsert(record, path)
            epochs.append(epoch)
    record.finish(checkpoints.save(paths.MODELS / name, model, spec))
    io.write_csv(paths.HISTORY / f"{name}.csv", pd.DataFrame(epochs).drop(columns="seconds"))
    recorder.upsert(record, path)
