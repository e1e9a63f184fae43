"""Whole chains, on planted ratings with a known answer."""

import operator
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.rhat import rhat
from benchmarks.switches import OFF
from cf.baselines.bias import Bias
from cf.bayes import gibbs
from cf.bayes import sample as sampling
from cf.bayes.sample import Sweep, sample, thinned_indices
from cf.bayes.side_information import Feature, interaction_feature
from cf.core.config import Gibbs
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.evaluation import metrics
from cf.models import base
from cf.models.bayesmf import BayesMF, Samples, scores
from cf.training.checkpoint import ModelSpec
from cf.training.resume import ResumePoint
from tests.devices import GPU, SimulatedGpu

Pair = tuple[Ratings, Ratings]


def settings(**changes: Any) -> Gibbs:
    plain = {"n_sweeps": 120, "burn_in": 20, "user_noise": True}
    return Gibbs(**{**OFF, **plain, **changes})


def sampled(pair: Pair, seed: int = 0, **changes: Any) -> tuple[BayesMF, list[Sweep]]:
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
    deviations = model.timeless.noise.sqrt().numpy()
    assert np.median(deviations[:30]) == pytest.approx(0.1, rel=0.25)
    assert np.median(deviations[30:]) == pytest.approx(0.4, rel=0.25)
    mean, deviation = model.predict_mean_and_std(torch.tensor(users), torch.tensor(items))
    observed = truth + draw.normal(0, noise[users])
    inside = (np.abs(observed - mean.numpy()) < 1.28 * deviation.numpy()).mean()
    assert 0.72 < inside < 0.88  # of 80% intervals


