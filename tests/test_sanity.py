"""What must hold of any evaluation; docs/evaluation.md states the same bounds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from cf.baselines.bias import Bias, GlobalMean
from cf.core.ratings import Ratings, Stars
from cf.data.describe import is_leaked
from cf.evaluation import metrics
from cf.models import base
from tests.trained import N_ITEMS, N_USERS, PARAMS, train_model

SECTIONS = [name for name in yaml.safe_load(PARAMS.read_text()) if name.startswith("train_")]
Pair = tuple[Ratings, Ratings]


def trained(
    section: str, train: Ratings, valid: Ratings, n_epochs: tuple[int, int] = (20, 10)
) -> Stars:
    """What the model of a section of params.yaml predicts for `valid` after so many epochs."""
    model, _ = train_model(section, train, valid, n_epochs)
    return base.predict(model, valid.users, valid.items)


def shuffled(ratings: Ratings, seed: int = 0) -> Ratings:
    return ratings.take(np.random.default_rng(seed).permutation(len(ratings)))


def test_every_model_has_a_section() -> None:
    sections = yaml.safe_load(PARAMS.read_text())
    assert {sections[name]["model"]["name"] for name in SECTIONS} == set(base.names())


@pytest.mark.parametrize("section", SECTIONS)
def test_a_model_has_skill_and_none_on_labels_dealt_at_random(section: str, planted: Pair) -> None:
    train, valid = planted
    predicted = trained(section, train, valid)
    mean = GlobalMean().fit(train, N_USERS, N_ITEMS).predict(valid.users, valid.items)
    rmse = metrics.rmse(predicted, valid.values)
    assert metrics.rmse(mean, valid.values) - rmse > 0.1
    dealt = np.random.default_rng(1).permutation(valid.values)
    assert metrics.rmse(mean, dealt) - metrics.rmse(predicted, dealt) < 0.02
    # Another order of the training rows is another draw, as another seed is.
    drawn = trained(section, shuffled(train), valid)
    assert metrics.rmse(drawn, valid.values) == pytest.approx(rmse, abs=0.03)


def test_a_baseline_has_no_skill_then_either(planted: Pair) -> None:
    train, valid = planted
    pairs = valid.users, valid.items
    mean, bias = (
        baseline.fit(train, N_USERS, N_ITEMS).predict(*pairs)
        for baseline in (GlobalMean(), Bias(damping=5.0))
    )
    assert metrics.rmse(mean, valid.values) - metrics.rmse(bias, valid.values) > 0.1
    dealt = np.random.default_rng(1).permutation(valid.values)
    assert metrics.rmse(mean, dealt) - metrics.rmse(bias, dealt) < 0.02


def test_training_rows_among_the_held_out_are_found(planted: Pair) -> None:
    train, valid = planted
    frame = train.to_frame()
    assert not is_leaked(frame, valid.to_frame()).any()
    both = pd.concat([valid.to_frame().assign(of_train=False), frame[:40].assign(of_train=True)])
    shuffled = both.sample(frac=1, random_state=0)
    assert is_leaked(frame, shuffled).tolist() == shuffled["of_train"].tolist()


def test_the_order_of_rows_does_not_change_metrics(planted: Pair) -> None:
    valid = planted[1]
    draw = np.random.default_rng(0)
    predicted = draw.uniform(0.5, 5, len(valid)).astype(np.float32)
    cold, order = draw.random(len(valid)) < 0.2, draw.permutation(len(valid))
    before = metrics.summary(predicted, valid.values, cold)
    after = metrics.summary(predicted[order], valid.values[order], cold[order])
    assert after == pytest.approx(before, rel=0, abs=1e-12)


def test_order_and_names_do_not_change_a_baseline(planted: Pair) -> None:
    train, valid = planted
    sizes = N_USERS, N_ITEMS
    before = Bias(5.0).fit(train, *sizes).predict(valid.users, valid.items)
    draw = np.random.default_rng(0)
    users, items = draw.permutation(N_USERS), draw.permutation(N_ITEMS)
    renamed = replace(train, users=users[train.users], items=items[train.items])
    fitted = Bias(5.0).fit(shuffled(renamed), *sizes)
    after = fitted.predict(users[valid.users], items[valid.items])
    observed = valid.values
    assert metrics.rmse(after, observed) == pytest.approx(metrics.rmse(before, observed), abs=1e-6)


@pytest.mark.parametrize("section", SECTIONS)
def test_neither_threads_nor_the_order_of_validation_rows_change_a_model(
    section: str, planted: Pair
) -> None:
    train, valid = planted
    reordered, rmse = shuffled(valid), []
    for n_threads, held_out in ((1, valid), (2, valid), (1, reordered)):
        torch.set_num_threads(n_threads)  # few epochs: a second thread is slower
        predicted = trained(section, train, held_out, (1, 1))
        rmse.append(metrics.rmse(predicted, held_out.values))
    assert rmse == pytest.approx(rmse[:1] * 3, abs=1e-5)
