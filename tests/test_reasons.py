"""Reasons that are true: without the rating that is named, the prediction is as was said."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from cf.core.ratings import Ratings
from cf.inference.load import load_answers
from cf.training.checkpoint import save
from tests.trained import N_ITEMS, N_USERS, PARAMS, train_model

SECTIONS = [name for name in yaml.safe_load(PARAMS.read_text()) if name.startswith("train_")]
N_CASES = 1000


@pytest.mark.parametrize("section", SECTIONS)
def test_deleting_a_rating_changes_the_prediction_by_what_was_said(
    section: str, planted: tuple[Ratings, Ratings], tmp_path: Path
) -> None:
    train, valid = planted
    save(tmp_path, *train_model(section, train, valid))
    answers = load_answers(tmp_path)
    assert answers is not None
    draw, errors, effects = np.random.default_rng(0), [], []
    while len(errors) < N_CASES:
        rows = draw.permutation(np.flatnonzero(train.users == draw.integers(N_USERS)))
        rows = rows[: draw.integers(2, 20)]
        items, ratings = train.items[rows], train.values[rows]
        target = int(draw.integers(N_ITEMS))
        (everything,), (without,) = answers.without_each(items, ratings, np.array([target]))
        assert everything == pytest.approx(predict(answers, items, ratings, target), abs=1e-4)
        for row in draw.permutation(len(rows))[:5]:
            left = np.delete(items, row), np.delete(ratings, row)
            errors.append(abs(predict(answers, *left, target) - without[row]))
            effects.append(abs(everything - without[row]))
    assert np.mean(np.array(errors) <= 0.02) >= 0.95
    assert np.mean(errors) < np.mean(effects) / 3


def predict(answers: object, items: np.ndarray, ratings: np.ndarray, target: int) -> float:
    """For somebody new with these ratings."""
    person = answers.fold_in(items, ratings)
    return float(answers.score(person, np.array([target]))[0][0])
