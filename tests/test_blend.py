"""What lists are blended from, where there are lists."""

from pathlib import Path

import numpy as np
import pytest

from cf.baselines.base import interaction_matrix
from cf.baselines.ranking import EASE
from cf.core import io, paths, ratings
from cf.core.ratings import Provenance, Ratings
from cf.inference import lists, weights
from stages import blend
from tests.results import toy_split


def test_a_fold_of_a_cross_validation_is_not_blended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_split("time")
    blend.main()
    assert io.read_json(paths.BLEND / "blend.json").keys() == {"plain"}
    capsys.readouterr()
    toy_split("k_fold")
    blend.main()
    assert "Nothing to blend" in capsys.readouterr().out
    assert not list(paths.BLEND.iterdir())


def test_of_too_many_ratings_those_of_users_drawn_at_random_are_blended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_split("time")
    monkeypatch.setattr(ratings, "MOST_RATINGS", 300)
    drawn = ratings.sample_users(io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance))
    train = Ratings.from_frame(io.read_parquet(paths.TRAIN))
    part = train.take(np.flatnonzero(drawn[train.users]))
    assert 150 < len(part) < 400
    blend.main()
    said = f"Fitted to {len(part):,} ratings of {drawn.sum()} users, drawn at random."
    assert said in capsys.readouterr().out
    expected = EASE(200.0, 5000).fit(part, 30, 40)
    found = lists.Likely.load(paths.BLEND, 40)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-3)  # in half precision


@pytest.mark.parametrize("max_items", [12, 100])
def test_who_rates_what_without_some_ratings_is_as_if_fitted_without_them(max_items: int) -> None:
    draw = np.random.default_rng(0)
    n_users, n_items, n = 30, 40, 400
    pairs = draw.permutation(n_users * n_items)[:n]
    users, items = pairs // n_items, (pairs % n_items) ** 2 // n_items
    users[0], items[0] = 0, n_items - 1  # the only rating of that item, and left out of the rest
    train = Ratings(users, items, np.ones(n, "f4"), None, np.arange(n))
    kept = (users >= 3) | (draw.random(n) < 0.5)
    kept[0] = False
    rest = train.take(np.flatnonzero(kept))
    parts = train, rest
    matrices = (interaction_matrix(part, n_users, n_items) for part in parts)
    found = weights.fit_likely(*matrices, EASE(2.0, max_items))
    for part, likely in zip(parts, found, strict=True):
        expected = EASE(2.0, max_items).fit(part, n_users, n_items)
        np.testing.assert_array_equal(likely.items, expected.items)
        np.testing.assert_array_equal(likely.weights, expected.weights)
        for name, values in vars(expected.others).items():
            np.testing.assert_array_equal(vars(likely.others)[name], values)
    assert found[0].items.tolist() != found[1].items.tolist()
    assert (len(found[0].others.items) > 0) == (max_items == 12)
