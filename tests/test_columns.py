"""Which column is the user, the item, the rating and the time: by names, by values, by place."""

from collections.abc import Callable
from typing import Any

import pytest

from cf.data import columns

NAME, END, FIRST, NEXT = (
    "by its name",
    "by the end of its name",
    "the first that is left",
    "the next",
)
VALUES, COUNTS, THIRD = "by its values", "by its values: counts", "the third, as is usual"
KEYS = {"u": "user_id", "i": "item_id", "r": "rating", "t": "timestamp"}


def chosen(names: str, rows: list[str], **stated: str | None) -> dict[str, tuple[str, str]]:
    """The columns of a table by the first letters of user, item, rating and timestamp."""
    known = {KEYS[key]: name for key, name in stated.items()}
    found = columns.choose(names.split(), [row.split() for row in rows], known)
    assert list(found) == [key for key in KEYS.values() if key in found], "in this order"
    return {key[0]: choice for key, choice in found.items()}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("userid user item", {"u": ("user", NAME), "i": ("item", NAME)}),
        ("User_ user item", {"u": ("User_", NAME), "i": ("item", NAME)}),
        ("USER-ID:token Movie:token", {"u": ("USER-ID:token", NAME), "i": ("Movie:token", NAME)}),
        ("x_userid the_movieid", {"u": ("x_userid", END), "i": ("the_movieid", END)}),
        ("x_reader y_reader my_movie", {"u": ("x_reader", END)}),
        ("my_user my_item", {}),
        ("user item score stars", {"u": ("user", NAME), "i": ("item", NAME), "r": ("score", NAME)}),
        (
            "user item plays views",
            {"u": ("user", NAME), "i": ("item", NAME), "r": ("plays", "by its name: counts")},
        ),
        (
            "user item hours grade",
            {"u": ("user", NAME), "i": ("item", NAME), "r": ("grade", NAME)},
        ),
        (
            "user item date ts",
            {"u": ("user", NAME), "i": ("item", NAME), "t": ("date", NAME)},
        ),
        ("user my_rating_value", {"u": ("user", NAME)}),
        ("user my_timestamps", {"u": ("user", NAME)}),
    ],
)
def test_names_tell_what_columns_are(names: str, expected: dict[str, tuple[str, str]]) -> None:
    assert chosen(names, []) == expected


def test_what_is_stated_is_not_chosen() -> None:
    stated = {"u": ("x", "as stated"), "i": ("item", NAME), "r": ("rating", NAME)}
    assert chosen("user item x rating", [], u="x") == stated
    assert chosen("user item x rating", [], u="x", r=None) == {
        key: stated[key] for key in ("u", "i")
    }
    assert chosen("user item rating", [], i="user") == {
        "u": ("item", FIRST),
        "i": ("user", "as stated"),
        "r": ("rating", NAME),
    }
    assert "u" not in chosen("user item", [], u=None)


@pytest.mark.parametrize(
    ("times", "are_times"),
    [
        ("123456789 999999999", True),
        ("12345678 99999999", False),
        ("1234567890123456789 9999999999999999999", True),
        ("12345678901234567890 12345678901234567890", False),
        ("123456789.5 123456789", True),
        ("123456789, 123456789,", False),
        ("2020-01-02 2020-01-02T10:00", True),
        ("2020-1-2 2020-1-2", False),
        ("20-01-02 20-01-02", False),
        ("1.2.2020 11.12.2020T10:00", True),
        ("1/2/2020 11/12/2020", True),
        ("1.2/2020 1.2/2020", False),
        ("1-2-2020 1-2-2020", False),
        ("111.2.2020 1.2.2020", False),
        ("123456789 soon", False),
    ],
)
def test_times_are_known_by_their_values(times: str, are_times: bool) -> None:
    rows = [f"a b {time}" for time in times.split()]
    found = chosen("user item x", rows)
    assert found.get("t") == (("x", VALUES) if are_times else None)


def test_the_first_of_two_columns_of_times_is_taken_but_none_that_ids_need() -> None:
    assert chosen("user item x y", ["a b 123456789 123456789"])["t"] == ("x", VALUES)
    assert "t" not in chosen("x y", ["123456789 a", "123456789 b"])
    assert "t" not in chosen("user x", ["a 123456789"])
    assert chosen("x y z", ["a b 123456789", "c d 123456789"])["t"] == ("z", VALUES)
    assert "t" not in chosen("user item x", [])


