"""Columns of side information, on cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.switches import OFF
from cf.bayes import side_information
from cf.bayes.side_information import Feature
from cf.core.config import Gibbs
from cf.core.ratings import Ratings


def test_one_item_of_long_ago_makes_a_feature_of_two_years() -> None:
    columns = side_information.year_bumps(np.array([1.0] + [1990.0] * 19))
    assert columns.shape == (20, 2)
    assert len(Feature("year", columns).eigenvalues) == 1
    equal = side_information.popularity(np.repeat(np.arange(7), 3), 7)
    assert not len(Feature("popularity", equal).eigenvalues), "equal counts tell nothing"


def test_counts_are_leave_one_out() -> None:
    items = np.array([0, 1, 1, 2, 2, 2])
    users = np.array([0, 0, 1, 0, 1, 2])
    popularity = side_information.popularity(items, 5)
    np.testing.assert_array_equal(popularity[0], popularity[3])  # one rating, and none
    assert popularity[1, 0] < popularity[2, 0]
    interactions = side_information.normalized_interactions(items, users, 5, 3).toarray()
    assert not interactions[[0, 3, 4]].any()
    np.testing.assert_allclose(interactions[1], [0.5 / 2**0.5, 0.5 / 2**0.5, 0])
    np.testing.assert_allclose(interactions[2], np.full(3, 2 / 3 / 3**0.5))


def test_a_row_without_ratings_is_like_the_average_row_with_some() -> None:
    rows, others = np.array([0, 0, 1, 1, 1, 3, 4, 4]), np.array([0, 1, 1, 2, 3, 0, 2, 3])
    columns, directions, center = side_information.cooccurrence_features(rows, others, 6, 4)
    assert not columns[[2, 3, 5]].any()  # no rating, or a single one
    assert columns[[0, 1, 4]].any(1).all()
    np.testing.assert_allclose(columns.sum(0), 0, atol=1e-6)
    interactions = side_information.normalized_interactions(rows, others, 6, 4)
    shares = np.array([1 / 2, 2 / 3, 0, 0, 1 / 2, 0])[:, None]
    np.testing.assert_allclose(interactions @ directions - shares * center, columns, atol=1e-6)


def test_the_truncated_svd_keeps_the_products_of_rows() -> None:
    draw = np.random.default_rng(0)
    left, right = (np.linalg.qr(draw.normal(size=(n, 30))).Q for n in (90, 70))
    dense = (left * 0.8 ** np.arange(30) @ right.T).astype(np.float32)
    matrix = sparse.csr_array(dense)
    for n, error in ((30, 1e-5), (10, 1.01 * 0.8**20)):  # what the others have
        columns = side_information.truncated_svd(matrix, n)
        assert columns.shape == (90, n)
        off = columns @ columns.T - dense @ dense.T
        assert np.linalg.norm(off, 2) < error
    np.testing.assert_array_equal(columns, side_information.truncated_svd(matrix, 10))
    assert side_information.truncated_svd(matrix).shape == (90, 70)
    assert not side_information.truncated_svd(sparse.csr_array((5, 3), dtype=np.float32)).any()


def test_years_are_bumps_and_centered() -> None:
    years = side_information.year_bumps(np.array([1990, 1991, 2010, np.nan]))
    assert np.corrcoef(years[:2])[0, 1] > 0.8
    assert np.corrcoef(years[[0, 2]])[0, 1] < 0
    np.testing.assert_array_equal(years[3], years[1])
    np.testing.assert_allclose(years.sum(0), 0, atol=1e-6)


def test_what_the_data_does_not_have_is_switched_off(planted: tuple[Ratings, Ratings]) -> None:
    gibbs = Gibbs(
        n_sweeps=2,
        burn_in=0,
        user_noise=False,
        time_scales=[600, 60],
        genres=True,
        year=True,
        item_features=True,
        user_features=True,
        popularity=False,
        item_implicit=True,
        user_implicit=False,
    )
    bare, timed = planted[0], replace(planted[0], timestamps=planted[0].rows)
    unknown = pd.DataFrame({"genres": ["", ""], "year": [np.nan, np.nan]})
    known = pd.DataFrame({"genres": ["", "War"], "year": [np.nan, 1999.0], "cost": [1.0, 2.0]})
    nobody, people = pd.DataFrame({"user_id": [1]}), pd.DataFrame({"user_id": [1], "age": [20.0]})
    found = side_information.drop_unavailable(gibbs, bare, unknown, nobody)
    off = ("genres", "year", "item_features", "user_features")
    assert found == gibbs.model_copy(update=dict.fromkeys(off, False) | {"time_scales": []})
    assert side_information.drop_unavailable(gibbs, timed, known, people) == gibbs
    assert side_information.drop_unavailable(found, bare, unknown, nobody) == found


def test_features_of_items_and_users_are_used_where_they_are_switched_on() -> None:
    ratings = Ratings(np.arange(4), np.arange(4), np.ones(4, "f4"), None, np.arange(4))
    users = pd.DataFrame({"user_id": range(4), "sex": ["F", "M", "F", "M"]})
    items = pd.DataFrame({"item_id": range(4), "cost": [1.0, 2, 3, 4], "genres": "", "year": pd.NA})
    for switches in ([], ["user_features"], ["item_features"], ["user_features", "item_features"]):
        gibbs = Gibbs(n_sweeps=2, burn_in=0, **OFF | dict.fromkeys(switches, True))
        found = side_information.features(gibbs, ratings, users, items)
        assert [feature.name for side in found for feature in side] == switches
