"""What the samples of bayesmf predict, by hand."""

import pytest
import torch

from cf.models.bayesmf import BayesMF, user_day_ids


def test_an_error_bar_has_the_samples_spread_the_noise_and_a_day_that_is_not_known() -> None:
    model = BayesMF(BayesMF.Config(n_factors=1, n_samples=2), 2, 1, [0.5, 5.0])
    model.set_days(user_day_ids(torch.tensor([0]), torch.tensor([0])))
    model.mean.fill_(3.0)
    model.user_rows.zero_()
    model.item_rows.zero_()
    model.user_rows[:, 0, 0] = torch.tensor([-0.5, 0.5])  # the user's bias in the two samples
    model.day_effects[:, 0] = torch.tensor([0.2, 0.4])
    model.noise[:, 0] = torch.tensor([0.3, 0.5])
    model.day_variance[:] = torch.tensor([0.1, 0.3])
    one = torch.tensor([0])
    mean, deviation = model.predict_mean_and_std(one, one, one)  # sums 2.7 and 3.9
    assert (mean.item(), deviation.item()) == pytest.approx((3.3, (0.36 + 0.4) ** 0.5))
    other_day = torch.tensor([864_000])
    for times in (other_day, None):
        mean, deviation = model.predict_mean_and_std(one, one, times)  # sums 2.5 and 3.5
        assert (mean.item(), deviation.item()) == pytest.approx((3.0, (0.25 + 0.4 + 0.2) ** 0.5))


def test_all_items_of_a_user_are_predicted_as_pair_by_pair_and_as_the_formula_says() -> None:
    torch.manual_seed(0)
    model = BayesMF(BayesMF.Config(n_factors=3, n_samples=7), 5, 40, [0.5, 5.0])
    model.user_rows.normal_(std=0.7)
    model.item_rows.normal_(std=0.7)
    users, items = torch.cartesian_prod(torch.tensor([3, 1]), torch.arange(40)).T
    (p, b), (q, c) = (
        (rows[:, :, 1:], rows[:, :, 0]) for rows in (model.user_rows, model.item_rows)
    )
    expected = 2.75 + b[:, :, None] + c[:, None] + torch.einsum("suk,sik->sui", p, q)
    expected = expected.clamp(0.5, 5.0).mean(0)[users, items]
    torch.testing.assert_close(model(users, items), expected)  # as a table
    some = torch.tensor([7, 70])  # two users, two items of many: pair by pair
    torch.testing.assert_close(model(users[some], items[some]), expected[some])
    every_fifth = torch.arange(0, 80, 5)
    torch.testing.assert_close(model(users[every_fifth], items[every_fifth]), expected[every_fifth])
