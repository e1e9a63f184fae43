"""What a GPU would do, told from the operators that a CPU executes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

aten = torch.ops.aten
WAITING = {
    *(aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.bincount),
    *(aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.multinomial),
    *(aten._linalg_check_errors, aten.lift_fresh),  # the latter of numbers from the host
}
"""Operators for which the host waits until a GPU has done all that it was told to."""


class NoWaiting(TorchDispatchMode):
    """Fails at an operator for which the host would wait for a GPU; counts all others."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        assert func.overloadpacket not in WAITING, f"a GPU has to be waited for: {func}"
        if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
            assert not masks, f"a GPU has to be waited for: {func} by a mask"
        if func == aten.repeat_interleave.Tensor:
            assert "output_size" in (kwargs or {}), f"a GPU has to be waited for: {func}"
        self.count += 1
        return func(*args, **(kwargs or {}))


class Recording(TorchDispatchMode):
    """A stand-in for a CUDA graph: the operators executed, to be repeated on the same tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, tree_flatten(found)[0]))
        return found

    @torch.no_grad()
    def repeat(self) -> None:
        """Execute all again, each result to where the first one lies."""
        for func, args, kwargs, places in self.calls:
            for place, again in zip(places, tree_flatten(func(*args, **kwargs))[0], strict=True):
                if isinstance(place, Tensor) and place is not again:
                    place.copy_(again)


def recorded(step: Callable[[], None], n_warm_up: int) -> Callable[[], None]:
    """As `cf.training.graph.cuda_graph`, but that the last one of the first steps is recorded."""
    for _ in range(n_warm_up - 1):
        step()
    with Recording() as recording:
        step()
    return recording.repeat
