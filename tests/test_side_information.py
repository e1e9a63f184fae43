"""Columns of side information, on cases worked out by hand."""

from collections import deque
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from benchmarks.switches import OFF
from cf.bayes import side_information
from cf.bayes.sample import sample
from cf.bayes.side_information import Feature
from cf.core.config import Gibbs
from cf.core.ratings import Ratings
from cf.evaluation import metrics
from cf.models import base
from cf.models.bayesmf import BayesMF


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
    interactions = side_information.NormalizedInteractions(items, users, 5, 3) @ np.eye(3)
    assert not interactions[[0, 3, 4]].any()
    np.testing.assert_allclose(interactions[1], [0.5 / 2**0.5, 0.5 / 2**0.5, 0])
    np.testing.assert_allclose(interactions[2], np.full(3, 2 / 3 / 3**0.5))


def test_a_row_without_ratings_is_like_the_average_row_with_some() -> None:
    rows, others = np.array([0, 0, 1, 1, 1, 3, 4, 4]), np.array([0, 1, 1, 2, 3, 0, 2, 3])
    columns, directions, center = side_information.cooccurrence_features(rows, others, 6, 4)
    assert not columns[[2, 3, 5]].any()  # no rating, or a single one
    assert columns[[0, 1, 4]].any(1).all()
    np.testing.assert_allclose(columns.sum(0), 0, atol=1e-6)
    interactions = side_information.NormalizedInteractions(rows, others, 6, 4)
    shares = np.array([1 / 2, 2 / 3, 0, 0, 1 / 2, 0])[:, None]
    np.testing.assert_allclose(interactions @ directions - shares * center, columns, atol=1e-6)


def test_the_truncated_svd_keeps_the_products_of_rows() -> None:
    draw = np.random.default_rng(0)
    left, right = (np.linalg.qr(draw.normal(size=(n, 30))).Q for n in (90, 70))
    dense = (left * 0.8 ** np.arange(30) @ right.T).astype(np.float32)
    matrix = sparse.csr_array(dense)
    for n, error in ((30, 1e-5), (10, 1.01 * 0.8**20)):  # what the others have
        columns, directions = side_information.truncated_svd(matrix, n)
        np.testing.assert_allclose(directions.T @ directions, np.eye(n), atol=1e-5)
        np.testing.assert_allclose(dense @ directions, columns, atol=1e-5)
        assert columns.shape == (90, n)
        off = columns @ columns.T - dense @ dense.T
        assert np.linalg.norm(off, 2) < error
    np.testing.assert_array_equal(columns, side_information.truncated_svd(matrix, 10)[0])
    assert side_information.truncated_svd(matrix)[0].shape == (90, 30), "its rank"
    nothing, _ = side_information.truncated_svd(sparse.csr_array((5, 3), dtype=np.float32))
    assert not nothing.any()


def test_interactions_are_multiplied_as_scipy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    pairs = np.unique(draw.integers(0, 40, (300, 2)), axis=0)[draw.permutation(250)].T
    x = draw.normal(size=(41, 5)).astype(np.float32)
    products = []
    for engine in (side_information.compiled, None):
        monkeypatch.setattr(side_information, "compiled", engine)
        products.append(side_information.interactions(*pairs, 42, 41) @ x)
    np.testing.assert_allclose(*products, rtol=1e-5, atol=1e-5)
    assert not products[0][41].any()


def test_orthonormal_columns_span_those_given() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * [1, 10, 0.1, 1]
    x[:, 3] = x[:, 0] + x[:, 1]
    found = side_information.orthonormal(x.astype(np.float32))
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(found @ (found.T @ x), x, atol=1e-4)


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
        tags=True,
        popularity=False,
        item_implicit=True,
        user_implicit=False,
    )
    bare, timed = planted[0], replace(planted[0], timestamps=planted[0].rows)
    unknown = pd.DataFrame({"genres": ["", ""], "year": [np.nan, np.nan]})
    known = pd.DataFrame({"genres": ["", "War"], "year": [np.nan, 1999.0], "cost": [1.0, 2.0]})
    nobody, people = pd.DataFrame({"user_id": [1]}), pd.DataFrame({"user_id": [1], "age": [20.0]})
    given = pd.DataFrame({"item": [0, 1], "tag": ["war", "War "], "timestamp": [0, 0]})
    found = side_information.drop_unavailable(gibbs, bare, unknown, nobody, given[:1])
    off = ("genres", "year", "item_features", "user_features", "tags")
    assert found == gibbs.model_copy(update=dict.fromkeys(off, False) | {"time_scales": []})
    assert side_information.drop_unavailable(gibbs, timed, known, people, given) == gibbs
    assert side_information.drop_unavailable(found, bare, unknown, nobody, given[:1]) == found


def test_features_of_items_and_users_are_used_where_they_are_switched_on() -> None:
    ratings = Ratings(np.arange(4), np.arange(4), np.ones(4, "f4"), None, np.arange(4))
    users = pd.DataFrame({"user_id": range(4), "sex": ["F", "M", "F", "M"]})
    items = pd.DataFrame({"item_id": range(4), "cost": [1.0, 2, 3, 4], "genres": "", "year": pd.NA})
    tags = pd.DataFrame({"item": [0, 1], "tag": "war", "timestamp": 0})
    for switches in ([], ["user_features"], ["item_features", "tags"], ["user_features", "tags"]):
        gibbs = Gibbs(n_sweeps=2, burn_in=0, **OFF | dict.fromkeys(switches, True))
        found = side_information.features(gibbs, ratings, users, items, tags)
        assert [feature.name for side in found for feature in side] == switches


def tags_of(*given: tuple[int, str, int]) -> pd.DataFrame:
    return pd.DataFrame(given, columns=["item", "tag", "timestamp"])


