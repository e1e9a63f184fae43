"""Files laid out as well-known public ones are, made up: which column is taken for what."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cf.core.config import Columns, Ingest, TextLayout
from cf.core.errors import InputError
from cf.data import ratings_file, recognition, table_file
from cf.data.recognition import Recognized, describe_ratings, recognize, suspicious_mark

N = 40
draw = np.random.default_rng(0)
ROWS = [
    {
        "n": n,
        "u": pair // 8 + 3,
        "i": pair % 8 + 11,
        "user": f"A{pair // 8:03}KJHGF",
        "item": f"B00{pair % 8:03}XY",
        "r": draw.integers(1, 6),
        "big": draw.integers(1, 900),
        "t": draw.integers(10**9, 15 * 10**8),
        "lat": draw.uniform(30, 60),
    }
    for n, pair in enumerate(draw.permutation(20 * 8)[:N])
]
NO = None
FILES = {
    # name: header, row, then what is user, item, rating, time, and whether it is implicit
    "amazon": (NO, "{user},{item},{r}.0,{t}", ("1", "2", "3", "4"), False),
    "hetrec": (
        "userID\tartistID\tweight",
        "{u}\t{i}\t{big}",
        ("userID", "artistID", "weight"),
        True,
    ),
    "360k": (NO, '{user}\t{item}\tthe "x", a\t{big}', ("1", "2", "4"), True),
    "yahoo": (NO, "{u}\t{i}\t{big}".replace("big", "r") + "5", ("1", "2", "3"), False),
    "filmtrust": (NO, "{u} {i} {r}.5", ("1", "2", "3"), False),
    "beer": (
        "brewery_id,brewery_name,review_time,review_overall,review_profilename,beer_name,beer_beerid",
        '{i},"Brew, {i}",{t},{r},{user},"A, b",{i}',
        ("review_profilename", "beer_beerid", "review_overall", "review_time"),
        False,
    ),
    "songs": (
        ",user_id,song_id,listen_count",
        "{n},{user},{item},{r}",
        (
            "user_id",
            "song_id",
            "listen_count",
        ),
        True,
    ),
    "recbole": (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        "{u}\t{i}\t{r}\t{t}",
        ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
        False,
    ),
    "german": (
        "Benutzer;Film;Note;Datum",
        "{u};Film {i};{r},5;03.12.2019 12:30",
        ("Benutzer", "Film", "Note", "Datum"),
        False,
    ),
    "quoted_blanks": (
        'user,hotel,"overall rating",date',
        '"u, {u}","Hotel ""{i}""",{r},"Mar 5, 2019"',
        ("user", "hotel", "overall rating", "date"),
        False,
    ),
    "book_crossing": (
        '"User-ID";"ISBN";"Book-Rating"',
        '"{u}";"0{i}X";"{r}"',
        ("User-ID", "ISBN", "Book-Rating"),
        False,
    ),
}
REFUSED = {
    "check_ins": (NO, "{u}\t2010-10-19T23:55:27Z\t{lat}\t-{lat}\t{i}", "recognized as rating"),
    "matrix": (NO, ",".join(["{r}"] * 30), "has 30 columns of numbers, as a matrix of users"),
    "letterboxd": (
        "Date,Name,Year,Letterboxd URI,Rating",
        "2020-01-05,Film {i},1999,https://x/{i},{r}",
        r"recognized as user_id .*\(one person's own ratings have none",
    ),
    "goodreads": (
        "Book Id,Title,Author,My Rating,Date Added",
        '{i},"T, {i}",Author {u},{r},2020/01/05',
        "recognized as user_id",
    ),
    "events": ("timestamp,visitorid,event,itemid", "{t}000,{u},view,{i}", "recognized as rating"),
}


def written(folder: Path, header: str | None, row: str) -> str:
    lines = [*([header] if header else []), *(row.format(**values) for values in ROWS)]
    path = folder / "ratings.data"
    path.write_text("\n".join(lines))
    return str(path)


def columns_of(found: Recognized) -> tuple[str, ...]:
    stated = found.settings.columns
    names = (stated.user_id, stated.item_id, stated.rating, stated.timestamp)
    return tuple(name for name in names if name is not None)


