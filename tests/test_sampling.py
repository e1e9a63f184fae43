"""The sampler against closed forms, against its own prior, and on ratings with a known answer."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch import Tensor

from cf.bayes import gibbs
from cf.bayes import row_blocks as blocks
from cf.bayes import sample as posterior
from cf.bayes import side_information as features
from cf.bayes.convergence import rhat
from cf.bayes.gibbs import Effect, Priors, Sampler, Side
from cf.bayes.resume import Unfinished
from cf.bayes.sample import Sweep, sample
from cf.bayes.side_information import Feature
from cf.core.config import Gibbs
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.evaluation import metrics
from cf.models import base
from cf.models.bayesmf import BayesMF, keys, scores
from stages import sampling as stage

N = 40_000  # draws: the error of a mean is a two-hundredth of the deviation


def close_to_normal(draws: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Hold the mean and the covariance of (N, d) draws against what they should be."""
    scale = covariance.diag().sqrt()
    off = (draws.mean(0) - mean) / scale * math.sqrt(len(draws))
    assert off.abs().max() < 4.5
    got = torch.cov(draws.T) / scale.outer(scale)
    torch.testing.assert_close(
        got, covariance / scale.outer(scale), rtol=0, atol=6.5 / len(draws) ** 0.5
    )


@pytest.mark.parametrize("n_ratings", [0, 1, 3, 6])
def test_a_row_is_drawn_as_ridge_regression_says(n_ratings: int) -> None:
    torch.manual_seed(0)
    d, weight = 3, 1.7
    designs, targets = torch.randn(8, d), torch.randn(n_ratings)
    root = torch.randn(d, d)
    precision, prior_mean = root @ root.T + torch.eye(d), torch.randn(d)
    x = designs[:n_ratings]
    a = precision + weight * x.T @ x
    mean = torch.linalg.solve(a, precision @ prior_mean + weight * x.T @ targets)

    rows = torch.arange(N).repeat_interleave(n_ratings)  # N rows with the same ratings
    others = torch.arange(n_ratings).repeat(N)
    divided = blocks.divide(rows, others, N, 8)
    drawn = blocks.draw(
        divided,
        designs,
        targets.repeat(N),
        torch.full((N,), weight),
        prior_mean.expand(N, d),
        precision,
    )
    close_to_normal(drawn, mean, torch.linalg.inv(a))


def test_blocks_hold_every_rating_once_at_its_row() -> None:
    torch.manual_seed(0)
    rows = torch.cat([torch.randint(0, 30, (400,)), torch.full((90,), 31)])
    others = torch.randint(0, 11, (490,))
    divided = blocks.divide(rows, others, 33, 11)
    assert sorted(torch.cat([block.rows for block in divided]).tolist()) == list(range(33))
    seen = []
    for block in divided:
        for row, places, their_others in zip(*vars(block).values(), strict=True):
            inside = places < 490
            assert (rows[places[inside]] == row).all()
            assert (their_others[inside] == others[places[inside]]).all()
            assert (their_others[~inside] == 11).all()
            seen += places[inside].tolist()
    assert sorted(seen) == list(range(490))


