"""Who rates what, for people by the items they have rated."""

from pathlib import Path

import numpy as np
import pytest

from cf.baselines.base import FewWeights
from cf.core.errors import InputError
from cf.inference.lists import DIGESTS, OTHERS, Likely

N_ITEMS = 9
RATED = [np.array(items, np.int64) for items in ([0, 2, 4], [], [8], [2, 1, 6, 4])]


@pytest.fixture
def likely() -> Likely:
    """Of the even items; the items 1 and 7 are scored by two of them, 3 and 5 are not scored."""
    weights = np.random.default_rng(0).normal(0, 1, (5, 5)).astype(np.float32)
    few = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)
    others = FewWeights(np.array([1, 7]), np.array([[0, 1], [4, 2]], np.int32), few)
    return Likely(np.arange(0, N_ITEMS, 2), weights, N_ITEMS, others)


def added(likely: Likely, rated: list[np.ndarray]) -> np.ndarray:
    found = np.ones((len(rated), N_ITEMS), np.float32)
    likely.add_to(found, rated, rated)
    return found - 1


def test_all_scores_are_on_the_scale_of_the_most_rated_items(likely: Likely) -> None:
    (found,) = added(likely, RATED[:1])
    of_items = likely.weights[:3].sum(0)
    new = of_items[3:]
    np.testing.assert_allclose(found[[6, 8]], (new - new.mean()) / new.std(), rtol=1e-5)
    np.testing.assert_array_equal(found[[0, 2, 4]], 0)
    others = (np.array([0.5 - 1.0, 0.25]) - new.mean()) / new.std()
    np.testing.assert_allclose(found[[1, 7]], others, rtol=1e-5)
    np.testing.assert_allclose(found[[3, 5]], found[::2].min(), rtol=1e-5)


def test_scores_of_many_are_those_of_each(likely: Likely) -> None:
    each = np.concatenate([added(likely, [rated]) for rated in RATED])
    np.testing.assert_allclose(added(likely, RATED), each, atol=1e-5)


def test_what_is_saved_scores_the_same(likely: Likely, tmp_path: Path) -> None:
    likely.save(tmp_path)
    loaded = Likely.load(tmp_path, N_ITEMS)
    np.testing.assert_allclose(added(loaded, RATED), added(likely, RATED), atol=0.01)
    with pytest.raises(InputError, match="is of other items"):
        Likely.load(tmp_path, N_ITEMS - 1)
    whole = (tmp_path / OTHERS).read_bytes()
    flipped = bytes([*whole[:-1], whole[-1] ^ 1])
    for damaged in (whole[:-3], flipped):
        (tmp_path / OTHERS).write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read"):
            Likely.load(tmp_path, N_ITEMS)
    for name in (OTHERS, DIGESTS):  # as earlier versions left it
        (tmp_path / name).unlink()
    alone = added(Likely.load(tmp_path, N_ITEMS), RATED)
    np.testing.assert_array_equal(alone[:, 1], alone[:, 3])