@pytest.mark.parametrize("name", FILES)
def test_columns_are_found_as_public_files_have_them(tmp_path: Path, name: str) -> None:
    header, row, expected, implicit = FILES[name]
    found = recognize(written(tmp_path, header, row))
    assert columns_of(found) == expected
    assert (found.settings.feedback == "implicit") == implicit
    assert not found.problems
    assert f"{N} " in found.facts[0]


def found_in(folder: Path, *lines: str, **given: Any) -> Recognized:
    path = folder / "mine.csv"
    path.write_text("\n".join(lines))
    return recognize(str(path), **given)


def test_all_that_is_said_of_ratings(tmp_path: Path) -> None:
    found = found_in(
        tmp_path,
        "user,item,rating,time",
        *("a,7,1.5,1000000000", "b,8,2.5,1100000000", "a,8,2.5,1200000000", "c,9,4.5,1300000061"),
        *("d,9,1.5,1300000000", "a,7,3.5,1300000001"),
    )
    assert found.format == [
        "mine.csv",
        "text in utf-8, fields separated by commas, without quotes",
        "the names of the columns are in the file",
    ]
    assert list(found.columns) == ["is", "column", "because", "has"]
    assert list(found.columns.itertuples(index=False, name=None)) == [
        ("user_id", "user", "by its name", "4 different, text: a, b, c, …"),
        ("item_id", "item", "by its name", "3 different, whole numbers: 7, 8, 9, …"),
        ("rating", "rating", "by its name", "1.5 to 4.5"),
        ("timestamp", "time", "by its name", "2001-09-09 01:46 to 2011-03-13 07:07"),
    ]
    assert found.facts == [
        "5 ratings from 1.5 to 4.5 in steps of 1, most often 1.5 (40%), 2.5 (40%), 4.5 (20%)",
        "Times are in s since 1970",
        "repeats of a user and an item: 1; the last one counts",
    ]
    assert found.settings == Ingest(
        dataset=str(tmp_path / "mine.csv"),
        fallback=None,
        columns=Columns(user_id="user", item_id="item", rating="rating", timestamp="time"),
        rating_range=[1.5, 4.5],
        repeats="last",
    )
    assert found.problems == []


def test_all_that_is_said_of_interactions(tmp_path: Path) -> None:
    lines = ["user,item,plays", *(f"{n % 3},{n % 2},{n + 1}" for n in range(40))]
    found = found_in(tmp_path, *lines)
    assert found.facts == [
        "6 interactions, counted from 1 to 6: not ratings, so for `make rank` alone",
        "repeats of a user and an item: 34; the last one counts",
    ]
    assert found.settings == Ingest(
        dataset=str(tmp_path / "mine.csv"),
        fallback=None,
        columns=Columns(user_id="user", item_id="item", rating="plays", timestamp=None),
        feedback="implicit",
        repeats="last",
    )
    found = found_in(tmp_path, "user,item", "1,2", "1,3")
    assert found.facts == [
        "2 interactions: not ratings, so for `make rank` alone",
        "All are of one user: models need several",
    ]


@pytest.mark.parametrize(
    ("n_rows", "n_repeats", "repeats"),
    [(40, 9, "last"), (40, 10, "refuse"), (400, 19, "last"), (400, 20, "refuse")],
)
def test_few_repeats_are_settled_and_many_are_asked_about(
    tmp_path: Path, n_rows: int, n_repeats: int, repeats: str
) -> None:
    lines = [f"{n},{n % 7},{n % 5 + 1}" for n in range(n_rows - n_repeats)]
    found = found_in(tmp_path, "user,item,rating", *lines, *lines[:n_repeats])
    assert found.settings.repeats == repeats
    assert found.facts[1] == (
        f"repeats of a user and an item: {n_repeats}; the last one counts"
        if repeats == "last"
        else f"{n_repeats} of {n_rows} rows repeat a user and an item. Are these columns right? If "
        "so, state ingest.repeats: last, first or mean"
    )


SKEWED = [0.0] * 20 + [float(n) for n in range(60)] + [500.0 + n for n in range(41)]