@pytest.mark.parametrize("shape", [(6, 3), (4, 6)])
def test_a_features_regression_is_drawn_as_its_closed_form_says(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    columns = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    feature = Feature("f", columns)
    f = torch.tensor(columns) * math.sqrt(len(columns) / (columns**2).sum())
    n, d, scale = len(columns), 2, 0.7
    root = torch.tensor([[1.5, 0.0], [0.4, 0.8]])
    left = torch.randn(n, d)
    # F B, where B's rows are N(0, (scale Λ)⁻¹) and left = F B + rows of N(0, Λ⁻¹)
    a = torch.linalg.inv(f.T @ f + scale * torch.eye(f.shape[1]))
    mean, covariance = f @ a @ f.T @ left, f @ a @ f.T

    effect = Effect(feature, n, d)
    drawn = []
    for _ in range(4000):
        effect.scale = torch.tensor(scale)
        effect.draw(left, root, (1.0, 1.0))
        drawn.append(effect.rows.T.reshape(-1))
    expected = torch.kron(torch.linalg.inv(root @ root.T).contiguous(), covariance)
    close_to_normal(torch.stack(drawn), mean.T.reshape(-1), expected)


def test_gammas_and_wisharts_have_their_means() -> None:
    torch.manual_seed(0)
    drawn = gibbs.gamma(torch.full((N,), 3.0), torch.tensor(2.0))
    assert float(drawn.mean()) == pytest.approx(1.5, rel=0.02)
    assert float(drawn.var()) == pytest.approx(0.75, rel=0.05)
    inverse_scale = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    scale, degrees = torch.linalg.inv(inverse_scale), 5.5
    draws = torch.stack([gibbs.wishart(degrees, inverse_scale) for _ in range(5000)])
    torch.testing.assert_close(draws.mean(0), degrees * scale, rtol=0.05, atol=0.05)
    variance = degrees * (scale.square() + scale.diag().outer(scale.diag()))
    torch.testing.assert_close(draws.var(0), variance, rtol=0.15, atol=0.0)


def days_and_noise() -> Sampler:
    users, items = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 0, 2])
    sides = Side(2, 1, []), Side(3, 1, [])
    user_days = torch.tensor([0, 0, 1, 2, 2])
    return Sampler(users, items, torch.zeros(5), user_days, *sides, True, Priors())


def test_days_are_drawn_as_their_closed_form_says() -> None:
    torch.manual_seed(0)
    sampler = days_and_noise()
    sampler.noise = torch.tensor([2.0, 0.5])
    left = torch.tensor([1.0, 0.5, -1.0, 2.0, 0.0])
    drawn = []
    for _ in range(8000):
        sampler.day_precision = torch.tensor(3.0)
        assert sampler.user_days is not None
        sampler.draw_days(left, sampler.user_days)
        drawn.append(sampler.days)
    precisions = torch.tensor([3 + 2 * 2.0, 3 + 2.0, 3 + 2 * 0.5])
    means = torch.tensor([2 * 1.5, 2 * -1.0, 0.5 * 2.0]) / precisions
    close_to_normal(torch.stack(drawn), means, (1 / precisions).diag())


def test_noise_is_drawn_as_its_closed_form_says() -> None:
    torch.manual_seed(0)
    sampler = days_and_noise()
    left = torch.tensor([1.0, 0.5, -1.0, 2.0, 0.0])
    drawn = []
    for _ in range(4000):
        sampler.noise_shape, sampler.noise_rate = torch.tensor(2.0), torch.tensor(1.5)
        sampler.draw_noise(left)
        drawn.append(sampler.noise)
    got = torch.stack(drawn).numpy()
    for user, (size, squares) in enumerate([(3, 2.25), (2, 4.0)]):
        expected = stats.gamma(2.0 + size / 2, scale=1 / (1.5 + squares / 2))
        assert stats.kstest(got[:, user], expected.cdf).pvalue > 1e-3


# Geweke's test: if every conditional is right, drawing ratings and sweeping in turn has the same
# distribution as drawing all from the prior.

TIGHT = Priors(
    strength=2.0,
    degrees=8.0,
    spread=8.0,
    feature=(5.0, 5.0),
    day=(6.0, 3.0),
    noise=(5.0, 5.0),
    noise_rate=(6.0, 3.0),
    noise_shapes=(2.0, 8.0),
)
USERS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
ITEMS = torch.tensor([0, 1, 2, 4, 0, 1, 3, 2, 3, 0])
DAYS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3, 4, 5])