def table(*columns_: str) -> list[str]:
    """The rows of a table whose columns these are."""
    return [" ".join(row) for row in zip(*map(str.split, columns_), strict=True)]


A, B = "a b c d", "e f g h"


@pytest.mark.parametrize(
    ("names", "rows", "expected"),
    [
        ("user item x", table(A, B, "1 2 2 1"), ("x", VALUES)),
        ("user item x", table(A, B, "1.5 2,5 2 -1"), ("x", VALUES)),
        ("user item x", table(A, B, "1.123 2 2 1"), ("x", VALUES)),
        ("user item x", table(A, B, "1.1234 2 2 1"), ("x", THIRD)),
        ("user item x", table(A, B, "1.1234 2 2 100"), ("x", THIRD)),
        ("user item x", table(A, B, "1.1234 2 2 100.5"), None),
        ("user item x", ["a b 1"], ("x", VALUES)),
        ("user item x", ["a b 1", "c d 2"], None),
        ("user item x", table(A, B, "1 2 two 1"), None),
        ("user item x", table(A, B, "100 2 2 1"), ("x", VALUES)),
        ("user item x", table(A, B, "101 2 2 1"), ("x", COUNTS)),
        ("user item x", table(A, B, "-100 2 2 1"), ("x", VALUES)),
        ("user item x", table(A, B, "-101 2 2 1"), None),
        ("user item x", table(A, B, "101 0 2 1"), None),
        ("user item x", table(A, B, "101 0.5 2 1"), None),
        ("user item x", table(A, B, "0 1 2 3"), None),
        ("user item x", table(A, B, "1 2 3 4"), None),
        ("user item x", table(A, B, "1 2 3 5"), ("x", VALUES)),
        ("user item x", table(A, B, "2 3 4 5"), ("x", VALUES)),
        ("user item age", table(A, B, "1 2 2 1"), ("age", THIRD)),
        ("user item age x", table(A, B, "1 2 2 1", A), ("age", COUNTS)),
        ("user item x y", table(A, B, "1 2 2 1", "1 2 2 1"), None),
        ("user item x y", table(A, B, "1 2 2 1", "101 2 2 1"), ("x", VALUES)),
        ("user item x y", table(A, B, "1.5 2 2 1", "1.5 2 2 1"), None),
        ("user item x price", table(A, B, "1 2 2 1", "1.5 2 2 1"), ("x", VALUES)),
        ("user item x y", table(A, B, A, "102 103 104 101"), ("y", COUNTS)),
        ("user item x y", table(A, B, "102 103 104 101", "102 103 104 101"), None),
        ("user x item", table(A, "1.1234 2 2 1", B), None),
        ("1 2 3", table(A, B, "1 2 2 1"), ("3", VALUES)),
        ("1 2 3", table("7 7 8 8", "7 8 7 8", "1 2 2 1"), ("3", VALUES)),
        ("1 2 3", table("1.5 2.5 2 2", B, "1 2 2 1"), ("3", VALUES)),
        ("1 2 3", table(A, "1.5 2 2 1", "1.5 2 2 1"), None),
        ("1 2 3 4", table(A, B, A, "1 2 2 1"), ("4", VALUES)),
        ("1 2 3 4", table(A, "7 7 8 8", B, "1 2 2 1"), None),
        ("1 2 3", table(A, "1 2 2 1", B), ("2", VALUES)),
    ],
)
def test_a_rating_is_known_by_its_values(
    names: str, rows: list[str], expected: tuple[str, str] | None
) -> None:
    assert chosen(names, rows).get("r") == expected


def test_many_whole_numbers_are_no_rating() -> None:
    for n, why in ((11, VALUES), (12, THIRD)):
        rows = [f"u{at} i{at} {2 + at % n}" for at in range(40)]
        assert chosen("user item x", rows)["r"] == ("x", why)
    rows = [f"u{at} i{at} {2 + at % 30}.5" for at in range(40)]
    assert chosen("user item x", rows)["r"] == ("x", VALUES)


