"""dotbias_ensemble on ratings of a wide scale, of many users whom training has hardly met."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cf.baselines.bias import Bias, GlobalMean
from cf.core import config
from cf.core.config import Training
from cf.core.ratings import Ratings, is_cold
from cf.evaluation import metrics
from cf.models import base
from cf.training import optim
from cf.training.checkpoint import ModelSpec
from cf.training.fit import EpochResult, compare_with_mean, fit

PARAMS = Path(__file__).parent.parent / "params.yaml"
N_USERS, N_ITEMS, RANGE = 600, 200, (1.0, 100.0)
Pair = tuple[Ratings, Ratings]


@pytest.fixture(scope="module")
def sparse() -> Pair:
    """From 1 to 100, 83 on average; nobody has more than a few, and a third of the users none."""
    draw = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), draw.integers(1, 9, N_USERS))
    items = draw.integers(0, N_ITEMS, len(users))
    level = 83 + draw.normal(0, 8, N_USERS)[users] + draw.normal(0, 8, N_ITEMS)[items]
    values = (level + draw.normal(0, 8, len(users))).round().clip(*RANGE).astype(np.float32)
    ratings = Ratings(users, items, values, None, np.arange(len(users)))
    held = (users % 3 == 0) | (draw.random(len(users)) < 0.2)
    return ratings.take(np.flatnonzero(~held)), ratings.take(np.flatnonzero(held))


def train_section(section: str, pair: Pair) -> tuple[base.Model, EpochResult]:
    """The model as params.yaml says, and its last epoch."""
    train, valid = pair
    training = config.load(PARAMS, section, Training)
    torch.manual_seed(training.seed)
    model = ModelSpec(training.model, N_USERS, N_ITEMS, RANGE).build(section)
    optimizer = optim.build(training.optimizer, model, len(train))
    size = training.batch_size_for(len(train))
    *_, last = fit(model, train, valid, optimizer, training.schedule, size)
    return model, last


def test_it_is_level_with_the_bias_baseline_where_dotbias_is_worse_than_the_mean(
    sparse: Pair,
) -> None:
    train, valid = sparse
    pairs = valid.users, valid.items
    mean, bias = (
        metrics.rmse(each.fit(train, N_USERS, N_ITEMS).predict(*pairs), valid.values)
        for each in (GlobalMean(), Bias(5.0))
    )
    model, last = train_section("train_dotbias_ensemble", sparse)
    rmse = metrics.rmse(base.predict(model, *pairs), valid.values)
    assert rmse < mean - 0.5
    assert rmse < 1.02 * bias
    assert rmse**2 == pytest.approx(last.valid_loss, rel=1e-4)
    assert not compare_with_mean(last, train, valid)
    _, of_dotbias = train_section("train_dotbias", sparse)
    assert "worse than" in compare_with_mean(of_dotbias, train, valid)


def test_a_user_without_ratings_is_predicted_at_the_mean(sparse: Pair) -> None:
    train, valid = sparse
    model, _ = train_section("train_dotbias_ensemble", sparse)
    unmet = np.setdiff1d(np.arange(N_USERS), train.users)
    assert len(unmet) >= N_USERS / 3
    counts = train.user_counts(N_USERS), train.item_counts(N_ITEMS)
    assert is_cold(valid, *counts)[np.isin(valid.users, unmet)].all()
    rated = np.unique(train.items)
    for user in unmet[:3]:
        predicted = base.predict(model, np.full(len(rated), user), rated)
        assert predicted.mean() == pytest.approx(train.values.mean(), abs=1.5)  # the middle is 50.5
        assert predicted.std() > 2, "items differ for them, too"