@pytest.mark.parametrize(
    ("ratings", "said"),
    [
        (
            [1, 2, 2, 4],
            "4 ratings from 1 to 4 in steps of 1, most often 2 (50%), 1 (25%), 4 (25%)",
        ),
        (
            [0.1, 0.2, 0.4, 0.4, 0.3, 0.3, 0.3],
            "7 ratings from 0.1 to 0.4 in steps of 0.1, most often 0.3 (43%), 0.4 (29%), 0.1 (14%)",
        ),
        ([3, 3], "2 ratings from 3 to 3, 1 different"),
        (
            range(100),
            "100 ratings from 0 to 99 in steps of 1, most often 0 (1%), 1 (1%), 2 (1%)",
        ),
        (range(101), "101 ratings from 0 to 100, 101 different"),
        (
            SKEWED,
            "121 ratings from 0 to 540, 101 different. If they count plays or hours, set "
            "ingest.feedback: implicit",
        ),
        ([n - 1 for n in SKEWED], "121 ratings from -1 to 539, 101 different"),
        ([*range(199), 199 + 99 * 100], "200 ratings from 0 to 10099, 200 different"),
        # the median is 99.5: a mean of 149.25 is 1.5 times as much, one of 198.505 is more
        ([*range(199), 10_149], "200 ratings from 0 to 10149, 200 different"),
        (
            [*range(199), 20_000],
            "200 ratings from 0 to 20000, 200 different. If they count plays or hours, set "
            "ingest.feedback: implicit",
        ),
        (
            [0, 1 / 3, 2 / 3, 1],
            "4 ratings from 0 to 1 in steps of 0.3333, most often 0 (25%), 0.333333 (25%), "
            "0.666667 (25%)",
        ),
    ],
)
def test_ratings_are_described(ratings: list[float], said: str) -> None:
    assert describe_ratings(pd.Series(ratings, dtype="float32")) == said


@pytest.mark.parametrize(
    ("ratings", "mark"),
    [
        ([0, 5, 6, 7], "0 is 25%"),
        ([-1, 1, 2, 3], "-1 is 25%"),
        ([-1, 0.5, 1.5, 2.5], None),
        ([1, 2, 3, 99], "99 is 25%"),
        ([1, 2, 3, 999], "999 is 25%"),
        ([95.5, 96.5, 97.5, 99], None),
        ([95, 96, 97, 99], "99 is 25%"),
        ([93, 95, 97, 99], None),
        ([0, 5], None),
        ([0] * 2 + [1, 2] * 4, "0 is 20%"),
        ([0, 1, 2, 1, 2, 1, 2, 1, 2, 1], None),
        ([0] * 4 + [-2, 2] * 3, "0 is 40%"),
        ([0] * 3 + [-2, 2, -2, 2, -2, 2, 2], None),
        ([-1, 1, 3, 5], None),
    ],
)
def test_a_value_that_is_far_or_too_often_there_may_be_no_rating(
    ratings: list[float], mark: str | None
) -> None:
    number = mark.split()[0] if mark else ""
    said = f"{mark} of the ratings: if it means that there is none, set ingest.missing: [{number}]"
    assert suspicious_mark(pd.Series(ratings, dtype="float32")) == (said if mark else "")


def test_lines_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    bad = ["1,2", "1, ,3", f"1,2,{'x' * 50}", "1,2,3"]
    found = found_in(tmp_path, "user,item,rating", "1,2,3", *bad)
    assert found.problems == [
        "line 3: expected 3 fields, got 2",
        "line 4: item is ''",
        f"line 5: rating is '{'x' * 40}'",
    ]
    assert found.facts == []
    assert found.columns["has"].tolist() == [""] * 3
    assert found.settings.columns == Columns(
        user_id="user", item_id="item", rating="rating", timestamp=None
    )
    (tmp_path / "more.csv").write_text("user,item,rating\n1,2,3\n")
    found = recognize(str(tmp_path / "m*.csv"))
    assert found.problems[0] == "mine.csv line 3: expected 3 fields, got 2"
    assert found.format[0] == "mine.csv, more.csv"
    entry = '{"user": 1, "item": 2, "rating": "x"}'
    found = found_in(tmp_path, entry, entry)
    assert found.problems == ["line 1: rating is 'x'", "line 2: rating is 'x'"]
    table = table_file.open_table(tmp_path / "mine.csv", TextLayout())
    (tmp_path / "mine.csv").write_text(entry + '\n{"user": 1')
    stated = {"user_id": "user", "item_id": "item", "rating": "rating", "timestamp": None}
    settings = Ingest(dataset="mine.csv", fallback=None, columns=Columns(**stated))
    assert list(recognition.find_problems(table, settings, with_name=False)) == [
        "line 1: rating is 'x'",
        "line 2: expected an object of JSON: Expecting ',' delimiter: line 1 column 11 (char 10)",
    ]


