"""The training loop."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cf.core.config import Schedule
from cf.core.errors import InputError
from cf.core.ratings import Ratings, RatingStats
from cf.models.base import Model, on_model_scale, predict
from cf.training.compiled import CompiledEpochs
from cf.training.fast_gradients import closed_form_holds, fast_gradients
from cf.training.graph import RepeatedSteps, can_repeat
from cf.training.optim import Optimizer, RowwiseAdagrad
from cf.training.rating_blocks import RatingBlocks, steps_in_blocks
from cf.training.resume import ResumePoint, TrainingState

N_COMPARED = 256  # ratings of which a loss in closed form is compared with the model's own
WORSE = 1.02  # times the RMSE of the mean rating: so much worse is worth a word


class DivergedError(InputError):
    """A loss is no longer finite."""


@dataclass(frozen=True)
class EpochResult:
    """One pass over the training ratings. Losses are mean squared errors in the data's unit."""

    epoch: int  # from 1
    train_loss: float  # of the batches as they were met, each rating weighing the same; dropout on
    valid_loss: float  # after the epoch
    learning_rate: float  # mean over the epoch's steps
    seconds: float  # wall time, without validation

    def metrics(self) -> dict[str, float]:
        """The numbers under the names they have in MLflow, the same for every model."""
        return {
            "loss/train": self.train_loss,
            "loss/valid": self.valid_loss,
            "learning_rate": self.learning_rate,
            "seconds_per_epoch": self.seconds,
        }


