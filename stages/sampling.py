"""The sampling of one model, for the stage sample."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cf.data import tables
from cf.data.tables import Provenance
from cf.errors import InputError
from cf.files import sha256
from cf.models.bayesmf import BayesMF
from cf.params import Gibbs, Sampling
from cf.ratings import Ratings
from cf.sampling import features, posterior
from cf.sampling.unfinished import Unfinished
from cf.tracking import Execution, Recorder
from cf.training import checkpoints, devices, history
from cf.training.checkpoints import Blueprint
from stages import items, paths
from stages.progress import training_progress


def sample(
    name: str, sampling: Sampling, provenance: Provenance, execution: Execution, recorder: Recorder
) -> None:
    """Sample the model `name`, tell the recorder, and write the model and its history."""
    train, valid = tables.read_ratings(paths.TRAIN), tables.read_ratings(paths.VALID)
    where = f"{paths.PARAMS}: train_{name}"
    sizes = provenance.n_users, provenance.n_items
    blueprint = Blueprint(sampling.model, *sizes, provenance.rating_range)
    cpu = torch.device("cpu")
    devices.check_memory(blueprint, f"{where}.model", cpu, n_tensors=2)  # a copy, to save it
    devices.prepare(cpu, sampling.n_threads, sampling.seed)
    model = blueprint.build(f"{where}.model")
    if not isinstance(model, BayesMF):
        raise InputError(f"{where}.model.name: expected bayesmf, which alone is sampled.")
    genres, years = items.genres().tolist(), items.years()
    gibbs = possible(name, sampling.gibbs, train, genres, years)
    execution.parameters.update(gibbs.model_dump())  # what was used, not what was asked for

    recorder.start(execution)
    of_users = features.of_users(gibbs, train, *sizes)
    of_items = features.of_items(gibbs, train, *sizes, genres, years)
    unfinished = Unfinished(paths.UNFINISHED / f"{name}.safetensors", origin(sampling))
    sweeps = []
    with training_progress(name, gibbs.n_sweeps, len(train)) as progress:
        chain = posterior.sample(
            model, train, valid, of_users, of_items, gibbs, unfinished=unfinished
        )
        for sweep in chain:
            progress.on_batch(len(train))
            progress.on_epoch(sweep)
            recorder.log_epoch(execution, sweep.epoch, sweep.metrics())
            sweeps.append(sweep)
    recorder.finish(execution, checkpoints.save(paths.MODELS / name, model, blueprint))
    history.write(paths.HISTORY / f"{name}.csv", sweeps)
    unfinished.remove()


def origin(sampling: Sampling) -> str:
    """A digest of all that a chain comes from: settings, data, code and PyTorch."""
    data = paths.TRAIN, paths.VALID, paths.SPLIT_PROVENANCE, paths.ITEMS, paths.ITEM_VOCABULARY
    code = sorted(path for folder in ("cf", "stages") for path in Path(folder).rglob("*.py"))
    parts = [sampling.model_dump_json(), torch.__version__, *map(sha256, (*data, *code))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def possible(
    name: str, asked: Gibbs, train: Ratings, genres: Sequence[str], years: NDArray[np.float64]
) -> Gibbs:
    """What is asked for, less what the data knows nothing of; a word on the console says so."""
    unknown = {
        "days": train.timestamps is None,
        "genres": not any(genres),
        "year": bool(np.isnan(years).all()),
    }
    off = [key for key, lacking in unknown.items() if lacking and getattr(asked, key)]
    if off:
        print(f"{name}: this data set tells nothing of {', '.join(off)}: sampled without.")
    return asked.model_copy(update=dict.fromkeys(off, False))
