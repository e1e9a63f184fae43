import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cf.core.errors import InputError
from cf.data.movielens import GENRES, USER_TYPES, read, read_tags
from tests.ingest_files import (
    ITEM_DTYPES,
    ITEMS,
    LAYOUTS,
    RATING_DTYPES,
    RATINGS,
    TAG_DTYPES,
    TAGS,
    USERS,
    dtypes,
    members,
    movielens_zip,
    real_zip,
    tuples,
    zipped,
)

STARS = (0.5, 5.0)

ids = st.integers(1, 2**40)
ratings = st.lists(
    st.tuples(ids, ids, st.integers(1, 10).map(lambda n: n / 2), st.integers(0, 2**40)),
    min_size=1,
    unique_by=lambda rating: rating[:2],
)


def is_clear(word: str) -> bool:
    """Whether a word in Latin-1, of the old layouts, cannot be taken for UTF-8."""
    return word.isascii() or "\N{REPLACEMENT CHARACTER}" in word.encode("latin-1").decode(
        errors="replace"
    )


words = st.text(
    st.characters(codec="latin-1", exclude_categories=["C", "Z"], exclude_characters="|:()"),
    min_size=1,
).filter(is_clear)
titles = st.builds(
    lambda name, year: (" ".join(name) + (f" ({year})" if year else ""), year),
    st.lists(words, min_size=1, max_size=4),
    st.none() | st.integers(1900, 2099),
)
genres = st.lists(st.sampled_from(GENRES), unique=True).map(
    lambda names: "|".join(sorted(names, key=GENRES.index))
)
items = st.lists(st.tuples(ids, titles, genres), min_size=1)
tags = st.lists(
    st.tuples(
        ids, ids, st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.integers(0, 2**40)
    )
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_tables(tmp_path, layout):
    path = movielens_zip(tmp_path / "ml.zip", layout)
    with warnings.catch_warnings(action="error"):
        ratings, items, users = read(path, STARS)
    assert dtypes(ratings) == RATING_DTYPES
    assert tuples(ratings) == RATINGS
    assert dtypes(items) == ITEM_DTYPES
    if layout == "ratings.csv":
        assert dtypes(users) == {"user_id": "int64"}
        assert tuples(users) == [(7,), (3,), (9,)]
    else:
        assert dtypes(users) == USER_TYPES
        assert tuples(users) == USERS
    years = [1995, 1995, None]
    expected = zip(ITEMS, years, strict=True)
    assert tuples(items) == [
        (item, title, year, genres) for (item, title, genres), year in expected
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ratings, items)
def test_what_is_written_is_read(tmp_path, layout, ratings, items):
    films = [(item, title, genres) for item, (title, _), genres in items]
    got, described, _ = read(movielens_zip(tmp_path / "ml.zip", layout, ratings, films), STARS)
    assert tuples(got) == ratings
    assert tuples(described) == [(item, *title, genres) for item, title, genres in items]


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
    _, films, _ = read(movielens_zip(tmp_path / "ml.zip", items=[(1, title, "")]), STARS)
    assert tuples(films[["year", "title"]]) == [(year, title.strip())]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_quotes_in_titles_stay(tmp_path, layout):
    titles = ['"Crocodile" Dundee (1986)', 'The "Burbs (1989)']
    films = [(item, title, "Comedy") for item, title in enumerate(titles)]
    _, found, _ = read(movielens_zip(tmp_path / "ml.zip", layout, items=films), STARS)
    assert found["title"].tolist() == titles


def test_odd_years_of_the_wheel_are_null(tmp_path):
    contents = members("ml-100k.inter")
    name = next(name for name in contents if name.endswith(".item"))
    contents[name] += b"267\tunkonwn\tunkonwn\tunknown\n1412\tTime III (1995)\tV\tAnimation\n"
    _, films, _ = read(zipped(tmp_path / "ml.whl", contents), STARS)
    assert tuples(films[3:]) == [
        (267, "unkonwn", None, ""),
        (1412, "Time III (1995) (V)", None, "Animation"),
    ]


@pytest.mark.parametrize(("layout", "line"), [("ratings.csv", 6), ("u.data", 5)])
def test_a_rating_out_of_range_is_refused_with_its_line(tmp_path, layout, line):
    path = movielens_zip(tmp_path / "ml.zip", layout, [*RATINGS, (1, 1, 9.0, 1)])
    with pytest.raises(InputError) as caught:
        read(path, STARS)
    assert str(caught.value).startswith(f"{path}, {layout} line {line}: rating is out of range")


def test_no_ratings_are_refused(tmp_path):
    path = zipped(tmp_path / "ml.zip", members("ratings.csv", ratings=[]))
    with pytest.raises(InputError, match="holds no ratings"):
        read(path, STARS)


@pytest.mark.parametrize("layout", ["ratings.csv", "ratings.dat"])
def test_odd_tags_stay_text(tmp_path, layout):
    odd = [
        "NA",
        "",
        " ",
        "null",
        "1990",
        "3.0",
        "a, b",
        'says "no"',
        '"',
        "a::b",
        "::",
        "\U0001f600",
    ]
    given = [*TAGS, *((1, 10, tag, 5) for tag in odd)]
    tags = read_tags(movielens_zip(tmp_path / "ml.zip", layout, tags=given))
    assert dtypes(tags) == TAG_DTYPES
    assert tuples(tags) == [fields[1:] for fields in given]


@pytest.mark.parametrize("layout", ["ratings.csv", "ratings.dat"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tags)
def test_tags_that_are_written_are_read(tmp_path, layout, tags):
    got = read_tags(movielens_zip(tmp_path / "ml.zip", layout, tags=tags))
    assert dtypes(got) == TAG_DTYPES
    assert tuples(got) == [fields[1:] for fields in tags]


def test_line_ends_in_tags_stay_and_may_be_of_any_kind(tmp_path):
    given = [(7, -20, "two\r\nlines\rand\nmore", -5), (3, 10, "x", 7)]
    path = movielens_zip(tmp_path / "ml.zip", tags=given)
    assert tuples(read_tags(path)) == [fields[1:] for fields in given]
    lines = b"userId,movieId,tag,timestamp\r7,20,dark,1000\r3,10,x,7\r"
    zipped(path, members("ratings.csv") | {"ml/tags.csv": lines})
    assert tuples(read_tags(path)) == [(20, "dark", 1000), (10, "x", 7)]


def test_an_empty_file_of_tags_has_none(tmp_path):
    path = zipped(tmp_path / "ml.zip", members("ratings.csv") | {"ml/tags.csv": b""})
    assert (dtypes(read_tags(path)), len(read_tags(path))) == (TAG_DTYPES, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_file_of_tags_there_are_none(tmp_path, layout):
    tags = read_tags(movielens_zip(tmp_path / "ml.zip", layout))
    assert (dtypes(tags), len(tags)) == (TAG_DTYPES, 0)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tags.csv", "3,20,dark"),
        ("tags.csv", "3,20,dark,2,1"),
        ("tags.csv", "3,20,dark,soon"),
        ("tags.csv", f"3,{2**70},dark,1"),
        ("tags.csv", '3,20,"dark,1'),
        ("tags.csv", ""),
        ("tags.dat", "3::20::1002"),
        ("tags.dat", "3::20::dark::soon"),
        ("tags.dat", "3::20::dark::1002 "),
        ("tags.dat", "3::20::dark::1002X"),
        ("tags.dat", ""),
    ],
)
def test_a_line_that_is_no_tag_is_refused_with_its_row(tmp_path, name, line):
    header, sep, layout = (
        ("userId,movieId,tag,timestamp\n", ",", "ratings.csv")
        if name.endswith("csv")
        else ("", "::", "ratings.dat")
    )
    first = sep.join(["7", "20", "dark", "1000"])
    contents = members(layout) | {f"ml/{name}": f"{header}{first}\n{line}\n".encode()}
    path = zipped(tmp_path / "ml.zip", contents)
    with pytest.raises(InputError) as caught:
        read_tags(path)
    assert str(caught.value).startswith(f"{path}, {name} row 2: expected a user, an item, a tag")


def test_the_real_tags_of_ml_latest_small():
    tags = read_tags(real_zip("ml-latest-small"))
    assert len(tags) == 3_683
    assert tags["tag"].nunique() == 1_589
    assert tuples(tags.head(1)) == [(60756, "funny", 1445714994)]


def test_the_real_ml_latest_small():
    ratings, films, _ = read(real_zip("ml-latest-small"), STARS)
    assert len(ratings) == 100_836
    assert ratings["user_id"].nunique() == 610
    assert ratings["item_id"].nunique() == 9_724
    assert tuples(ratings.head(3)) == [
        (1, 1, 4.0, 964982703),
        (1, 3, 4.0, 964981247),
        (1, 6, 4.0, 964982224),
    ]
    assert len(films) == 9_742
    assert films["year"].isna().sum() == 12
    genres = "Adventure|Animation|Children|Comedy|Fantasy"
    assert tuples(films.head(1)) == [(1, "Toy Story (1995)", 1995, genres)]