def from_the_prior(sampler: Sampler) -> None:
    p = sampler.priors
    for side in (sampler.user_side, sampler.item_side):
        n, d = side.rows.shape
        side.precision = gibbs.wishart(d + p.degrees, p.spread * torch.eye(d))
        root = torch.linalg.cholesky(side.precision)
        side.mean = gibbs.normal(root, 1)[0] / p.strength**0.5
        for effect in side.effects:
            effect.scale = gibbs.gamma(p.feature[0], torch.tensor(p.feature[1]))
            r = len(effect.coefficients)
            effect.coefficients = gibbs.normal(root, r) / effect.scale.sqrt()
            effect.rows = effect.feature.spread(effect.coefficients)
        side.rows = side.prior_means + gibbs.normal(root, n)
    sampler.day_precision = gibbs.gamma(p.day[0], torch.tensor(p.day[1]))
    sampler.days = torch.randn(len(sampler.days)) / sampler.day_precision.sqrt()
    n = len(sampler.noise)
    if sampler.user_noise:
        places = torch.randint(len(sampler.shapes), (1,))
        sampler.noise_shape = sampler.shapes[places[0]]
        sampler.noise_rate = gibbs.gamma(p.noise_rate[0], torch.tensor(p.noise_rate[1]))
        sampler.noise = gibbs.gamma(sampler.noise_shape.expand(n), sampler.noise_rate)
    else:
        sampler.noise = gibbs.gamma(p.noise[0], torch.tensor(p.noise[1])).expand(n)


def draw_ratings(sampler: Sampler) -> None:
    deviation = sampler.noise[sampler.users].rsqrt()
    sampler.values = sampler.predicted() + deviation * torch.randn(len(sampler.users))


def statistics(sampler: Sampler) -> list[float]:
    found = [*sampler.noise.log()[:2], sampler.noise_shape.log(), sampler.noise_rate.log()]
    found += [sampler.day_precision.log(), *torch.tanh(sampler.days[:2])]
    for side in (sampler.user_side, sampler.item_side):
        found += [*torch.tanh(side.rows[0]), *torch.tanh(side.rows[-1]), torch.tanh(side.mean[1])]
        found += [torch.tanh(side.rows[0, 0] * side.rows[1, 0])]
        found += [side.precision.logdet(), side.precision[0, 0].log()]
        for effect in side.effects:
            found += [effect.scale.log(), *torch.tanh(effect.coefficients[:2, 0])]
    rows = sampler.user_side.rows[0, 1:], sampler.item_side.rows[0, 1:]
    found += [torch.tanh(sampler.values[0]), torch.tanh((rows[0] * rows[1]).sum())]
    found += [torch.tanh(sampler.values[0] * sampler.user_side.rows[0, 0])]
    return [float(value) for value in found]


@pytest.mark.parametrize("user_noise", [True, False])
def test_sampling_ratings_and_parameters_in_turn_gives_the_prior_back(user_noise: bool) -> None:
    torch.manual_seed(3)
    draw = np.random.default_rng(0)
    user_features = [Feature("a", draw.normal(size=(4, 5)).astype(np.float32))]
    item_features = [
        Feature("b", draw.normal(size=(5, 2)).astype(np.float32)),
        Feature("c", draw.normal(size=(5, 3)).astype(np.float32)),
    ]
    sides = Side(4, 2, user_features), Side(5, 2, item_features)
    sampler = Sampler(USERS, ITEMS, torch.zeros(10), DAYS, *sides, user_noise, TIGHT)
    prior = []
    for _ in range(2000):
        from_the_prior(sampler)
        draw_ratings(sampler)
        prior.append(statistics(sampler))
    chain = []
    from_the_prior(sampler)
    for _ in range(4000):
        draw_ratings(sampler)
        sampler.sweep()
        chain.append(statistics(sampler))
    once, again = np.array(prior), np.array(chain)
    batches = again.reshape(40, 100, -1).mean(1)  # their means are as good as independent
    error = np.sqrt(once.var(0) / len(once) + batches.var(0, ddof=1) / len(batches))
    moving = error > 0
    z = (again.mean(0) - once.mean(0))[moving] / error[moving]
    assert np.abs(z).max() < 4.0, z.round(1)


Pair = tuple[Ratings, Ratings]


def settings(**changes: bool | int) -> Gibbs:
    plain = {"n_sweeps": 120, "burn_in": 20, "user_noise": True, "days": False, "genres": False}
    rest = {"year": False, "popularity": False, "raters": False, "rated": False}
    return Gibbs(**{**plain, **rest, **changes})


