"""Train one model: data/split to models/<name>. Usage: python -m stages.train NAME"""

import sys

from cf import params, tracking
from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from cf.training import checkpoints, devices, history, optimizers
from cf.training.checkpoints import Blueprint
from cf.training.fit import fit
from stages import paths, runs
from stages.progress import training_progress
from stages.stage import stage


@stage
def main(name: str) -> None:
    """Train the model that the section train_<name> of params.yaml describes."""
    training = params.load(paths.PARAMS, f"train_{name}", params.Training)
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    split = tables.read_facts(paths.SPLIT_FACTS, SplitFacts)
    train, valid = tables.read_ratings(paths.TRAIN), tables.read_ratings(paths.VALID)

    where = f"{paths.PARAMS}: train_{name}.model"
    blueprint = Blueprint(
        training.model, provenance.n_users, provenance.n_items, provenance.rating_range
    )
    device = devices.choose(training.device)
    devices.check_memory(blueprint, where, device)
    devices.prepare(device, training.n_threads, training.seed)
    model = blueprint.build(where).to(device)
    optimizer = optimizers.build(training.optimizer, model)
    schedule, batch_size = training.schedule, training.batch_size
    epochs = []
    with (
        tracking.recorder(settings) as recorder,
        training_progress(name, sum(schedule.n_epochs), len(train)) as progress,
    ):
        recorder.start(settings.experiment, name, training, provenance, split)
        for epoch in fit(model, train, valid, optimizer, schedule, batch_size, progress.on_batch):
            progress.on_epoch(epoch)
            recorder.log_metrics(epoch.metrics(), step=epoch.epoch)
            epochs.append(epoch)
        files = checkpoints.save(paths.MODELS / name, model, blueprint)
        recorder.log_files(files, "model")
        recorder.end("FINISHED")
    history.write(paths.HISTORY / f"{name}.csv", epochs)
    runs.write(name, recorder.run_id, [epoch.seconds for epoch in epochs])


if __name__ == "__main__":
    main(*sys.argv[1:])
