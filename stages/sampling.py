"""The sampling of one model, for the stage sample."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cf.bayes import sample as posterior
from cf.bayes import side_information as features
from cf.bayes.resume import Unfinished
from cf.core import io, paths
from cf.core.config import Gibbs, Sampling
from cf.core.errors import InputError
from cf.core.io import sha256
from cf.core.provenance import Provenance
from cf.core.ratings import Ratings
from cf.models.bayesmf import BayesMF
from cf.tracking.record import Recorder, RunRecord
from cf.training import checkpoint as checkpoints
from cf.training import device as devices
from cf.training.checkpoint import ModelSpec
from stages import items
from stages.progress import training_progress


def sample(
    name: str, sampling: Sampling, provenance: Provenance, record: RunRecord, recorder: Recorder
) -> None:
    """Sample the model `name`, record it, and write the model and its history."""
    train, valid = (
        Ratings.from_frame(io.read_parquet(paths.TRAIN)),
        Ratings.from_frame(io.read_parquet(paths.VALID)),
    )
    where = f"{paths.PARAMS}: train_{name}"
    sizes = provenance.n_users, provenance.n_items
    spec = ModelSpec(sampling.model, *sizes, provenance.rating_range)
    cpu = torch.device("cpu")
    devices.check_memory(spec, f"{where}.model", cpu, n_tensors=2)  # a copy, to save it
    devices.prepare(cpu, sampling.n_threads, sampling.seed)
    model = spec.build(f"{where}.model")
    if not isinstance(model, BayesMF):
        raise InputError(f"{where}.model.name: expected bayesmf, which alone is sampled.")
    genres, years = items.genres().tolist(), items.years()
    gibbs = possible(name, sampling.gibbs, train, genres, years)
    record.parameters.update(gibbs.model_dump())  # what was used, not what was asked for

    path = paths.RUNS / f"{name}.json"
    recorder.upsert(record, path)
    of_users = features.of_users(gibbs, train, *sizes)
    of_items = features.of_items(gibbs, train, *sizes, genres, years)
    unfinished = Unfinished(paths.CHAINS / f"{name}.safetensors", origin(sampling))
    sweeps = []
    with training_progress(name, gibbs.n_sweeps, len(train)) as progress:
        chain = posterior.sample(
            model, train, valid, of_users, of_items, gibbs, unfinished=unfinished
        )
        for sweep in chain:
            progress.on_batch(len(train))
            progress.on_epoch(sweep)
            record.log_epoch(sweep.epoch, sweep.metrics())
            recorder.upsert(record, path)
            sweeps.append(sweep)
    record.finish(checkpoints.save(paths.MODELS / name, model, spec))
    io.write_csv(paths.HISTORY / f"{name}.csv", pd.DataFrame(sweeps).drop(columns="seconds"))
    recorder.upsert(record, path)
    unfinished.remove()


def origin(sampling: Sampling) -> str:
    """A digest of all that a chain comes from: settings, data, code and PyTorch."""
    data = paths.TRAIN, paths.VALID, paths.SPLIT_PROVENANCE, paths.ITEMS, paths.ENCODED_ITEMS
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