@pytest.mark.parametrize(
    ("names", "rows", "users_and_items"),
    [
        ("1 2 3", table(A, B, "1.5 2 2 1"), ("1", "2")),
        ("1 2 3", table("1.5 2 2 1", A, B), ("2", "3")),
        ("1 2 3 4", table("0 1 2 3", A, B, "1.5 2 2 1"), ("2", "3")),
        ("1 2 3 4", table("1 2 3 4", A, B, "1.5 2 2 1"), ("2", "3")),
        ("1 2 3 4", table("2 3 4 5", A, B, "1.5 2 2 1"), ("1", "2")),
        ("1 2 3", table("0 1 2 3", A, "1.5 2 2 1"), ("1", "2")),
        ("x y rating", table(A, B, "1 2 2 1"), ("x", "y")),
        ("x y z rating", table(A, B, A, "1 2 2 1"), None),
        ("n x y rating", table("0 1 2 3", A, B, "1 2 2 1"), ("x", "y")),
        ("x y z", table(A, B, A), None),
        ("1 2", table(A, B), ("1", "2")),
    ],
)
def test_users_and_items_are_what_is_left(
    names: str, rows: list[str], users_and_items: tuple[str, str] | None
) -> None:
    found = chosen(names, rows, t=None)
    if users_and_items is None:
        assert not {"u", "i"} & set(found)
    else:
        assert (found["u"], found["i"]) == (
            (users_and_items[0], FIRST),
            (users_and_items[1], NEXT),
        )


def many(*columns: Callable[[int], Any]) -> list[str]:
    """Forty rows, whose n-th value of a column is what its function makes of n."""
    return [" ".join(str(column(n)) for column in columns) for n in range(40)]


def row_number(n: int) -> int:
    return n + 1


def user(n: int) -> str:
    return f"u{n % 7}"


def item(n: int) -> str:
    return f"i{n % 9}"


def user_number(n: int) -> int:
    return 1000 + n % 7


def item_number(n: int) -> int:
    return 2000 + n % 13


def small_item_number(n: int) -> int:
    return 20 + n % 13


def stars(n: int) -> int:
    return 1 + n % 5


def seconds(n: int) -> int:
    return 1_000_000_000 + n


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (many(row_number, user, item, stars), "234"),
        (many(row_number, user, item), "23 "),
        (many(row_number, user_number, item_number, stars), "234"),
        (many(row_number, user_number, item_number, stars, seconds), "2345"),
        (many(row_number, user, item, seconds), "23 4"),
        (many(user, item, stars, row_number), "123"),
        (many(row_number, item_number, stars, seconds), "1234"),
        (many(row_number, item_number, stars, item), "123"),
        (many(row_number, item, stars, seconds), "1234"),
        (many(row_number, item, stars), "123"),
        (many(row_number, item_number, stars), "123"),
        (many(row_number, user), "12"),
        (many(row_number, user, item)[:10], "23 "),
        (many(row_number, user, item)[:9], "12 "),
        (many(row_number, seconds, stars, small_item_number), "1432"),
        (["1 10 4.0 x", "2 20 5.0 y"], "123"),
    ],
)
def test_a_column_that_numbers_many_rows_is_no_user(rows: list[str], expected: str) -> None:
    names = " ".join(str(n + 1) for n in range(len(rows[0].split())))
    found = {key: name for key, (name, _) in chosen(names, rows).items()}
    places = zip("uirt", expected, strict=False)
    assert found == {key: name for key, name in places if name != " "}


def test_the_third_of_three_columns_is_usual_though_the_first_numbers_the_rows() -> None:
    found = chosen("1 2 3", many(row_number, item, small_item_number))
    assert found == {"u": ("1", FIRST), "i": ("2", NEXT), "r": ("3", THIRD)}


def test_the_item_alone_is_left() -> None:
    found = chosen("user x rating", table(A, B, "1 2 2 1"))
    assert found == {"u": ("user", NAME), "i": ("x", NEXT), "r": ("rating", NAME)}
    found = chosen("x item rating", table(A, B, "1 2 2 1"))
    assert found["u"] == ("x", FIRST)


def test_short_rows_lack_their_last_columns() -> None:
    assert chosen("user item x", ["a b 1.5", "c d"])["r"] == ("x", VALUES)
    assert "r" not in chosen("user item x", ["a b", "c d"])


@pytest.mark.parametrize(
    ("sample", "is_matrix"),
    [
        ([["1"] * 12, ["", " "] * 6], True),
        ([["1"] * 11] * 2, False),
        ([["1"] * 12, ["1"] * 13], False),
        ([["1"] * 11 + ["x"]], False),
        ([], False),
    ],
)
def test_a_matrix_is_wide_and_all_numbers(sample: list[list[str]], is_matrix: bool) -> None:
    assert columns.is_matrix(sample) == is_matrix


def test_columns_without_names_are_numbered() -> None:
    assert not columns.has_names(["1", "2"])
    assert columns.has_names(["1", "3"])
    assert columns.has_names(["0", "1"])
