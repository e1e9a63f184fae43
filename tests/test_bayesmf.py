"""What the samples of bayesmf predict, by hand."""

import math

import pytest
import torch

from cf.models.bayesmf import BayesMF, Samples, frozen


def test_an_error_bar_has_the_samples_spread_the_noise_and_an_effect_that_is_not_known() -> None:
    model = BayesMF(BayesMF.Config(n_factors=1, n_samples=2), 2, 1, [0.5, 5.0])
    scale = torch.tensor([1 / math.log(2)]).double()  # half is left after a second
    timed = model.set_moments(scale, torch.tensor([0, 1, 1]), torch.tensor([100]))
    model.mean.fill_(3.0)
    for samples, biases in ((model.timeless, (-0.2, 0.2)), (timed, (-0.5, 0.5))):
        for index, bias in enumerate(biases):  # the user's bias in the two samples
            samples.put(index, torch.tensor([[bias, 0.0], [0.0, 0.0]]), torch.zeros(1, 2))
    model.timeless.noise.fill_(0.6)
    timed.noise.fill_(0.4)
    timed.effects.fill_(0.25)
    timed.variances.fill_(0.2)
    one = torch.tensor([0])
    mean, deviation = model.predict_mean_and_std(one, one, one + 100)  # sums 2.75 and 3.75
    assert (mean.item(), deviation.item()) == pytest.approx((3.25, (0.25 + 0.4) ** 0.5))
    for near in (one + 99, one + 101):  # a quarter of the variance is known
        mean, deviation = model.predict_mean_and_std(one, one, near)
        expected = 0.75 * (0.04 + 0.6) + 0.25 * (0.25 + 0.4 + 0.75 * 0.2)
        assert (mean.item(), deviation.item()) == pytest.approx((3.03125, expected**0.5))
    for times in (one + 864_000, None):
        mean, deviation = model.predict_mean_and_std(one, one, times)  # sums 2.8 and 3.2
        assert (mean.item(), deviation.item()) == pytest.approx((3.0, (0.04 + 0.6) ** 0.5))
    mean, deviation = model.predict_mean_and_std(one + 1, one, one + 100)  # never rated
    assert (mean.item(), deviation.item()) == pytest.approx((3.0, 0.6**0.5))


def test_chains_are_loaded_as_they_were_saved() -> None:
    torch.manual_seed(0)
    model, other = (
        BayesMF(BayesMF.Config(n_factors=1, n_samples=2), 2, 3, [0.5, 5.0]) for _ in "ab"
    )
    starts, times = torch.tensor([0, 1, 3]), torch.tensor([100, 50, 2**40])
    timed = model.set_moments(torch.tensor([60.0, 3600.0]).double(), starts, times)
    model.set_interactions(torch.randn(3, 2), torch.randn(2))
    model.rated_starts = frozen(starts)
    model.rated_items = frozen(torch.tensor([0, 1, 2], dtype=torch.int32))
    model.item_directions = frozen(torch.randn(3, 2))
    for samples in (model.timeless, timed):
        samples.residuals = frozen(torch.randn(3))
    timed.opens_moment = frozen(torch.tensor([True, True, True]))
    timed.effects.normal_()
    saved = model.state_dict()
    other.load_state_dict(saved)
    for name, values in other.state_dict().items():
        assert (values.dtype, values.tolist()) == (saved[name].dtype, saved[name].tolist()), name
    users, items = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1])
    for at in (None, torch.tensor([160, 50, 2**40 - 9])):
        assert torch.equal(other(users, items, at), model(users, items, at))
    assert not torch.equal(model(users, items, at), model(users, items))


def test_rows_in_8_bits_are_within_half_a_step() -> None:
    torch.manual_seed(0)
    samples = Samples(2, 50, 70, 4)
    columns = torch.tensor([0.3, 1e-4, 20.0, 0.0])
    sides = torch.randn(50, 4) * columns, torch.randn(70, 4) * columns
    samples.put(1, *sides)
    for rows, found in zip(sides, samples.rows(1), strict=True):
        step = rows.abs().amax(0) / 127
        assert ((found - rows).abs() <= 0.501 * step).all()
        assert (found - rows).abs().max() > 0.3 * step.max(), "nothing was rounded"


def test_rows_in_8_bits_predict_as_rows_in_32() -> None:
    torch.manual_seed(0)
    n_samples, n_users, n_items, d = 10, 200, 300, 21
    config = BayesMF.Config(n_factors=d - 1, n_samples=n_samples)
    model = BayesMF(config, n_users, n_items, [0.5, 5.0])
    users, items = torch.randint(n_users, (5000,)), torch.randint(n_items, (5000,))
    expected = torch.zeros(5000)
    user_means, item_means = 0.3 * torch.randn(n_users, d), 0.3 * torch.randn(n_items, d)
    for index in range(n_samples):
        p, q = (means + 0.1 * torch.randn_like(means) for means in (user_means, item_means))
        model.timeless.put(index, p, q)
        sums = p[users, 0] + q[items, 0] + (p[users, 1:] * q[items, 1:]).sum(1)
        expected += (sums + model.mean).clamp(0.5, 5.0) / n_samples
    assert expected.std() > 0.3
    assert (model(users, items) - expected).square().mean().sqrt() < 0.002


def test_all_items_of_a_user_are_predicted_as_pair_by_pair_and_as_the_formula_says() -> None:
    torch.manual_seed(0)
    model = BayesMF(BayesMF.Config(n_factors=3, n_samples=7), 5, 40, [0.5, 5.0])
    for index in range(7):
        model.timeless.put(index, 0.7 * torch.randn(5, 4), 0.7 * torch.randn(40, 4))
    users, items = torch.cartesian_prod(torch.tensor([3, 1]), torch.arange(40)).T
    sides = zip(*map(model.timeless.rows, range(7)), strict=True)
    (p, b), (q, c) = ((rows[:, :, 1:], rows[:, :, 0]) for rows in map(torch.stack, sides))
    expected = 2.75 + b[:, :, None] + c[:, None] + torch.einsum("suk,sik->sui", p, q)
    expected = expected.clamp(0.5, 5.0).mean(0)[users, items]
    torch.testing.assert_close(model(users, items), expected)  # as a table
    some = torch.tensor([7, 70])  # two users, two items of many: pair by pair
    torch.testing.assert_close(model(users[some], items[some]), expected[some])
    every_fifth = torch.arange(0, 80, 5)
    torch.testing.assert_close(model(users[every_fifth], items[every_fifth]), expected[every_fifth])
