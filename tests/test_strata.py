from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf.core import io
from cf.core.ratings import Indices, Ratings
from cf.evaluation import strata
from cf.evaluation.bootstrap import intervals, resample
from cf.evaluation.strata import MAX_GENRES, MIN_USERS, by_genre, by_rating, deciles, score

DTYPES = {
    **dict.fromkeys(("stratum", "label", "model"), str),
    **dict.fromkeys(("n", "n_users"), int),
    **dict.fromkeys(("rmse", "rmse_low", "rmse_high", "bias"), float),
    **dict.fromkeys(("to_best", "to_best_low", "to_best_high"), float),
}


def members(groups: pd.Series) -> dict[str, list[int]]:
    """The positions of the rows in each group, by its label."""
    return {
        label: sorted(groups.index[groups == label].tolist()) for label in groups.cat.categories
    }


def grouped(name: str, labels: list[str], rows: list[int] | None = None) -> pd.Series:
    return pd.Series(labels, index=rows, name=name, dtype="category")


def ratings(
    users: list[int], items: list[int], values: list[float], timestamps: list[int] | None
) -> Ratings:
    times = None if timestamps is None else np.array(timestamps)
    stars = np.array(values, dtype=np.float32)
    return Ratings(np.array(users), np.array(items), stars, times, np.arange(len(users)))


def counts_in(train: Ratings, n_users: int, n_items: int) -> tuple[Indices, Indices]:
    return train.user_counts(n_users), train.item_counts(n_items)


def test_deciles_are_of_rows_and_zero_is_a_group_apart() -> None:
    counts = np.array([0, 0, 0, *range(1, 21)])
    found = members(deciles(counts))
    assert list(found) == ["0", *(f"{low} to {low + 1}" for low in range(1, 21, 2))]
    assert found["0"] == [0, 1, 2]
    assert found["1 to 2"] == [3, 4]


def test_ties_stay_together_where_the_middle_of_them_is() -> None:
    """Of ten rows, one is rated once, six five times, three nine times: tenths 1, 5 and 9."""
    found = members(deciles(np.array([5, 9, 5, 1, 5, 9, 5, 5, 9, 5])))
    assert list(found) == ["1", "5", "9"]
    assert found["5"] == [0, 2, 4, 6, 7, 9]
    both_in_the_first = deciles(np.repeat([1, 2, 3], [1, 3, 26]))
    assert list(members(both_in_the_first)) == ["1 to 2", "3"]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_deciles_hold_every_row_once_in_order(given_counts: list[int]) -> None:
    counts = np.array(given_counts)
    found = members(deciles(counts))
    assert sorted(place for places in found.values() for place in places) == list(
        range(len(counts))
    )
    ends = [sorted(counts[places]) for places in found.values()]
    assert all(places for places in ends)
    assert all(low[-1] < high[0] for low, high in pairwise(ends))
    assert len(found) <= 11
    for label, values in zip(found, ends, strict=True):
        assert [int(end) for end in label.split(" to ")] == sorted({values[0], values[-1]})


def test_a_row_counts_in_each_genre_of_its_item() -> None:
    genres = pd.Series(["Comedy|Action", "", "Drama", "Comedy"])
    found = by_genre(np.array([0, 1, 3, 0, 1]), genres)
    assert members(found) == {"Action": [0, 3], "Comedy": [0, 2, 3], "none": [1, 4]}


def test_rare_genres_are_one_group() -> None:
    names = [f"p{n:02}" for n in range(MAX_GENRES)]
    all_of_them = "|".join(names)
    genres = pd.Series([all_of_them, "rare|rarer", *[""] * 5, f"{all_of_them}|rare", all_of_them])
    found = members(by_genre(np.arange(9), genres))
    assert list(found) == [*names, "other", "none"]
    assert found["p29"] == [0, 7, 8]
    assert found["other"] == [1, 7]
    assert found["none"] == [2, 3, 4, 5, 6]


def test_many_different_ratings_are_put_into_ranges() -> None:
    few = by_rating(np.array([4.5, 3, 4.5]), (0.5, 5))
    assert members(few) == {"3": [1], "4.5": [0, 2]}
    found = members(by_rating(np.arange(101), (0, 100)))
    assert list(found)[:2] == ["0 to 10", "11 to 20"]
    assert list(found)[-1] == "91 to 100"
    assert [len(places) for places in found.values()] == [11, *[10] * 9]
    gap = by_rating(np.append(np.linspace(0, 12, 25), 100), (0, 100))
    assert list(members(gap)) == ["0 to 10", "10.5 to 20", "90.5 to 100"]
    third = np.float32(10 / 3)
    alike = by_rating(np.array([third, np.nextafter(third, 9)]), (0, 5))
    assert list(members(alike)) == ["3.33333"]


def test_ranges_of_ratings_are_of_the_range() -> None:
    rows, train = list(range(101)), ratings([0], [0], [3], None)
    held_out = ratings(rows, rows, list(map(float, rows)), None)
    *_, rating = strata.stratify(
        held_out, *counts_in(train, 101, 101), pd.Series([""] * 101), (0, 100)
    )
    pd.testing.assert_series_equal(rating, by_rating(held_out.values, (0, 100)))