def sampled(pair: Pair, seed: int = 0, **changes: bool | int) -> tuple[BayesMF, list[Sweep]]:
    torch.manual_seed(seed)
    config = BayesMF.Config(n_factors=2, n_samples=100)
    model = BayesMF(config, 60, 80, [0.5, 5.0])
    return model, list(sample(model, *pair, [], [], settings(**changes)))


def test_planted_ratings_and_their_noise_are_recovered(planted: Pair) -> None:
    draw = np.random.default_rng(1)
    p, q = draw.normal(0, 0.6, (60, 2)), draw.normal(0, 0.6, (80, 2))
    b, c, noise = draw.normal(0, 0.4, 60), draw.normal(0, 0.4, 80), np.repeat([0.1, 0.4], 30)
    users, items = planted[0].users, planted[0].items
    sums = 2.75 + (p[users] * q[items]).sum(1) + b[users] + c[items]
    values = (sums + draw.normal(0, noise[users])).astype(np.float32)
    train = replace(planted[0], values=values)
    users, items = planted[1].users, planted[1].items
    truth = (2.75 + (p[users] * q[items]).sum(1) + b[users] + c[items]).clip(0.5, 5.0)
    valid = replace(planted[1], values=truth.astype(np.float32))
    model, sweeps = sampled((train, valid), n_sweeps=400, burn_in=200)
    assert sweeps[-1].valid_loss < 0.1**2  # the truth has a variance of about 1
    deviations = model.noise.mean(0).sqrt().numpy()
    assert np.median(deviations[:30]) == pytest.approx(0.1, rel=0.25)
    assert np.median(deviations[30:]) == pytest.approx(0.4, rel=0.25)
    mean, deviation = model.predict_mean_and_std(torch.tensor(users), torch.tensor(items))
    observed = truth + draw.normal(0, noise[users])
    inside = (np.abs(observed - mean.numpy()) < 1.28 * deviation.numpy()).mean()
    assert 0.72 < inside < 0.88  # of 80% intervals


def test_the_error_bar_of_a_user_without_ratings_is_no_wider_than_the_range(planted: Pair) -> None:
    known = planted[0].users < 6
    few = planted[0].take(np.flatnonzero(known))
    values = np.where(few.users < 3, 3.0, few.values).astype(np.float32)
    model, _ = sampled((replace(few, values=values), planted[1]))
    pairs = torch.arange(60), torch.zeros(60, dtype=torch.int64)
    _, deviation = model.predict_mean_and_std(*pairs)
    assert deviation[:3].max() < 0.3 < deviation[6:].min()
    assert deviation.max() <= 2.25 * 2**0.5, "noise and rows, each of the whole range"


def test_an_error_bar_has_the_samples_spread_the_noise_and_a_day_that_is_not_known() -> None:
    model = BayesMF(BayesMF.Config(n_factors=1, n_samples=2), 2, 1, [0.5, 5.0])
    model.set_days(keys(torch.tensor([0]), torch.tensor([0])))
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


@pytest.mark.parametrize(("first", "end", "n"), [(0, 200, 200), (5, 1000, 995), (20, 200, 100)])
def test_kept_sweeps_differ_and_end_with_the_last(first: int, end: int, n: int) -> None:
    kept = posterior._spread(first, end, n).tolist()
    assert sorted(set(kept)) == kept
    assert first <= kept[0]
    assert kept[-1] == end - 1
    assert max(np.diff(kept)) - min(np.diff(kept)) <= 1


def test_one_film_of_long_ago_makes_a_feature_of_two_years() -> None:
    columns = features.years(np.array([1.0] + [1990.0] * 19))
    assert columns.shape == (20, 2)
    assert len(Feature("year", columns).squares) == 1
    equal = features.popularity(np.repeat(np.arange(7), 3), 7)
    assert not len(Feature("popularity", equal).squares), "equal counts tell nothing"


