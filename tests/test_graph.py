"""Steps that are repeated as a GPU repeats them, and loops in which nobody waits for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from cf.core import config
from cf.core.ratings import Ratings
from cf.models import base
from cf.models.base import Model
from cf.training import fast_gradients, graph, optim
from cf.training import fit as loop
from cf.training.checkpoint import ModelSpec
from cf.training.graph import N_WARM_UP, RepeatedSteps, can_repeat
from cf.training.resume import TrainingState
from tests import trained
from tests.devices import GPU, SimulatedGpu, recorded

Pair = tuple[Ratings, Ratings]
Rates = NDArray[np.float64]
N_EPOCHS = 3
BATCH_SIZE = 64
SECTIONS = yaml.safe_load(trained.PARAMS.read_text())
MODELS = {
    section["model"]["name"]: {**section["model"], "n_factors": 4}
    for name, section in SECTIONS.items()
    if name.startswith("train_") and base.find(section["model"]["name"]).repeatable
}
OPTIMIZERS = {
    "sgd": config.SGD(name="sgd", momentum=0.9, weight_decay=0.01),
    "sgd without momentum": config.SGD(name="sgd", momentum=0.0, weight_decay=0.0),
    "adam": config.Adam(name="adam", betas=[0.9, 0.99], weight_decay=0.01),
    "rowwise_adagrad": config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.01),
}
ALL = [(model, optimizer) for model in MODELS for optimizer in OPTIMIZERS]


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch's operators, and rows repeatedly where they occur repeatedly."""
    monkeypatch.setattr(fast_gradients, "batch_kernel", lambda: None)
    monkeypatch.setattr(fast_gradients, "distinct", lambda rows: rows)


def build(name: str, optimizer: str, train: Ratings) -> tuple[Model, optim.Optimizer]:
    torch.manual_seed(0)
    model = ModelSpec.from_data(MODELS[name], trained.FACTS, trained.ITEMS, "test").build("test")
    model.before_training(train)
    return model.train(), optim.build(OPTIMIZERS[optimizer], model, len(train))


def tensors(train: Ratings) -> list[Tensor]:
    return [torch.tensor(each) for each in (train.users, train.items, train.values)]


def rates_of(epoch: int, n: int) -> Rates:
    """Others at each step, which 32 bits hold."""
    return np.linspace(0.05, 0.01, N_EPOCHS * n, dtype=np.float32)[epoch * n :][:n].astype(float)


