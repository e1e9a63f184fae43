"""The search for better values, on planted ratings."""

import numpy as np
import pytest

from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.data.split import random_split
from cf.tuning.search import Trial, best_first, dvc_command
from tests.searches import RATES, Pair, section, trials, tune


def test_the_planted_best_is_found(planted: Pair) -> None:
    space = {**RATES, "model.n_factors": {"type": "int", "low": 1, "high": 4}}
    found = trials(planted[0], section(), tune(space, n_trials=20))
    best = best_first(found)[0]
    assert found[0].parameters == {"schedule.learning_rate": 0.00001, "model.n_factors": 3}
    assert found[0].value is not None
    assert found[0].value > 0.5  # as bad as the mean rating
    assert best.value is not None
    assert best.value < 0.2
    assert 0.01 < best.parameters["schedule.learning_rate"] < 0.3


def test_bad_trials_are_pruned_and_good_ones_run_to_the_end(planted: Pair) -> None:
    found = trials(planted[0], section(), tune(RATES, n_trials=20))
    states = [trial.state for trial in found]
    assert set(states) == {"FINISHED", "KILLED"}
    assert set(states[:5]) == {"FINISHED"}, "there is no median yet"
    for trial in found:
        assert all(set(losses) == {"loss/train", "loss/holdout"} for losses in trial.losses)
        if trial.state == "FINISHED":
            assert len(trial.losses) == 5
            assert trial.value == trial.losses[-1]["loss/holdout"]
        else:
            assert len(trial.losses) < 5
            assert trial.value is None


def test_one_seed_gives_the_same_trials_to_the_bit(planted: Pair) -> None:
    def again(seed: int) -> list[Trial]:
        return trials(planted[0], section(), tune(RATES, n_trials=12, seed=seed))

    assert again(1) == again(1)
    assert again(1) != again(2)


def test_the_holdout_is_of_the_train_rows_and_is_not_fitted(planted: Pair) -> None:
    train = planted[0]
    holdout = random_split(len(train), 0.2, 1)["valid"]
    poisoned = train.values.copy()
    poisoned[holdout] = np.nan
    (trial,) = trials(
        Ratings(train.users, train.items, poisoned, None, train.rows),
        section(schedule={"n_epochs": [1]}),
        tune(RATES, n_trials=1),
    )
    assert trial.state == "FAILED"
    assert "nan on held-out rows" in trial.reason
    assert "nan on train" not in trial.reason


def test_a_trial_that_diverges_does_not_end_the_study(planted: Pair) -> None:
    training = section(
        model={"name": "dot", "init_range": [0.0, 1.0]}, schedule={"learning_rate": 0.01}
    )
    space = {"schedule.learning_rate": {"type": "choice", "values": [0.01, 1e30]}}
    found = trials(planted[0], training, tune(space, n_trials=6))
    failed = [trial for trial in found if trial.state == "FAILED"]
    assert failed
    assert all("training diverged" in trial.reason for trial in failed)
    assert all(trial.value is None for trial in failed)
    assert len(found) == 6
    assert best_first(found)[0].parameters == {"schedule.learning_rate": 0.01}


def test_a_trial_that_asks_for_too_much_memory_does_not_end_the_study(planted: Pair) -> None:
    space = {"model.n_factors": {"type": "choice", "values": [3, 10**9]}}
    found = trials(planted[0], section(), tune(space, n_trials=6))
    failed = [trial for trial in found if trial.state == "FAILED"]
    assert {trial.parameters["model.n_factors"] for trial in failed} == {10**9}
    assert all("lower n_factors" in trial.reason for trial in failed)
    assert found[0].state == "FINISHED"


def test_values_that_do_not_go_together_fail_alone(planted: Pair) -> None:
    training = section(schedule={"n_epochs": [1, 1], "learning_rate": [0.1, 0.01]})
    space = {
        "schedule.n_epochs": {"type": "choice", "values": [[1, 1], [2, 2]]},
        "schedule.learning_rate": {"type": "choice", "values": [[0.1, 0.01], 0.05]},
        "schedule.anneal": {"type": "choice", "values": ["none", "cosine"]},
    }
    found = trials(planted[0], training, tune(space, n_trials=8))
    assert {trial.state for trial in found} <= {"FINISHED", "KILLED"}
    assert found[0].parameters["schedule.learning_rate"] == [0.1, 0.01]
    assert {str(trial.parameters["schedule.n_epochs"]) for trial in found} == {"[1, 1]", "[2, 2]"}


def test_the_baseline_is_the_section_as_it_stands_even_outside_the_space(
    planted: Pair,
) -> None:
    space = {
        "model.n_factors": {"type": "int", "low": 5, "high": 6},
        "schedule.learning_rate": {"type": "float", "low": 0.1, "high": 0.2},
        "schedule.warm_up": {"type": "choice", "values": [0.25]},
        "optimizer.weight_decay": {"type": "float", "low": 0.0, "high": 0.00001},
    }
    training = section(schedule={"n_epochs": [1, 1], "learning_rate": [0.123456, 0.01]})
    first, second = trials(planted[0], training, tune(space, n_trials=2))
    assert first.parameters == {
        "model.n_factors": 3,
        "schedule.learning_rate": [0.123456, 0.01],
        "optimizer.weight_decay": 0.0,
    }
    assert set(second.parameters) == set(space)
    line = dvc_command("train_dotbias", second, first)
    assert " +train_dotbias.schedule.warm_up=0.25 " in line


def test_an_empty_holdout_is_refused(planted: Pair) -> None:
    with pytest.raises(InputError, match=r"p: tune.holdout: 0.1 of 9 training ratings"):
        trials(planted[0].take(np.arange(9)), section(), tune(RATES, holdout=0.1))


def test_when_no_trial_finishes_the_error_has_the_first_reason() -> None:
    with pytest.raises(InputError, match=r"none of 1 trials finished. The first failure: too big"):
        best_first([Trial(0, {}, [], "FAILED", None, "too big")])