def test_every_way_to_group() -> None:
    train = ratings([0, 0, 1], [0, 1, 0], [3, 4, 5], None)
    days = np.array(["1999-12-31T23:59:59", "2000-01-01", "2000-02-29", "2000-02-01"])
    times = days.astype("datetime64[s]").astype(np.int64).tolist()
    held_out = ratings([1, 0, 2, 2], [1, 2, 0, 3], [0.5, 5, 5, 2], times)
    genres = pd.Series(["A", "A|B", "", "B"])
    groups = strata.stratify(held_out, *counts_in(train, 3, 4), genres, (0.5, 5))
    found = {one.name: members(one) for one in groups}
    assert found == {
        "item_popularity": {"0": [1, 3], "1": [0], "2": [2]},
        "user_activity": {"0": [2, 3], "1": [0], "2": [1]},
        "warm_cold": {"warm": [0], "cold user": [2], "cold item": [1], "cold both": [3]},
        "genre": {"A": [0, 2], "B": [0, 3], "none": [1]},
        "rating": {"0.5": [0], "2": [3], "5": [1, 2]},
        "month": {"1999-12": [0], "2000-01": [1], "2000-02": [2, 3]},
        "year": {"1999": [0], "2000": [1, 2, 3]},
    }


def test_without_genres_and_timestamps_there_are_no_such_groups() -> None:
    train, held_out = ratings([0], [0], [3], None), ratings([0], [0], [4], None)
    found = strata.stratify(held_out, *counts_in(train, 1, 1), pd.Series([""]), (1, 5))
    assert [one.name for one in found] == [
        *("item_popularity", "user_activity", "warm_cold", "rating")
    ]
    row = score(found, {"dot": held_out.values}, held_out.values, held_out.users).iloc[0]
    assert (row["label"], row["n"], row["n_users"], row["rmse"]) == ("1", 1, 1, 0.0)
    assert np.isnan(row["rmse_low"])


def test_counts_error_and_bias_worked_by_hand(tmp_path: Path) -> None:
    one = grouped("odd", ["no", "yes", "no", "yes"], [0, 1, 2, 2])
    observed, users = np.array([3.0, 3, 3]), np.array([5, 5, 8])
    models = {"dot": np.array([4.0, 3, 2]), "bias": np.array([3.0, 3, 1])}
    found = score([one], models, observed, users)
    columns = [name for name in DTYPES if not name.endswith(("_low", "_high"))]
    assert list(found[columns].itertuples(index=False, name=None)) == [
        ("odd", "no", "dot", 2, 2, 1.0, 0.0, 0.0),
        ("odd", "yes", "dot", 2, 2, np.sqrt(0.5), -0.5, 0.0),
        ("odd", "no", "bias", 2, 2, np.sqrt(2), -1.0, np.sqrt(2) - 1),
        ("odd", "yes", "bias", 2, 2, np.sqrt(2), -1.0, np.sqrt(2) - np.sqrt(0.5)),
    ]
    io.write_csv(tmp_path / "s.csv", found)
    again = io.read_csv(tmp_path / "s.csv", DTYPES)
    pd.testing.assert_frame_equal(again, found.astype(DTYPES), atol=1e-6, rtol=0)


def test_intervals_are_the_bootstraps() -> None:
    draw = np.random.default_rng(0)
    users = np.repeat(np.arange(200), draw.integers(1, 40, 200))
    n = len(users)
    errors = draw.normal(0, 1, n) * draw.gamma(4, 1 / 4, 200)[users]
    models = {"a": errors, "b": 1.1 * errors + draw.normal(0, 0.3, n)}
    groups = draw.integers(0, 2, n)
    one = grouped("half", ["xy"[group] for group in groups])
    found = score([one], models, 0 * errors, users).set_index(["label", "model"])
    for group, label in enumerate("xy"):
        inside = groups == group
        some = {name: values[inside] for name, values in models.items()}
        drawn = resample(some, 0 * errors[inside], users[inside], 4000, 1)
        row = found.loc[(label, "b")]
        draws = pd.DataFrame({"rmse": drawn["b"], "to_best": drawn["b"] - drawn["a"]})
        for name, (low, high) in intervals(draws).T.items():
            margin = 0.08 * (high - low)
            assert row[f"{name}_low"] == pytest.approx(low, abs=margin)
            assert row[f"{name}_high"] == pytest.approx(high, abs=margin)
        assert (found.loc[(label, "a"), ["to_best_low", "to_best_high"]] == 0).all()


@pytest.mark.parametrize("n_users", [MIN_USERS - 1, MIN_USERS])
def test_few_users_have_no_interval(n_users: int) -> None:
    users = np.repeat(np.arange(n_users), 3)
    errors = np.random.default_rng(0).normal(0, 1, len(users))
    one = grouped("all", ["all"] * len(users))
    found = score([one], {"dot": errors}, 0 * errors, users)
    assert (found[["rmse_low", "to_best_high"]].isna() == (n_users < MIN_USERS)).all(axis=None)


def test_intervals_by_hand() -> None:
    """Of users with a row each: by the variance of a mean, and the derivative of the root."""
    errors = {"dot": np.arange(1, 11) / 1000, "bias": np.full(10, 0.01), "exact": np.zeros(10)}
    found = score([grouped("all", ["all"] * 10)], errors, np.zeros(10), np.arange(10))
    dot, bias, exact = found.itertuples()
    variance = np.var(errors["dot"] ** 2, ddof=1) / 10
    half = 1.96 * np.sqrt(variance) / (2 * np.sqrt(np.mean(errors["dot"] ** 2)))
    assert (dot.rmse_low, dot.rmse_high) == pytest.approx((dot.rmse - half, dot.rmse + half))
    assert (dot.to_best_low, dot.to_best_high) == pytest.approx((dot.rmse_low, dot.rmse_high))
    assert (bias.rmse_low, bias.rmse_high) == pytest.approx((0.01, 0.01))
    assert (exact.rmse_low, exact.rmse_high, exact.to_best_low, exact.to_best_high) == (0, 0, 0, 0)
