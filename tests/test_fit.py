import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cf.core import config
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.models import base
from cf.training import device, optim
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


def test_divergence_says_what_to_do(planted: Pair) -> None:
    settings = {"name": "dot", "n_factors": 3, "init_range": [0.0, 1.0]}
    model = ModelSpec(settings, 60, 80, (0.5, 5.0)).build("test")
    optimizer = optim.SGD(model.parameters(), momentum=0.9, weight_decay=0.0)
    with pytest.raises(InputError, match=r"diverged: in epoch 1 .* Lower the learning_rate"):
        list(fit(model, *planted, optimizer, schedule(1, rate=1e6), batch_size=64))


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


def test_a_model_that_is_worse_than_the_mean_says_so(planted: Pair) -> None:
    train, valid = planted
    of_mean = float(np.mean((valid.values - train.values.mean()) ** 2))
    worse = compare_with_mean(EpochResult(1, 0.0, 1.1**2 * of_mean, 0.1, 0.0), train, valid)
    assert f"{1.1 * of_mean**0.5:.4g}, worse than the {of_mean**0.5:.4g} of the mean" in worse
    assert not compare_with_mean(EpochResult(1, 0.0, of_mean, 0.1, 0.0), train, valid)
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
    warm = config.Schedule(n_epochs=[1, 1], learning_rate=2.0, anneal="cosine", warm_up=0.25)
    first, second = learning_rates(warm, 4)
    assert first.tolist() == pytest.approx([0.02, 1 + np.sqrt(0.5), 1.0, 1 - np.sqrt(0.5)])
    assert second[0] == 2.0
