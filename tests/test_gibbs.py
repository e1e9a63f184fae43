"""The sampler's conditionals against closed forms, and all of it against its own prior."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from cf.bayes import gibbs
from cf.bayes.gibbs import EntitySide, FeatureRegression, Priors, Sampler
from cf.bayes.side_information import Feature
from cf.bayes.time_effects import Moments, TimeEffects
from tests.draws import N, close_to_normal, in_turn


@pytest.mark.parametrize("relaxation", [0.0, -0.9])
@pytest.mark.parametrize("shape", [(6, 3), (4, 6)])
def test_a_features_regression_is_drawn_as_its_closed_form_says(
    shape: tuple[int, int], relaxation: float
) -> None:
    torch.manual_seed(0)
    columns = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    feature = Feature("f", columns)
    f = torch.tensor(columns) * math.sqrt(len(columns) / (columns**2).sum())
    n, d, penalty = len(columns), 2, 0.7
    chol = torch.tensor([[1.5, 0.0], [0.4, 0.8]])
    residuals = torch.randn(n, d)
    # F B, where B's rows are N(0, (penalty Λ)⁻¹) and residuals = F B + rows of N(0, Λ⁻¹)
    a = torch.linalg.inv(f.T @ f + penalty * torch.eye(f.shape[1]))
    mean, covariance = f @ a @ f.T @ residuals, f @ a @ f.T

    regression = FeatureRegression(feature, n, d)
    drawn = []
    for _ in range(4000):
        pair = []
        for of_draw in (0.0, relaxation):
            regression.penalty = torch.tensor(penalty)
            regression.draw(residuals, chol, (1.0, 1.0), of_draw)
            pair.append(regression.fitted.T.reshape(-1))
        drawn.append(torch.cat(pair))
    expected = torch.kron(torch.linalg.inv(chol @ chol.T).contiguous(), covariance)
    close_to_normal(torch.stack(drawn), *in_turn(mean.T.reshape(-1), expected, relaxation))


def test_gammas_and_wisharts_have_their_means() -> None:
    torch.manual_seed(0)
    drawn = gibbs.draw_gamma(torch.full((N,), 3.0), torch.tensor(2.0))
    assert float(drawn.mean()) == pytest.approx(1.5, rel=0.02)
    assert float(drawn.var()) == pytest.approx(0.75, rel=0.05)
    inverse_scale = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    scale, degrees = torch.linalg.inv(inverse_scale), 5.5
    draws = torch.stack([gibbs.draw_wishart(degrees, inverse_scale) for _ in range(5000)])
    torch.testing.assert_close(draws.mean(0), degrees * scale, rtol=0.05, atol=0.05)
    variance = degrees * (scale.square() + scale.diag().outer(scale.diag()))
    torch.testing.assert_close(draws.var(0), variance, rtol=0.15, atol=0.0)


def test_an_index_is_drawn_as_torch_draws_it() -> None:
    probabilities = torch.softmax(torch.linspace(-3, 3, 200).double(), 0)
    for seed in range(50):
        torch.manual_seed(seed)
        expected = torch.multinomial(probabilities, 1)
        torch.manual_seed(seed)
        assert torch.equal(gibbs.draw_index(probabilities), expected)


def test_noise_is_drawn_as_its_closed_form_says() -> None:
    torch.manual_seed(0)
    users, items = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 0, 2])
    sides = EntitySide(2, 1, []), EntitySide(3, 1, [])
    sampler = Sampler(users, items, torch.zeros(5), *sides, True, Priors())
    residuals = torch.tensor([1.0, 0.5, -1.0, 2.0, 0.0])
    drawn = []
    for _ in range(4000):
        sampler.noise_shape, sampler.noise_rate = torch.tensor(2.0), torch.tensor(1.5)
        sampler.draw_noise(residuals)
        drawn.append(sampler.noise)
    got = torch.stack(drawn).numpy()
    for user, (size, squares) in enumerate([(3, 2.25), (2, 4.0)]):
        expected = stats.gamma(2.0 + size / 2, scale=1 / (1.5 + squares / 2))
        assert stats.kstest(got[:, user], expected.cdf).pvalue > 1e-3


# Geweke's test: if every conditional is right, drawing ratings and sweeping in turn has the same
# distribution as drawing all from the prior.

TIGHT = Priors(
    beta0=2.0,
    nu0=8.0,
    scale0=1 / 8,
    feature=(5.0, 5.0),
    time=(6.0, 3.0),
    time_factor=0.5,
    noise=(5.0, 5.0),
    noise_rate=(6.0, 3.0),
    noise_shapes=(2.0, 8.0),
)
USERS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
ITEMS = torch.tensor([0, 1, 2, 4, 0, 1, 3, 2, 3, 0])
TIMES = torch.tensor([3, 3, 0, 9, 5, 4, 5, 30, 2, 7])
SCALES = [1.0, 10.0]


def from_the_prior(sampler: Sampler) -> None:
    p = sampler.priors
    for side in (sampler.user_side, sampler.item_side):
        n, d = side.rows.shape
        side.precision = gibbs.draw_wishart(d + p.nu0, torch.eye(d) / p.scale0)
        chol = torch.linalg.cholesky(side.precision)
        side.mean = gibbs.draw_normal(chol, 1)[0] / p.beta0**0.5
        for each in side.regressions:
            each.penalty = gibbs.draw_gamma(p.feature[0], torch.tensor(p.feature[1]))
            r = len(each.coefficients)
            each.coefficients = gibbs.draw_normal(chol, r) / each.penalty.sqrt()
            each.fitted = each.feature.expand(each.coefficients)
        side.rows = side.prior_means + gibbs.draw_normal(chol, n)
    assert sampler.time_effects is not None
    moments = sampler.time_effects.moments
    gaps = (moments.times[:, None] - moments.times).abs().double()
    gaps[moments.users[:, None] != moments.users] = torch.inf
    for part, scale in zip(sampler.time_effects.parts, SCALES, strict=True):
        part.precision = gibbs.draw_gamma(p.time[0], torch.tensor(p.time[1])).double()
        part.factor = p.time_factor * torch.randn((), dtype=torch.float64)
        root = torch.linalg.cholesky(torch.exp(-gaps / scale)) / part.precision.sqrt()
        part.unit = root @ torch.randn(len(root), dtype=torch.float64)
    n = len(sampler.noise)
    if sampler.user_noise:
        index = torch.randint(len(sampler.shape_grid), (1,))
        sampler.noise_shape = sampler.shape_grid[index[0]]
        sampler.noise_rate = gibbs.draw_gamma(p.noise_rate[0], torch.tensor(p.noise_rate[1]))
        sampler.noise = gibbs.draw_gamma(sampler.noise_shape.expand(n), sampler.noise_rate)
    else:
        sampler.noise = gibbs.draw_gamma(p.noise[0], torch.tensor(p.noise[1])).expand(n)


def draw_ratings(sampler: Sampler) -> None:
    deviation = sampler.noise[sampler.users].rsqrt()
    sampler.values = (
        sampler.factor_terms() + sampler.time_terms() + deviation * torch.randn(len(sampler.users))
    )


def statistics(sampler: Sampler) -> list[float]:
    found = [*sampler.noise.log()[:2], sampler.noise_shape.log(), sampler.noise_rate.log()]
    assert sampler.time_effects is not None
    for part in sampler.time_effects.parts:
        found += [part.precision.log(), torch.tanh(part.factor), part.factor.square()]
        found += [*torch.tanh(part.unit[:3]), torch.tanh(part.unit[0] * part.unit[1])]
        found += [torch.tanh(part.effects[0]), part.effects[0].square().log()]
    found += [torch.tanh(sampler.time_terms()[0] * sampler.values[0])]
    for side in (sampler.user_side, sampler.item_side):
        found += [*torch.tanh(side.rows[0]), *torch.tanh(side.rows[-1]), torch.tanh(side.mean[1])]
        found += [torch.tanh(side.rows[0, 0] * side.rows[1, 0])]
        found += [side.precision.logdet(), side.precision[0, 0].log()]
        for each in side.regressions:
            found += [each.penalty.log(), *torch.tanh(each.coefficients[:2, 0])]
    rows = sampler.user_side.rows[0, 1:], sampler.item_side.rows[0, 1:]
    found += [torch.tanh(sampler.values[0]), torch.tanh((rows[0] * rows[1]).sum())]
    found += [torch.tanh(sampler.values[0] * sampler.user_side.rows[0, 0])]
    return [float(value) for value in found]


@pytest.mark.parametrize(
    ("user_noise", "n_draws", "relaxation"),
    [(True, 2000, 0.0), (False, 1000, 0.0), (True, 2000, -0.9)],
)
def test_sampling_ratings_and_parameters_in_turn_gives_the_prior_back(
    user_noise: bool, n_draws: int, relaxation: float
) -> None:
    torch.manual_seed(3)
    draw = np.random.default_rng(0)
    user_features = [Feature("a", draw.normal(size=(4, 5)).astype(np.float32))]
    item_features = [
        Feature("b", draw.normal(size=(5, 2)).astype(np.float32)),
        Feature("c", draw.normal(size=(5, 3)).astype(np.float32)),
    ]
    sides = EntitySide(4, 2, user_features), EntitySide(5, 2, item_features)
    effects = TimeEffects(Moments(USERS, TIMES, 4), SCALES)
    sampler = Sampler(USERS, ITEMS, torch.zeros(10), *sides, user_noise, TIGHT, effects)
    prior = []
    for _ in range(n_draws):
        from_the_prior(sampler)
        draw_ratings(sampler)
        prior.append(statistics(sampler))
    chain = []
    from_the_prior(sampler)
    for number in range(2 * n_draws):
        draw_ratings(sampler)
        # With relaxed draws alone, what is far from its mean stays far for many sweeps.
        sampler.sweep(relaxation if number % 2 else 0.0)
        chain.append(statistics(sampler))
    once, again = np.array(prior), np.array(chain)
    batches = again.reshape(40, n_draws // 20, -1).mean(1)  # their means are as good as independent
    error = np.sqrt(once.var(0) / len(once) + batches.var(0, ddof=1) / len(batches))
    moving = error > 0
    z = (again.mean(0) - once.mean(0))[moving] / error[moving]
    assert np.abs(z).max() < 4.0, z.round(1)
