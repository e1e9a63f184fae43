"""The figures of time against RMSE."""

import itertools

import matplotlib
import numpy as np
import pytest

from benchmarks import frontier
from cf.reporting.style import RC_PARAMS


def test_the_frontier_has_those_whom_nobody_beats() -> None:
    points = {"slow": (9.0, 0.7), "fast": (1.0, 0.9), "worse": (2.0, 0.95), "tie": (10.0, 0.7)}
    assert frontier.best_so_far(points) == ["fast", "slow"]
    assert frontier.steps([points["fast"], points["slow"]]) == [(1, 0.9), (9, 0.9), (9, 0.7)]


@pytest.mark.parametrize("seed", [1, 2])
def test_names_cover_neither_each_other_nor_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    systems = {
        f"{'cf' if k < 5 else 'library'} system number {k}": {
            "fitted": 10 ** rng.uniform(-2, 1.5),
            "predicted": 0.01,
            "score": rng.normal(0.85, 0.02),
        }
        for k in range(18)
    }
    with matplotlib.rc_context(RC_PARAMS):
        figure = frontier.frontier(systems)
    (axes,) = figure.axes
    assert sorted(text.get_text() for text in axes.texts) == sorted(systems)
    boxes = [text.get_window_extent() for text in axes.texts]
    for box, other in itertools.combinations(boxes, 2):
        assert not box.overlaps(other)
    for found in systems.values():
        point = axes.transData.transform((found["fitted"] + 0.01, found["score"]))
        assert not any(box.contains(*point) for box in boxes)
    for box in boxes:
        assert figure.bbox.contains(*box.min)
        assert figure.bbox.contains(*box.max)


def test_curves_say_who_reached_it_first() -> None:
    reached = {"converted": 1.0, "fitted": 2.0, "points": [[1, 1.0, 0.9], [2, 2.0, 0.8]]}
    never = {"converted": 0.1, "fitted": None, "points": [[1, 1.0, 0.95]]}
    with matplotlib.rc_context(RC_PARAMS):
        figure = frontier.curves(0.8, {"cf a": never, "b": reached})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["b: 3.0 s", "cf a: not reached"]
