"""The state of a training in a file, from which it goes on if it is interrupted."""

import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cf.core import io, paths
from cf.models.base import Model
from cf.training.optim import Optimizer

State = dict[str, Tensor]
DAMAGED = "damaged"
INTERVAL_S = 30.0  # of work, which is the most that is lost

T = TypeVar("T")


class ResumePoint:
    """A state in a file, which is due every `interval` of `clock` and stays until `remove`.

    The fingerprint is of all that determines a training. The state of another training is ignored,
    and so is a damaged one.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        interval: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.fingerprint, self.clock = path, fingerprint, clock
        self.interval = INTERVAL_S if interval is None else interval
        self._saved = clock()

    @classmethod
    def of(
        cls,
        name: str,
        section: BaseModel,
        device: torch.device,
        data: Iterable[Path],
        code: Iterable[str],
    ) -> "ResumePoint":
        """That of the training `name`, which its section of params.yaml, data and code determine.

        Args:
            code: patterns of paths of files, a change of any of which starts the training anew.
        """
        files = sorted(path for pattern in code for path in Path().glob(pattern))
        digests = map(io.digest, [*data, *files])
        fingerprint = "\n".join([section.model_dump_json(), str(device), *_engine(), *digests])
        return cls(paths.UNFINISHED / f"{name}.safetensors", fingerprint)

    def note(self) -> str:
        """What a user is to know of the state that is there; empty where there is none of use."""
        found = self._read()
        if found == DAMAGED:
            return f"{self.path} is damaged: the training begins anew."
        return "the training goes on where it was interrupted." if found else ""

    def load(self) -> State | None:
        """The state saved last; None where there is no file, a damaged one, or another training's.

        It is on the CPU.
        """
        found = self._read()
        return found if isinstance(found, dict) else None

    def is_due(self) -> bool:
        """Whether the last time is long enough ago."""
        return self.clock() - self._saved >= self.interval

    def save(self, state: State) -> None:
        """Write the state.

        Raises:
            InputError: the system refuses to write.
        """
        with io.atomic_write(self.path) as tmp_path:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
            metadata = {"fingerprint": self.fingerprint, "checksum": _checksum(tensors)}
            save_file(tensors, tmp_path, metadata)
        self._saved = self.clock()

    def remove(self) -> None:
        """Forget the state, once what the training is for has been saved."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> State | str | None:
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("fingerprint") != self.fingerprint:
                    return None
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError):
            return DAMAGED
        return state if metadata.get("checksum") == _checksum(state) else DAMAGED


class TrainingState:
    """Where a training is: all that the rest of it depends on.

    Attributes:
        epochs: the numbers of each epoch that has ended.
        losses: (n, ...) of the steps of this epoch that were taken before an interruption: they are
            not to be taken again. Of no steps in all epochs but the one that was interrupted.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer | torch.optim.Optimizer,
        on_batch: Callable[[int], None] = lambda n_ratings: None,
        point: ResumePoint | None = None,
    ) -> None:
        """Begin, or go on where `point` says.

        Raises:
            TypeError: a state is to be kept of an optimizer of torch's.
        """
        self.model, self.point = model, point
        self._of_optimizer: State = {}
        if isinstance(optimizer, Optimizer):
            lists = enumerate(optimizer.state)
            self._of_optimizer = {f"{i}.{j}": t for i, list_ in lists for j, t in enumerate(list_)}
        elif point:
            raise TypeError(f"expected an optimizer of cf.training.optim, got {type(optimizer)}.")
        self.on_batch, self.n_ratings = on_batch, 0
        self.device = next(model.parameters()).device
        self.epochs: list[tuple[float, ...]] = []
        self.losses, self._seconds, self._started = torch.empty(0), 0.0, time.perf_counter()
        self._drawn_from: State = {}
        self._random: State = {}  # of the generators, where to go on
        if point and (saved := point.load()):
            self._restore(saved)

    def begin_epoch(self, draw: Callable[[], T]) -> T:
        """What `draw` draws from torch's global generators; after an interruption, the same again.

        The generators then go on where they were.
        """
        self._started = time.perf_counter()
        if not self._random:
            self._drawn_from = random_state(self.device)
            return draw()
        set_random_state(self._drawn_from, self.device)
        drawn = draw()
        set_random_state(self._random, self.device)
        return drawn

    def advance(self, n_ratings: int) -> None:
        """A step with so many ratings has been taken."""
        self.n_ratings += n_ratings
        self.on_batch(n_ratings)

    def seconds_so_far(self) -> float:
        """Wall time of this epoch, without what was lost by an interruption."""
        return self._seconds + time.perf_counter() - self._started

    def is_due(self) -> bool:
        """Whether it is time to save."""
        return self.point is not None and self.point.is_due()

    def save(self, losses: Tensor) -> None:
        """Save the state after the steps of this epoch that have these losses, (n, ...)."""
        assert self.point
        numbers = {
            "n_ratings": self.n_ratings,
            "seconds": self.seconds_so_far(),
            "epochs": self.epochs,
        }
        self.point.save(
            _prefixed("model", self.model.state_dict())
            | _prefixed("optimizer", self._of_optimizer)
            | _prefixed("drawn_from", self._drawn_from)
            | _prefixed("random", random_state(self.device))
            | {name: torch.tensor(x, dtype=torch.float64) for name, x in numbers.items()}
            | {"losses": losses}
        )

    def end_epoch(self, numbers: tuple[float, ...]) -> None:
        """All steps of an epoch have been taken, with these results."""
        self.epochs.append(numbers)
        self.losses, self._seconds, self._random = torch.empty(0), 0.0, {}

    def _restore(self, saved: State) -> None:
        self.model.load_state_dict(_without_prefix("model", saved))
        for name, tensor in self._of_optimizer.items():
            tensor.copy_(saved[f"optimizer.{name}"])
        self._drawn_from = _without_prefix("drawn_from", saved)
        self._random = _without_prefix("random", saved)
        self.epochs = [tuple(row) for row in saved["epochs"].tolist()]
        self.losses, self._seconds = saved["losses"].to(self.device), float(saved["seconds"])
        self.advance(int(saved["n_ratings"]))


def random_state(device: torch.device) -> State:
    """The states of torch's global generators that a training on the device draws from."""
    state = {"cpu_generator": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda_generator"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: State, device: torch.device) -> None:
    """Let the generators go on where `random_state` found them."""
    torch.set_rng_state(state["cpu_generator"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda_generator"], device)


def _prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def _without_prefix(prefix: str, state: State) -> State:
    start = f"{prefix}."
    return {
        name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)
    }


def _checksum(state: State) -> str:
    """A checksum of all names and values."""
    total = 0
    for name in sorted(state):
        total = zlib.crc32(state[name].numpy().data, zlib.crc32(name.encode(), total))
    return str(total)


def _engine() -> tuple[str, str]:
    """The versions of what computes a training, which differ in rounding."""
    with suppress(PackageNotFoundError):
        return torch.__version__, version("numba")
    return torch.__version__, "no numba"
