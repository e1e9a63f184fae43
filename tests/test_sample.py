"""Whole chains, on planted ratings with a known answer."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.rhat import rhat
from cf.bayes.sample import ChainCheckpoint, Sweep, sample, thinned_indices
from cf.bayes.side_information import Feature
from cf.core.config import Gibbs
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.evaluation import metrics
from cf.models import base
from cf.models.bayesmf import BayesMF, scores

Pair = tuple[Ratings, Ratings]


def settings(**changes: bool | int) -> Gibbs:
    plain = {"n_sweeps": 120, "burn_in": 20, "user_noise": True, "days": False, "genres": False}
    rest = {"year": False, "popularity": False, "item_implicit": False, "user_implicit": False}
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


@pytest.mark.parametrize(("first", "end", "n"), [(0, 200, 200), (5, 1000, 995), (20, 200, 100)])
def test_kept_sweeps_differ_and_end_with_the_last(first: int, end: int, n: int) -> None:
    indices = thinned_indices(first, end, n).tolist()
    assert sorted(set(indices)) == indices
    assert first <= indices[0]
    assert indices[-1] == end - 1
    assert max(np.diff(indices)) - min(np.diff(indices)) <= 1


def test_a_chain_that_was_broken_off_goes_on_to_the_same_samples(
    planted: Pair, tmp_path: Path
) -> None:
    def chain(checkpoint: ChainCheckpoint | None) -> tuple[BayesMF, Iterator[Sweep]]:
        torch.manual_seed(0)
        model = BayesMF(BayesMF.Config(n_factors=2, n_samples=10), 60, 80, [0.5, 5.0])
        asked = settings(n_sweeps=30, burn_in=5, days=True)
        columns = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
        known = [Feature("made_up", columns)]
        return model, sample(model, *dated, [], known, asked, checkpoint=checkpoint)

    def figures(sweeps: Iterator[Sweep]) -> list[tuple[float, ...]]:
        return [(s.epoch, s.train_loss, s.valid_loss, s.noise_precision) for s in sweeps]

    dated = tuple(replace(part, timestamps=86400 * (part.rows % 9)) for part in planted)
    model, sweeps = chain(None)
    expected = figures(sweeps)
    file = tmp_path / "chain.safetensors"
    broken, sweeps = chain(ChainCheckpoint(file, "here", interval=0.0))
    for _ in range(17):
        next(sweeps)
    sweeps.close()

    again, sweeps = chain(ChainCheckpoint(file, "here"))
    assert figures(sweeps) == expected
    states = broken.state_dict(), again.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, states[1][name]), name
    assert not torch.equal(states[0]["user_rows"], states[1]["user_rows"])

    assert ChainCheckpoint(file, "elsewhere").load() is None
    assert len(ChainCheckpoint(file, "here").load()["sweeps"]) == 17
    file.write_bytes(file.read_bytes()[:1000])
    assert ChainCheckpoint(file, "here").load() is None, "half a file is none"
    file.unlink()
    assert ChainCheckpoint(file, "here").load() is None


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
        chains.append(torch.stack([scores(u, i, users, items) for u, i in rows]))
    found = rhat(torch.stack(chains).numpy())
    assert np.median(found) < 1.02
    assert np.quantile(found, 0.9) < 1.05


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


def test_ratings_that_are_all_alike_end_in_a_message(planted: Pair) -> None:
    alike = replace(planted[0], values=np.full(len(planted[0]), 3, np.float32))
    with pytest.raises(InputError, match=r"diverged in sweep \d+: .* Set user_noise to false"):
        sampled((alike, planted[1]), n_sweeps=2000)
    assert sampled((alike, planted[1]), user_noise=False)[1][-1].train_loss < 0.01
