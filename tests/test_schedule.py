import numpy as np
import pytest

from cf.core import config
from cf.training.schedule import learning_rates


def test_phases_each_have_their_rate() -> None:
    two = config.Schedule(n_epochs=[1, 2], learning_rate=[0.1, 0.01], anneal="none")
    assert [rates.tolist() for rates in learning_rates(two, 2)] == [[0.1] * 2, *[[0.01] * 2] * 2]


def test_cosine_falls_within_a_phase_and_restarts() -> None:
    cosine = config.Schedule(n_epochs=[1, 2], learning_rate=2.0, anneal="cosine")
    first, second, third = (rates.tolist() for rates in learning_rates(cosine, 2))
    assert first == pytest.approx([2.0, 1.0])
    assert [*second, *third] == pytest.approx([2.0, 1 + np.sqrt(0.5), 1.0, 1 - np.sqrt(0.5)])


def test_warm_up_runs_the_first_steps_at_a_hundredth() -> None:
    warm = config.Schedule(n_epochs=[1, 1], learning_rate=2.0, anneal="cosine", warm_up=0.25)
    first, second = learning_rates(warm, 4)
    assert first.tolist() == pytest.approx([0.02, 1 + np.sqrt(0.5), 1.0, 1 - np.sqrt(0.5)])
    assert second[0] == 2.0
