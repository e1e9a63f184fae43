"""The state of a chain that was broken off, in a file to go on from."""

import time
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cf.core.io import atomic_write

State = dict[str, Tensor]


class Unfinished:
    """The file, which is there from half a minute after a chain began until its model is saved.

    Attributes:
        path: of the file.
        origin: tells apart what the chain is drawn from; another chain's state is of no use.
        every: seconds from one writing to the next.
    """

    def __init__(self, path: Path, origin: str, every: float = 30.0) -> None:
        self.path, self.origin, self.every = path, origin, every
        self._written = time.monotonic()

    def load(self) -> State | None:
        """What was written last; None where there is nothing, or nothing that is of use."""
        try:
            with safe_open(self.path, "pt") as file:
                if (file.metadata() or {}).get("origin") != self.origin:
                    return None
                names = file.keys()
                return {name: file.get_tensor(name) for name in names}
        except (OSError, SafetensorError):
            return None

    def save_in_time(self, state: Callable[[], State]) -> None:
        """Write the state, if the last time is long enough ago.

        Raises:
            InputError: the system refuses to write.
        """
        if time.monotonic() - self._written < self.every:
            return
        with atomic_write(self.path) as tmp_path:
            tensors = {name: tensor.contiguous().clone() for name, tensor in state().items()}
            save_file(tensors, tmp_path, {"origin": self.origin})
        self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)
