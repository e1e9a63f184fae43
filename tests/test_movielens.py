import struct
import tracemalloc
import zipfile
from contextlib import suppress
from io import BytesIO

import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cf.core.errors import InputError
from cf.data.movielens import GENRES, read
from tests.ingest_files import (
    ITEM_SCHEMA,
    ITEMS,
    LAYOUTS,
    RATING_SCHEMA,
    RATINGS,
    members,
    movielens_zip,
    real_zip,
    zipped,
)

FIELDS = ("user_id", "item_id", "rating", "timestamp")
STARS = (0.5, 5.0)

ids = st.integers(1, 2**40)
ratings = st.lists(
    st.tuples(ids, ids, st.integers(1, 10).map(lambda n: n / 2), st.integers(0, 2**40)),
    min_size=1,
    unique_by=lambda rating: rating[:2],
)
words = st.text(
    st.characters(codec="latin-1", exclude_categories=["C", "Z"], exclude_characters="|:()"),
    min_size=1,
)
titles = st.builds(
    lambda name, year: (" ".join(name) + (f" ({year})" if year else ""), year),
    st.lists(words, min_size=1, max_size=4),
    st.none() | st.integers(1900, 2099),
)
genres = st.lists(st.sampled_from(GENRES), unique=True).map(
    lambda names: "|".join(sorted(names, key=GENRES.index))
)
items = st.lists(st.tuples(ids, titles, genres), min_size=1)


def complaint(path):
    with pytest.raises(InputError) as caught:
        read(path, STARS)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_tables(tmp_path, layout):
    path = movielens_zip(tmp_path / "ml.zip", layout)
    got, films = read(path, STARS)
    assert got.schema == RATING_SCHEMA
    assert films.schema == ITEM_SCHEMA
    assert got.to_pylist() == [dict(zip(FIELDS, rating, strict=True)) for rating in RATINGS]
    assert films["item_id"].to_pylist() == [10, 20, 30]
    assert films["title"].to_pylist() == [title for _, title, _ in ITEMS]
    assert films["year"].to_pylist() == [1995, 1995, None]
    assert films["genres"].to_pylist() == [genres for _, _, genres in ITEMS]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ratings, items)
def test_what_is_written_is_read(tmp_path, layout, ratings, items):
    films = [(item, title, genres) for item, (title, _), genres in items]
    got, described = read(movielens_zip(tmp_path / "ml.zip", layout, ratings, films), STARS)
    assert got.to_pylist() == [dict(zip(FIELDS, rating, strict=True)) for rating in ratings]
    assert described.to_pylist() == [
        {"item_id": item, "title": title, "year": year, "genres": genres}
        for item, (title, year), genres in items
    ]


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Heat (1995)", 1995),
        ("Heat (1995) ", 1995),
        ("2001: A Space Odyssey (1968)", 1968),
        ("Death Note (2006\u20132007)", 2006),
        ("Fargo (2014\u2013 )", 2014),
        ("Babylon 5", None),
        ("Land Before Time III (1995) (V)", None),
        ("Nothing (19955)", None),
        ("1984", None),
    ],
)
def test_the_year_is_what_a_title_ends_in(tmp_path, title, year):
    _, films = read(movielens_zip(tmp_path / "ml.zip", items=[(1, title, "")]), STARS)
    assert films["year"].to_pylist() == [year]
    assert films["title"].to_pylist() == [title.strip()]


def test_odd_years_of_the_wheel_are_null(tmp_path):
    contents = members("ml-100k.inter")
    name = next(name for name in contents if name.endswith(".item"))
    contents[name] += b"267\tunkonwn\tunkonwn\tunknown\n1412\tTime III (1995)\tV\tAnimation\n"
    _, films = read(zipped(tmp_path / "ml.whl", contents), STARS)
    assert films.slice(3).to_pylist() == [
        {"item_id": 267, "title": "unkonwn", "year": None, "genres": ""},
        {"item_id": 1412, "title": "Time III (1995) (V)", "year": None, "genres": "Animation"},
    ]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "..\\x", "\\x", "C:\\x", "C:/x", "//host/x"]
)
def test_a_member_that_points_outside_is_refused(tmp_path, name):
    message = complaint(zipped(tmp_path / "ml.zip", members("u.data") | {name: b""}))
    assert repr(name) in message
    assert "points outside of the archive" in message
    assert "get the file from its publisher" in message


