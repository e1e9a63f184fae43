"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from cf.core.config import Schedule
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.evaluation import metrics
from cf.models.base import Model, predict
from cf.training.history import Epoch
from cf.training.optim import Optimizer
from cf.training.schedule import learning_rates


def fit(
    model: Model,
    train: Ratings,
    valid: Ratings,
    optimizer: Optimizer,
    schedule: Schedule,
    batch_size: int,
    on_batch: Callable[[int], None] = lambda n_ratings: None,
) -> Iterator[Epoch]:
    """Train `model` in place, and yield after each epoch.

    The order of the ratings is drawn anew each epoch from torch's global generator, as is
    dropout: seed that, and the history repeats to the bit.

    Args:
        model: on the device to train on.
        batch_size: ratings a step; the last batch of an epoch may be shorter.
        on_batch: called after each step with the number of its ratings.

    Raises:
        InputError: the loss is no longer finite.
    """
    device = next(model.parameters()).device
    users, items, values = (
        torch.tensor(array, device=device) for array in (train.users, train.items, train.values)
    )
    n_batches = -(-len(train) // batch_size)
    for epoch, rates in enumerate(learning_rates(schedule, n_batches), start=1):
        started = time.perf_counter()
        model.train()
        order = torch.randperm(len(train)).to(device)
        shuffled = [torch.split(array[order], batch_size) for array in (users, items, values)]
        losses = []
        for rate, *batch in zip(rates.tolist(), *shuffled, strict=True):
            losses.append(optimizer.step(batch[0], batch[1], batch[2], rate))
            on_batch(len(batch[2]))
        sizes = [len(batch) for batch in shuffled[2]]
        train_loss = float(np.average(torch.stack(losses).cpu().double(), weights=sizes))
        seconds = time.perf_counter() - started
        predicted = predict(model, valid.users, valid.items)
        valid_loss = metrics.mse(predicted, valid.values)
        if not (math.isfinite(train_loss) and math.isfinite(valid_loss)):
            raise InputError(
                f"training diverged: in epoch {epoch} the loss is {train_loss} on train and "
                f"{valid_loss} on held-out rows. Lower the learning_rate."
            )
        yield Epoch(epoch, train_loss, valid_loss, float(rates.mean()), seconds)