def test_of_many_lines_that_cannot_be_read_the_first_are_listed(tmp_path: Path) -> None:
    bad = [f"{n},7,x" for n in range(15)]
    problems = found_in(tmp_path, "user,item,rating", "1,2,3", *bad).problems
    assert problems == [f"line {n}: rating is 'x'" for n in range(3, 14)], "one more than is shown"


@pytest.mark.parametrize(
    ("names", "said"), [("abc", "a.csv, b.csv, c.csv"), ("abcd", "a.csv, b.csv, c.csv, …")]
)
def test_the_first_three_files_are_named(tmp_path: Path, names: str, said: str) -> None:
    for n, name in enumerate(names):
        (tmp_path / f"{name}.csv").write_text(f"user,item,rating\n1,{n},3\n2,{n},4\n")
    assert recognize(str(tmp_path)).format[0] == said


@pytest.mark.parametrize(
    ("row", "layout", "said"),
    [
        ("{u},{i},{r},{t}", {}, "Times are in s since 1970"),
        ("{u},{i},{r},{t}000.5", {}, "Times are in ms since 1970"),
        ("{u},{i},{r},201{r}0304101500", {}, "Times are dates as numbers"),
        ("{u},{i},{r},03.12.2019", {"time_unit": "%d.%m.%Y"}, None),
        ("{u},{i},{r},2019-03-12", {}, None),
        ('{u},{i},"{r},5",2019-03-12', {"decimal": ","}, "Ratings have decimal commas"),
        (
            '{u},"1,0{i}",{r},2019-03-12',
            {"thousands": ","},
            "Ids such as 1,013 are taken for numbers; to keep them as they are, state "
            "ingest.layout.thousands: null",
        ),
        ('{u},"1,{i}",{r},2019-03-12', {}, None),
    ],
)
def test_signs_and_times_are_recognized(
    tmp_path: Path, row: str, layout: dict[str, str], said: str | None
) -> None:
    rows = [row.format(**values) for values in ROWS]
    found = found_in(tmp_path, "user,item,rating,time", *rows)
    assert found.settings.layout == TextLayout.model_validate(layout)
    assert found.facts[1:] == ([said] if said else [])


def signs_of(folder: Path, *rows: str) -> tuple[TextLayout, list[str]]:
    """What is guessed of rows of a rating and a date, and what is said of it."""
    path = folder / "mine.csv"
    path.write_text("\n".join(["rating;date", *rows]))
    names = {"rating": "rating", "timestamp": "date"}
    table = table_file.open_table(path, TextLayout())
    settings, said = recognition.guess_signs(
        Ingest(dataset="mine.csv", fallback=None), [table], names
    )
    return settings.layout, said


@pytest.mark.parametrize(
    ("rows", "layout", "said"),
    [
        (["1,5;2019-03-12", "2;2019-03-12"], {"decimal": ","}, ["Ratings have decimal commas"]),
        (["1,000.5;2019-03-12", "2,5;2019-03-12"], {}, []),
        (["1;2019/03/12"], {}, []),
        (["1;2019/03/12 10:15"], {}, []),
        (["1;13.12.2019"], {"time_unit": "%d.%m.%Y"}, []),
        (["1;soon"], {}, []),
        (["1;1000000000"], {}, ["Times are in s since 1970"]),
        (["1;1000000000,5", "1;1100000000"], {}, ["Times are in s since 1970"]),
        (["1;1e999"], {}, ["Times are dates as numbers"]),
    ],
)
def test_signs_and_times_of_few_rows(
    tmp_path: Path, rows: list[str], layout: dict[str, str], said: list[str]
) -> None:
    assert signs_of(tmp_path, *rows) == (TextLayout.model_validate(layout), said)


def test_a_date_of_two_patterns_is_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        signs_of(tmp_path, "1;03/04/2005")
    assert str(caught.value) == (
        f"{tmp_path}/mine.csv: dates such as 03/04/2005 fit %m/%d/%Y and %d/%m/%Y. State one in "
        "params.yaml: ingest.layout.time_unit."
    )


@pytest.mark.parametrize("name", REFUSED)
def test_no_column_is_taken_for_what_it_may_not_be(tmp_path: Path, name: str) -> None:
    header, row, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        recognize(written(tmp_path, header, row))


