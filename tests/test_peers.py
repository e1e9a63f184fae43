import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.peers import factorization_machine, one, ours
from benchmarks.peers.case import Case, System
from benchmarks.peers.children import version
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.table import Measured, changes, markdown, medians, table
from cf.core.ratings import Indices, Ratings
from cf.evaluation import ranking

ROOT = Path(__file__).parent.parent
DAY = 86400


def ratings(users: list[int], items: list[int], days: list[float]) -> Ratings:
    n = len(users)
    times = (np.array(days) * DAY).astype(np.int64)
    values = np.full(n, 4, np.float32)
    return Ratings(np.array(users), np.array(items), values, times, np.arange(n))


@pytest.fixture
def case(planted: tuple[Ratings, Ratings]) -> Case:
    train, valid = planted
    n_users, n_items = (
        1 + max(getattr(train, key).max(), getattr(valid, key).max()) for key in ("users", "items")
    )
    names = ["drama" if item % 2 else "comedy|drama" for item in range(n_items)]
    years = np.arange(n_items) % 7 + 1990.0
    task = ranking.make_task(train, valid, n_users, n_items, 4.0)
    return Case(
        train,
        valid,
        n_users,
        n_items,
        (0.5, 5.0),
        pd.DataFrame({"genres": names, "year": years}),
        pd.DataFrame({"item": range(n_items), "tag": names, "timestamp": 0}),
        task,
        3,
        1,
        1,
    )


OURS = [system for system in [*ours.STARS, *ours.LISTS] if "ids" not in system.name]


@pytest.mark.parametrize("system", OURS, ids=lambda system: system.name)
def test_cfs_own_systems_answer_after_three_steps(system: System, case: Case) -> None:
    steps = system.steps(case)
    next(steps)
    next(steps)
    with pytest.raises(StopIteration) as end:
        next(steps)
    found = one.score(end.value.value, case)
    if system in ours.LISTS:
        assert 0 < found <= 1
    else:
        spread = case.valid.values - case.train.values.mean()
        assert found < np.sqrt(np.mean(spread**2))


def test_a_missing_prediction_is_refused_not_left_out(case: Case) -> None:
    stars = np.full(len(case.valid), 3.0)
    assert one.score(stars, case) > 0
    with pytest.raises(ValueError, match="finite"):
        one.score(np.where(np.arange(len(stars)) == 5, np.nan, stars), case)
    with pytest.raises(ValueError, match="expected"):
        one.score(stars[1:], case)


def test_ratios_are_the_median_of_the_rounds_own() -> None:
    def runs(*seconds: float) -> list[Measured]:
        return [Measured(0.8, 1.0, s, 1.0, s + 1, 100.0) for s in seconds]

    # The machine was ten times slower in the second round, and something else ran in the third.
    lines = table("RMSE", {"a": runs(1, 19, 1), "b": runs(3, 39, 99)}, {"a": "1", "b": "2"})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert dict(zip(cells[0], cells[3], strict=True)) == {
        "system": "b",
        "version": "2",
        "RMSE": "0.8000",
        "fit, s": "39.00",
        "predict, s": "1.00",
        "times a": "2.00",
        "CPU, s": "40.00",
        "import, s": "1.00",
        "peak, MiB": "100",
    }


def test_what_changed_since_the_last_run_is_said_of_the_systems_of_both() -> None:
    before = {"a": {"score": 0.81, "fitted": 1.0, "predicted": 1.0}}
    runs = [Measured(score, 0.0, fitted, 2.0, 0.0, 0.0) for score, fitted in ((0.8, 2), (0.79, 9))]
    now = medians({"a": [*runs, Measured(0.7, 0.0, 1, 2.0, 0.0, 0.0)], "b": runs})
    assert now["a"]["score"] == 0.79
    assert changes("RMSE", now, before) == [
        "a: RMSE 0.8100, now 0.7900; 2.00 times the seconds",
    ]
    assert changes("RMSE", now, {}) == []


def test_markdown_lines_up() -> None:
    assert markdown([["name", "v", "s"], ["long name", "1", "10.0"]]) == [
        "| name      | v |    s |",
        "|-----------|---|-----:|",
        "| long name | 1 | 10.0 |",
    ]


def test_features_for_myfm() -> None:
    assert factorization_machine.known(np.array([0, 2, 2]), 4).toarray().tolist() == [
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]
    names = ["b|a", "", "a"]
    assert factorization_machine.genres(names).toarray().tolist() == [[1, 1], [0, 0], [1, 0]]
    rated = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]])
    shares = factorization_machine.normalized(rated).toarray()
    np.testing.assert_allclose(shares, [[0.5] * 4, [0] * 4, [0, 1, 0, 0]])
    years: Indices = np.array([1990, 0, 1990])
    assert factorization_machine.onehot(years).toarray().tolist() == [[0, 1], [1, 0], [0, 1]]


def test_days_that_train_does_not_have_are_rows_of_zeros() -> None:
    train = ratings([0, 0, 1], [0, 1, 0], [3.1, 3.9, 10.0])
    valid = ratings([0, 1, 1, 1], [2, 2, 1, 3], [3.5, 4.5, 10.9, 11.0])
    assert factorization_machine.dates(train, train).toarray().tolist() == [[1, 0], [1, 0], [0, 1]]
    found = factorization_machine.dates(train, valid).toarray().tolist()
    assert found == [[1, 0], [0, 0], [0, 1], [0, 0]]


def test_what_is_not_installed_has_no_version() -> None:
    assert version("numpy") == np.__version__
    assert version("cf-no-such-package") is None


def test_every_system_is_in_the_group_and_pinned() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    grouped = {re.split("[<>=]", line)[0] for line in groups["bench"]}
    packages = {system.package for system in SYSTEMS.values()} - {"cf"}
    assert packages == grouped - {"h5py", "setuptools"}  # benchmarks.ladder, and for myfm
    pinned = (ROOT / "requirements/bench.txt").read_text().splitlines()
    assert grouped <= {line.split("==")[0] for line in pinned}