def test_a_chain_that_was_broken_off_goes_on_to_the_same_samples(
    planted: Pair, tmp_path: Path
) -> None:
    def chain(unfinished: Unfinished | None) -> tuple[BayesMF, Iterator[Sweep]]:
        torch.manual_seed(0)
        model = BayesMF(BayesMF.Config(n_factors=2, n_samples=10), 60, 80, [0.5, 5.0])
        asked = settings(n_sweeps=30, burn_in=5, days=True)
        columns = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
        known = [Feature("made_up", columns)]
        return model, sample(model, *dated, [], known, asked, unfinished=unfinished)

    def figures(sweeps: Iterator[Sweep]) -> list[tuple[float, ...]]:
        return [(s.epoch, s.train_loss, s.valid_loss, s.noise_precision) for s in sweeps]

    dated = tuple(replace(part, timestamps=86400 * (part.rows % 9)) for part in planted)
    model, sweeps = chain(None)
    expected = figures(sweeps)
    file = tmp_path / "chain.safetensors"
    broken, sweeps = chain(Unfinished(file, "here", every=0.0))
    for _ in range(17):
        next(sweeps)
    sweeps.close()

    again, sweeps = chain(Unfinished(file, "here"))
    assert figures(sweeps) == expected
    states = broken.state_dict(), again.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, states[1][name]), name
    assert not torch.equal(states[0]["user_rows"], states[1]["user_rows"])

    assert Unfinished(file, "elsewhere").load() is None
    assert len(Unfinished(file, "here").load()["sweeps"]) == 17
    file.write_bytes(file.read_bytes()[:1000])
    assert Unfinished(file, "here").load() is None, "half a file is none"
    Unfinished(file, "here").remove()
    assert Unfinished(file, "here").load() is None


def test_the_kept_samples_predict_as_the_running_mean(planted: Pair) -> None:
    model, sweeps = sampled(planted)
    valid = planted[1]
    predicted = base.predict(model, valid.users, valid.items)
    assert metrics.mse(predicted, valid.values) == pytest.approx(sweeps[-1].valid_loss, rel=1e-4)
    assert len(sweeps) == 120
    assert [sweep.epoch for sweep in sweeps] == list(range(1, 121))


def test_the_same_seed_gives_the_same_chain_to_the_bit(planted: Pair) -> None:
    def losses(seed: int) -> list[float]:
        return [sweep.train_loss for sweep in sampled(planted, seed, n_sweeps=25)[1]]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_two_chains_agree(planted: Pair) -> None:
    valid = planted[1]
    users, items = torch.tensor(valid.users), torch.tensor(valid.items)
    chains = []
    for seed in (1, 2):
        model, _ = sampled(planted, seed, n_sweeps=400, burn_in=200)
        rows = zip(model.user_rows, model.item_rows, strict=True)
        chains.append(torch.stack([scores(u[users], i[items]) for u, i in rows]))
    found = rhat(torch.stack(chains).numpy())
    assert np.median(found) < 1.02
    assert np.quantile(found, 0.9) < 1.05


def test_rhat_is_1_for_chains_that_agree_and_more_for_those_that_do_not() -> None:
    draw = np.random.default_rng(0)
    alike = draw.normal(size=(2, 400, 200)).astype(np.float32)
    assert np.abs(rhat(alike) - 1).max() < 0.02
    factor = np.ones((2, 1, 1), np.float32)
    factor[1] = 3
    for apart in (
        alike + factor / 2,  # another place
        alike * factor,  # another spread
        alike + np.linspace(0, 2, 400, dtype=np.float32)[:, None],  # both still on their way
    ):
        assert rhat(apart).min() > 1.05
    np.testing.assert_allclose(rhat(np.exp(alike)), rhat(alike), atol=0.01)  # ranks alone count


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


def test_days_count_only_where_they_were_seen(planted: Pair) -> None:
    train, valid = planted
    day = np.random.default_rng(0).choice([10, 20], len(train))
    values = (train.values + 0.5 * (day == 10)).astype(np.float32)
    timed = replace(train, values=values, timestamps=(day * 86400 + 5).astype(np.int64))
    model, _ = sampled((timed, replace(valid, timestamps=None)), days=True, n_sweeps=60)
    n = len(train)
    at = {
        t: base.predict(model, train.users, train.items, np.full(n, t * 86400 + 77))
        for t in (10, 20, 30)
    }
    assert (at[10] - at[20]).mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(at[30], base.predict(model, train.users, train.items))


