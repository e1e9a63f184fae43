"""The state of a chain in a file, for an interrupted chain to resume from."""

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cf.core.io import atomic_write, sha256

State = dict[str, Tensor]


class ChainCheckpoint:
    """The file, which is there from half a minute after a chain began until its model is saved.

    Attributes:
        path: of the file.
        fingerprint: of all that determines the chain; the state of another chain is ignored.
        interval: seconds from one writing to the next.
    """

    def __init__(self, path: Path, fingerprint: str, interval: float = 30.0) -> None:
        self.path, self.fingerprint, self.interval = path, fingerprint, interval
        self._saved = time.monotonic()

    def load(self) -> State | None:
        """The state saved last; None where there is no file, a damaged one, or another chain's."""
        try:
            with safe_open(self.path, "pt") as file:
                if (file.metadata() or {}).get("fingerprint") != self.fingerprint:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None

    def save_if_due(self, state: Callable[[], State]) -> None:
        """Write the state, if the last time is long enough ago.

        Raises:
            InputError: the system refuses to write.
        """
        if time.monotonic() - self._saved < self.interval:
            return
        with atomic_write(self.path) as tmp_path:
            tensors = {name: tensor.contiguous().clone() for name, tensor in state().items()}
            save_file(tensors, tmp_path, {"fingerprint": self.fingerprint})
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


def fingerprint(settings: str, files: Iterable[Path]) -> str:
    """A digest of all that determines a chain: settings, files of data and code, and PyTorch."""
    parts = [settings, torch.__version__, *map(sha256, files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