def epochs(
    model: Model,
    run: Callable[[Tensor, Rates], float],
    n: int,
) -> tuple[list[float], dict[str, Tensor]]:
    """The losses of some epochs in orders that depend on the seed, and the parameters then."""
    torch.manual_seed(1)
    n_batches = -(-n // BATCH_SIZE)
    losses = [run(torch.randperm(n), rates_of(epoch, n_batches)) for epoch in range(N_EPOCHS)]
    return losses, {name: param.detach().clone() for name, param in model.named_parameters()}


def ordinary(name: str, optimizer: str, train: Ratings) -> tuple[list[float], dict[str, Tensor]]:
    model, stepper = build(name, optimizer, train)

    def run(order: Tensor, rates: Rates) -> float:
        batches = [torch.split(each[order], BATCH_SIZE) for each in tensors(train)]
        return loop._epoch(model, stepper, batches, rates, TrainingState(model, stepper))

    return epochs(model, run, len(train))


def repeated(
    name: str, optimizer: str, train: Ratings, capture: graph.Capture, seen: list[int]
) -> tuple[list[float], dict[str, Tensor]]:
    model, stepper = build(name, optimizer, train)
    step = partial(loop._step, model, stepper)
    steps = RepeatedSteps(model, stepper, step, tensors(train), BATCH_SIZE, capture)
    state = TrainingState(model, stepper, seen.append)
    return epochs(model, lambda order, rates: steps.run(order, rates, state), len(train))


@pytest.mark.parametrize(("name", "optimizer"), ALL)
@pytest.mark.parametrize("n_left", [0, 17])
def test_a_recorded_step_repeated_is_the_ordinary_loop_to_the_bit(
    name: str, optimizer: str, n_left: int, planted: Pair
) -> None:
    train = planted[0].take(np.arange(5 * BATCH_SIZE + n_left))
    seen: list[int] = []
    capture = partial(recorded, n_warm_up=N_WARM_UP)
    losses, params = repeated(name, optimizer, train, capture, seen)
    expected_losses, expected = ordinary(name, optimizer, train)
    assert losses == pytest.approx(expected_losses, rel=1e-14)
    for key, param in params.items():
        assert torch.equal(param, expected[key]), key
    assert seen == N_EPOCHS * ([BATCH_SIZE] * 5 + [n_left] * (n_left > 0))


def test_where_the_memory_is_full_no_step_is_tried_again(planted: Pair) -> None:
    def refuse(step: graph.Step) -> graph.Step:
        raise torch.OutOfMemoryError("CUDA out of memory")

    train = planted[0].take(np.arange(5 * BATCH_SIZE))
    seen: list[int] = []
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        repeated("dotbias", "adam", train, refuse, seen)
    assert not seen


@pytest.mark.parametrize("n_taken", [0, N_WARM_UP])
def test_where_nothing_can_be_captured_the_steps_are_ordinary(n_taken: int, planted: Pair) -> None:
    def refuse(step: graph.Step) -> graph.Step:
        for _ in range(n_taken):
            step()
        raise RuntimeError("operation not permitted when stream is capturing")

    train = planted[0].take(np.arange(5 * BATCH_SIZE + 17))
    seen: list[int] = []
    expected_warning = (
        "^CUDA cannot capture a step, so steps take longer: operation not permitted when stream is "
        "capturing$"
    )
    with pytest.warns(UserWarning, match=expected_warning):
        losses, params = repeated("dotbias", "adam", train, refuse, seen)
    expected_losses, expected = ordinary("dotbias", "adam", train)
    assert losses == pytest.approx(expected_losses, rel=1e-14)
    for key, param in params.items():
        assert torch.equal(param, expected[key]), key
    assert seen == N_EPOCHS * ([BATCH_SIZE] * 5 + [17])


def test_a_step_is_captured_after_some_on_a_stream_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the calls that PyTorch's documentation asks for, on a machine without a GPU."""
    calls: list[str] = []

    class Stream:
        def __init__(self, name: str = "side") -> None:
            self.name = name

        def wait_stream(self, other: "Stream") -> None:
            calls.append(f"{self.name} waits for {other.name}")

    class Graph:
        def replay(self) -> None:
            calls.append("replay")

    @contextmanager
    def within(entered: Stream | Graph) -> Iterator[None]:
        calls.append(f"on {entered.name}" if isinstance(entered, Stream) else "capture")
        yield
        calls.append("end")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream("current"))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", within)
    graph.cuda_graph(lambda: calls.append("step"))()
    assert calls == [
        *("side waits for current", "on side", *["step"] * N_WARM_UP, "end"),
        *("current waits for side", "capture", "step", "end", "replay"),
    ]


def test_the_stand_in_repeats_what_was_executed_and_no_python() -> None:
    counts = {"python": 0}
    x = torch.zeros(3)

    def step() -> None:
        counts["python"] += 1
        x.add_(torch.arange(3) + counts["python"])  # the number is part of the recording

    repeat = recorded(step, n_warm_up=2)
    before = x.clone()
    repeat()
    repeat()
    assert counts["python"] == 2
    assert torch.equal(x - before, 2 * (torch.arange(3) + 2.0))