def test_the_seconds_of_a_sweep_are_without_validation(
    planted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of a chain takes a second here, its validation a minute."""
    clock = [1000.0]

    def taking(seconds: float, function: Any) -> Any:
        def slow(*given: Any, **options: Any) -> Any:
            clock[0] += seconds
            return function(*given, **options)

        return slow

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    for seconds, name in ((1, "sweep_or_raise"), (60, "ValidationMonitor.loss")):
        place = f"cf.bayes.sample.{name}"
        monkeypatch.setattr(place, taking(seconds, operator.attrgetter(name)(sampling)))
    _, sweeps = sampled(planted, n_sweeps=3, burn_in=1)
    assert [sweep.seconds for sweep in sweeps] == [1, 1, 1]
    assert Sweep(3, 0.5, 0.75, 4.0, seconds=2.0).metrics() == {
        "loss/train": 0.5,
        "loss/valid": 0.75,
        "noise_precision": 4.0,
        "seconds_per_epoch": 2.0,
    }


def test_more_ratings_than_32_bits_number_are_refused(
    planted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_RATINGS", 10)
    with pytest.raises(InputError, match="bayesmf takes 10 ratings at most, got "):
        sampled(planted, n_sweeps=3, burn_in=1)


def test_a_chain_on_another_scale_answers_on_it(planted: Pair) -> None:
    """Ratings from 10 to 100 as those from 0.5 to 5: the same chain, on their scale."""
    plain, expected = sampled(planted, n_sweeps=30)
    train, valid = (replace(part, values=part.values * 20) for part in planted)
    torch.manual_seed(0)
    model = BayesMF(BayesMF.Config(n_factors=2, n_samples=100), 60, 80, [0.5, 5.0])
    model.factor = 20.0
    sweeps = list(sample(model, train, valid, [], [], settings(n_sweeps=30)))
    assert sweeps[-1].train_loss == pytest.approx(400 * expected[-1].train_loss, rel=1e-3)
    assert sweeps[-1].valid_loss == pytest.approx(400 * expected[-1].valid_loss, rel=1e-3)
    assert sweeps[-1].noise_precision == pytest.approx(expected[-1].noise_precision / 400, rel=1e-3)
    pairs = valid.users, valid.items
    for one, other in zip(
        base.predict_mean_and_std(plain, *pairs),
        base.predict_mean_and_std(model, *pairs),
        strict=True,
    ):
        np.testing.assert_allclose(other, 20 * one, rtol=1e-2)


def test_the_error_bar_of_a_user_without_ratings_is_no_wider_than_the_range(planted: Pair) -> None:
    known = planted[0].users < 6
    few = planted[0].take(np.flatnonzero(known))
    values = np.where(few.users < 3, 3.0, few.values).astype(np.float32)
    model, _ = sampled((replace(few, values=values), planted[1]))
    pairs = torch.arange(60), torch.zeros(60, dtype=torch.int64)
    _, deviation = model.predict_mean_and_std(*pairs)
    assert deviation[:3].max() < 0.3 < deviation[6:].min()
    assert deviation.max() <= 2.25 * 2**0.5, "noise and rows, each of the whole range"


KEPT = [(0, 200, 200), (5, 1000, 995), (20, 200, 100), (20, 100, 32), (20, 99, 33), (3, 9, 1)]


@pytest.mark.parametrize(("first", "end", "n"), KEPT)
def test_kept_sweeps_are_pairs_of_neighbors_and_end_with_the_last(
    first: int, end: int, n: int
) -> None:
    indices = thinned_indices(first, end, n).tolist()
    assert sorted(set(indices)) == indices
    assert first <= indices[0]
    assert indices[-1] == end - 1
    pairs = indices[n % 2 :]
    assert set(np.subtract(pairs[1::2], pairs[::2])) <= {1}
    gaps = np.diff(pairs[::2])
    assert n < 4 or max(gaps) - min(gaps) <= 1


def test_a_chain_that_was_broken_off_goes_on_to_the_same_samples(
    planted: Pair, tmp_path: Path
) -> None:
    def chain(resume: ResumePoint | None) -> tuple[BayesMF, Iterator[Sweep]]:
        torch.manual_seed(0)
        model = BayesMF(BayesMF.Config(n_factors=2, n_samples=10), 60, 80, [0.5, 5.0])
        asked = settings(n_sweeps=30, burn_in=5, time_scales=[600, 60])
        columns = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
        known = [Feature("made_up", columns)]
        return model, sample(model, *dated, [], known, asked, resume=resume)

    def figures(sweeps: Iterator[Sweep]) -> list[tuple[float, ...]]:
        return [(s.epoch, s.train_loss, s.valid_loss, s.noise_precision) for s in sweeps]

    dated = tuple(replace(part, timestamps=60 * (part.rows % 90)) for part in planted)
    model, sweeps = chain(None)
    expected = figures(sweeps)
    file = tmp_path / "chain.safetensors"
    broken, sweeps = chain(ResumePoint(file, "here", interval=0.0))
    for _ in range(17):
        next(sweeps)
    sweeps.close()

    again, sweeps = chain(ResumePoint(file, "here"))
    assert figures(sweeps) == expected
    states = broken.state_dict(), again.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, states[1][name]), name
    assert not torch.equal(states[0]["timed.user_rows"], states[1]["timed.user_rows"])

    assert ResumePoint(file, "elsewhere").load() is None
    assert len(ResumePoint(file, "here").load()["sweeps"]) == 17
    file.write_bytes(file.read_bytes()[:-1000])
    _, sweeps = chain(ResumePoint(file, "here"))
    assert figures(sweeps) == expected, "a damaged file is none"


def test_a_chain_on_a_gpu_is_that_of_the_cpu_given_the_same_random_numbers(
    planted: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a few sweeps, before rounding is all; and it goes on there where it was broken off."""
    monkeypatch.setattr(gibbs, "compiled", None)
    dated = tuple(replace(part, timestamps=60 * (part.rows % 90)) for part in planted)
    new = planted[0].users != 7  # a user without ratings, who gets what random ones have
    train, valid = dated[0].take(np.flatnonzero(new)), dated[1]
    asked = settings(n_sweeps=5, burn_in=2, time_scales=[600, 60], residual_neighbors=True)
    columns = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    users = interaction_feature("user_implicit", train.users, train.items, 60, 80)

    def chain(device: torch.device, resume: ResumePoint | None = None) -> BayesMF:
        torch.manual_seed(0)
        model = BayesMF(BayesMF.Config(n_factors=2, n_samples=3), 60, 80, [0.5, 5.0]).to(device)
        features = [users], [Feature("made_up", columns)]
        sweeps = sample(model, train, valid, *features, asked, resume)
        losses.append([(sweep.train_loss, sweep.valid_loss) for sweep in sweeps])
        return model

    losses: list[list[tuple[float, float]]] = []
    expected = chain(torch.device("cpu"))
    file = tmp_path / "chain.safetensors"
    with SimulatedGpu():
        on_gpu = chain(GPU, ResumePoint(file, "here", interval=0.0))
        resumed = chain(GPU, ResumePoint(file, "here"))  # after its last sweep
        for model in (on_gpu, resumed):
            assert {parameter.device for parameter in model.parameters()} == {GPU}
            for name, tensor in expected.state_dict().items():
                found = model.state_dict()[name].cpu()
                tolerance = 1.0 if tensor.dtype == torch.int8 else 1e-3  # the last of 8 bits
                torch.testing.assert_close(found, tensor, rtol=1e-3, atol=tolerance, msg=name)
        predicted = base.predict_mean_and_std(on_gpu, valid.users, valid.items, valid.timestamps)
    again = base.predict_mean_and_std(expected, valid.users, valid.items, valid.timestamps)
    for found, on_cpu in zip(predicted, again, strict=True):
        np.testing.assert_allclose(found, on_cpu, rtol=1e-2)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-4)


