"""The benchmark of the time to 1% above the planted noise floor."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.floor.__main__ import ABOVE, write
from benchmarks.floor.one import measure, read
from benchmarks.floor.systems import EPOCHS, SYSTEMS, Case
from benchmarks.floor.table import Measured, Point, changes, middle, table

SIZES = 300, 200, 30_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, float]:
    path = tmp_path_factory.mktemp("floor") / "ratings.npz"
    floor = write(path, SIZES, seed=3)
    case, target = read(path, seed=1, n_threads=1)
    assert target == pytest.approx(ABOVE * floor)
    return case, floor


def test_a_tenth_is_held_out_and_all_ids_are_known(made: tuple[Case, float]) -> None:
    case, _ = made
    assert len(case.train) + len(case.valid) == SIZES[2]
    assert len(case.valid) == pytest.approx(SIZES[2] / 10, rel=0.1)
    assert set(case.train.users) == set(range(SIZES[0]))
    assert set(case.train.items) == set(range(SIZES[1]))
    assert np.all(np.diff(case.train.users) >= 0)  # as implicit's matrix takes them


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name.startswith("cf ")])
def test_cfs_systems_stop_where_they_beat_the_mean(name: str, made: tuple[Case, float]) -> None:
    case, floor = made
    of_mean = float(case.valid.values.std())
    found = measure(SYSTEMS[name], case, of_mean, limit=60)
    assert floor < found.points[-1].rmse <= of_mean
    assert all(point.rmse > of_mean for point in found.points[:-1])
    assert {point.epochs for point in found.points} <= set(EPOCHS)


def test_seconds_are_of_the_last_fit_or_add_up(made: tuple[Case, float]) -> None:
    case, _ = made
    for system in (SYSTEMS["cf dotbias"], SYSTEMS["cf dotbias"]._replace(anew=False)):
        seconds = [point.seconds for point in measure(system, case, 0.0, limit=0.02).points]
        assert (seconds[-1] >= 0.02) or len(seconds) == len(EPOCHS)
        assert all(each < 0.02 for each in seconds[:-1])
        if not system.anew:
            assert seconds == sorted(seconds)


def test_medians_ratios_and_who_never_reaches_it() -> None:
    def run(converted: float, *seconds: float, best: float = 1.0) -> Measured:
        points = [Point(k + 1, each, best + 0.5 * (k < 1)) for k, each in enumerate(seconds)]
        return Measured(converted, points)

    # The machine was ten times slower in the second round, and something else ran in the third.
    rounds = {
        "a": [run(1, 1, 2), run(10, 10, 20), run(1, 1, 2)],
        "b": [run(2, 1, 4), run(20, 10, 40), run(200, 10, 400)],
        "c": [run(1, 1, 2, best=1.2)] * 3,
    }
    lines = table(rounds, dict.fromkeys(rounds, "1"), floor=1.0, target=1.01)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert rows == [
        ["a", "1", "0.00%", "2", "3.00", "1.00", "2.00", "1.00"],
        ["b", "1", "0.00%", "2", "60.00", "2.00", "40.00", "2.00"],
        ["c", "1", "20.00%", "2", "never", "never", "never", "never"],
    ]
    now = {name: middle(runs, 1.01) for name, runs in rounds.items()}
    assert now["c"]["fitted"] is None
    assert now["a"] == {"converted": 1, "fitted": 2, "points": [Point(1, 1, 1.5), Point(2, 2, 1)]}
    before = {"a": now["a"] | {"fitted": 5.0}, "c": now["a"]}
    assert changes(now, before) == ["a: 3.00 s, 0.50 times as much as before"]


def test_every_system_is_among_the_pinned_peers() -> None:
    root = Path(__file__).parent.parent
    pinned = (root / "requirements/bench.txt").read_text().splitlines()
    packages = {system.package for system in SYSTEMS.values()} - {"cf"}
    assert packages <= {line.split("==")[0] for line in pinned}
