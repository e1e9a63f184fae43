import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf.core.errors import InputError
from cf.data.validation import RATING_TYPES, merge_repeats, number_pairs, validate


def table(users, items, values, timestamps=None):
    columns = {"user_id": users, "item_id": items, "rating": values}
    if timestamps is not None:
        columns["timestamp"] = timestamps
    return pd.DataFrame(columns).astype({name: RATING_TYPES[name] for name in columns})


def message(ratings, rating_range=(0.5, 5.0), implicit=False):
    with pytest.raises(InputError) as caught:
        validate(ratings, rating_range, "mine.csv", lambda row: f"line {row + 2}", implicit)
    return str(caught.value)


def accepts(ratings, rating_range=(0.5, 5.0), implicit=False):
    validate(ratings, rating_range, "mine.csv", lambda row: f"line {row + 2}", implicit)
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


@pytest.mark.parametrize("value", [0.5, 5.0])
def test_the_ends_of_the_range_are_in_it(value):
    assert accepts(table([1, 2], [4, 5], [3, value]))


def test_ratings_that_are_all_the_same():
    same = table([1, 2], [4, 5], [3.5, 3.5])
    assert message(same, None) == (
        "mine.csv: all ratings are 3.5, so there is nothing to predict. State ingest.rating_range "
        "in params.yaml if they can be others, or if rows are interactions, ingest.feedback: "
        "implicit."
    )
    assert accepts(same)
    assert accepts(same, None, implicit=True)
    assert message(table([1], [4], [3]), None).startswith("mine.csv: all ratings are 3, so")
    validated = validate(table([1, 2], [4, 5], [3, 4]), None, "mine.csv", str)
    assert validated is None
    with pytest.raises(InputError, match="all ratings are"):
        validate(same, None, "mine.csv", str)


def test_counts_of_interactions_are_above_0():
    counts = table([1, 2, 3], [4, 5, 6], [1, 0, -1])
    assert message(counts, None, implicit=True) == (
        "mine.csv, line 3: expected a count of interactions, above 0, got user_id 2, item_id 5, "
        "rating 0 (2 such rows). Remove such rows, or if they mean that there is none, add them to "
        "ingest.missing."
    )
    assert accepts(table([1, 2], [4, 5], [1, 0.001]), None, implicit=True)
    assert accepts(counts, (-1.0, 1.0))


def test_ratings_nearer_than_results_can_tell():
    for rating_range in (None, (0.001, 0.002)):
        assert message(table([1, 2], [4, 5], [0.001, 0.002]), rating_range) == (
            "mine.csv: ratings are from 0.001 to 0.002, but results are given to six decimals. "
            "Multiply all ratings, so that they differ by 0.01 or more."
        )
    assert accepts(table([1, 2], [4, 5], [0.5, 0.5]), (0.5, 0.51))
    assert accepts(table([1, 2], [4, 5], [0.0, 0.0]), (0.0, 0.01))
    assert accepts(table([1, 2], [4, 5], [0.001, 0.002]), None, implicit=True)


def test_pairs_are_numbered_alike_if_they_are_the_same():
    pairs = number_pairs(table([7, 7, 8, 7, 9], [1, 2, 1, 1, 2], [1] * 5))
    assert pairs.tolist() == [0, 1, 2, 0, 5]
    assert pairs.dtype == "int64"


@pytest.mark.parametrize(
    ("how", "times", "rows", "values"),
    [
        ("last", [9, 5, 3, 5], [0, 1], [2, 1]),
        ("first", [9, 5, 3, 5], [1, 2], [1, 4]),
        ("mean", [9, 5, 3, 5], [0, 1], [3, 1]),
        ("last", [5, 5, 5, 5], [1, 3], [1, 3]),
        ("first", [5, 5, 5, 5], [0, 1], [2, 1]),
        ("last", None, [1, 3], [1, 3]),
        ("first", None, [0, 1], [2, 1]),
        ("mean", None, [1, 3], [1, 3]),
    ],
)
def test_repeats_are_merged_by_time(how, times, rows, values):
    merged = merge_repeats(table([1, 2, 1, 1], [1, 1, 1, 1], [2, 1, 4, 3], times), how)
    assert merged.index.tolist() == rows
    assert merged["rating"].tolist() == values
    assert merged["rating"].dtype == "float32"


@pytest.mark.parametrize(("how", "row"), [("first", 10), ("last", 9)])
def test_of_many_repeats_at_the_same_time_the_order_of_the_rows_decides(how, row):
    repeats = table([1] * 20, [1] * 20, [2] * 20, [2] * 10 + [1] * 10)
    assert merge_repeats(repeats, how).index.tolist() == [row]


def test_without_repeats_there_is_nothing_to_merge():
    ratings = table([1, 2], [1, 1], [2, 1])
    assert merge_repeats(ratings, "mean") is ratings


def test_a_pair_that_occurs_twice():
    assert message(table([7, 7, 8, 7, 7], [1, 2, 1, 2, 1], [1, 2, 3, 4, 5])) == (
        "mine.csv, line 5: a user may rate an item once, got user_id 7, item_id 2, rating 4 "
        "though line 3 has user_id 7, item_id 2, rating 2 (2 such rows). Keep one row of each "
        "user and item, or let ingest.repeats in params.yaml be last, first or mean."
    )


def test_a_pair_that_occurs_twice_is_found_after_others():
    said = "mine.csv, line 4: a user may rate an item once, got user_id 8, item_id 2, rating 3"
    assert message(table([7, 8, 8], [1, 2, 2], [1, 2, 3])).startswith(said)


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