@pytest.mark.parametrize(("name", "optimizer"), ALL)
def test_a_step_is_all_on_the_gpu_and_does_not_wait_for_it(
    name: str, optimizer: str, planted: Pair
) -> None:
    train = planted[0]
    with SimulatedGpu() as gpu:
        model = build(name, optimizer, train)[0].to(GPU)
        stepper = optim.build(OPTIMIZERS[optimizer], model, len(train))
        arrays = [each.to(GPU) for each in tensors(train)]
        step = partial(loop._step, model, stepper)
        steps = RepeatedSteps(model, stepper, step, arrays, BATCH_SIZE)
        batch, kept = (
            [each[:BATCH_SIZE] for each in arrays],
            [each.clone() for each in model.parameters()],
        )
        stepper.param_groups[0]["lr"] = 0.01
        steps.rates.fill_(0.01)
        for tables in (None, steps.tables):
            with fast_gradients.fast_gradients(model, tables) as rows_looked_up:
                if isinstance(stepper, optim.RowwiseAdagrad):
                    stepper.rows_looked_up = rows_looked_up
                with gpu.no_waiting():
                    for _ in range(2):
                        steps._step() if tables else step(*batch)
        for param, before in zip(model.parameters(), kept, strict=True):
            assert param.device == GPU
            assert not torch.equal(param.cpu(), before.cpu())


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: float(x.sum()),
        lambda x: x[x > 0],
        lambda x: x.__setitem__(x > 0, x.sum()),
        lambda x: x.nonzero(),
        lambda x: x[torch.zeros((), dtype=torch.int64, device=GPU)],
        lambda x: torch.tensor([1.0], device=GPU),
        lambda x: x.cpu(),
        lambda x: x.add_(x, alpha=x.sum()),
        lambda x: torch.linalg.cholesky(torch.diag(x)),
        lambda x: x.long().unique(),
    ],
)
def test_the_simulated_gpu_tells_who_waits_for_it(operation: Callable[[Tensor], object]) -> None:
    with SimulatedGpu() as gpu:
        x = torch.ones(3, device=GPU)
        operation(x)
        with pytest.raises(AssertionError, match="waited for"), gpu.no_waiting():
            operation(x)
        with gpu.no_waiting():
            x.index_select(0, torch.arange(2, device=GPU)).sum()


def test_the_simulated_gpu_takes_no_tensor_of_the_cpu() -> None:
    with SimulatedGpu():
        x = torch.ones(3, device=GPU)
        for operation in (x.add, x.copy_(torch.ones(3)).mul, x.dot):
            with pytest.raises(AssertionError, match="on the CPU and on the GPU"):
                operation(torch.ones(3))


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("dot", "sgd"),
        ("dotbias", "adam"),
        ("dotbias_ensemble", "rowwise_adagrad"),
        ("embnet", "adam"),
    ],
)
def test_fit_is_the_same_on_a_gpu_with_steps_that_are_repeated(
    name: str, optimizer: str, planted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = config.Schedule(n_epochs=[2, 1], learning_rate=[0.0625, 0.03125], anneal="none")

    def fitted(device: torch.device) -> tuple[list[float], dict[str, Tensor]]:
        model = build(name, optimizer, planted[0])[0].to(device)
        stepper = optim.build(OPTIMIZERS[optimizer], model, len(planted[0]))
        found = list(loop.fit(model, *planted, stepper, schedule, BATCH_SIZE))
        state = {key: value.cpu() for key, value in model.state_dict().items()}
        return [epoch.valid_loss for epoch in found], state

    losses, weights = fitted(torch.device("cpu"))
    monkeypatch.setattr(loop, "can_repeat", lambda *given: True)
    capture = partial(recorded, n_warm_up=N_WARM_UP)
    monkeypatch.setattr(loop, "RepeatedSteps", partial(RepeatedSteps, capture=capture))
    with SimulatedGpu():
        on_gpu = fitted(GPU)
    assert on_gpu[0] == losses
    assert all(torch.equal(on_gpu[1][key], weights[key]) for key in weights)


def test_steps_are_repeated_on_a_gpu_alone_and_where_there_are_enough(planted: Pair) -> None:
    model, stepper = build("dotbias", "adam", planted[0])
    cuda = torch.device("cuda")
    assert can_repeat(model, stepper, N_WARM_UP + 1, cuda)
    assert not can_repeat(model, stepper, N_WARM_UP, cuda)
    assert not can_repeat(model, stepper, N_WARM_UP + 1, torch.device("cpu"))
    assert not can_repeat(model, torch.optim.Adam(model.parameters()), N_WARM_UP + 1, cuda)
    model.repeatable = False
    assert not can_repeat(model, stepper, N_WARM_UP + 1, cuda)
