"""Starts Ray or finds a cluster of it, and runs tasks there, part after part."""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from cf.core import config, paths
from cf.core.errors import InputError

CONNECT_TIMEOUT_S = 10.0
MISSING_S = 120.0  # without enough machines, after which to give up
BUSY_S = 15.0  # without enough free CPUs, after which to say so
POLL_S = 0.5
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing goes to Ray's makers
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # else what a worker reported at last may be lost
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",  # for machines that will not come back
}
"""What Ray reads, where the user has not set it."""
ON_ONE_MACHINE = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}  # the driver is there, too


@contextmanager
def cluster(settings: config.Ray) -> Iterator[None]:
    """Ray: the cluster at an address, or one on this machine that ends with the block.

    Raises:
        InputError: no cluster answers at the address.
    """
    if settings.address:
        require_answer(settings.address)
    variables = ENVIRONMENT
    options: dict[str, Any] = {"address": settings.address}
    if settings.address is None:  # not the cluster that RAY_ADDRESS may name
        variables = ENVIRONMENT | ON_ONE_MACHINE
        options = {"address": "local", "num_cpus": settings.most_workers}
        options["include_dashboard"] = False
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    worker_env = {"PYTHONPATH": str(Path.cwd()), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    try:
        ray.init(
            **options,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": worker_env},
        )
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(settings.address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def require_answer(address: str) -> None:
    """Raise InputError where nothing answers: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> InputError:
    if address is None:
        return InputError(f"Ray does not start on this machine: {error}")
    reason = str(error).strip().partition("\n")[0]
    return InputError(
        f"{paths.PARAMS}: ray.address: no cluster of Ray at {address} ({reason}). Start one with "
        "`ray start --head`; if it wants a token, set RAY_AUTH_MODE=token and copy the cluster's "
        "~/.ray/auth_token here; or set ray.address to null for one on this machine."
    )


def submit(function: Callable[..., Any], n_results: int, *arguments: Any) -> list[Any]:
    """Start a task that returns a list of `n_results`; return references to these.

    Arguments may be references to what other tasks return.
    """
    options = {"num_cpus": 1, "num_returns": n_results}
    found = _task(function, n_results == 1).options(**options).remote(*arguments)
    return [found] if n_results == 1 else list(found)


@cache
def _task(function: Callable[..., Any], is_single: bool) -> Any:
    def call(*arguments: Any) -> Any:
        results = function(*arguments)
        return results[0] if is_single else results

    return ray.remote(call)


def in_order(references: Iterable[Any], most_waiting: int) -> Iterator[Any]:
    """What tasks return, one after the other, while up to `most_waiting` further ones run.

    Args:
        references: starts the next task when asked for the next one.

    Raises:
        InputError: as `result`.
    """
    waiting: deque[Any] = deque()
    for reference in references:
        waiting.append(reference)
        if len(waiting) > most_waiting:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


def result(references: Any) -> Any:
    """What a task, or a list of tasks, returns.

    Raises:
        InputError: a task raised it, or Ray cannot run it.
    """
    try:
        return ray.get(references)
    except RayTaskError as error:
        cause = error.cause
        while isinstance(cause, RayTaskError):  # of a task whose result this one was given
            cause = cause.cause
        if isinstance(cause, InputError):
            raise InputError(str(cause)) from None
        if isinstance(cause, RayError | ImportError | RuntimeError | OSError | MemoryError):
            raise _failed(cause) from None
        raise
    except (RayError, ConnectionError) as error:
        raise _failed(error) from None


def _failed(error: Exception) -> InputError:
    reason = str(error).strip().rpartition("\n")[2]
    return InputError(f"Ray's workers failed: {type(error).__name__}: {reason}")


def n_workers_of(settings: config.Ray) -> int:
    """How many workers the cluster has room for, at most what is asked for.

    Raises:
        InputError: for fewer than the fewest.
    """
    n_there = int(ray.cluster_resources().get("CPU", 0))
    if n_there < settings.fewest_workers:
        raise InputError(
            f"{paths.PARAMS}: ray.workers: expected {settings.fewest_workers} or more CPUs in the "
            f"cluster, got {n_there}. Lower it, or add machines."
        )
    return min(n_there, settings.most_workers)


def tell_if_busy(n_needed: int) -> None:
    """Print a line if for `BUSY_S` fewer CPUs of the cluster are free than are needed."""
    end = time.monotonic() + BUSY_S
    while (n_free := int(ray.available_resources().get("CPU", 0))) < n_needed:
        if time.monotonic() > end:
            n = int(ray.cluster_resources().get("CPU", 0))
            what = f"{n_needed} free CPU{'s' if n_needed > 1 else ''}"
            print(f"Waiting for {what} of the cluster; {n_free} of {n} are free.", flush=True)
            return
        time.sleep(POLL_S)


class Patience:
    """How long a training has waited for machines that are not there: Ray itself would for ever."""

    def __init__(self, settings: config.Ray) -> None:
        self.settings, self.enough_at = settings, time.monotonic()

    def check(self) -> None:
        """Raise `InputError`, as `n_workers_of`, after `MISSING_S` without enough machines."""
        now = time.monotonic()
        try:
            n_workers_of(self.settings)
            self.enough_at = now
        except InputError:
            if now - self.enough_at > MISSING_S:
                raise
