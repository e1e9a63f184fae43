"""Files laid out as well-known public ones are, made up: which column is taken for what."""

import json
from pathlib import Path

import numpy as np
import pytest

from cf.core.errors import InputError
from cf.data.recognition import Recognized, recognize

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