def test_a_single_rating_is_no_news_of_its_item() -> None:
    items = np.array([0, 1, 1, 2, 2, 2])
    users = np.array([0, 0, 1, 0, 1, 2])
    popularity = features.popularity(items, 5)
    np.testing.assert_array_equal(popularity[0], popularity[3])  # one rating, and none
    assert popularity[1, 0] < popularity[2, 0]
    partners = features.partners(items, users, 5, 3).toarray()
    assert not partners[[0, 3, 4]].any()
    np.testing.assert_allclose(partners[1], [0.5 / 2**0.5, 0.5 / 2**0.5, 0])
    np.testing.assert_allclose(partners[2], np.full(3, 2 / 3 / 3**0.5))


def test_who_met_nobody_is_like_the_average_of_those_who_did() -> None:
    rows, others = np.array([0, 0, 1, 1, 1, 3, 4, 4]), np.array([0, 1, 1, 2, 3, 0, 2, 3])
    columns = features.company(rows, others, 6, 4)
    assert not columns[[2, 3, 5]].any()  # no rating; a single one, which is no news
    assert columns[[0, 1, 4]].any(1).all()
    np.testing.assert_allclose(columns.sum(0), 0, atol=1e-6)


def test_the_strongest_directions_keep_the_products_of_rows() -> None:
    draw = np.random.default_rng(0)
    left, right = (np.linalg.qr(draw.normal(size=(n, 30))).Q for n in (90, 70))
    dense = (left * 0.8 ** np.arange(30) @ right.T).astype(np.float32)
    matrix = sparse.csr_array(dense)
    for n, error in ((30, 1e-5), (10, 1.01 * 0.8**20)):  # what the others have
        columns = features.strongest(matrix, n)
        assert columns.shape == (90, n)
        off = columns @ columns.T - dense @ dense.T
        assert np.linalg.norm(off, 2) < error
    np.testing.assert_array_equal(columns, features.strongest(matrix, 10))
    assert features.strongest(matrix).shape == (90, 70)
    assert not features.strongest(sparse.csr_array((5, 3), dtype=np.float32)).any()


def test_genres_and_years_are_centred_and_known_by_name() -> None:
    genres = features.genres(["Drama|War", "", "War", "Drama"])
    np.testing.assert_allclose(genres, [[0.5, 0.5], [-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5]])
    years = features.years(np.array([1990, 1991, 2010, np.nan]))
    assert np.corrcoef(years[:2])[0, 1] > 0.8
    assert np.corrcoef(years[[0, 2]])[0, 1] < 0
    np.testing.assert_array_equal(years[3], years[1])
    np.testing.assert_allclose(years.sum(0), 0, atol=1e-6)


def test_ratings_that_are_all_alike_end_in_a_message(planted: Pair) -> None:
    alike = replace(planted[0], values=np.full(len(planted[0]), 3, np.float32))
    with pytest.raises(InputError, match=r"broke down in sweep \d+: .* Set user_noise to false"):
        sampled((alike, planted[1]), n_sweeps=2000)
    assert sampled((alike, planted[1]), user_noise=False)[1][-1].train_loss < 0.01


def test_what_the_data_does_not_have_is_left_out_with_a_word(
    planted: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = settings(days=True, genres=True, year=True, raters=True)
    train = planted[0]
    left = stage.possible("b", asked, train, ["", ""], np.full(2, np.nan))
    assert left == settings(raters=True)
    said = "b: this data set tells nothing of days, genres, year: sampled without.\n"
    assert capsys.readouterr().out == said
    timed = replace(train, timestamps=np.zeros(len(train), np.int64))
    assert stage.possible("b", asked, timed, ["", "War"], np.array([np.nan, 1999])) == asked
    assert stage.possible("b", settings(), train, ["", ""], np.full(2, np.nan)) == settings()
    assert capsys.readouterr().out == ""