def test_tags_that_items_share_are_known_once_each() -> None:
    ratings = Ratings(np.arange(2), np.arange(2), np.ones(2, "f4"), np.array([5, 9]), np.arange(2))
    tags = tags_of(
        *((0, "Dark", 1), (0, " dark", 2), (1, "DARK ", 3), (2, "alone", 4), (2, "alone", 5)),
        *((0, "", 1), (1, " ", 1), (2, "NA", 1), (1, "NA", 9), (1, "late", 1), (2, "late", 10)),
    )
    known = side_information.known_tags(tags, ratings)
    assert sorted(known.itertuples(index=False, name=None)) == [
        *((0, "dark"), (1, "dark"), (1, "na"), (2, "na"))
    ]
    timeless = side_information.known_tags(tags, replace(ratings, timestamps=None))
    assert len(timeless) == len(known) + 2, "without times, all count"


def test_a_tag_later_than_the_last_training_rating_has_no_effect() -> None:
    ratings = Ratings(np.arange(4), np.arange(4), np.ones(4, "f4"), np.arange(4), np.arange(4))
    users = pd.DataFrame({"user_id": range(4)})
    items = pd.DataFrame({"item_id": range(4), "genres": "", "year": pd.NA})
    gibbs = Gibbs(n_sweeps=2, burn_in=0, **OFF | {"tags": True})
    tags = tags_of((0, "war", 1), (1, "war", 3), (1, "space", 2), (2, "space", 3))
    later = pd.concat([tags_of((3, "war", 4), (0, "space", 5)), tags], ignore_index=True)
    (one,), (other,), (known,) = (
        side_information.features(gibbs, ratings, users, items, given)[1]
        for given in (tags, later, later.assign(timestamp=0))
    )
    numbers = torch.eye(4)
    assert torch.equal(one.project(numbers), other.project(numbers))
    assert not torch.equal(one.project(numbers), known.project(numbers))
    bare = side_information.drop_unavailable(gibbs, ratings, items, users, later[:2])
    assert not bare.tags, "none is known in time"


def test_rare_tags_weigh_more_and_rows_have_unit_norm() -> None:
    tags = pd.DataFrame({"item": [0, 0, 1, 1, 2], "tag": ["a", "b", "a", "b", "a"]})
    matrix = side_information.tag_matrix(tags, 6)
    rare, frequent = np.log(6 / 2), np.log(6 / 3)
    row = np.array([frequent, rare]) / np.hypot(frequent, rare)
    expected = [row, row, [1, 0], [0, 0], [0, 0], [0, 0]]
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6)
    columns = side_information.tag_columns(tags, 6)
    assert (columns.dtype, columns.shape) == (np.float32, (6, 3))
    np.testing.assert_allclose(columns[:, -1], [0.5] * 3 + [-0.5] * 3)
    products = columns[:, :-1] @ columns[:, :-1].T
    np.testing.assert_allclose(products, matrix.toarray() @ matrix.toarray().T, atol=1e-6)
    everywhere = pd.DataFrame({"item": [0, 1], "tag": "a"})  # which tells nothing
    assert not Feature("tags", side_information.tag_columns(everywhere, 2)).eigenvalues.numel()


def test_tags_of_many_items_take_no_dense_matrix_of_all_tags() -> None:
    """At a tenth of ml-32m's items, tags and tags given, a dense one would take 500 MB."""
    draw = np.random.default_rng(0)
    n_items, n_tags, n = 8_758, 15_000, 200_000
    tags = pd.DataFrame({"item": draw.integers(0, n_items, n), "tag": draw.integers(0, n_tags, n)})
    tags = tags.drop_duplicates(ignore_index=True)
    matrix = side_information.tag_matrix(tags, n_items)
    assert isinstance(matrix, sparse.csr_array)
    assert (matrix.nnz, matrix.dtype) == (len(tags), np.float32)
    assert matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes < 3e6
    columns = side_information.tag_columns(tags, n_items)
    assert (columns.shape, columns.dtype) == ((n_items, 201), np.float32)


def test_planted_tags_predict_cold_items_better_than_without() -> None:
    draw = np.random.default_rng(0)
    n_users, n_items, n_cold, n = 60, 80, 20, 3000
    kinds = np.arange(n_items) % 4
    users, items = np.divmod(draw.permutation(n_users * n_items)[:n], n_items)
    taste = draw.normal(0, 0.7, (n_users, 4))
    values = 2.75 + np.array([-1, -0.3, 0.3, 1])[kinds[items]] + taste[users, kinds[items]]
    values = (values + draw.normal(0, 0.2, n)).clip(0.5, 5).astype(np.float32)
    ratings = Ratings(users, items, values, None, np.arange(n))
    is_held = items >= n_items - n_cold
    train, cold = ratings.take(np.flatnonzero(~is_held)), ratings.take(np.flatnonzero(is_held))
    tags = tags_of(*((item, f"kind {kind}", 0) for item, kind in enumerate(kinds)))
    people = pd.DataFrame({"user_id": range(n_users)})
    films = pd.DataFrame({"item_id": range(n_items), "genres": "", "year": pd.NA})
    rmse = {}
    for switch in (True, False):
        gibbs = Gibbs(n_sweeps=60, burn_in=20, **OFF | {"tags": switch})
        torch.manual_seed(0)
        model = BayesMF(BayesMF.Config(n_factors=4, n_samples=40), n_users, n_items, [0.5, 5.0])
        features = side_information.features(gibbs, train, people, films, tags)
        deque(sample(model, train, train.take(np.arange(0)), *features, gibbs), maxlen=0)
        rmse[switch] = metrics.rmse(base.predict(model, cold.users, cold.items), cold.values)
    assert rmse[True] < 0.5
    assert rmse[False] > 0.8
