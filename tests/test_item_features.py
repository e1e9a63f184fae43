import numpy as np
import pandas as pd
import pytest
import torch

from cf.core.errors import InputError
from cf.training.item_features import (
    MAX_CATEGORIES,
    feature_columns,
    genre_columns,
    item_columns,
    year_column,
)

ITEMS = pd.DataFrame(
    {"genres": ["Drama|War", "", "War", "Drama"], "year": [1990.0, 2000.0, np.nan, 2010.0]}
)


def test_genres_are_centered_and_years_standardized() -> None:
    genres = genre_columns(ITEMS)
    assert list(genres) == ["Drama", "War"]
    np.testing.assert_array_equal(genres, [[0.5, 0.5], [-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5]])
    root = np.sqrt(1.5)
    np.testing.assert_allclose(year_column(ITEMS)["year"], [-root, 0, 0, root], rtol=1e-6)


def test_columns_are_side_by_side_in_the_order_declared() -> None:
    columns = item_columns(ITEMS, ("year", "genres"), "cf/models/x.py").numpy()
    assert columns.dtype == np.float32
    np.testing.assert_array_equal(columns[:, 0], year_column(ITEMS)["year"])
    np.testing.assert_array_equal(columns[:, 1:], genre_columns(ITEMS))


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_are_standardized_and_then_no_further_than_three_deviations(sign: int) -> None:
    """One of 41 is √40 deviations away, the others are 1/√40: the mean is no longer 0."""
    table = pd.DataFrame({"cost": [0] * 40 + [1000 * sign], "same": 7.0}, index=range(5, 46))
    columns = feature_columns(table)
    near, far = -sign / 40**0.5, 3.0 * sign
    mean = (40 * near + far) / 41
    assert list(columns) == ["cost"]
    assert columns.index.tolist() == list(range(5, 46))
    assert columns["cost"].dtype == np.float32
    np.testing.assert_allclose(columns["cost"], [near - mean] * 40 + [far - mean], rtol=1e-6)


def test_where_there_are_no_features_there_are_rows() -> None:
    assert feature_columns(ITEMS).shape == (4, 0)
    found = feature_columns(pd.DataFrame({"kind": [*"aabb", *"cde"]}))
    assert list(found) == ["kind=a", "kind=b"]
    many = pd.DataFrame({"kind": [f"{n:03}" for n in range(MAX_CATEGORIES + 1)] * 2})
    frequent = pd.concat([many, many[1:]])
    assert list(feature_columns(frequent)) == [f"kind={n:03}" for n in range(1, 201)]


def test_what_the_data_does_not_have_has_no_columns() -> None:
    nothing = pd.DataFrame({"genres": ["", ""], "year": [np.nan, np.nan]})
    found = item_columns(nothing, ("genres", "year"), "cf/models/x.py")
    assert (found.shape, found.dtype) == ((2, 0), torch.float32)
    one_year = pd.DataFrame({"genres": ["", ""], "year": [1990.0, 1990.0]})
    assert item_columns(one_year, ("year",), "cf/models/x.py").tolist() == [[0.0], [0.0]]


def test_each_genre_is_centered_by_itself() -> None:
    columns = genre_columns(pd.DataFrame({"genres": ["a|b", "a", "a", ""]}))
    assert set(columns.dtypes) == {np.dtype(np.float32)}
    np.testing.assert_array_equal(columns["a"], [0.25, 0.25, 0.25, -0.75])
    np.testing.assert_array_equal(columns["b"], [0.75, -0.25, -0.25, -0.25])


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ("genres", "expected names in a tuple, got text: write ('genres',)."),
        (
            ("year", "genre"),
            "there is no feature 'genre'. Choose from genres, year, features, or add one to "
            "cf/training/item_features.py.",
        ),
    ],
)
def test_what_is_no_feature_is_named(features: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError) as caught:
        item_columns(ITEMS, features, "cf/models/x.py")
    assert str(caught.value) == f"cf/models/x.py: item_features: {said}"
