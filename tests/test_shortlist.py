"""The best of very many items, roughly and then exactly, against all of them exactly."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.serving import in_8_bits
from cf.inference import lists, shortlist
from cf.inference.bayesmf import BayesMF
from cf.inference.catalog import Catalog
from cf.inference.lists import Likely
from cf.inference.recommender import Recommender

N_USERS, N_ITEMS, N_SAMPLES, N_FACTORS = 80, 3000, 40, 6


@pytest.fixture(scope="module")
def parts() -> tuple[Any, ...]:
    """A model whose samples are as alike as those of a chain: less so for items rarely rated."""
    draw = np.random.default_rng(0)
    counts = np.sort(draw.zipf(1.6, N_ITEMS).clip(max=2000))[::-1].astype(float)
    items = np.concatenate(
        [draw.choice(N_ITEMS, 40, False, counts / counts.sum()) for _ in range(N_USERS)]
    )
    ratings = pd.DataFrame({"user": np.repeat(np.arange(N_USERS), 40), "item": items})
    ratings["rating"] = (draw.integers(1, 11, len(items)) / 2).astype("f4")

    def rows(n: int, n_ratings: Any) -> Any:
        mean = draw.normal(0, 0.4, (n, 1 + N_FACTORS))
        doubt = 0.3 / np.sqrt(1 + np.asarray(n_ratings) / 5)
        noise = draw.normal(0, 1, (N_SAMPLES, n, 1 + N_FACTORS)) * doubt[:, None]
        return (mean + noise).astype("f4")

    d = 1 + N_FACTORS
    weights: dict[str, Any] = {
        "mean": np.array(3.5),
        **in_8_bits("user", rows(N_USERS, np.full(N_USERS, 40))),
        **in_8_bits("item", rows(N_ITEMS, counts)),
        "timeless.noise": np.full(N_USERS, 0.7),
        "noise_shape": np.full(N_SAMPLES, 3.0),
        "noise_rate": np.full(N_SAMPLES, 2.0),
        "prior_mean": np.zeros((N_SAMPLES, d)),
        "prior_precision": np.tile(np.eye(d) * 5, (N_SAMPLES, 1, 1)),
        "prior_coefficients": np.zeros((N_SAMPLES, 0, d)),
        "interaction_basis": np.zeros((N_ITEMS, 0)),
        "interaction_center": np.zeros(0),
    }
    answers = BayesMF(weights, {}, N_USERS, N_ITEMS, (1.0, 10.0))
    titles = [f"Film {n}" for n in range(N_ITEMS)]
    table = pd.DataFrame({"item_id": np.arange(N_ITEMS) + 1, "title": titles, "year": 2000})
    table["genres"] = np.where(np.arange(N_ITEMS) % 50, "Drama", "War")
    likely = Likely(np.arange(400), draw.normal(0, 0.05, (400, 400)).astype("f4"), N_ITEMS)
    catalog = Catalog(table, list(range(N_USERS)))
    facts = {"rating_range": (1.0, 10.0)}
    return answers, catalog, ratings, np.arange(len(ratings)), facts, likely, 2.0


@pytest.fixture
def exact(parts: tuple[Any, ...]) -> Recommender:
    return Recommender("bayesmf", *parts)


@pytest.fixture
def fast(parts: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> Recommender:
    monkeypatch.setattr("cf.inference.recommender.MIN_SIZE", 0)
    model = Recommender("bayesmf", *parts)
    model.prepare()
    assert model.shortlist
    return model


def ndcg(found: list[int], ideal: list[int]) -> float:
    """Of a list, if the items of the ideal one are worth 10, 9, ... 1."""
    worth = {item: len(ideal) - rank for rank, item in enumerate(ideal)}
    discounts = 1 / np.log2(np.arange(2, 2 + len(ideal)))
    gains = np.array([worth.get(item, 0) for item in found])
    return float((gains * discounts).sum() / (np.array(list(worth.values())) * discounts).sum())


@pytest.mark.parametrize("by", ["both", "stars", "likely"])
@pytest.mark.parametrize("more", [{}, {"genre": "War"}, {"min_ratings": 2}])
def test_lists_are_those_of_all_items(
    exact: Recommender, fast: Recommender, by: Any, more: dict[str, Any]
) -> None:
    equal, close = [], []
    for user in range(N_USERS):
        wanted = exact.recommend(user, by=by, **more)["item_id"].tolist()
        found = fast.recommend(user, by=by, **more)["item_id"].tolist()
        equal.append(found == wanted)
        close.append(ndcg(found, wanted))
    assert np.mean(equal) >= 0.98
    assert np.mean(close) >= 0.999


@pytest.mark.parametrize("by", ["both", "stars", "likely"])
@pytest.mark.parametrize("more", [{}, {"genre": "War"}])
def test_lists_made_for_many_at_a_time_are_those_of_each(
    fast: Recommender, by: Any, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf.baselines.base.MEMORY", 30 * 32 * N_ITEMS)
    (first, *_), frames = zip(*fast.recommend_all(by=by, **more), strict=True)
    assert first == 30
    items = pd.concat(frames).groupby("user_id")["item_id"].apply(list)
    for user in range(N_USERS):
        assert items[user] == fast.recommend(user, by=by, **more)["item_id"].tolist()


def test_lists_of_new_people_are_those_of_all_items(exact: Recommender, fast: Recommender) -> None:
    draw = np.random.default_rng(1)
    for _ in range(20):
        items = (draw.choice(500, 8, False) + 1).tolist()
        mine = dict(zip(items, draw.integers(1, 11, 8).tolist(), strict=True))
        wanted = exact.recommend(ratings=mine)
        found = fast.recommend(ratings=mine)
        pd.testing.assert_frame_equal(found, wanted)
        assert not set(found["item_id"]) & set(mine)


def test_scores_are_those_of_all_items_but_for_a_constant(
    exact: Recommender, fast: Recommender
) -> None:
    assert fast.shortlist
    for user in range(0, N_USERS, 5):
        person, rated, seen = exact._who(user, None)
        how: Any = (exact.likely, exact.weight, "both")
        wanted = lists.scores(exact.answers, [person], [rated], [seen], *how)[0]
        every = np.ones(N_ITEMS, bool)
        ((items, found),) = fast.shortlist.best([person], [rated], [seen], every, *how, 10)
        assert np.ptp(found - wanted[items]) < 2e-3


def test_long_lists_are_whole(exact: Recommender, fast: Recommender) -> None:
    for n in (1, 300, N_ITEMS):
        wanted, found = (model.recommend(5, n)["item_id"] for model in (exact, fast))
        assert len(found) == len(wanted)
        assert len(set(found) & set(wanted)) >= 0.99 * len(wanted)


def test_a_model_of_few_items_needs_no_shortlist(exact: Recommender) -> None:
    exact.prepare()
    assert exact.shortlist is None


def test_deviations_are_of_all_items_that_are_new(fast: Recommender) -> None:
    model = fast.shortlist
    assert isinstance(model, shortlist.Shortlist)
    for user in (0, 7):
        person, seen = fast.answers.person(user), fast._of_user(user)[0]
        new = np.ones(N_ITEMS, bool)
        new[seen] = False
        wanted = fast.answers.table([person])[0][new].std()
        found = model._deviation(person, model._exact(person, seen))
        assert found == pytest.approx(wanted, rel=1e-4)
