"""Where to compute, and whether it fits there."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil
import torch
from threadpoolctl import threadpool_limits
from torch.overrides import TorchFunctionMode

from cf.core.errors import InputError
from cf.training.checkpoint import ModelSpec


def choose(name: str, context: str) -> torch.device:
    """The device called `name`; auto is CUDA where there is one, else the CPU.

    Raises:
        InputError: no such device on this machine; `context` begins the message.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):  # the latter of a PyTorch without CUDA
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(
            f"{context}: expected auto, cpu, cuda or cuda:N, got {name!r}. This machine has "
            f"{torch.cuda.device_count()} CUDA devices."
        )
    return device


def prepare(device: torch.device, n_threads: int, seed: int) -> None:
    """Make this process compute the same numbers each time, and quickly.

    Numbers too small for a normal float become 0: Adam's averages of rarely met rows decay into
    that range, where a CPU computes many times slower.
    """
    torch.set_num_threads(n_threads)
    threadpool_limits(n_threads, user_api="blas")  # NumPy's, whose idle threads would spin
    torch.set_flush_denormal(True)
    if device.type == "cuda":
        if device.index is not None:
            torch.cuda.set_device(device)  # for streams, which are of the current one
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what determinism asks for
        torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def check_memory(spec: ModelSpec, context: str, device: torch.device, n_tensors: int = 4) -> None:
    """Refuse a model whose training does not fit into the memory that is free.

    Training holds `n_tensors` for each parameter: the weight, its gradient, and two of Adam's.

    Raises:
        InputError: it does not fit; the message says how much is needed and free.
    """
    try:
        with torch.device("meta"), _Unfilled():
            model = spec.build(context)
        sizes = [p.numel() * p.element_size() for p in model.parameters()]
        needed: float = sum(sizes) * n_tensors
    except RuntimeError:  # more bytes than can be counted
        needed = math.inf
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    if needed > free:
        raise InputError(
            f"{context}: training needs {needed / 2**30:.1f} GiB for {spec.n_users} users and "
            f"{spec.n_items} items, {free / 2**30:.1f} GiB are free. "
            "Make the model smaller: lower n_factors."
        )


class _Unfilled(TorchFunctionMode):
    """Draws nothing: on the device meta, PyTorch would import its compiler for it, a second."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> Any:
        keywords = keywords or {}
        if function.__name__ == "normal_":
            return arguments[0] if arguments else keywords["tensor"]
        if function.__name__ == "randint":
            return torch.empty(arguments[-1], dtype=keywords.get("dtype", torch.int64))
        return function(*arguments, **keywords)
