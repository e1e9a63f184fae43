"""Training on Ray: starts the workers, says how far they are, and collects the model."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import nn

from cf.core import config, paths
from cf.core.config import Training
from cf.core.errors import InputError
from cf.distributed.cluster import Patience, cluster, n_workers_of, result, tell_if_busy
from cf.distributed.collect import collect, reading_checkpoint
from cf.distributed.progress import ProgressActor
from cf.distributed.storage import project_id, storage_of
from cf.distributed.stream import N_LANES, RatingStream
from cf.distributed.task import Task
from cf.models.base import Model, use_table_factory
from cf.training.checkpoint import ModelSpec
from cf.training.fit import EpochResult, check_forward

POLL_S = 0.5
RESIZE_S = 60.0  # between two looks for machines that have come
MOST_START_FAILURES = 30  # of Ray itself, such as a machine that is not there


def require(section: Training, spec: ModelSpec, train: RatingStream, context: str) -> None:
    """Raise InputError where a training cannot run on Ray; `context` begins the message."""
    if section.optimizer.name != "rowwise_adagrad":
        raise InputError(
            f"{context}.optimizer.name: expected rowwise_adagrad, which updates tables with "
            f"launcher: ray, got {section.optimizer.name}. Change it, or set launcher to local."
        )
    if train.n_ratings < N_LANES * train.n_batches:
        raise InputError(
            f"{context}.batch_size: expected {N_LANES} ratings or more in each batch with "
            f"launcher: ray, got {train.n_batches} batches of {train.n_ratings} ratings. Raise "
            "batch_size, lower min_steps, or set launcher to local."
        )
    train.require_within(spec.n_users, spec.n_items)
    with use_table_factory(lambda *_: nn.Identity()):
        others = [each for each in spec.build(context).modules() if isinstance(each, nn.Embedding)]
    if others:
        raise InputError(
            f"cf/models/{spec.model['name']}.py: with launcher: ray, tables are made by "
            "`embedding` of cf.models.base, not by nn.Embedding."
        )


def checkpoints_of(settings: config.Ray, name: str, fingerprint: str) -> Path:
    """The folder for the checkpoints of the training `name`, which `fingerprint` determines.

    It is this project's alone, as others may use the same `storage`. Those of this project's other
    trainings of that name are removed.
    """
    versions = [
        f"{package} {version(package)}" for package in ("ray", "torchrec", "fbgemm-gpu-cpu")
    ]
    digest = hashlib.sha256("\n".join([fingerprint, *versions]).encode()).hexdigest()[:16]
    project = project_id()
    storage = storage_of(settings)
    folder = storage / f"{name}-{project}-{digest}"
    for other in storage.glob(f"{name}-{project}-{'[0-9a-f]' * 16}"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def fit_on_ray(
    model: Model,
    spec: ModelSpec,
    section: Training,
    settings: config.Ray,
    checkpoints: Path,
    batch_size: int,
    context: str,
    on_batch: Callable[[int], None] = lambda n_ratings: None,
) -> Iterator[EpochResult]:
    """Train `model` on Ray, and yield after each epoch; its weights are there at the end.

    A training that finds checkpoints yields their epochs again, and goes on with the next one.

    Args:
        model: on the CPU.
        batch_size: of all workers together.
        context: begins error messages.

    Raises:
        InputError: no cluster, workers that failed more often than `settings.max_failures`, or a
            loss that is no longer finite.
    """

    def run_worker(given: dict[str, Task]) -> None:
        from cf.distributed.worker import work  # here, so that Ray's controller imports none of it

        work(given["task"])

    check_forward(model, *torch.zeros(2, 2, dtype=torch.int64))
    grouped = checkpoints / "ratings"
    train = RatingStream(paths.TRAIN)
    model.before_training(train)
    with cluster(settings):
        tell_if_busy(n_workers_of(settings))  # Ray tries no fewer while the others are there
        patience = Patience(settings)
        node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor_class = ray.remote(num_cpus=0, scheduling_strategy=node)(ProgressActor)
        progress = actor_class.remote()
        task = Task(
            context=context,
            section=section,
            spec=spec,
            train=paths.TRAIN.resolve(),
            valid=paths.VALID.resolve(),
            grouped=grouped,
            batch_size=batch_size,
            progress=progress,
        )
        workers = settings.workers
        trainer = TorchTrainer(
            run_worker,
            train_loop_config={"task": task},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=tuple(workers) if isinstance(workers, list) else workers,
                resources_per_worker={"CPU": 1},
                elastic_resize_monitor_interval_s=RESIZE_S,
            ),
            run_config=ray.train.RunConfig(
                name=checkpoints.name,
                storage_path=str(checkpoints.parent),
                failure_config=ray.train.FailureConfig(
                    max_failures=settings.max_failures,
                    controller_failure_limit=MOST_START_FAILURES,
                ),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            ),
        )
        outcome: dict[str, Any] = {}

        def wait() -> None:
            try:
                outcome["result"] = trainer.fit()
            except Exception as error:
                outcome["error"] = error

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        n_yielded = n_done = 0
        while True:
            ended = not thread.is_alive()
            n_ratings, recorded, problem = result(progress.state.remote())
            on_batch(n_ratings - n_done)
            n_done = n_ratings
            for number in sorted(recorded)[n_yielded:]:
                yield EpochResult(number, *recorded[number][1:])
                n_yielded += 1
            if ended:
                break
            patience.check()
            thread.join(POLL_S)
        if "error" in outcome or len(recorded) < sum(section.schedule.n_epochs):
            shutil.rmtree(grouped, ignore_errors=True)
            last = str(outcome.get("error", "")).strip().rpartition("\n")[2]
            raise InputError(problem or f"{context}: Ray's workers failed: {last}")
        with reading_checkpoint(outcome["result"].checkpoint) as folder:
            collect(model, folder)
    model.after_epoch(train)