def test_a_zip_bomb_is_refused_unread(tmp_path):
    contents = members("ratings.csv")
    contents["ml/ratings.csv"] += b"1,1,1,1\n" * 2_000_000
    path = zipped(tmp_path / "ml.zip", contents)
    tracemalloc.start()
    message = complaint(path)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert "'ml/ratings.csv' declares 16,000," in message
    assert "a zip bomb" in message
    assert "get the file from its publisher" in message


def test_a_zip_bomb_with_a_false_size_is_refused(tmp_path):
    contents = members("ratings.csv")
    contents["ml/ratings.csv"] += b"1,1,1,1\n" * 2_000_000
    path = zipped(tmp_path / "ml.zip", contents)
    size = struct.pack("<I", len(contents["ml/ratings.csv"]))
    raw = path.read_bytes()
    assert raw.count(size) == 2
    path.write_bytes(raw.replace(size, struct.pack("<I", 200)))
    assert "damaged zip" in complaint(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(LAYOUTS), st.floats(0, 1, exclude_max=True))
def test_a_truncated_zip_is_a_message(tmp_path, layout, share):
    path = movielens_zip(tmp_path / "ml.zip", layout)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = complaint(path)
    assert "a damaged zip file" in message
    assert "Delete it and run the same command again" in message


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(LAYOUTS), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_flipped_byte_is_a_message_or_harmless(tmp_path, layout, share, mask):
    path = movielens_zip(tmp_path / "ml.zip", layout)
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= mask
    path.write_bytes(content)
    with suppress(InputError):
        got, _ = read(path, STARS)
        assert got.num_rows == len(RATINGS)


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_what_is_no_zip_is_a_message(tmp_path, content):
    path = tmp_path / "ml.zip"
    path.write_bytes(content)
    assert "a damaged zip file" in complaint(path)


def test_a_zip_with_something_else_is_a_message(tmp_path):
    message = complaint(zipped(tmp_path / "ml.zip", {"a/holiday.jpg": b""}))
    assert "holds no MovieLens data: expected ratings.csv" in message
    assert "got holiday.jpg" in message


def test_ratings_without_their_items_are_a_message(tmp_path):
    contents = members("u.data")
    del contents["ml/u.item"]
    assert "with its items" in complaint(zipped(tmp_path / "ml.zip", contents))


def test_a_locked_zip_is_a_message(tmp_path):
    path = movielens_zip(tmp_path / "ml.zip")
    content = BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as archive:
        places = [info.header_offset for info in archive.infolist()]
        start = archive.start_dir
    raw = bytearray(content.getvalue())
    for place in places:
        raw[place + 6] |= 1
        raw[start + 8] |= 1
        start = raw.index(b"PK\x01\x02", start + 1) if place != places[-1] else start
    path.write_bytes(raw)
    assert "encrypted" in complaint(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_rating_that_is_no_number_is_a_message(tmp_path, layout):
    contents = members(layout, [*RATINGS, (1, 1, 0.5, "soon")])
    message = complaint(zipped(tmp_path / "ml.zip", contents))
    assert "not in the format of MovieLens" in message
    assert "soon" in message


@pytest.mark.parametrize(("layout", "line"), [("ratings.csv", 6), ("u.data", 5)])
def test_a_rating_out_of_range_is_told_with_its_line(tmp_path, layout, line):
    path = movielens_zip(tmp_path / "ml.zip", layout, [*RATINGS, (1, 1, 9.0, 1)])
    assert f"{path}, {layout} line {line}: rating is out of range" in complaint(path)


def test_no_ratings_is_a_message(tmp_path):
    contents = members("ratings.csv", ratings=[])
    assert "holds no ratings" in complaint(zipped(tmp_path / "ml.zip", contents))


def test_the_real_ml_latest_small():
    got, films = read(real_zip("ml-latest-small"), STARS)
    assert got.num_rows == 100_836
    assert pc.count_distinct(got["user_id"]).as_py() == 610
    assert pc.count_distinct(got["item_id"]).as_py() == 9_724
    assert [tuple(row.values()) for row in got.slice(0, 3).to_pylist()] == [
        (1, 1, 4.0, 964982703),
        (1, 3, 4.0, 964981247),
        (1, 6, 4.0, 964982224),
    ]
    assert films.num_rows == 9_742
    assert films["year"].null_count == 12
    assert films.slice(0, 1).to_pylist() == [
        {
            "item_id": 1,
            "title": "Toy Story (1995)",
            "year": 1995,
            "genres": "Adventure|Animation|Children|Comedy|Fantasy",
        }
    ]
