import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cf.core import config
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.models import base
from cf.training import device, optim
from cf.training import fit as loop
from cf.training.checkpoint import ModelSpec
from cf.training.fit import EpochResult, compare_with_mean, fit, learning_rates

Pair = tuple[Ratings, Ratings]
Losses = list[tuple[float, float]]


def dotbias() -> base.Model:
    settings = {"name": "dotbias", "n_factors": 3, "init_range": [-0.3, 0.3]}
    return ModelSpec(settings, n_users=60, n_items=80, rating_range=(0.5, 5.0)).build("test")


def schedule(n_epochs: int = 3, rate: float = 0.05) -> config.Schedule:
    return config.Schedule(n_epochs=[n_epochs], learning_rate=rate, anneal="none")


def trained(
    planted: Pair, seed: int = 0, n_epochs: int = 3, rate: float = 0.05, torchs_own: bool = False
) -> list[EpochResult]:
    device.prepare(torch.device("cpu"), n_threads=1, seed=seed)
    model = dotbias()
    if torchs_own:
        optimizer: torch.optim.Optimizer | optim.Optimizer = torch.optim.Adam(model.parameters())
    else:
        optimizer = optim.Adam(model.parameters(), (0.9, 0.999), weight_decay=0.0)
    return list(fit(model, *planted, optimizer, schedule(n_epochs, rate), batch_size=64))


def losses(epochs: list[EpochResult]) -> Losses:
    return [(epoch.train_loss, epoch.valid_loss) for epoch in epochs]


def test_planted_ratings_are_recovered(planted: Pair) -> None:
    last = trained(planted, n_epochs=30)[-1]
    assert last.valid_loss < 0.02  # the noise alone is 0.0025, the mean rating's error above 0.9
    assert planted[1].values.var() > 0.5


def test_the_same_seed_gives_the_same_history_to_the_bit(planted: Pair) -> None:
    assert losses(trained(planted, seed=1)) == losses(trained(planted, seed=1))
    assert losses(trained(planted, seed=1)) != losses(trained(planted, seed=2))


def test_an_optimizer_of_torch_trains_as_ours(planted: Pair) -> None:
    ours, torchs = losses(trained(planted)), losses(trained(planted, torchs_own=True))
    np.testing.assert_allclose(ours, torchs, rtol=1e-4)


def test_the_reported_train_loss_weighs_a_short_last_batch_as_what_it_is(planted: Pair) -> None:
    train = planted[0].take(np.arange(65))
    train = replace(train, values=np.where(np.arange(65) == 0, 5, 1).astype(np.float32))
    epochs = trained((train, planted[1]), n_epochs=1, rate=1e-12)
    device.prepare(torch.device("cpu"), n_threads=1, seed=0)
    predicted = base.predict(dotbias(), train.users, train.items)
    assert epochs[0].train_loss == pytest.approx(
        float(((predicted - train.values) ** 2).mean()), rel=1e-5
    )


def test_models_see_one_scale_and_answer_on_the_datas(planted: Pair) -> None:
    """Ratings from 10 to 100 train as those from 0.5 to 5 do, and so do ratings from -10 to 10."""
    expected, plain = trained(planted), dotbias_of(planted, (0.5, 5.0))
    for factor, offset in ((20.0, 0.0), (20 / 4.5, -10 - 10 / 4.5)):
        train, valid = (
            replace(part, values=(part.values * factor + offset).astype(np.float32))
            for part in planted
        )
        rating_range = 0.5 * factor + offset, 5.0 * factor + offset
        model, epochs = dotbias_of((train, valid), rating_range)
        for one, other in zip(expected, epochs, strict=True):
            assert other.train_loss == pytest.approx(factor**2 * one.train_loss, rel=1e-4)
            assert other.valid_loss == pytest.approx(factor**2 * one.valid_loss, rel=1e-4)
        found = base.predict(model, valid.users, valid.items)
        alike = base.predict(plain[0], valid.users, valid.items) * factor + offset
        np.testing.assert_allclose(found, alike, rtol=1e-3, atol=1e-3)