def test_objects_of_json_have_dates_of_all_kinds(tmp_path: Path) -> None:
    dates = ["Thu Sep 14 03:12:24 -0700 2017", "Thu, 14 Sep 2017 10:12:24 GMT"]
    for date in dates:
        path = tmp_path / "reviews.json"
        lines = [
            json.dumps(
                {"user_id": r["user"], "book_id": int(r["i"]), "rating": int(r["r"])}
                | {"date": date}
            )
            for r in ROWS
        ]
        path.write_text("\n".join(lines))
        found = recognize(str(path))
        assert found.columns.set_index("is")["has"]["timestamp"].startswith("2017-09-14 10:12")


def test_a_stated_range_has_no_noise(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item,rating", "{u},{i},{r}.1")
    assert recognize(path).settings.rating_range == [1.1, 5.1]


def test_zeros_and_single_users_are_pointed_out(tmp_path: Path) -> None:
    rows = [dict(row, r=0 if n % 4 else 5) for n, row in enumerate(ROWS)]
    lines = ["user,item,rating", *(f"1,{n},{row['r']}" for n, row in enumerate(rows))]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines))
    facts = recognize(str(path)).facts
    assert any("All are of one user" in fact for fact in facts)
    assert not any("ingest.missing" in fact for fact in facts), "0 and 5 may be all there are"


