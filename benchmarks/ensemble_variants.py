"""What each ingredient of dotbias_ensemble is worth, on slices of the training rows.

Random fifths, and the latest fifth. No validation row is read.
Usage: python -m benchmarks.ensemble_variants [SLICES]
"""

import math
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from cf.core import config, io, paths
from cf.core.config import Training
from cf.core.errors import exit_on_input_error
from cf.core.ratings import Provenance, Ratings
from cf.data import split as splitting
from cf.evaluation import metrics
from cf.models import base
from cf.training import device as devices
from cf.training import optim as optimizers
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit

SLICE = 0.2  # of the training rows, to judge on
AVERAGED = 0.95  # of the mean over steps that stays when a step's weights join it


@dataclass(frozen=True)
class Variant:
    """A change of a section of params.yaml, or one that params.yaml has no key for.

    Attributes:
        changes: by dotted key.
        from_mean: users' learned biases start at the mean rating.
        bias_decay: the biases' weight decay, in that of the section.
        by_count: a row's decay grows with this power of its number of ratings; its mean stays.
        averaged: judged with the mean of the weights over the last steps, not with the last.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    section: str = "train_dotbias_ensemble"
    from_mean: bool = False
    bias_decay: float = 1.0
    by_count: float = 0.0
    averaged: bool = False


VARIANTS = {
    "as it is": Variant(),
    "1 member": Variant({"model.n_members": 1}),
    "2 members": Variant({"model.n_members": 2}),
    "4 members": Variant({"model.n_members": 4}),
    "16 members": Variant({"model.n_members": 16}),
    "1 member of 80 factors": Variant({"model.n_members": 1, "model.n_factors": 80}),
    "batches of 512": Variant({"batch_size": 512}),
    "batches of 512, half the rate": Variant({"batch_size": 512, "schedule.learning_rate": 0.015}),
    "betas of the notebook": Variant({"optimizer.betas": [0.9, 0.999]}),
    "twice the decay": Variant({"optimizer.total_weight_decay": 14.0}),
    "user biases decay as all": Variant({"model.user_bias_decay": 1.0}),
    "half the decay of biases": Variant(bias_decay=0.5),
    "decay by the root of a row's ratings": Variant(by_count=0.5),
    "decay by a row's ratings": Variant(by_count=1.0),
    "no offset": Variant({"model.offset_damping": 0.0}),
    "no offset, start at the mean rating": Variant({"model.offset_damping": 0.0}, from_mean=True),
    "offset_damping 10": Variant({"model.offset_damping": 10.0}),
    "offset_damping 100": Variant({"model.offset_damping": 100.0}),
    "the same offset for all": Variant({"model.offset_damping": 1e9}),
    "weights averaged": Variant(averaged=True),
    "dotbias": Variant(section="train_dotbias"),
    "dotbias with 8 members": Variant(
        {"model.name": "dotbias_ensemble", "model.n_members": 8}, "train_dotbias"
    ),
}


class Scaled(optimizers.Adam):
    """Adam whose decay differs from row to row."""

    def __init__(self, model: base.Model, betas: list[float], of_rows: list[Tensor]) -> None:
        super().__init__(model.parameters(), betas, weight_decay=0.0)
        self.of_rows = of_rows

    @torch.no_grad()
    def step(self) -> None:
        """Add each row's decay to its gradient, then step."""
        for param, decay in zip(self.params, self.of_rows, strict=True):
            assert param.grad is not None
            param.grad = param.grad + param * decay[:, None]
        super().step()


def changed(training: Training, changes: dict[str, Any]) -> Training:
    """The section with other values, by dotted key."""
    values = training.model_dump()
    for key, value in changes.items():
        *outer, last = key.split(".")
        inner = values
        for name in outer:
            inner = inner[name]
        inner[last] = value
    return config.validate(values, "benchmarks.ensemble_variants", Training)


def decays(model: base.Model, train: Ratings, variant: Variant, decay: float) -> list[Tensor]:
    """The decay of each row of each table."""
    found = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding):
            rows = train.users if name.startswith("user") else train.items
            counts = np.bincount(rows, minlength=len(module.weight)) ** variant.by_count
            share = counts / np.average(counts, weights=np.bincount(rows, minlength=len(counts)))
            scale = model.decay_scales.get(f"{name}.weight", 1.0)
            scale *= variant.bias_decay if name.endswith("bias") else 1.0
            found.append(torch.tensor(decay * scale * share, dtype=torch.float32))
    return found


def judged(variant: Variant, fitted: Ratings, held: Ratings, seed: int) -> tuple[float, float]:
    """RMSE in stars on the held rows, and seconds of processor time to train."""
    training = config.load(paths.PARAMS, variant.section, Training)
    training = changed(training, variant.changes)
    facts = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    devices.prepare(torch.device("cpu"), 1, seed)
    sizes = facts.n_users, facts.n_items, facts.rating_range
    model = ModelSpec(training.model, *sizes).build(variant.section)
    adam = training.optimizer
    assert isinstance(adam, config.Adam)
    optimizer: optimizers.Optimizer = optimizers.build(adam, model, len(fitted))
    if variant.bias_decay != 1.0 or variant.by_count:
        scaled = decays(model, fitted, variant, adam.decay(len(fitted)))
        optimizer = Scaled(model, adam.betas, scaled)
    if variant.from_mean:
        low, high = facts.rating_range
        share = (float(fitted.values.mean()) - low) / (high - low)
        model.get_parameter("user_bias.weight").data.add_(math.log(share / (1 - share)))
    means = [weight.detach().clone() for weight in optimizer.params]

    def average(_: int) -> None:
        if variant.averaged:
            for mean, weight in zip(means, optimizer.params, strict=True):
                mean.lerp_(weight.detach(), 1 - AVERAGED)

    started = time.process_time()
    nothing = held.take(np.arange(1))
    batch_size = training.batch_size_for(len(fitted))
    for _ in fit(model, fitted, nothing, optimizer, training.schedule, batch_size, average):
        pass
    seconds = time.process_time() - started
    if variant.averaged:
        for mean, weight in zip(means, optimizer.params, strict=True):
            weight.data.copy_(mean)
    return metrics.rmse(base.predict(model, held.users, held.items), held.values), seconds


@exit_on_input_error
def main() -> None:
    """Print the table, the mean over the slices."""
    n_slices = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    train = Ratings.read(paths.TRAIN)
    splits = [splitting.random_split(len(train), SLICE, s) for s in range(1, n_slices + 1)]
    if train.timestamps is not None:
        splits.append(splitting.by_time(train.timestamps, SLICE))
    slices = [(train.take(parts["train"]), train.take(parts["valid"])) for parts in splits]
    table = Table(title=f"{len(slices[0][1]):,} training rows held out, {n_slices} slices")
    for heading in ("variant", "RMSE", "RMSE, latest", "seconds"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name, variant in VARIANTS.items():
        runs = [judged(variant, *parts, seed) for seed, parts in enumerate(slices, start=1)]
        rmse, seconds = np.mean(runs[:n_slices], axis=0)
        latest = f"{runs[-1][0]:.4f}" if len(runs) > n_slices else ""
        table.add_row(name, f"{rmse:.4f}", latest, f"{seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
