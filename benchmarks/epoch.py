"""Seconds an epoch of each model, beside the same DotBias in plain PyTorch, and its floor.

The floor is what Adam takes to move all parameters of dotbias at every step, and nothing else.

Takes data/split (`dvc repro split`); one thread. Systems are measured in turn, round by round, and
medians are printed.
"""

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.ratings import Provenance, Ratings
from cf.training import device as devices
from cf.training import optim as optimizers
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit

ROUNDS = 5
NAMES = ("dot", "dotbias_sgd", "dotbias", "dotbias_ensemble", "embnet")
PLAIN = "dotbias in plain PyTorch"
FLOOR = "dotbias: Adam's updates alone"


def ours(name: str, train: Ratings, valid: Ratings, facts: Provenance) -> Iterator[float]:
    """Seconds of each epoch of the model that params.yaml describes, without validation."""
    training = config.load(paths.PARAMS, f"train_{name}", config.Training)
    spec = ModelSpec(training.model, facts.n_users, facts.n_items, facts.rating_range)
    model = spec.build(name)
    optimizer = optimizers.build(training.optimizer, model, len(train))
    endless = config.Schedule(n_epochs=[ROUNDS + 1], learning_rate=0.001, anneal="none")
    for epoch in fit(model, train, valid, optimizer, endless, training.batch_size_for(len(train))):
        yield epoch.seconds


class PlainDotBias(nn.Module):
    """The notebook's EmbeddingDotBias, as anyone would write it."""

    def __init__(self, n_users: int, n_items: int, n_factors: int) -> None:
        super().__init__()
        self.user_factors, self.item_factors = (
            nn.Embedding(n, n_factors) for n in (n_users, n_items)
        )
        self.user_bias, self.item_bias = (nn.Embedding(n, 1) for n in (n_users, n_items))

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The predicted stars, (B,)."""
        dot = (self.user_factors(users) * self.item_factors(items)).sum(1)
        biases = self.user_bias(users).squeeze(1) + self.item_bias(items).squeeze(1)
        return torch.sigmoid(dot + biases) * 4.5 + 0.5


def plain(train: Ratings, facts: Provenance) -> Iterator[float]:
    """Seconds of each epoch with nn.Embedding and torch.optim.Adam(fused=True), batch 64."""
    model = PlainDotBias(facts.n_users, facts.n_items, n_factors=50)
    optimizer = torch.optim.Adam(model.parameters(), 0.001, weight_decay=2e-4, fused=True)
    users, items, values = map(torch.tensor, (train.users, train.items, train.values))
    optimizer.zero_grad()  # imports the compiler, which is not an epoch's cost
    while True:
        started = time.perf_counter()
        for batch in torch.randperm(len(values)).split(64):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            predicted = model(users[batch], items[batch])
            nn.functional.mse_loss(predicted, values[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield time.perf_counter() - started


def floor(train: Ratings, facts: Provenance) -> Iterator[float]:
    """Seconds of an epoch's updates of as many parameters, whose gradients are there already."""
    model = PlainDotBias(facts.n_users, facts.n_items, n_factors=50)
    optimizer = optimizers.Adam(model.parameters(), (0.9, 0.999), 2e-4)
    for param in model.parameters():
        param.grad = torch.randn_like(param)
    while True:
        started = time.perf_counter()
        for _ in range(-(-len(train) // 64)):
            optimizer.step()
        yield time.perf_counter() - started


@exit_on_input_error
def main() -> None:
    """Measure and print."""
    facts = io.read_dataclass(paths.PROVENANCE, Provenance)
    train, valid = (
        Ratings.read(paths.TRAIN),
        Ratings.read(paths.VALID),
    )
    devices.prepare(torch.device("cpu"), n_threads=1, seed=0)
    systems: dict[str, Iterator[float]] = {n: ours(n, train, valid, facts) for n in NAMES}
    systems |= {PLAIN: plain(train, facts), FLOOR: floor(train, facts)}
    take: Callable[[], dict[str, float]] = lambda: {n: next(s) for n, s in systems.items()}  # noqa: E731
    take()
    rounds = [take() for _ in range(ROUNDS)]
    table = Table(title=f"{facts.dataset}: an epoch of {len(train)} ratings, {ROUNDS} rounds")
    for heading in ("model", "median, s", "least, s", "most, s", "times plain PyTorch"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name in systems:
        seconds = [each[name] for each in rounds]
        ratio = statistics.median(each[name] / each[PLAIN] for each in rounds)
        spread = (statistics.median(seconds), min(seconds), max(seconds))
        table.add_row(name, *(f"{value:.2f}" for value in (*spread, ratio)))
    Console().print(table)


if __name__ == "__main__":
    main()