def test_tables_beside_the_ratings_are_pointed_out(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item,rating", "{u},{i},{r}")
    films = ["id,title,genres", *(f"{n},Film {n},Drama|War" for n in range(11, 19))]
    (tmp_path / "films.csv").write_text("\n".join(films))
    people = ["user,age", *(f"{n},{20 + n % 9}" for n in range(3, 23))]
    (tmp_path / "users.csv").write_text("\n".join(people))
    facts = "\n".join(recognize(path).facts)
    assert f"films.csv has the titles of 100% of the items: --items {tmp_path}/films.csv" in facts
    assert f"users.csv has age of the users: --users {tmp_path}/users.csv" in facts
    given = recognize(path, items=f"{tmp_path}/films.csv").facts
    assert not any("--users" in fact for fact in given), "who gives one table has looked for more"


def test_only_tables_that_describe_most_items_or_users_are_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {
        "mine": ["user,item,rating,title", *(f"u{n},i{n},{n},Film {n}" for n in range(1, 5))],
        "films": ["item,title", *(f"i{n},Film {n}" for n in range(1, 4))],
        "half": ["item,title", *(f"i{n},Film {n}" for n in range(1, 3))],
        "of others": ["item,title", "i9,Film 9"],
        "large": ["item,title", *(f"i{n},A film of that name {n}" for n in range(1, 5))],
        "users": ["user,age,city", *(f"u{n},{n + 30},{'AB'[n % 2]}" for n in range(1, 4))],
        "users half": ["user,age", *(f"u{n},{n + 30}" for n in range(1, 3))],
        "users alone": ["user", *(f"u{n}" for n in range(1, 5))],
        "people": ["user,age", *(f"u{n},{n + 30}" for n in range(1, 5))],
    }
    for name, lines in tables.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    sizes = {name: (tmp_path / f"{name}.csv").stat().st_size for name in tables}
    assert sizes["mine"] < sizes["large"] - 1
    monkeypatch.setattr(recognition, "MAX_SIZE_BESIDE", sizes["large"] - 1)
    said = [
        f"films.csv has the titles of 75% of the items: --items {tmp_path}/films.csv",
        f"users.csv has age, city of the users: --users {tmp_path}/users.csv",
    ]
    assert recognize(f"{tmp_path}/mine.csv").facts[1:] == said
    monkeypatch.setattr(recognition, "MAX_SIZE_BESIDE", sizes["large"])
    said.insert(1, f"large.csv has the titles of 100% of the items: --items {tmp_path}/large.csv")
    assert recognize(f"{tmp_path}/mine.csv").facts[1:] == said


def test_a_folder_of_one_file_stays_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("user,item,rating\n1,2,3\n2,3,4\n")
    assert recognize(str(tmp_path)).settings.dataset == str(tmp_path)


def test_what_is_found_can_be_helped(tmp_path: Path) -> None:
    """Steam's hours, which no rule tells from other numbers."""
    path = written(tmp_path, NO, "{u},Game {i},play,{big}.5,0")
    with pytest.raises(InputError, match=r"recognized as rating .* first row is .*--rating NAME"):
        recognize(path)
    found = recognize(path, columns={"rating": "4"})
    assert columns_of(found) == ("1", "2", "4")


def test_a_folder_of_tables_is_the_one_with_ratings(tmp_path: Path) -> None:
    written(tmp_path, "userId,movieId,rating,timestamp", "{u},{i},{r},{t}")
    (tmp_path / "ratings.data").rename(tmp_path / "ratings.csv")
    (tmp_path / "movies.csv").write_text("movieId,title\n11,Heat\n12,Ran\n")
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n3,11,fun,1139616614\n")
    found = recognize(str(tmp_path))
    assert found.settings.dataset == str(tmp_path / "ratings.csv")
    assert len(found.settings.columns.model_dump()) == 4


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("user,item,rating,date", "{u},{i},{r},03/04/2005", "fit %m/%d/%Y and %d/%m/%Y"),
        (
            "user,item,rating,date",
            "{u},{i},{r},2999-01-01",
            "expected dates from 1900 to 2100, got 2999",
        ),
        ("user,version,rating", "{u},1.{i}0,{r}", "ingest.layout.thousands"),
        ("user,item,age,price", "{u},{i},{r},{r}.99", "recognized as rating"),
    ],
)
def test_what_is_ambiguous_is_not_guessed(tmp_path: Path, header: str, row: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        recognize(written(tmp_path, header, row))


def test_columns_that_repeat_most_pairs_are_not_stated_as_right(tmp_path: Path) -> None:
    found = recognize(written(tmp_path, "user,item,rating", "{r},{r},{r}.5"))
    assert found.settings.repeats == "refuse"
    assert any("Are these columns right?" in fact for fact in found.facts)


def test_small_times_are_pointed_out_and_a_wrong_unit_is_refused(tmp_path: Path) -> None:
    for latest, n_said in ((99_999_999, 1), (100_000_000, 0)):
        found = found_in(tmp_path, "user,item,rating,time", "1,2,3,0", f"2,3,4,{latest}")
        assert found.facts[2:] == n_said * [
            "These times are of 1970 to 1973, taken for seconds: if they are something else, state "
            "ingest.layout.time_unit, or timestamp: null if there are none"
        ]
    path = Path(written(tmp_path, "user,item,rating,time", "{u},{i},{r},{t}"))
    stated = Ingest(dataset=str(path), fallback=None, layout=TextLayout(time_unit="ns"))
    with pytest.raises(InputError, match="are no times in ns, but may be in s"):
        ratings_file.read([path], stated)


def test_files_without_names_need_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,101,4.5\n2,102,3.5\n3,101,2.5\n")
    (tmp_path / "b.csv").write_text("101,4.5,1,x\n102,3.5,2,x\n101,2.5,3,x\n")
    with pytest.raises(InputError, match="its columns, which have no names, are not those of"):
        recognize(str(tmp_path / "*.csv"))


def test_forms_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text('"user","item","rating"\n"1",7,11,4.5\n"2",8,12,3\n')  # R's write.table
    assert columns_of(recognize(str(path))) == ("user", "item", "rating")
    path.write_text("%%MatrixMarket matrix coordinate real general\n5 6 2\n1 2 3\n2 3 4\n")
    with pytest.raises(InputError, match="is in the Matrix Market format"):
        recognize(str(path))
    path.write_text('{"user": {"id": 1}, "item": 7, "rating": 3}\n' * 2)
    with pytest.raises(InputError, match="expected an id, got"):
        recognize(str(path))


@pytest.mark.parametrize("path", ["~nosuchuser/x.csv", 300 * "x", ""])
def test_a_name_that_no_file_can_have(path: str) -> None:
    with pytest.raises(InputError):
        recognize(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        recognize(f"{tmp_path}/mine.csv")
    assert str(caught.value) == (
        f"{tmp_path}/mine.csv: there is no such file, nor a folder or a pattern of files."
    )


def test_times_are_shown_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = pd.DataFrame({"timestamp": [1_000_000_000, 1_100_000_000]})
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "Asia/Tokyo")
            time.tzset()
            table = recognition.describe_columns({"timestamp": ("time", "by its name")}, ratings)
    finally:
        time.tzset()
    assert table["has"].tolist() == ["2001-09-09 01:46 to 2004-11-09 11:33"]
