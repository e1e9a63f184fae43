"""Processes in time, against their dense covariance matrices."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from cf.bayes.time_effects import Moments, TimeEffects
from cf.models.bayesmf import bridge, nearest_moments
from tests.draws import close_to_normal, in_turn

# Two users, the second of whom rates twice at once, as the first does; one in between has nothing.
USERS, TIMES = torch.tensor([0, 2, 0, 0, 2, 2, 0]), torch.tensor([4, 9, 0, 1, 2, 9, 1])
OF_RATINGS = torch.tensor([2, 4, 0, 1, 3, 4, 1])


def covariance(users: Tensor, times: Tensor, scale: float) -> Tensor:
    """Of a process of variance 1 at each user's times."""
    gaps = (times[:, None] - times).abs().double()
    gaps[users[:, None] != users] = torch.inf
    return torch.exp(-gaps / scale)


def test_moments_are_each_users_distinct_times_in_order() -> None:
    moments = Moments(USERS, TIMES, 4)
    assert moments.users.tolist() == [0, 0, 0, 2, 2]
    assert moments.times.tolist() == [0, 1, 4, 2, 9]
    assert moments.starts.tolist() == [0, 3, 3, 5, 5]
    assert moments.of_ratings.tolist() == OF_RATINGS.tolist()
    assert moments.counts.tolist() == [1, 2, 1, 1, 2]
    assert moments.gaps.tolist() == [torch.inf, 1, 3, torch.inf, 7]


@pytest.mark.parametrize("relaxation", [0.0, -0.9])
def test_a_process_is_drawn_as_its_closed_form_says(relaxation: float) -> None:
    torch.manual_seed(0)
    effects = TimeEffects(Moments(USERS, TIMES, 3), [3.0, 1.0])
    first, second = effects.parts
    noise, residuals = torch.tensor([2.0, 9.0, 0.5]), torch.randn(7)
    held = torch.randn(5).double()  # the second process, which is given
    factor, precision = torch.tensor([-1.3, 0.7]).double()
    weights = noise[USERS].double()
    design = torch.zeros(7, 5).double()
    design[range(7), OF_RATINGS] = factor
    moments = effects.moments
    prior = covariance(moments.users, moments.times, 3.0) / precision
    posterior = torch.linalg.inv(prior.inverse() + design.T * weights @ design)
    targets = residuals - (0.4 * held)[OF_RATINGS]
    mean = posterior @ (design.T @ (weights * targets))

    drawn = []
    for _ in range(6000):
        pair = []
        for of_draw in (0.0, relaxation):
            first.factor, first.precision = factor, precision
            second.unit, second.factor = held, torch.tensor(0.4).double()
            effects.draw(residuals, noise, (2.0, 2.0), 0.5, of_draw)
            pair.append(first.unit)
        drawn.append(torch.cat(pair).float())
    close_to_normal(torch.stack(drawn), *in_turn(mean.float(), posterior.float(), relaxation))


def test_the_moments_around_a_time_say_as_much_as_all() -> None:
    times_of = {0: [10, 20, 23, 50], 1: [], 2: [20], 3: []}
    times = torch.tensor([time for each in times_of.values() for time in each])
    starts = torch.tensor([0, 4, 4, 5, 5])
    asked = {0: [3, 10, 15, 20, 22, 34, 50, 77], 1: [20], 2: [-5, 20, 21], 3: [0, 50]}
    users = torch.tensor([user for user, each in asked.items() for _ in each])
    at = torch.tensor([time for each in asked.values() for time in each])
    scales = torch.tensor([2.0, 5.0, 300.0]).double()
    nearest = nearest_moments(starts, times, users, at)
    weights, unknown = bridge(nearest, scales)
    assert weights.shape == (2, 3, len(at))
    for number, (user, time) in enumerate(zip(users.tolist(), at.tolist(), strict=True)):
        first, end = list(pairwise(starts.tolist()))[user]
        known = times[first:end]
        for index, scale in enumerate(scales.tolist()):
            found = torch.zeros(len(times)).double()
            found[nearest.before[number]] += weights[0, index, number]
            found[nearest.after[number]] += weights[1, index, number]
            same = torch.zeros_like(known)
            shared = torch.exp(-(known - time).abs().double() / scale)
            expected = torch.zeros_like(found)
            expected[first:end] = torch.linalg.solve(covariance(same, known, scale), shared)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
            left = 1 - shared @ expected[first:end]
            assert float(unknown[index, number]) == pytest.approx(float(left), abs=1e-9)
