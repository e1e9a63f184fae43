"""The training of one model, for the stage train."""

from cf.data import tables
from cf.data.tables import Provenance
from cf.errors import InputError
from cf.params import Training
from cf.tracking import Execution, Recorder
from cf.training import checkpoints, devices, history, optimizers
from cf.training.checkpoints import Blueprint
from cf.training.fit import fit
from stages import paths
from stages.progress import training_progress


def train(
    name: str, training: Training, provenance: Provenance, execution: Execution, recorder: Recorder
) -> None:
    """Train the model `name`, tell the recorder, and write the model and its history."""
    train, valid = tables.read_ratings(paths.TRAIN), tables.read_ratings(paths.VALID)
    where = f"{paths.PARAMS}: train_{name}"
    sizes = provenance.n_users, provenance.n_items, provenance.rating_range
    blueprint = Blueprint(training.model, *sizes)
    device = devices.choose(training.device, f"{where}.device")
    devices.check_memory(blueprint, f"{where}.model", device)
    devices.prepare(device, training.n_threads, training.seed)
    model = blueprint.build(f"{where}.model").to(device)
    optimizer = optimizers.build(training.optimizer, model)
    if not optimizer.parameters:
        raise InputError(
            f"{where}.model.name: {training.model['name']} is sampled: the cmd of its stage in "
            f"dvc.yaml is `python -m stages.sample {name}`."
        )
    schedule, batch_size = training.schedule, training.batch_size

    execution.parameters["device"] = str(device)
    recorder.start(execution)
    epochs = []
    with training_progress(name, sum(schedule.n_epochs), len(train)) as progress:
        for epoch in fit(model, train, valid, optimizer, schedule, batch_size, progress.on_batch):
            progress.on_epoch(epoch)
            recorder.log_epoch(execution, epoch.epoch, epoch.metrics())
            epochs.append(epoch)
    recorder.finish(execution, checkpoints.save(paths.MODELS / name, model, blueprint))
    history.write(paths.HISTORY / f"{name}.csv", epochs)
