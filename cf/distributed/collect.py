"""The weights of a distributed checkpoint, put together into a model of one process."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_checkpoint

from cf.core import io
from cf.core.errors import InputError
from cf.distributed.blocks import rows_of
from cf.models.base import Model

N_COPIED = 2**20  # rows at a time


@contextmanager
def reading_checkpoint(checkpoint: Any) -> Iterator[Path]:
    """The folder of Ray's `checkpoint`, in a block that reads it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with checkpoint.as_directory() as folder:
            yield Path(folder)
    except (*io.DAMAGE, UnpicklingError, CheckpointException) as error:
        cause: BaseException = error
        if isinstance(error, CheckpointException):  # which has those of all workers
            cause, _ = next(iter(error.failures.values()))
        reason = (str(cause) or type(cause).__name__).partition("\n")[0]
        raise InputError(
            f"{checkpoint.path}: this checkpoint cannot be read ({reason}). Delete the folder "
            f"{Path(checkpoint.path).parent}, and the training begins anew."
        ) from None


def part_name(table: str, number: int) -> str:
    """What the part `number` of the model's module `table` is called in a checkpoint."""
    return f"{table.replace('.', '-')}-{number}"


def part_of(key: str) -> str:
    """The part of a table that a checkpoint, or TorchRec's state, has under this key."""
    return key.rpartition(".embeddings.")[2].removesuffix(".weight")


def collect(model: Model, folder: Path) -> None:
    """Put the weights of a checkpoint, from however many workers, into a model of this process."""
    reader = FileSystemReader(folder)
    saved = reader.read_metadata().state_dict_metadata
    tensors = {key: each for key, each in saved.items() if isinstance(each, TensorStorageMetadata)}

    def read(key: str) -> Tensor:
        saved_as = tensors[key]
        found = {key: torch.empty(saved_as.size, dtype=saved_as.properties.dtype)}
        with warnings.catch_warnings(action="ignore"):  # that there are no other processes
            load_checkpoint(found, storage_reader=reader, no_dist=True)
        return found[key]

    keys = {part_of(key): key for key in tensors if ".embeddings." in key}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            part = partial(part_name, name.removesuffix(".weight"))
            n_parts = next(number for number in count() if part(number) not in keys)
            if not n_parts:
                tensor.copy_(read(f"model.model.{name}"))
                continue
            parts = tensor.unflatten(1, (n_parts, -1))
            for number in range(n_parts):
                found = read(keys[part(number)])
                for start in range(0, len(parts), N_COPIED):
                    indices = torch.arange(start, min(start + N_COPIED, len(parts)))
                    rows = rows_of(indices, len(found))
                    parts[indices, number] = found[rows, : parts.shape[2]]
