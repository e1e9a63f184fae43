"""The user's own tables of items and users, in the forms that people have them."""

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cf.core.config import Ingest, ItemTable, TextLayout, UserTable
from cf.core.errors import InputError
from cf.data import movielens, ratings_file, side_tables
from cf.training.item_features import feature_columns, genre_columns
from tests.ingest_files import ITEMS, movielens_zip

IDS = pd.Series([20, 10, 30])
FILMS = "movieId,title,genres\n10,Toy Story (1995),Animation|Comedy\n20,Heat (1995),Crime\n40,X,\n"
LISTS = {
    "bars": "Drama|Sci-Fi",
    "commas": '"Drama, Sci-Fi"',
    "semicolons": "Drama;Sci-Fi",
    "slashes": "Drama / Sci-Fi",
    "json": '"[""Drama"", ""Sci-Fi""]"',
    "python": "\"['Drama', 'Sci-Fi']\"",
    "objects": "\"[{'id': 18, 'name': 'Drama'}, {'id': 878, 'name': 'Sci-Fi'}]\"",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def items(content: str, ids: "pd.Series[Any]" = IDS, **settings: Any) -> pd.DataFrame:
    Path("films.csv").write_text(content)
    return side_tables.read_items(ItemTable(file="films.csv", **settings), ids)[0]


def users(content: str, **settings: Any) -> tuple[pd.DataFrame, list[str]]:
    Path("people.csv").write_text(content)
    ids = pd.Series([f"u{n}" for n in range(12)])
    return side_tables.read_users(UserTable(file="people.csv", **settings), ids)


def test_a_table_of_items_is_what_the_data_set_has(folder: Path) -> None:
    """MovieLens' own files, read as somebody's."""
    ratings, expected, _ = movielens.read(movielens_zip(folder / "ml.zip"), (0.5, 5.0))
    ratings.to_csv("ratings.csv", index=False)
    rows = [f'{item},"{title}",{genres or "(no genres listed)"}' for item, title, genres in ITEMS]
    Path("films.csv").write_text("\n".join(["movieId,title,genres", *rows]))
    settings = Ingest.model_validate(
        {"dataset": "ratings.csv", "fallback": None, "items": "films.csv"}
    )
    own = ratings_file.read([Path("ratings.csv")], settings)
    pd.testing.assert_frame_equal(own.ratings, ratings)
    in_order = expected.set_index("item_id").loc[ratings["item_id"].unique()].reset_index()
    pd.testing.assert_frame_equal(own.items, in_order)


def test_items_come_in_the_order_of_the_ids(folder: Path) -> None:
    found = items(FILMS)
    assert found["item_id"].tolist() == [20, 10, 30]
    assert found["title"].tolist()[:2] == ["Heat (1995)", "Toy Story (1995)"]
    assert found["title"].isna().tolist() == [False, False, True]
    assert found["year"].tolist()[:2] == [1995, 1995]
    assert found["genres"].tolist() == ["Crime", "Animation|Comedy", ""]


@pytest.mark.parametrize(
    "written", ["0120735", "ä", "a,b", 'the "7"', "=1+1", "[b]x[/b]", "0x10", "1e3", "user@x.org"]
)
def test_ids_are_matched_as_they_are_written(folder: Path, written: str) -> None:
    table = pd.DataFrame({"item_id": ["120735", written, "16"], "title": ["No", "Yes", "Not"]})
    found = items(table.to_csv(index=False), pd.Series([written, "1000"]))
    assert found["title"].fillna("").tolist() == ["Yes", ""]


@pytest.mark.parametrize("written", ["13", "13.0"])
def test_whole_numbers_are_matched_as_numbers(folder: Path, written: str) -> None:
    table = f"id,title\n{written},Thirteen\n"
    assert items(table, pd.Series([13, 7]))["title"].fillna("").tolist() == ["Thirteen", ""]


@pytest.mark.parametrize("form", LISTS)
def test_genres_are_lists_in_any_form(folder: Path, form: str) -> None:
    found = items(f"id,title,genre\n10,Contact,{LISTS[form]}\n20,Ran,Drama\n30,Heat,\n")
    assert found["genres"].tolist() == ["Drama", "Drama|Sci-Fi", ""]


def test_genres_in_parquet_and_json_are_lists(folder: Path) -> None:
    table = pd.DataFrame(
        {"id": [10, 20], "title": ["a", "b"], "genres": [["War", "Drama"], []], "year": [1990.0, 7]}
    )
    table.to_parquet("films.parquet")
    table.to_json("films.jsonl", orient="records", lines=True)
    for name in ("films.parquet", "films.jsonl"):
        found, _ = side_tables.read_items(ItemTable(file=name), IDS)
        assert found["genres"].tolist() == ["", "War|Drama", ""]
        assert found["year"].fillna(0).tolist() == [0, 1990, 0]


def test_a_table_without_names_is_recognized_by_its_values(folder: Path) -> None:
    rows = [f"{n}::Film number {chr(96 + n)} ({1990 + n})::Drama|War" for n in range(1, 9)]
    found = items("\n".join(rows), pd.Series([3, 99]))
    assert found["title"].fillna("").tolist() == ["Film number c (1993)", ""]
    assert found["year"].fillna(0).tolist() == [1993, 0]
    assert found["genres"].tolist() == ["Drama|War", ""]


def test_columns_can_be_stated(folder: Path) -> None:
    table = "nr;what;when;kinds;seen\n20;Heat;15 Dec 1995;Crime+Drama;3\n10;Ran;1985;War;4\n"
    stated = {"item_id": "nr", "title": "what", "year": "when", "genres": "kinds"}
    found = items(table, **stated, separator="+", features=["seen"])
    assert found["title"].tolist()[:2] == ["Heat", "Ran"]
    assert found["year"].tolist()[:2] == [1995, 1985]
    assert found["genres"].tolist() == ["Crime|Drama", "War", ""]
    assert found["seen"].fillna(0).tolist() == [3, 4, 0]
    assert items(table, **stated | {"title": None}, features=[])["title"].isna().all()


def test_further_columns_are_numbers_or_categories(folder: Path) -> None:
    lines = ["user,sex,age,zip,bio,note,constant"]
    lines += [f"u{n},{'FM'[n % 2]},{20 + n % 4},{n}X,about me {n},,same" for n in range(11)]
    found, notes = users("\n".join(lines))
    assert list(found) == ["user_id", "sex", "age"]
    assert found["sex"].tolist()[:3] == ["F", "M", "F"]
    assert found["sex"].isna().tolist() == [False] * 11 + [True]
    assert found["age"].dtype == "float64"
    assert "features: sex (category), age (number)" in notes[1]
    assert notes[2].endswith("zip, bio, note, constant")
    found, _ = users("\n".join(lines), features={"age": "category", "zip": "category"})
    assert found["age"].tolist()[:2] == ["20", "21"]
    assert found["zip"].tolist()[:2] == ["0X", "1X"]


def column_of(values: list[str | None]) -> pd.DataFrame:
    return pd.DataFrame({"x": values}, dtype=object)


def kind_of(values: list[str | None], features: Any = "auto") -> str | None:
    """What the only column of a table of users is taken for."""
    table = pd.DataFrame({"user_id": range(len(values))})
    settings = UserTable(file="people.csv", features=features)
    found, _ = side_tables.add_features(table, column_of(values), settings, "users", [])
    if "x" not in found:
        return None
    return "number" if found["x"].dtype == "float64" else "category"


def texts(values: Iterable[object]) -> list[str | None]:
    return [str(value) for value in values]


@pytest.mark.parametrize(
    ("values", "kind", "asked"),
    [
        (texts(range(100)), "number", "number"),
        (texts(range(101)), None, "number"),
        (texts(range(0, 202, 2)), None, "number"),
        (texts(n + 0.5 for n in range(101)), "number", "number"),
        (texts([*range(100), 99]), "number", "number"),
        ([*texts(range(101)), None], None, "number"),
        (["1", None, "3"], "number", "number"),
        (["1", "inf", "3"], "category", "category"),
        (["1", "x", "3"], "category", "category"),
        (["1"] * 3, None, "number"),
        (["x"] * 3, None, "category"),
        (["x", "y"] * 3, "category", "category"),
        ([f"x{n}" for n in range(10)], "category", "category"),
        ([f"x{n}" for n in range(11)], None, "category"),
        ([f"x{n % 11}" for n in range(55)], "category", "category"),
        ([f"x{n % 11}" for n in range(54)], None, "category"),
        (["[1]", "y"], None, "category"),
        (["{1}", "y"], None, "category"),
    ],
)
def test_a_column_is_a_number_or_a_category_by_its_values(
    values: list[str | None], kind: str | None, asked: str
) -> None:
    assert kind_of(values) == kind
    assert kind_of(values, ["x"]) == asked


def test_columns_that_are_ids_or_ratings_are_no_features(folder: Path) -> None:
    names = ["user", "zipid", "rating", "timestamp", "name_id", "uid", "age"]
    lines = [",".join(names), *(f"u{n},{n % 3},{n % 3},{n % 3},1,2,{n % 3}" for n in range(11))]
    found, notes = users("\n".join(lines))
    assert list(found) == ["user_id", "age"]
    assert notes == ["people.csv: 11 of the 12 users, by column user", "features: age (number)"]


def test_what_is_noted_of_items(folder: Path) -> None:
    rows = [f"{n},Film {n},Drama,{'AB'[n % 2]},note {n}" for n in range(10, 22)]
    Path("films.csv").write_text("\n".join(["id,title,genre,studio,note", *rows]))
    _, notes = side_tables.read_items(ItemTable(file="films.csv"), IDS)
    assert notes == [
        "films.csv: 2 of the 3 items, by column id",
        "title: column title",
        "genres: column genre",
        "features: note (category)",
        "no features, being text, lists or all different: studio",
    ]
    many = pd.Series(range(10, 22))
    _, notes = side_tables.read_items(ItemTable(file="films.csv"), many)
    assert notes[3:] == [
        "features: studio (category)",
        "no features, being text, lists or all different: note",
    ]


def test_a_wrong_number_of_a_user_is_refused(folder: Path) -> None:
    long = "x" * 99
    with pytest.raises(InputError) as caught:
        users(f"user,age\nu0,3\nu1,\nu2,{long}\n", features={"age": "number"})
    assert str(caught.value) == (
        f"people.csv, column age: expected a number, got {long[:80]!r}. Correct it, or say "
        "category in params.yaml: ingest.users.features."
    )
    found, _ = users("user,age\nu0,3\nu1,\nu2,4\n", features={"age": "number"})
    assert found["age"].fillna(-1).tolist()[:3] == [3, -1, 4]


def test_a_column_that_is_not_there_is_refused_with_some_that_are(folder: Path) -> None:
    names = [f"column{n}" for n in range(40)]
    with pytest.raises(InputError) as caught:
        users(",".join(["user", *names]) + "\nu1" + ",1" * 40, features=["age"])
    assert str(caught.value) == (
        f"people.csv: no column 'age', got {str(names)[:300]}. Name one of these in params.yaml: "
        "ingest.users.features."
    )
    with pytest.raises(InputError) as caught:
        users(",".join(["user", *names]) + "\nu1" + ",1" * 40, user_id="who")
    assert str(caught.value) == (
        f"people.csv: no column 'who', got {str(['user', *names])[:300]}. Name one of these in "
        "params.yaml: ingest.users.user_id."
    )
    with pytest.raises(InputError) as caught:
        users(",".join(["user", *names]) + "\nx1" + ",1" * 40)
    assert str(caught.value) == (
        f"people.csv: no column has an id of the users that are rated (u0, u1, u2, …), of "
        f"{str(['user', *names])[:300]}. Ids must be written as in the ratings. If they are, name "
        "their column in params.yaml: ingest.users.user_id."
    )
    with pytest.raises(InputError) as caught:
        items("id,title\n10,x\n", title="name")
    assert str(caught.value) == (
        "films.csv: no column 'name', got ['title']. Name one of these in params.yaml: "
        "ingest.items.title."
    )
    with pytest.raises(InputError) as caught:
        items("id,title,n\n10,x,1\n", features=["m"])
    assert str(caught.value) == (
        "films.csv: no column 'm', got ['n']. Name one of these in params.yaml: "
        "ingest.items.features."
    )


def test_the_column_of_ids_is_the_one_that_has_most(folder: Path) -> None:
    """Of those with a telling name, or of all where these have none."""
    ids = pd.Series(["a", "b", "c"])
    for content, column in (
        ("item,movie,x\na,a,a\n1,b,b\n2,3,c\n", "movie"),
        ("item,x,y\n1,a,a\n2,b,b\n3,4,c\n", "y"),
        ("id,item\na,a\nb,b\n", "id"),
        ("title,x\na,a\nb,b\nc,7\n", "title"),
        ("item,title\na,a\n1,b\n2,c\n", "item"),
        ("item,x\na,a\n1,b\n2,c\n", "item"),
        ("id,item\na,1\nb,a\nc,b\nx,c\n", "id"),
    ):
        Path("films.csv").write_text(content)
        rows, notes = side_tables.match("films.csv", TextLayout(), ids, "auto", "item")
        assert notes[0].endswith(f"by column {column}")
        assert column not in rows


def test_a_table_of_ids_alone_has_a_row_for_each_id(folder: Path) -> None:
    Path("films.csv").write_text("id\nb\na\n")
    ids = pd.Series(["a", "b", "c"])
    rows, _ = side_tables.match("films.csv", TextLayout(), ids, "auto", "item")
    assert rows.shape == (3, 0)
    assert rows.index.tolist() == [0, 1, 2]


def test_a_column_that_no_ids_can_be_in_is_not_that_of_ids(folder: Path) -> None:
    table = pa.table({"lists": [[10], [20]], "x": [20, 7]})
    pq.write_table(table, "films.parquet")
    rows, notes = side_tables.match("films.parquet", TextLayout(), IDS, "auto", "item")
    assert notes == ["films.parquet: 1 of the 3 items, by column x"]
    assert rows["lists"].tolist() == ["[10]", None, None]
    pq.write_table(table.select(["lists"]), "films.parquet")
    with pytest.raises(InputError, match=r"no column has an id of the items that are rated"):
        side_tables.match("films.parquet", TextLayout(), IDS, "auto", "item")


@pytest.mark.parametrize(
    ("ids", "column", "rows"),
    [
        ([10, 7], ["x", "10"], [1, -1]),
        (["x", "10"], ["10", "7"], [-1, 0]),
        (["3.0", "y"], ["z", "3"], [1, -1]),
        (["3.0", "y"], ["3.0", "3"], [0, -1]),
    ],
)
def test_whole_numbers_and_text_are_matched(
    ids: list[Any], column: list[str], rows: list[int]
) -> None:
    found = side_tables._find(pd.Series(ids), pa.chunked_array([column]))
    assert found.tolist() == rows


def test_ids_with_a_point_and_zero_are_those_without(folder: Path) -> None:
    """The row where an id is as it is written goes before one that has .0 besides."""
    table = "id,title\n1.0,float\n1,whole\nx,text\n2.0,two\n1,again\n"
    found = items(table, pd.Series(["1", "1.0", "2", "3", "x"]))
    assert found["title"].fillna("").tolist() == ["whole", "float", "two", "", "text"]


def test_values_are_text_without_blanks_and_missing_in_any_word(folder: Path) -> None:
    values = [" a ", "", "nan", "NaN", "NA", "N/A", "null", "NULL", "None", r"\N", "n"]
    lines = ["user,x", *(f"u{n},{value}" for n, value in enumerate(values))]
    found, _ = users("\n".join(lines), features=["x"])
    assert found["x"].fillna("-").tolist() == ["a", *["-"] * 9, "n", "-"]


def test_types_of_parquet_become_text(folder: Path) -> None:
    columns = {
        "id": [10, 20],
        "title": pa.array(["a", "b"]).dictionary_encode(),
        "genres": pa.array([b"\xff", b"x"], pa.binary()),
        "tags": [[1, 2], None],
        "day": [date(2020, 1, 2), None],
        "days": [[date(2020, 1, 2)], []],
    }
    pq.write_table(pa.table(columns), "films.parquet")
    settings = TextLayout()
    rows, _ = side_tables.match("films.parquet", settings, pd.Series([20, 10]), "id", "item")
    assert rows.to_dict("list") == {
        "title": ["b", "a"],
        "genres": [None, None],
        "tags": [None, "[1, 2]"],
        "day": [None, "2020-01-02"],
        "days": ["[]", '["2020-01-02"]'],
    }


@pytest.mark.parametrize(
    ("genres", "split"),
    [
        (["Science Fiction", "War"], [["Science Fiction"], ["War"]]),
        (["a/b", "c,d"], [["a/b"], ["c", "d"]]),
        (["a/b|c", "a;b"], [["a/b", "c"], ["a;b"]]),
        (["a; b", "c,d"], [["a", "b"], ["c,d"]]),
        (["a/ a/b", "[1|2]"], [["a", "b"], ["[1/2]"]]),
        (["a||(no genres listed)", None], [["a"], []]),
        (["[a|b", "c"], [["[a", "b"], ["c"]]),
        (['[{"name": "a"}, {"id": 7}, "b"]', "c"], [["a", "b"], ["c"]]),
        (["['it''s', \"x\"]", "['a', None]"], [["its", "x"], ["a", "None"]]),
    ],
)
def test_genres_are_split_by_the_first_sign_there_is(
    genres: list[str | None], split: list[list[str]]
) -> None:
    assert side_tables.split_lists(pd.Series(genres, dtype=object)).tolist() == split


@pytest.mark.parametrize(
    "text",
    ["[{{}}]", "[-", "[" * 100_000 + "]" * 100_000, f"[{'-' * 3000}1]", f"[{'-' * 100_000}1]"],
    ids=["unhashable", "unfinished", "nested", "deep", "deeper"],
)
def test_what_python_cannot_take_for_a_list_is_text(text: str) -> None:
    assert side_tables.split_lists(pd.Series([text], dtype=object)).tolist() == [[text]]


def test_a_year_is_in_any_date_but_not_in_a_longer_number(folder: Path) -> None:
    dates = ["15 Dec 1995", "1995-12-15", "2099", "19955", "11995", "999", "2100", "1000"]
    ids = pd.Series(range(len(dates)))
    lines = ["id,title,year", *(f"{n},x,{value}" for n, value in enumerate(dates))]
    found = items("\n".join(lines), ids)
    assert found["year"].fillna(0).tolist() == [1995, 1995, 2099, 0, 0, 0, 0, 1000]


def test_columns_without_names_are_recognized_only_by_what_is_telling(folder: Path) -> None:
    """Titles: words, nearly all different, no lists, no web addresses; years: all of them."""
    rows = [
        f"{n}\thttps://x.org/{n}\t{1990 + n}\tA|B\tsame words\tFilm {chr(96 + n)}{chr(97 + n)}x"
        for n in range(1, 11)
    ]
    found = items("\n".join(rows), pd.Series([3, 4]), features=[])
    assert found["title"].tolist() == ["Film cdx", "Film dex"]
    assert found["year"].tolist() == [1993, 1994]
    assert found["genres"].tolist() == ["A|B", "A|B"]
    rows[0] = rows[0].replace("1991", "soon")
    assert items("\n".join(rows), pd.Series([1, 3]), features=[])["year"].isna().all()


@pytest.mark.parametrize(
    ("key", "values", "found"),
    [
        ("genres", ["A|B", "", "", "", ""], True),
        ("genres", ["A|B", "c", "d", "e", "f"], False),
        ("genres", ["A|B", "C|D", "d", "e", "f"], True),
        ("genres", [""] * 5, False),
        ("title", ["ab", "cd", "ef", "gh", "5"], False),
        ("title", ["ab", "cd", "ef", "gh", "ij", "5"], True),
        ("title", ["ab", "cd", "ef", "gh", "ab"], False),
        ("title", ["ab", "cd", "ef", "gh", "ij", "ab"], True),
        ("title", ["ab", "cd", "ef", "gh", "ij|kl"], False),
        ("title", ["ab", "cd", "ef", "gh", "ij", "kl|mn"], True),
        ("year", ["1990"] * 1000 + ["soon"], True),
        ("year", ["1990"] * 999 + ["soon"], False),
    ],
)
def test_how_many_values_are_telling(key: str, values: list[str], found: bool) -> None:
    """More than a fifth are lists of genres; more than four fifths are words, and different."""
    rows = pd.DataFrame({"x": pd.Series([value or None for value in values], dtype=object)})
    assert side_tables._recognize(rows, key) == ("x" if found else None)


def test_a_feature_may_be_called_as_cf_calls_its_own(folder: Path) -> None:
    found = items("id,name,title,n\n10,Ran,Dr,1\n20,Heat,Mr,2\n", title="name", features=["title"])
    assert found["title"].tolist()[:2] == ["Heat", "Ran"]
    assert found["title_"].tolist()[:2] == ["Mr", "Dr"]


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("id,title\n11,x\n", {}, "no column has an id of the items that are rated (20, 10, 30"),
        (FILMS, {"title": "name"}, "no column 'name', got ['title', 'genres']"),
        (FILMS, {"item_id": "nr"}, "no column 'nr', got ['movieId', 'title', 'genres']"),
        (FILMS, {"features": ["n"]}, "no column 'n', got []. Name one of these in params.yaml: i"),
        (
            "id,title,cost\n10,x,3\n20,y,much\n",
            {"features": {"cost": "number"}},
            "column cost: expected a number, got 'much'",
        ),
        ("id,title\n10,x\n20,y,z\n", {}, "line 3"),
        ("", {}, "films.csv: "),
    ],
)
def test_what_cannot_be_used_is_refused(
    folder: Path, content: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        items(content, **settings)
    assert message in str(caught.value)
    assert str(caught.value).startswith("films.csv")


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        side_tables.read_users(UserTable(file="nobody.csv"), IDS)
    assert str(caught.value) == "params.yaml: ingest.users: there is no file nobody.csv."


def test_features_become_centered_columns() -> None:
    table = pd.DataFrame(
        {
            "user_id": range(6),
            "age": [1.0, 3, 1, 3, np.nan, 2],
            "sex": ["F", "M", "F", "M", None, "X"],
        }
    )
    columns = feature_columns(table)
    assert list(columns) == ["age", "sex=F", "sex=M"]  # one of a kind tells nothing
    np.testing.assert_allclose(columns.sum(), 0, atol=1e-6)
    np.testing.assert_allclose(columns.loc[4], 0)  # not known
    np.testing.assert_allclose(columns["age"][:2], [-1 / 0.8**0.5, 1 / 0.8**0.5], rtol=1e-6)
    np.testing.assert_allclose(columns["sex=F"][[0, 1]], [0.6, -0.4], rtol=1e-6)


def test_only_frequent_genres_have_columns() -> None:
    names = [f"g{n:03}" for n in range(250)]
    genres = pd.DataFrame({"genres": ["|".join(names[:200]), "|".join(names[:199]), *names[199:]]})
    assert list(genre_columns(genres)) == names[:200]


def test_lists_that_only_look_like_lists_are_text() -> None:
    texts = pd.Series(["[unclosed", None, json.dumps(["a|b"]), "c"], dtype=object)
    assert side_tables.split_lists(texts).tolist() == [["[unclosed"], [], ["a/b"], ["c"]]


def test_quotes_may_be_escaped_by_a_backslash(folder: Path) -> None:
    """As in Book-Crossing's tables: quotes, semicolons and backslashes within quotes."""
    lines = [
        '"ISBN";"Book-Title";"Year-Of-Publication"',
        r'"0001";"The \"Best\" of; it";"1999"',
        r'"0002";"C:\\";"2000"',
        '"0003";"Plain &amp; simple";"0"',
    ]
    found = items("\n".join(lines), pd.Series(["0001", "0002", "0003"]))
    assert found["title"].tolist() == ['The "Best" of; it', "C:\\\\", "Plain &amp; simple"]
    assert found["year"].fillna(0).tolist() == [1999, 2000, 0]
    late = [lines[0], *(f'"{n:04}";"Book {n}";"1990"' for n in range(4, 400)), lines[1]]
    found = items("\n".join(late), pd.Series(["0001", "0004"]))
    assert found["title"].tolist() == ['The "Best" of; it', "Book 4"]
    far = [lines[0], *(f'"{n:06}";"Book {n}";"1990"' for n in range(4, 20_000)), lines[1]]
    with pytest.raises(InputError, match=r"films\.csv, line"):
        items("\n".join(far), pd.Series(["0001"]))
    found = items("\n".join(far), pd.Series(["0001"]), layout={"escaped": True})
    assert found["title"].tolist() == ['The "Best" of; it']
