import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest

from cf.evaluation.crosstab import most_frequent, top_crosstab

# The notebook's printed output; its last column, item 2959, is cut off at the edge of the page.
TOP_USERS = [414, 599, 474, 448, 274, 610, 68, 380, 606, 288, 249, 387, 182, 307, 603]
TOP_ITEMS = [356, 318, 296, 593, 2571, 260, 480, 110, 589, 527, 2959, 1, 1196, 50, 2858]
COLUMNS = [1, 50, 110, 260, 296, 318, 356, 480, 527, 589, 593, 1196, 2571, 2858]
PRINTED = """
68  2.5 3.0 2.5 5.0 2.0 3.0 3.5 3.5 4.0 3.5 3.5 5.0 4.5 5.0
182 4.0 4.5 3.5 3.5 5.0 4.5 5.0 3.5 4.0 2.0 4.5 3.0 5.0 5.0
249 4.0 4.0 5.0 5.0 4.0 4.5 4.5 4.0 4.5 4.0 4.0 5.0 5.0 4.5
274 4.0 4.0 4.5 3.0 5.0 4.5 4.5 3.5 4.0 4.5 4.0 4.5 4.0 5.0
288 4.5 NaN 5.0 5.0 5.0 5.0 5.0 2.0 5.0 4.0 5.0 4.5 3.0 NaN
307 4.0 4.5 3.5 3.5 4.5 4.5 4.0 3.5 4.5 2.5 4.5 3.0 3.5 4.0
380 5.0 4.0 4.0 5.0 5.0 3.0 5.0 5.0 NaN 5.0 5.0 5.0 4.5 NaN
387 NaN 4.5 3.5 4.5 5.0 3.5 4.0 3.0 NaN 3.5 4.0 4.5 4.0 4.5
414 4.0 5.0 5.0 5.0 5.0 5.0 5.0 4.0 4.0 5.0 4.0 5.0 5.0 5.0
448 5.0 4.0 NaN 5.0 5.0 NaN 3.0 3.0 NaN 3.0 5.0 5.0 2.0 4.0
474 4.0 4.0 3.0 4.0 4.0 5.0 3.0 4.5 5.0 4.0 4.5 5.0 4.5 3.5
599 3.0 3.5 3.5 5.0 5.0 4.0 3.5 4.0 NaN 4.5 3.0 5.0 5.0 5.0
603 4.0 NaN 1.0 4.0 5.0 NaN 3.0 NaN 3.0 NaN 5.0 3.0 5.0 5.0
606 2.5 4.5 3.5 4.5 5.0 3.5 4.0 2.5 5.0 3.5 4.5 4.5 5.0 4.5
610 5.0 4.0 4.5 5.0 5.0 3.0 3.0 5.0 3.5 5.0 4.5 5.0 5.0 3.5
"""


def test_equals_the_notebooks_lists_and_cells() -> None:
    path = Path(os.environ.get("CF_DATA_HOME", "")) / "ml-latest-small.zip"
    if not path.is_file():
        pytest.skip("ml-latest-small.zip not at hand; set CF_DATA_HOME to its folder")
    with zipfile.ZipFile(path) as archive:
        content = archive.read("ml-latest-small/ratings.csv")
    ratings = pyarrow.csv.read_csv(io.BytesIO(content))
    user_ids, item_ids, values = (
        ratings[name].to_numpy() for name in ("userId", "movieId", "rating")
    )
    assert most_frequent(user_ids, 15).tolist() == TOP_USERS
    assert most_frequent(item_ids, 15).tolist() == TOP_ITEMS

    table = top_crosstab(user_ids, item_ids, values.astype(np.float32), 15)

    printed = np.array([line.split() for line in PRINTED.strip().splitlines()], dtype=float)
    assert table.user_ids.tolist() == printed[:, 0].tolist()
    assert table.item_ids.tolist() == [*COLUMNS, 2959]
    np.testing.assert_array_equal(table.values[:, :-1], printed[:, 1:])


def test_counts_over_all_ratings_and_sorts_by_id() -> None:
    user_ids = np.array([9, 9, 9, 2, 2, 5])
    item_ids = np.array([30, 10, 20, 30, 10, 30])
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 0.5])
    table = top_crosstab(user_ids, item_ids, values, 2)
    assert table.user_ids.tolist() == [2, 9]
    assert table.item_ids.tolist() == [10, 30]
    assert table.values.tolist() == [[5.0, 4.0], [2.0, 1.0]]


def test_equal_counts_go_to_the_lower_id() -> None:
    assert most_frequent(np.array([7, 3, 5, 7, 5, 3, 1]), 2).tolist() == [3, 5]


def test_repeated_pairs_are_summed_and_missing_pairs_are_nan() -> None:
    table = top_crosstab(np.array([1, 1, 2]), np.array([4, 4, 5]), np.array([2.5, 3.0, 1.0]), 15)
    np.testing.assert_array_equal(table.values, [[5.5, np.nan], [np.nan, 1.0]])


def test_a_sum_of_zero_is_not_a_missing_rating() -> None:
    table = top_crosstab(np.array([1]), np.array([1]), np.array([0.0]), 1)
    assert table.values.tolist() == [[0.0]]


@pytest.mark.parametrize("n", [0, 3])
def test_no_ratings_or_no_rows_asked_for(n: int) -> None:
    ids = np.zeros(n, dtype=np.int64)
    assert top_crosstab(ids, ids, np.ones(n), 0 if n else 15).values.shape == (0, 0)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 user ids, 1 item ids and 1 values"):
        top_crosstab(np.array([1, 2]), np.array([1]), np.array([1.0]), 1)