def test_the_kept_samples_predict_as_the_running_mean(
    planted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact: list[tuple[torch.Tensor, torch.Tensor]] = []  # before they are rounded to 8 bits
    put = Samples.put

    def put_and_keep(samples: Samples, index: int, *rows: torch.Tensor) -> None:
        exact.append(rows)
        put(samples, index, *rows)

    monkeypatch.setattr(Samples, "put", put_and_keep)
    model, sweeps = sampled(planted)
    valid = planted[1]
    pairs = torch.tensor(valid.users), torch.tensor(valid.items)
    sums = torch.stack([scores(*rows, *pairs) for rows in exact]) + model.mean
    expected = sums.clamp(0.5, 5.0).mean(0).numpy()
    assert metrics.mse(expected, valid.values) == pytest.approx(sweeps[-1].valid_loss, rel=1e-4)
    assert metrics.rmse(base.predict(model, valid.users, valid.items), expected) < 0.002
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
        samples = model.timeless
        rows = (samples.rows(index) for index in range(len(samples)))
        chains.append(torch.stack([scores(u, i, users, items) for u, i in rows]))
    found = rhat(torch.stack(chains).numpy())
    assert np.median(found) < 1.02
    assert np.quantile(found, 0.9) < 1.05


@pytest.fixture(scope="module")
def moody() -> Pair:
    """Ratings with a mood: a process of variance 0.25 that forgets over ten minutes."""
    draw = np.random.default_rng(0)
    n_users, n_items, n_each = 60, 80, 50
    users = np.repeat(np.arange(n_users), n_each)
    items = np.concatenate([draw.permutation(n_items)[:n_each] for _ in range(n_users)])
    times = np.cumsum(draw.integers(1, 120, (n_users, n_each)), 1)
    moods = 0.5 * draw.normal(size=(n_users, n_each))
    kept = np.exp(-np.diff(times) / 600)
    for at in range(1, n_each):
        moods[:, at] *= np.sqrt(1 - kept[:, at - 1] ** 2)
        moods[:, at] += kept[:, at - 1] * moods[:, at - 1]
    biases = draw.normal(0, 0.3, n_users)[users] + draw.normal(0, 0.3, n_items)[items]
    values = 2.75 + biases + moods.ravel() + draw.normal(0, 0.2, len(users))
    rows = np.arange(len(users))
    ratings = Ratings(users, items, values.astype(np.float32), 10**9 + times.ravel(), rows)
    held = draw.random(len(rows)) < 0.2
    return ratings.take(np.flatnonzero(~held)), ratings.take(np.flatnonzero(held))


def test_planted_moods_are_recovered(moody: Pair) -> None:
    valid = moody[1]
    model, sweeps = sampled(moody, time_scales=[600, 60])
    assert model.timed is not None
    pairs = valid.users, valid.items
    informed = metrics.rmse(base.predict(model, *pairs, valid.timestamps), valid.values)
    bare = metrics.rmse(base.predict(model, *pairs), valid.values)
    assert 0.2 < informed < 0.75 * bare
    assert float(model.timed.variances.sum()) == pytest.approx(0.25, rel=0.3)
    assert sweeps[-1].valid_loss == pytest.approx(informed**2, rel=0.02)
    predicted, deviation = base.predict_mean_and_std(model, *pairs, valid.timestamps)
    assert deviation is not None
    inside = np.abs(valid.values - predicted) < 1.28 * deviation
    spread = 4 * (0.8 * 0.2 / len(valid)) ** 0.5  # of the share that chance brings
    assert abs(inside.mean() - 0.8) < spread + 0.02  # of 80% intervals


def test_a_time_far_away_is_as_no_time(moody: Pair) -> None:
    valid = moody[1]
    model, _ = sampled(moody, time_scales=[600, 60])
    later = valid.timestamps + 10 * 365 * 86400
    pairs = valid.users, valid.items
    for known, unknown in zip(
        base.predict_mean_and_std(model, *pairs, later),
        base.predict_mean_and_std(model, *pairs),
        strict=True,
    ):
        np.testing.assert_allclose(known, unknown, atol=1e-3)


def test_each_chain_keeps_its_own_residuals_by_user(moody: Pair) -> None:
    """Of training rows in any order; what predictions leave, before they are corrected."""
    train = moody[0].take(np.random.default_rng(0).permutation(len(moody[0])))
    both = {"n_sweeps": 80, "time_scales": [600, 60]}
    model, _ = sampled((train, moody[1]), **both, residual_neighbors=True)
    plain, _ = sampled((train, moody[1]), **both)
    assert train.timestamps is not None
    ordered = train.take(np.lexsort((train.timestamps, train.users)))
    assert model.timed is not None
    np.testing.assert_array_equal(model.rated_items, ordered.items)
    times = model.timed.times[model.timed.opens_moment.cumsum(0) - 1].numpy()
    np.testing.assert_array_equal(times, ordered.timestamps)
    for samples, when in ((model.timeless, None), (model.timed, ordered.timestamps)):
        left = ordered.values - base.predict(plain, ordered.users, ordered.items, when)
        errors = np.abs(samples.residuals.float().numpy() - left)
        assert np.quantile(errors, 0.95) < 0.02, "few sums were clamped"
        assert left.std() > 0.1


def test_a_single_moment_has_an_effect(planted: Pair) -> None:
    one = planted[0].take(np.arange(1))
    at_once = replace(one, timestamps=np.array([10**9]))
    model, _ = sampled((at_once, planted[1]), n_sweeps=25, time_scales=[600])
    found = base.predict(model, one.users, one.items, at_once.timestamps)
    assert np.isfinite(found).all()


def test_without_time_scales_or_times_no_chain_knows_times(moody: Pair) -> None:
    valid = moody[1]
    model, _ = sampled(moody, n_sweeps=30)
    assert model.timed is None
    pairs = valid.users, valid.items
    with_times = base.predict(model, *pairs, valid.timestamps)
    np.testing.assert_array_equal(with_times, base.predict(model, *pairs))
    bare = tuple(replace(part, timestamps=None) for part in moody)
    assert sampled(bare, n_sweeps=30, time_scales=[600])[0].timed is None


def test_what_a_few_items_have_in_common_is_in_the_residuals_of_the_others() -> None:
    """A series of three films: what a user thinks of one holds for the two others, too.

    Which items are a series is known, as a genre is, but eight factors cannot hold 30 tastes.
    """
    draw = np.random.default_rng(0)
    n_users, n_series, n_items = 400, 30, 90
    users, items = np.nonzero(draw.random((n_users, n_items)) < 0.4)
    tastes = draw.normal(0, 0.6, (n_users, n_series))
    biases = draw.normal(0, 0.3, n_users)[users] + draw.normal(0, 0.3, n_items)[items]
    values = 2.75 + biases + tastes[users, items // 3] + draw.normal(0, 0.3, len(users))
    ratings = Ratings(users, items, values.astype(np.float32), None, np.arange(len(users)))
    held = draw.random(len(users)) < 0.2
    train, valid = ratings.take(np.flatnonzero(~held)), ratings.take(np.flatnonzero(held))
    series = [Feature("series", np.eye(n_series, dtype=np.float32)[np.arange(n_items) // 3])]
    errors, models = [], []
    for switch in (False, True):
        torch.manual_seed(0)
        config = BayesMF.Config(n_factors=8, n_samples=40)
        model = BayesMF(config, n_users, n_items, [0.5, 5.0])
        asked = settings(n_sweeps=60, residual_neighbors=switch)
        for _ in sample(model, train, valid, [], series, asked):
            pass
        models.append(model)
        errors.append(metrics.rmse(base.predict(model, valid.users, valid.items), valid.values))
    assert errors[1] < 0.9 * errors[0]
    plain, corrected = models
    assert len(plain.rated_items) == 0
    for name, samples in plain.timeless.named_parameters():
        if name != "residuals":
            assert torch.equal(samples, corrected.timeless.get_parameter(name)), "another chain"
    order = np.argsort(train.users, kind="stable")
    of_train = train.take(order)
    expected = of_train.values - base.predict(plain, of_train.users, of_train.items)
    residuals = corrected.timeless.residuals.float().numpy()
    assert np.quantile(np.abs(residuals - expected), 0.99) < 0.01  # a few sums were clamped
    np.testing.assert_array_equal(corrected.rated_items, of_train.items)


def test_of_new_users_it_is_not_known_what_they_will_rate() -> None:
    """Which half of the items a user rates tells their bias; of new users, neither is known."""
    draw = np.random.default_rng(0)
    n_users, n_known, n_items, n_each = 400, 200, 60, 15
    kind = draw.integers(0, 2, n_users)
    users = np.repeat(np.arange(n_users), n_each)
    in_half = np.concatenate([draw.permutation(n_items // 2)[:n_each] for _ in range(n_users)])
    items = in_half + n_items // 2 * kind[users]
    values = 2.75 + 0.8 * (2 * kind[users] - 1) + draw.normal(0, 0.4, len(users))
    ratings = Ratings(users, items, values.astype(np.float32), None, np.arange(len(users)))
    train = ratings.take(np.flatnonzero(users < n_known))
    new = ratings.take(np.flatnonzero(users >= n_known))
    torch.manual_seed(0)
    model = BayesMF(BayesMF.Config(n_factors=2, n_samples=60), n_users, n_items, [0.5, 5.0])
    feature = interaction_feature("user_implicit", train.users, train.items, n_users, n_items)
    for _ in sample(model, train, new, [feature], [], settings(n_sweeps=100, burn_in=40)):
        pass
    either = draw.integers(0, n_items, len(new))  # items that do not give the kind away
    predicted, deviation = base.predict_mean_and_std(model, new.users, either)
    inside = np.abs(new.values - predicted) < 1.28 * deviation
    assert 0.7 < inside.mean() < 0.9  # of 80% intervals; if theirs were taken for none, a quarter
    assert np.abs(predicted - train.values.mean()).mean() < 0.3


@pytest.mark.parametrize("seed", [1, 2])
def test_few_ratings_are_predicted_as_well_as_by_biases(seed: int) -> None:
    """Two ratings a user, three an item, on another scale: no factors to be found."""
    draw = np.random.default_rng(seed)
    n_users, n_items, n = 3000, 2000, 12_000
    users, items = np.divmod(draw.choice(n_users * n_items, n, replace=False), n_items)
    biases = draw.normal(0, 8, n_users)[users] + draw.normal(0, 8, n_items)[items]
    values = (50 + biases + draw.normal(0, 15, n)).clip(1, 100).astype(np.float32)
    ratings = Ratings(users, items, values, None, np.arange(n))
    train, valid = ratings.take(np.arange(n // 2)), ratings.take(np.arange(n // 2, n))
    torch.manual_seed(seed)
    spec = ModelSpec(
        {"name": "bayesmf", "n_factors": 20, "n_samples": 80}, n_users, n_items, (1, 100)
    )
    model = spec.build("test")
    assert isinstance(model, BayesMF)
    for _ in sample(model, train, valid, [], [], settings(n_sweeps=100, user_noise=False)):
        pass
    pairs = valid.users, valid.items
    biased = metrics.rmse(Bias(5.0).fit(train, n_users, n_items).predict(*pairs), valid.values)
    assert metrics.rmse(base.predict(model, *pairs), valid.values) < 1.01 * biased


def test_ratings_that_are_all_alike_end_in_a_message(planted: Pair) -> None:
    alike = replace(planted[0], values=np.full(len(planted[0]), 3, np.float32))
    with pytest.raises(InputError, match=r"diverged in sweep \d+: .* Set user_noise to false"):
        sampled((alike, planted[1]), n_sweeps=2000)
    assert sampled((alike, planted[1]), user_noise=False)[1][-1].train_loss < 0.01


@pytest.mark.parametrize(("first", "end", "n"), [(20, 50, 80), (0, 1, 2), (0, 30, 80), (3, 4, 1)])
def test_fewer_sweeps_than_samples_are_all_kept(first: int, end: int, n: int) -> None:
    indices = thinned_indices(first, end, n).tolist()
    assert len(indices) == n
    assert sorted(set(indices)) == list(range(first, end))
