"""What each worker does: the training loop over its share of the ratings."""

import json
import tempfile
import time
from dataclasses import astuple
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_checkpoint
from torch.distributed.checkpoint.state_dict_saver import save as save_checkpoint

from cf.core.config import RowwiseAdagrad
from cf.core.errors import InputError
from cf.distributed.collect import reading_checkpoint
from cf.distributed.grouping import group_by_users
from cf.distributed.stream import Batch, RatingStream
from cf.distributed.tables import ShardedModel, ShardedTable
from cf.distributed.task import Task
from cf.models.base import Model, on_model_scale, use_table_factory
from cf.training import device
from cf.training.fit import DivergedError, EpochResult, epochs

DONE = "epochs.json"  # in a checkpoint
PROGRESS_S = 0.5  # between two reports of progress


def work(task: Task) -> None:
    """Train the model together with the other workers, from the last checkpoint if there is one."""
    try:
        train_share(task, dist.get_rank(), dist.get_world_size())
    except DivergedError as error:  # on all workers, and would again
        ray.get(task.progress.set_error.remote(str(error)))
    except InputError as error:  # perhaps of this worker only: Ray ends the others
        ray.get(task.progress.set_error.remote(str(error)))
        raise


def train_share(task: Task, rank: int, n_workers: int) -> None:
    """As `work`, on the worker number `rank`."""
    section = task.section
    assert isinstance(section.optimizer, RowwiseAdagrad)
    device.prepare(torch.device("cpu"), section.n_threads, section.seed)
    share = {"seed": section.seed, "worker": rank, "n_workers": n_workers}
    grouped = group_by_users(task.train, task.grouped, task.spec.n_users)
    train = RatingStream(grouped, task.batch_size, **share)
    valid = RatingStream(task.valid, task.batch_size, **share)
    with use_table_factory(ShardedTable):
        model = task.spec.build(task.context)
    model.before_training(train)
    decay = section.optimizer.decay(train.n_ratings)
    sharded = ShardedModel(model, section.optimizer, decay, section.seed)
    done = restore(sharded)
    progress = task.progress if rank == 0 else None
    for result in done:  # the actor may be a new one
        record_epoch(progress, result, train)
    run = partial(run_epoch, sharded, train, progress, [section.seed, rank])
    valid_loss = partial(mean_squared_error, sharded, valid)
    for result in epochs(section.schedule, train.n_batches, len(done), run, valid_loss):
        done.append(result)
        save(sharded, done, task.grouped.parent)
        record_epoch(progress, result, train)


def record_epoch(progress: Any, result: EpochResult, train: RatingStream) -> None:
    """Let the driver know of an epoch that has ended, by the actor `progress` if it is given."""
    if progress:
        ray.get(progress.record_epoch.remote(astuple(result), result.epoch * train.n_ratings))


def run_epoch(
    sharded: ShardedModel,
    train: RatingStream,
    progress: Any,
    seeds: list[int],
    epoch: int,
    rates: NDArray[np.float64],
) -> tuple[float, float]:
    """Take the steps of an epoch; return the mean loss, in the data's unit, and the seconds.

    `seeds` and the epoch determine dropout, so that it is the same after an interruption.
    """
    torch.manual_seed(int(np.random.SeedSequence([*seeds, epoch]).generate_state(1)[0]))
    started = told = time.perf_counter()
    n_workers, n_done = dist.get_world_size(), (epoch - 1) * train.n_ratings
    total = torch.zeros((), dtype=torch.float64)
    sharded.model.train()
    shares = (on_scale(sharded.model, batch) for batch in train.batches(epoch))
    with_next = pairwise(chain(shares, [None]))
    for (share, following), rate, size in zip(with_next, rates, train.sizes(), strict=True):
        assert share
        sharded.set_learning_rate(float(rate))
        sharded.lookup.next = following[:2] if following else None
        # Gradients are averaged over workers, whose shares may differ by a few ratings.
        weight = len(share[0]) * n_workers / size
        loss = sharded.module(*share) * weight
        loss.backward(torch.ones_like(loss))
        sharded.step_dense()
        total += loss.detach().double().mean() * size / n_workers
        n_done += int(size)
        if progress and (now := time.perf_counter()) > told + PROGRESS_S:
            progress.advance.remote(n_done)
            told = now
    dist.all_reduce(total)
    mean = float(total) / train.n_ratings
    return sharded.model.factor**2 * mean, time.perf_counter() - started


def on_scale(model: Model, batch: Batch) -> list[Tensor]:
    """A batch as tensors, its ratings on the scale of the model."""
    users, items = (torch.from_numpy(array).long() for array in (batch.users, batch.items))
    return [users, items, on_model_scale(model, batch.values)]


@torch.no_grad()
def mean_squared_error(sharded: ShardedModel, valid: RatingStream) -> float | None:
    """The mean squared error of all workers' validation ratings, in the data's unit, if any."""
    model = sharded.model
    model.eval()
    total = torch.zeros((), dtype=torch.float64)
    for batch in valid.batches(epoch=0):
        users, items, _ = on_scale(model, batch)
        predicted = sharded.lookup.predict(users, items).numpy()
        predicted = predicted * np.float32(model.factor) + np.float32(model.offset)
        total += np.square(predicted.astype(np.float64) - batch.values).sum()
    dist.all_reduce(total)
    return float(total) / valid.n_ratings if valid.n_ratings else None


def save(sharded: ShardedModel, done: list[EpochResult], checkpoints: Path) -> None:
    """Make a checkpoint of which each worker writes its own rows; they go into `checkpoints`."""
    with tempfile.TemporaryDirectory(dir=checkpoints) as folder:  # /tmp may be memory
        save_checkpoint(sharded.state(), storage_writer=FileSystemWriter(folder))
        (Path(folder) / DONE).write_text(json.dumps([astuple(each) for each in done]))
        checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"valid_loss": done[-1].valid_loss}, checkpoint=checkpoint)


def restore(sharded: ShardedModel) -> list[EpochResult]:
    """Read the last checkpoint, perhaps of another number of workers, and the epochs until it.

    Raises:
        InputError: it cannot be read.
    """
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return []
    with reading_checkpoint(checkpoint) as folder:
        done = json.loads((folder / DONE).read_text())
        state = sharded.state()
        load_checkpoint(state, storage_reader=FileSystemReader(folder))
        sharded.load(state)
        return [EpochResult(*numbers) for numbers in done]
