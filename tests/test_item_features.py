import numpy as np
import pandas as pd
import pytest
import torch

from cf.core.errors import InputError
from cf.training.item_features import genre_columns, item_columns, year_column

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


def test_what_the_data_does_not_have_has_no_columns() -> None:
    nothing = pd.DataFrame({"genres": ["", ""], "year": [np.nan, np.nan]})
    found = item_columns(nothing, ("genres", "year"), "cf/models/x.py")
    assert (found.shape, found.dtype) == ((2, 0), torch.float32)
    one_year = pd.DataFrame({"genres": ["", ""], "year": [1990.0, 1990.0]})
    assert not item_columns(one_year, ("year",), "cf/models/x.py").any()


def test_a_name_without_a_tuple_is_text() -> None:
    with pytest.raises(InputError, match=r"cf/models/x.py: .* write \('genres',\)"):
        item_columns(pd.DataFrame({"genres": ["a"]}), "genres", "cf/models/x.py")


def test_an_unknown_feature_is_named() -> None:
    with pytest.raises(
        InputError, match=r"cf/models/x.py: item_features: there is no feature 'genre'.*genres"
    ):
        item_columns(ITEMS, ("genre",), "cf/models/x.py")
