"""A simulated GPU: the CPU computes with its tensors, by the rules of a GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("simulated")
GPU = torch.device("simulated", 0)
aten = torch.ops.aten
WAITING = {
    *(aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.bincount),
    *(aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.multinomial),
    aten._linalg_check_errors,
}
"""Operators for which the host waits until a GPU has done all that it was told to."""
COPIES = {aten._to_copy, aten.copy_}


class OnGpu(Tensor):
    """A tensor that says it is on `GPU`, and has its numbers in `inner`, on the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnGpu":
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        made: OnGpu = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), **layout, dtype=inner.dtype, device=GPU
        )
        made.inner = inner
        return made

    def tolist(self) -> Any:
        """As of any tensor."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """As of any tensor."""
        assert force, "a tensor on the GPU"
        return self.detach().cpu().numpy()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{func}: a tensor on the GPU outside of SimulatedGpu")


class SimulatedGpu(TorchDispatchMode):
    """While it lasts, there is a device `GPU`.

    An operator fails where tensors on the CPU meet tensors on the GPU and, in `no_waiting`, where
    the host would have to wait for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.may_wait, self.count = True, 0

    def __enter__(self) -> "SimulatedGpu":
        # torch.tensor(..., device=...) is to make a tensor on the CPU, and then to copy it.
        self.before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        torch._C._set_only_lift_cpu_tensors(self.before)

    @contextmanager
    def no_waiting(self) -> Iterator[None]:
        """Within it, an operator fails for which the host would wait for the GPU."""
        self.may_wait, self.count = False, 0
        try:
            yield
        finally:
            self.may_wait = True
        assert self.count, "nothing was done on the GPU"

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        there = [each for each in given if isinstance(each, OnGpu)]
        stays = bool(there)
        if kwargs.get("device") is not None:
            stays = kwargs["device"].type == GPU.type
            kwargs["device"] = torch.device("cpu")
        here = [each for each in given if not isinstance(each, OnGpu) and each.dim()]
        copied = func.overloadpacket in COPIES
        assert copied or not (here and there), f"{func}: tensors on the CPU and on the GPU"
        if there and not self.may_wait:
            self.count += 1
            assert not _waits(func, args, kwargs), f"the GPU has to be waited for: {func}"
        if copied and (given != there or not stays):
            assert self.may_wait, f"the GPU has to be waited for: {func} between it and the CPU"
        as_they_were = {id(each.inner): each for each in there}

        def wrapped(found: Any) -> Any:
            if not isinstance(found, Tensor):
                return found
            if id(found) in as_they_were:
                return as_they_were[id(found)]
            return OnGpu(found) if stays else found

        inner = tree_map(lambda x: x.inner if isinstance(x, OnGpu) else x, (args, kwargs))
        return tree_map(wrapped, func(*inner[0], **inner[1]))


def _waits(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    if func == aten.repeat_interleave.Tensor:
        return "output_size" not in kwargs
    return func.overloadpacket in WAITING


class Recording(TorchDispatchMode):
    """A stand-in for a CUDA graph: the operators executed, to be repeated on the same tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, tree_leaves(found)))
        return found

    @torch.no_grad()
    def repeat(self) -> None:
        """Execute all again, each result to where the first one lies."""
        for func, args, kwargs, places in self.calls:
            for place, again in zip(places, tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(place, Tensor) and place is not again:
                    place.copy_(again)


def recorded(step: Callable[[], None], n_warm_up: int) -> Callable[[], None]:
    """As `cf.training.graph.cuda_graph`, but that the last one of the first steps is recorded."""
    for _ in range(n_warm_up - 1):
        step()
    with Recording() as recording:
        step()
    return recording.repeat
