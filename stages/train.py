"""Train one model: data/split to models/<name>. Usage: python -m stages.train NAME"""

import sys

from cf import params, tracking
from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from cf.errors import InputError
from cf.training import checkpoints, devices, history, optimizers
from cf.training.checkpoints import Blueprint
from cf.training.fit import fit
from stages import paths, runs
from stages.progress import training_progress
from stages.stage import stage


@stage
def main() -> None:
    """Train the model that the section train_<name> of params.yaml describes."""
    name = the_name()
    where = f"{paths.PARAMS}: train_{name}"
    training = params.load(paths.PARAMS, f"train_{name}", params.Training)
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    split = tables.read_facts(paths.SPLIT_FACTS, SplitFacts)
    train, valid = tables.read_ratings(paths.TRAIN), tables.read_ratings(paths.VALID)

    sizes = provenance.n_users, provenance.n_items, provenance.rating_range
    blueprint = Blueprint(training.model, *sizes)
    device = devices.choose(training.device, f"{where}.device")
    devices.check_memory(blueprint, f"{where}.model", device)
    devices.prepare(device, training.n_threads, training.seed)
    model = blueprint.build(f"{where}.model").to(device)
    optimizer = optimizers.build(training.optimizer, model)
    schedule, batch_size = training.schedule, training.batch_size
    execution = tracking.execution(
        settings.experiment, name, training, str(device), provenance, split
    )
    epochs = []
    with (
        tracking.recorder(settings) as recorder,
        training_progress(name, sum(schedule.n_epochs), len(train)) as progress,
    ):
        recorder.start(execution)
        for epoch in fit(model, train, valid, optimizer, schedule, batch_size, progress.on_batch):
            progress.on_epoch(epoch)
            recorder.log_epoch(execution, epoch.epoch, epoch.metrics())
            epochs.append(epoch)
        recorder.finish(execution, checkpoints.save(paths.MODELS / name, model, blueprint))
    history.write(paths.HISTORY / f"{name}.csv", epochs)
    runs.write(name, execution)


def the_name() -> str:
    """The model's name, from the command line.

    Raises:
        InputError: there is none, or it is taken.
    """
    if len(sys.argv) != 2:
        raise InputError("which model? Usage: python -m stages.train NAME, e.g. dotbias.")
    runs.check_name(sys.argv[1])
    return sys.argv[1]


if __name__ == "__main__":
    main()
