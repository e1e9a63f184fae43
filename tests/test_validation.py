import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf.core.errors import InputError
from cf.data.validation import RATING_TYPES, validate


def table(users, items, values, timestamps=None):
    columns = {"user_id": users, "item_id": items, "rating": values}
    if timestamps is not None:
        columns["timestamp"] = timestamps
    return pd.DataFrame(columns).astype({name: RATING_TYPES[name] for name in columns})


def message(ratings, rating_range=(0.5, 5.0)):
    with pytest.raises(InputError) as caught:
        validate(ratings, rating_range, "mine.csv", lambda row: f"line {row + 2}")
    return str(caught.value)


def accepts(ratings, rating_range=(0.5, 5.0)):
    validate(ratings, rating_range, "mine.csv", lambda row: f"line {row + 2}")
    return True


def test_good_ratings_pass():
    assert accepts(table([1, 1, 2], [1, 2, 1], [0.5, 5.0, 3.0], [0, -1, 2**62]))


def test_limits_that_float32_rounds_are_within_range():
    assert accepts(table([1, 2], [1, 1], [0.7, 0.1]), (0.1, 0.7))


def test_ids_may_be_any_64_bit_numbers():
    ends = [-(2**63), 2**63 - 1]
    assert accepts(table([*ends, *ends], [*ends, *reversed(ends)], [1, 2, 3, 4]))


def test_no_rows():
    assert message(table([], [], [])) == "mine.csv: holds no ratings. It needs at least one."


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_rating_that_is_not_finite(value):
    assert message(table([1, 2, 3], [4, 5, 6], [1, value, value])) == (
        f"mine.csv, line 3: rating is not a finite number, got user_id 2, item_id 5, "
        f"rating {value} (2 such rows). Correct or remove such rows."
    )


@pytest.mark.parametrize("value", [0.0, 5.5, -3.0])
def test_a_rating_out_of_range(value):
    assert message(table([1, 2], [4, 5], [3, value])) == (
        f"mine.csv, line 3: rating is out of range: expected 0.5 to 5.0, got user_id 2, "
        f"item_id 5, rating {value:g} (one such row). Correct or remove such rows, or widen "
        "ingest.rating_range in params.yaml. If it means that there is no rating, add it to "
        "ingest.missing."
    )


def test_a_pair_that_occurs_twice():
    assert message(table([7, 7, 8, 7, 7], [1, 2, 1, 2, 1], [1, 2, 3, 4, 5])) == (
        "mine.csv, line 5: a user may rate an item once, got user_id 7, item_id 2, rating 4 "
        "though line 3 has user_id 7, item_id 2, rating 2 (2 such rows). Keep one row of each "
        "user and item, or let ingest.repeats in params.yaml be last, first or mean."
    )


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1))
def test_duplicates_are_found_as_a_set_finds_them(pairs):
    ratings = table(*zip(*pairs, strict=True), [1.0] * len(pairs))
    n_repeats = len(pairs) - len(set(pairs))
    if n_repeats:
        text = message(ratings)
        first = next(row for row, pair in enumerate(pairs) if pair in pairs[:row])
        assert text.startswith(f"mine.csv, line {first + 2}: a user may rate")
        assert f"though line {pairs.index(pairs[first]) + 2} has" in text
        assert (f"({n_repeats} such rows)" if n_repeats > 1 else "(one such row)") in text
    else:
        assert accepts(ratings)