def fit(
    model: Model,
    train: Ratings,
    valid: Ratings,
    optimizer: Optimizer | torch.optim.Optimizer,
    schedule: Schedule,
    batch_size: int,
    on_batch: Callable[[int], None] = lambda n_ratings: None,
    resume: ResumePoint | None = None,
) -> Iterator[EpochResult]:
    """Train `model` in place, on the device it is on, and yield after each epoch.

    The order of the ratings is drawn anew each epoch from torch's global generator, as is
    dropout: seed that, and the results repeat to the bit. The last batch of an epoch may be
    shorter. `on_batch` is called after each step with the number of its ratings.

    Where `steps_in_blocks`, the order is that of `RatingBlocks`, and a block has one learning rate.
    On the CPU and with numba these steps are compiled, and `on_batch` is called after each block.
    On a GPU all ratings are there, the order is drawn there, and nothing is read from it within an
    epoch; the steps of a `Model.repeatable` are `RepeatedSteps`.

    A training that finds its state in `resume` yields its epochs again, then goes on with the step
    after the last one saved, and ends as without interruption to the bit. It must have begun with
    the same seed.

    Raises:
        InputError: the model's forward has another shape than (B,), or the loss is no longer
            finite.
    """
    device = next(model.parameters()).device
    model.before_training(train)
    values = on_model_scale(model, train.values)
    first = train.users[:batch_size], train.items[:batch_size]
    check_forward(model, *(torch.tensor(indices, device=device) for indices in first))
    compared = (train.users, train.items, values.numpy())
    batch = [torch.tensor(array[:N_COMPARED], device=device) for array in compared]
    closed_form = closed_form_holds(model, batch)
    blocks = compiled = repeated = None
    if steps_in_blocks(model, optimizer, batch_size):
        blocks = RatingBlocks.of(model, train)
        if closed_form:
            compiled = CompiledEpochs.of(model, optimizer, blocks, train, values.numpy())
    if not compiled:
        users, items = map(torch.tensor, (train.users, train.items))
        arrays = [array.to(device) for array in (users, items, values)]
        if can_repeat(model, optimizer, len(train) // batch_size, device):
            step = partial(_step, model, optimizer)
            repeated = RepeatedSteps(
                model, optimizer, step, arrays, batch_size, closed_form=closed_form
            )
    randperm = partial(torch.randperm, len(train), device=device)
    draw: Callable[[], Any] = blocks.draw if blocks else randperm
    n_rates = blocks.n_groups**2 if blocks else -(-len(train) // batch_size)
    state = TrainingState(model, optimizer, on_batch, resume)
    for number, *numbers in state.epochs:
        yield EpochResult(int(number), *numbers)

    def run(epoch: int, rates: NDArray[np.float64]) -> tuple[float, float]:
        model.train()
        drawn = state.begin_epoch(draw)
        if compiled:
            loss = compiled.run(drawn, rates, state)
        else:
            order, step_rates = drawn, rates
            if blocks:
                ratings, sizes = blocks.in_order(drawn)
                order, step_rates = torch.tensor(ratings, device=device), np.repeat(rates, sizes)
            if repeated:
                loss = repeated.run(order, step_rates, state)
            else:
                loss = _epoch(
                    model,
                    optimizer,
                    [torch.split(array[order], batch_size) for array in arrays],
                    step_rates,
                    state,
                    closed_form,
                )
        model.after_epoch(train)
        return model.factor**2 * loss, state.seconds_so_far()

    def valid_loss() -> float | None:
        errors = predict(model, valid.users, valid.items).astype(np.float64) - valid.values
        return float(np.mean(errors**2)) if len(valid) else None

    for result in epochs(schedule, n_rates, len(state.epochs), run, valid_loss):
        state.end_epoch(astuple(result))
        yield result


def epochs(
    schedule: Schedule,
    n_steps: int,
    n_done: int,
    run: Callable[[int, NDArray[np.float64]], tuple[float, float]],
    valid_loss: Callable[[], float | None],
) -> Iterator[EpochResult]:
    """Run the epochs of a schedule that are not done yet, and yield after each.

    Args:
        n_steps: of an epoch, each with a learning rate.
        run: takes an epoch's number, from 1, and its learning rates, and returns the mean loss on
            train, in the data's unit, and its seconds.
        valid_loss: the mean squared error on held-out rows; None where there are none.

    Raises:
        DivergedError: a loss is no longer finite.
    """
    to_come = islice(learning_rates(schedule, n_steps), n_done, None)
    for epoch, rates in enumerate(to_come, start=n_done + 1):
        train_loss, seconds = run(epoch, rates)
        valid_mse = valid_loss()
        diverged = not all(math.isfinite(loss) for loss in (train_loss, valid_mse or 0.0))
        valid_mse = math.nan if valid_mse is None else valid_mse
        if diverged:
            raise DivergedError(
                f"training diverged: in epoch {epoch} the loss is {train_loss} on train and "
                f"{valid_mse} on held-out rows. Lower the learning_rate, or the weight_decay or "
                "init_range if these are unusual."
            )
        yield EpochResult(epoch, train_loss, valid_mse, float(rates.mean()), seconds)


def _epoch(
    model: Model,
    optimizer: Optimizer | torch.optim.Optimizer,
    batches: Sequence[Sequence[Tensor]],
    rates: NDArray[np.float64],
    state: TrainingState,
    closed_form: bool = True,
) -> float:
    """One step a batch, each at its own rate; the mean loss, each rating weighing the same.

    Args:
        batches: users, items and ratings, each in batches.
        closed_form: as `cf.training.fast_gradients` has it.
    """
    losses = list(state.losses)
    steps = islice(zip(rates.tolist(), *batches, strict=True), len(losses), None)
    with fast_gradients(model, closed_form=closed_form) as rows_looked_up:
        if isinstance(optimizer, RowwiseAdagrad):
            optimizer.rows_looked_up = rows_looked_up
        for rate, users, items, ratings in steps:
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses.append(_step(model, optimizer, users, items, ratings))
            state.advance(len(ratings))
            if state.is_due():
                state.save(torch.stack(losses))
    members = torch.stack(losses).cpu().double().reshape(len(losses), -1)
    sizes = [len(ratings) for ratings in batches[-1]]
    return float(np.average(members.mean(1), weights=sizes))


def _step(
    model: Model,
    optimizer: Optimizer | torch.optim.Optimizer,
    users: Tensor,
    items: Tensor,
    ratings: Tensor,
) -> Tensor:
    optimizer.zero_grad()
    loss = model.loss(users, items, ratings)
    loss.backward(torch.ones_like(loss))  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def compare_with_mean(last: EpochResult, train: RatingStats, valid: Ratings) -> str:
    """A sentence where a model is clearly worse than the mean of the training ratings; else empty.

    Predictions start at the middle of the range, so this happens where users or items have few
    training ratings, and ratings are elsewhere in the range.
    """
    if not len(valid):
        return ""
    errors = valid.values - train.mean_of(lambda values: values)
    of_mean, of_model = math.sqrt(float(np.mean(errors**2))), math.sqrt(last.valid_loss)
    if of_model <= WORSE * of_mean:
        return ""
    return (
        f"the RMSE on held-out ratings is {of_model:.4g}, worse than the {of_mean:.4g} of the mean "
        "rating alone: too few training ratings a user, or too far from the middle of the range."
    )


def learning_rates(schedule: Schedule, n_batches: int) -> Iterator[NDArray[np.float64]]:
    """The learning rates of each epoch's steps, (n_batches,) an epoch.

    With cosine annealing a phase's rate falls from its start to 0 along half a cosine, and the
    next phase starts anew. The first `warm_up` share of the first phase's steps runs at a
    hundredth of its rate, while the cosine goes on below.

    Source:
        fastai 0.7 `CosAnneal`; Loshchilov and Hutter 2017, "SGDR", equation 5.
    """
    n_warm_up = schedule.warm_up * n_batches * schedule.n_epochs[0]
    for n_epochs, rate in schedule.phases:
        for epoch in range(n_epochs):
            step = np.arange(epoch * n_batches, (epoch + 1) * n_batches)
            rates = np.full(n_batches, rate)
            if schedule.anneal == "cosine":
                rates *= (1 + np.cos(np.pi * step / (n_epochs * n_batches))) / 2
            rates[step < n_warm_up] = rate / 100
            yield rates
        n_warm_up = 0.0


@torch.no_grad()
def check_forward(model: Model, users: Tensor, items: Tensor) -> None:
    """Return if the model predicts one number a row, for all rows given and for one alone.

    Nothing is drawn from torch's generators, and the model is left in evaluation mode. A (B, 1)
    would be broadcast against (B,) ratings to a loss over all pairs of rows.

    Raises:
        InputError: the shape is another; the message names the model's file.
    """
    model.eval()
    for n in {len(users), 1}:
        with torch.random.fork_rng(devices=[]):
            predicted = model(users[:n], items[:n])
        if predicted.shape != (n,):
            source = Path(inspect.getfile(type(model)))
            source = source.relative_to(Path.cwd()) if source.is_relative_to(Path.cwd()) else source
            hint = "end it with .squeeze(1)" if predicted.shape == (n, 1) else "return one per row"
            raise InputError(
                f"{source}: {type(model).__name__}.forward: expected predictions of shape ({n},) "
                f"for {n} users and items, got {tuple(predicted.shape)}: {hint}."
            )
