"""Train one model: data/split to models/<name>. Usage: python -m stages.train NAME"""

import shutil
import sys

import pandas as pd

from cf.core import config, git, io, paths
from cf.core.errors import InputError, exit_on_input_error
from cf.core.names import parse_model_name
from cf.core.progress import progress_bar
from cf.core.ratings import Provenance, Ratings, SplitInfo
from cf.distributed.stream import RatingStream
from cf.tracking.record import new_training_record, recording

DATA = (paths.TRAIN, paths.VALID, paths.SPLIT_PROVENANCE, paths.ENCODED_ITEMS)
CODE = ("cf/core/*.py", "cf/models/*.py", "cf/training/*.py")
"""What a training depends on: a change of any of these files starts it anew."""


@exit_on_input_error
def main() -> None:
    """Train the model that the section train_<name> of params.yaml describes."""
    git.require_code()
    name = parse_model_name(sys.argv)
    context = f"{paths.PARAMS}: train_{name}"
    section = config.load(paths.PARAMS, f"train_{name}", config.Training)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    provenance.require_ratings(context)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    on_ray = config.ray(paths.PARAMS)
    train = RatingStream(paths.TRAIN) if on_ray else Ratings.read(paths.TRAIN, provenance)
    valid = Ratings.read(paths.VALID, provenance)
    items = io.read_parquet(paths.ENCODED_ITEMS, ["genres", "year"], n_rows=provenance.n_items)
    changed = git.changed_params(name)
    record = new_training_record(settings.experiment, name, section, provenance, split, changed)
    record_path = paths.RUNS / f"{name}.json"

    with recording(settings) as recorder:
        # PyTorch takes seconds to import, and so does MLflow in the recorder's process, meanwhile.
        from cf.training import checkpoint, device, optim
        from cf.training.compiled import advise_numba
        from cf.training.fit import compare_with_mean, fit
        from cf.training.resume import ResumePoint

        spec = checkpoint.ModelSpec.from_data(section.model, provenance, items, f"{context}.model")
        if on_ray:
            from cf.distributed import launch
        chosen = device.choose("cpu" if on_ray else section.device, f"{context}.device")
        device.check_memory(spec, f"{context}.model", chosen, n_tensors=2 if on_ray else 4)
        device.prepare(chosen, section.n_threads, section.seed)
        model = spec.build(f"{context}.model").to(chosen)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise InputError(
                f"{context}.model.name: {section.model['name']} has no parameter to train. If it "
                f"is sampled, the cmd of its stage in dvc.yaml is `python -m stages.sample {name}`."
            )
        batch_size = section.batch_size_for(len(train))
        code = (*CODE, "cf/distributed/*.py") if on_ray else CODE
        resume = ResumePoint.of(name, section, chosen, DATA, code)
        if on_ray:
            launch.require(section, spec, RatingStream(paths.TRAIN, batch_size), context)
            checkpoints = launch.checkpoints_of(on_ray, name, resume.fingerprint)
            resumed = any(checkpoints.glob("checkpoint_*"))
            note = "the training goes on where it was interrupted." if resumed else ""
            record.parameters["launcher"] = "ray"
        else:
            note = resume.note()
            optimizer = optim.build(section.optimizer, model, len(train))
            if advice := advise_numba(model, optimizer, batch_size):
                print(f"{name}: {advice}")
        record.parameters["device"] = str(chosen)  # what is used, not what was asked for
        record.parameters["batch_size"] = batch_size
        record.parameters["weight_decay"] = section.optimizer.decay(len(train))
        recorder.upsert(record, record_path)

        if note:
            print(f"{name}: {note}")
        epochs = []
        n_epochs = sum(section.schedule.n_epochs)
        with progress_bar(name, n_epochs * len(train)) as bar:

            def advance(n_ratings: int) -> None:
                bar.completed += n_ratings

            if on_ray:
                results = launch.fit_on_ray(
                    model, spec, section, on_ray, checkpoints, batch_size, context, advance
                )
            else:
                assert isinstance(train, Ratings)
                results = fit(
                    model, train, valid, optimizer, section.schedule, batch_size, advance, resume
                )
            for epoch in results:
                bar.fields["text"] = (
                    f"epoch {epoch.epoch}/{n_epochs}  MSE train {epoch.train_loss:.4f}  "
                    f"valid {epoch.valid_loss:.4f}"
                )
                epochs.append(epoch)
                record.log_epoch(epoch.epoch, epoch.metrics())
                recorder.upsert(record, record_path)

        if warning := compare_with_mean(epochs[-1], train, valid):
            safer = {"dotbias_ensemble", "bayesmf"} - {section.model["name"]}
            print(f"{name}: {warning} Use {' or '.join(sorted(safer, reverse=True))}.")

        history = pd.DataFrame(epochs).drop(columns="seconds")  # which differ from run to run
        io.write_csv(paths.HISTORY / f"{name}.csv", history)
        record.finish(checkpoint.save(paths.MODELS / name, model, spec))
        recorder.upsert(record, record_path)
        if on_ray:
            shutil.rmtree(checkpoints, ignore_errors=True)
        else:
            resume.remove()


if __name__ == "__main__":
    main()