def dotbias_of(
    pair: Pair, rating_range: tuple[float, float]
) -> tuple[base.Model, list[EpochResult]]:
    """dotbias trained on ratings of this range, as `trained` does."""
    device.prepare(torch.device("cpu"), n_threads=1, seed=0)
    settings = {"name": "dotbias", "n_factors": 3, "init_range": [-0.3, 0.3]}
    spec = ModelSpec(settings, n_users=60, n_items=80, rating_range=rating_range)
    model = spec.build("test")
    optimizer = optim.Adam(model.parameters(), (0.9, 0.999), weight_decay=0.0)
    return model, list(fit(model, *pair, optimizer, schedule(), batch_size=64))


def test_every_rating_is_seen_once_an_epoch(planted: Pair) -> None:
    seen: list[int] = []
    model = dotbias()
    optimizer = optim.SGD(model.parameters(), momentum=0.0, weight_decay=0.0)
    list(fit(model, *planted, optimizer, schedule(2), 64, on_batch=seen.append))
    assert sum(seen) == 2 * len(planted[0])
    assert set(seen[:-1]) <= {64, len(planted[0]) % 64}


@pytest.mark.parametrize("batch_size", [1, 64])
def test_the_seconds_of_an_epoch_are_those_of_its_steps_and_not_of_what_is_between(
    batch_size: int, planted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step, or a block of them, takes a second here, predicting a minute, recording an hour."""
    clock, seen = [1000.0], list[int]()

    def predict(*given: Any) -> Any:
        clock[0] += 60
        return base.predict(*given)

    def on_batch(n_ratings: int) -> None:
        clock[0] += 1
        seen.append(n_ratings)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(loop, "predict", predict)
    device.prepare(torch.device("cpu"), n_threads=1, seed=0)
    model = dotbias()
    optimizer = optim.build(config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0), model, 1)
    for epoch in fit(model, *planted, optimizer, schedule(), batch_size, on_batch):
        assert epoch.seconds == len(seen) > 0
        assert epoch.metrics()["seconds_per_epoch"] == epoch.seconds
        seen.clear()
        clock[0] += 3600


def test_an_epochs_numbers_have_the_names_of_every_models_history() -> None:
    assert EpochResult(3, 0.5, 0.75, 0.125, seconds=2.0).metrics() == {
        "loss/train": 0.5,
        "loss/valid": 0.75,
        "learning_rate": 0.125,
        "seconds_per_epoch": 2.0,
    }


def test_divergence_says_what_to_do(planted: Pair) -> None:
    settings = {"name": "dot", "n_factors": 3, "init_range": [0.0, 1.0]}
    for valid in (planted[1], planted[1].take(np.arange(0))):
        model = ModelSpec(settings, 60, 80, (0.5, 5.0)).build("test")
        optimizer = optim.SGD(model.parameters(), momentum=0.9, weight_decay=0.0)
        with pytest.raises(InputError) as caught:
            list(fit(model, planted[0], valid, optimizer, schedule(1, rate=1e6), batch_size=64))
        assert str(caught.value) == (
            "training diverged: in epoch 1 the loss is nan on train and nan on held-out rows. "
            "Lower the learning_rate, or the weight_decay or init_range if these are unusual."
        )


def test_so_do_held_out_ratings_alone(planted: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the last step of an epoch is one too far."""
    model = dotbias()
    monkeypatch.setattr(type(model), "after_epoch", lambda self, train: weigh(self, float("nan")))
    optimizer = optim.SGD(model.parameters(), momentum=0.0, weight_decay=0.0)
    with pytest.raises(InputError, match=r"the loss is \d\.\d+ on train and nan on held-out rows"):
        list(fit(model, *planted, optimizer, schedule(1), batch_size=64))


def weigh(model: base.Model, weight: float) -> None:
    for parameter in model.parameters():
        parameter.data.fill_(weight)


def test_an_epoch_has_the_mean_rate_of_its_steps(planted: Pair) -> None:
    """Of N steps along a whole half cosine, (N + 1) / 2N of the first one; here are 40."""
    model, cosine = dotbias(), config.Schedule(n_epochs=[1], learning_rate=0.8, anneal="cosine")
    optimizer = optim.SGD(model.parameters(), momentum=0.0, weight_decay=0.0)
    (epoch,) = fit(model, *planted, optimizer, cosine, batch_size=64)
    assert epoch.learning_rate == pytest.approx(0.8 * 41 / 80)


class Column(base.Model):
    """A bias an item, as a column."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.bias = base.embedding(80, 1, [-0.1, 0.1])

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return self.bias(items)


class Squeezed(Column):
    """Right but for a single row."""

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return self.bias(items).squeeze()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            Column,
            "tests/test_fit.py: Column.forward: expected predictions of shape (64,) for 64 users "
            "and items, got (64, 1): end it with .squeeze(1).",
        ),
        (
            Squeezed,
            "tests/test_fit.py: Squeezed.forward: expected predictions of shape (1,) for 1 users "
            "and items, got (): return one per row.",
        ),
    ],
)
def test_a_forward_of_another_shape_is_refused_before_training(
    planted: Pair, model: type[base.Model], expected: str
) -> None:
    wrong, seen = model(), list[int]()  # type: ignore[call-arg]
    before = wrong.state_dict()["bias.weight"].clone()
    optimizer = optim.SGD(wrong.parameters(), momentum=0.0, weight_decay=0.0)
    with pytest.raises(InputError, match=re.escape(expected)):
        next(fit(wrong, *planted, optimizer, schedule(), 64, on_batch=seen.append))
    assert torch.equal(wrong.state_dict()["bias.weight"], before)
    assert not seen


def test_the_shape_is_looked_at_in_evaluation_and_without_a_draw() -> None:
    model, state = dotbias(), torch.get_rng_state()
    modes: list[bool] = []

    def members(users: Tensor, items: Tensor) -> Tensor:
        modes.append(model.training)
        assert not torch.is_grad_enabled()
        return torch.rand(len(users))

    model.forward = members  # type: ignore[method-assign]
    loop.check_forward(model, torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64))
    assert modes == [False, False]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_elsewhere_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    indices = torch.arange(3)
    with pytest.raises(InputError, match=f"^{re.escape(__file__)}: Column.forward: expected"):
        loop.check_forward(Column(), indices, indices)


def test_a_model_that_is_worse_than_the_mean_says_so(planted: Pair) -> None:
    train, valid = planted
    of_mean = float(np.mean((valid.values - train.values.mean()) ** 2))
    worse, not_so_much = (
        compare_with_mean(EpochResult(1, 0.0, times**2 * of_mean, 0.1, 0.0), train, valid)
        for times in (1.021, 1.019)
    )
    assert worse == (
        f"the RMSE on held-out ratings is {1.021 * of_mean**0.5:.4g}, worse than the "
        f"{of_mean**0.5:.4g} of the mean rating alone: too few training ratings a user, or too far "
        "from the middle of the range."
    )
    assert not_so_much == ""
    nothing = valid.take(np.arange(0))
    last = trained((train, nothing))[-1]
    assert np.isnan(last.valid_loss)
    assert not compare_with_mean(last, train, nothing), "no held-out ratings"
    assert not compare_with_mean(trained(planted, n_epochs=30)[-1], train, valid)


def test_phases_each_have_their_rate() -> None:
    two = config.Schedule(n_epochs=[1, 2], learning_rate=[0.1, 0.01], anneal="none")
    assert [rates.tolist() for rates in learning_rates(two, 2)] == [[0.1] * 2, *[[0.01] * 2] * 2]


def test_cosine_falls_within_a_phase_and_restarts() -> None:
    cosine = config.Schedule(n_epochs=[1, 2], learning_rate=2.0, anneal="cosine")
    first, second, third = (rates.tolist() for rates in learning_rates(cosine, 2))
    assert first == pytest.approx([2.0, 1.0])
    assert [*second, *third] == pytest.approx([2.0, 1 + np.sqrt(0.5), 1.0, 1 - np.sqrt(0.5)])


def test_warm_up_runs_the_first_steps_at_a_hundredth() -> None:
    warm = config.Schedule(n_epochs=[2, 1], learning_rate=2.0, anneal="cosine", warm_up=0.5)
    first, second, third = learning_rates(warm, 2)
    assert [*first, *second] == pytest.approx([0.02, 0.02, 1.0, 1 - np.sqrt(0.5)])
    assert third.tolist() == pytest.approx([2.0, 1.0])
