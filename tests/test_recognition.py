"""Files laid out as well-known public ones are, made up: which column is taken for what."""

import json
from pathlib import Path

import numpy as np
import pytest

from cf.core.config import Ingest, TextLayout
from cf.core.errors import InputError
from cf.data import ratings_file
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
    facts = recognize(written(tmp_path, "user,item,rating,time", "{u},{i},{r},{n}")).facts
    assert any("of 1970 to 1973, taken for seconds" in fact for fact in facts)
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


@pytest.mark.parametrize("path", ["~nosuchuser/x.csv", 300 * "x"])
def test_a_name_that_no_file_can_have(path: str) -> None:
    with pytest.raises(InputError):
        recognize(path)
