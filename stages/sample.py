"""Sample one model's posterior: data/split to models/<name>. Usage: python -m stages.sample NAME"""

import sys
from contextlib import nullcontext

import pandas as pd

from cf.core import config, git, io, paths
from cf.core.errors import InputError, exit_on_input_error
from cf.core.names import parse_model_name
from cf.core.progress import progress_bar, working
from cf.core.ratings import Provenance, Ratings, SplitInfo
from cf.tracking.record import new_training_record, recording

DATA = (
    *(paths.TRAIN, paths.VALID, paths.SPLIT_PROVENANCE),
    *(paths.ENCODED_USERS, paths.ENCODED_ITEMS, paths.ENCODED_TAGS),
)
CODE = ("cf/bayes/*.py", "cf/core/*.py", "cf/models/*.py", "cf/training/*.py")
"""What a chain depends on: a change of any of these files starts it anew."""


@exit_on_input_error
def main() -> None:
    """Sample the model that the section train_<name> of params.yaml describes."""
    git.require_code()
    name = parse_model_name(sys.argv)
    context = f"{paths.PARAMS}: train_{name}"
    section = config.load(paths.PARAMS, f"train_{name}", config.Sampling)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    on_ray = config.ray(paths.PARAMS)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    provenance.require_ratings(context)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    train = Ratings.read(paths.TRAIN, provenance)
    valid = Ratings.read(paths.VALID, provenance)
    users = io.read_parquet(paths.ENCODED_USERS, ["user_id"], n_rows=provenance.n_users)
    items = io.read_parquet(paths.ENCODED_ITEMS, ["genres", "year"], n_rows=provenance.n_items)
    tags = io.read_parquet(paths.ENCODED_TAGS, ["item", "tag", "timestamp"])
    changed = git.changed_params(name)
    record = new_training_record(settings.experiment, name, section, provenance, split, changed)
    record_path = paths.RUNS / f"{name}.json"

    with recording(settings) as recorder:
        # PyTorch takes seconds to import, and so does MLflow in the recorder's process, meanwhile.
        from cf.bayes import side_information
        from cf.bayes.gibbs import by_users_and_items
        from cf.bayes.sample import sample
        from cf.models.bayesmf import BayesMF
        from cf.training import checkpoint, device
        from cf.training.resume import ResumePoint

        spec = checkpoint.ModelSpec.from_data(section.model, provenance, items, f"{context}.model")
        if on_ray:
            from cf.distributed.rows import rows_on_ray
        chosen = device.choose("cpu" if on_ray else section.device, f"{context}.device")
        device.check_memory(spec, f"{context}.model", chosen, n_tensors=2)  # a copy, to save it
        device.prepare(chosen, section.n_threads, section.seed)
        model = spec.build(f"{context}.model").to(chosen)
        if not isinstance(model, BayesMF):
            raise InputError(f"{context}.model.name: expected bayesmf, which alone is sampled.")
        gibbs = side_information.drop_unavailable(section.gibbs, train, items, users, tags)
        off = [key for key, value in gibbs if value != getattr(section.gibbs, key)]
        if off := [key for key in off if not key.endswith("_features")]:  # few data sets have any
            print(f"{name}: the data set has no {', '.join(off)}: sampled without.")
        # What is used, not what was asked for.
        record.parameters.update(gibbs.model_dump() | {"device": str(chosen)})
        if on_ray:
            record.parameters["launcher"] = "ray"
        recorder.upsert(record, record_path)

        with working("preparing side information"):
            features = side_information.features(gibbs, train, users, items, tags)
        resume = ResumePoint.of(name, section, chosen, DATA, CODE)
        if note := resume.note():
            print(f"{name}: {note}")
        sweeps = []
        rows = rows_on_ray(on_ray) if on_ray else nullcontext(by_users_and_items)
        with rows as divide, progress_bar(name, gibbs.n_sweeps) as bar:
            for sweep in sample(model, train, valid, *features, gibbs, resume, divide):
                bar.completed += 1
                bar.fields["text"] = (
                    f"sweep {sweep.epoch}/{gibbs.n_sweeps}  MSE train {sweep.train_loss:.4f}  "
                    f"valid {sweep.valid_loss:.4f}"
                )
                sweeps.append(sweep)
                record.log_epoch(sweep.epoch, sweep.metrics())
                recorder.upsert(record, record_path)

        history = pd.DataFrame(sweeps).drop(columns="seconds")  # which differ from run to run
        io.write_csv(paths.HISTORY / f"{name}.csv", history)
        record.finish(checkpoint.save(paths.MODELS / name, model, spec))
        recorder.upsert(record, record_path)
        resume.remove()


if __name__ == "__main__":
    main()
