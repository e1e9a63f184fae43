import csv
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cf.core.config import Columns
from cf.core.errors import InputError
from cf.data.ratings_file import read
from tests.ingest_files import ITEM_DTYPES, RATING_DTYPES, dtypes, tuples

COLUMNS = Columns(user_id="u", item_id="i", rating="r", timestamp="t")
NO_TIME = Columns(user_id="u", item_id="i", rating="r", timestamp=None)
ROWS = [(7, 20, 4.0, 1000), (7, -10, 3.5, 1001), (2**63 - 1, 20, 5.0, 0)]
TEXT = "u,i,r,t\n7,20,4,1000\n7,-10,3.5,1001\n9223372036854775807,20,5,0\n"


@pytest.fixture
def mine(tmp_path):
    """A function from a content to the path of a file that holds it."""

    def write(content, name="mine.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def parquet(tmp_path):
    """A function from columns to the path of a Parquet file that holds them."""

    def write(**columns):
        path = tmp_path / "mine.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return write


def rows(path, columns=COLUMNS):
    ratings, _ = read(path, columns, (0.5, 5.0))
    return tuples(ratings)


def message_of(path, columns=COLUMNS):
    with pytest.raises(InputError) as caught:
        read(path, columns, (0.5, 5.0))
    return str(caught.value)


def test_ratings_and_the_items_in_them(mine):
    ratings, items = read(mine(TEXT), COLUMNS, (0.5, 5.0))
    assert dtypes(ratings) == RATING_DTYPES
    assert tuples(ratings) == ROWS
    assert dtypes(items) == ITEM_DTYPES
    assert tuples(items) == [(20, None, None, ""), (-10, None, None, "")]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        TEXT.rstrip("\n"),
        "\n\n" + TEXT.replace("\n", "\n\n") + "\n\n",
        TEXT.replace("\n7,", '\n"7",').replace("u,", '"u",'),
        TEXT.replace(",", " , ").replace("u , i , r , t", "u,i,r,t"),
    ],
    ids=["bom", "crlf", "cr", "no-newline-at-end", "empty-lines", "quotes", "spaces"],
)
def test_what_editors_and_spreadsheets_do(mine, content):
    assert rows(mine(content)) == ROWS


def test_tabs_and_capitals(mine):
    assert rows(mine(TEXT.replace(",", "\t"), "mine.TSV")) == ROWS


def test_other_columns_in_any_order_and_encoding(mine):
    content = b't,note,r,i,u\n1000,"caf\xe9, \n""x""",4,20,7\n1001,,3.5,-10,7\n'
    assert rows(mine(content)) == ROWS[:2]


@pytest.mark.parametrize("write", ["text", "parquet"])
def test_no_timestamps_no_column(mine, parquet, write):
    path = mine("u,i,r\n1,2,3\n") if write == "text" else parquet(u=[1], i=[2], r=[3.0])
    ratings, _ = read(path, NO_TIME, (0.5, 5.0))
    assert list(ratings) == ["user_id", "item_id", "rating"]


ids = st.integers(-(2**63), 2**63 - 1)
stars = st.integers(1, 10).map(lambda n: n / 2)
many = st.lists(st.tuples(ids, ids, stars, ids), min_size=1, unique_by=lambda rating: rating[:2])


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many, st.text(st.characters(codec="utf-8", exclude_characters="\0\ufffd")))
def test_what_is_written_is_read(mine, parquet, ratings, note):
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["note", "u", "i", "r", "t"])
    writer.writerows((note, *rating) for rating in ratings)
    assert rows(mine(text.getvalue())) == ratings
    columns = dict(zip("uirt", zip(*ratings, strict=True), strict=True))
    assert rows(parquet(**{name: list(column) for name, column in columns.items()})) == ratings


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(mine, content):
    path = mine(b"u,i,r,t\n" + content)
    with suppress(InputError):
        read(path, COLUMNS, (0.5, 5.0))


def test_an_empty_file(mine):
    path = mine("")
    assert message_of(path) == (
        f"{path}: is empty. Expected a first line with column names, then rows."
    )


@pytest.mark.parametrize("content", ["u,i,r,t", "u,i,r,t\n", "\n\nu,i,r,t\r\n\r\n"])
def test_a_header_only(mine, content):
    path = mine(content)
    assert message_of(path) == f"{path}: holds no ratings. It needs at least one."


@pytest.mark.parametrize("content", ["\n", "\n \n"])
def test_blank_lines_only(mine, content):
    assert "no column 'u'" in message_of(mine(content))


def test_a_missing_column(mine):
    path = mine("u,item,r,t\n1,2,3,4\n")
    assert message_of(path) == (
        f"{path}: no column 'i' for item_id, got ['u', 'item', 'r', 't']. Name the column in "
        "params.yaml: ingest.columns.item_id."
    )


def test_a_missing_timestamp_may_be_null(mine, parquet):
    for path in (mine("u,i,r\n1,2,3\n"), parquet(u=[1], i=[2], r=[3.0])):
        assert "ingest.columns.timestamp (null if there is none)" in message_of(path)


def test_a_column_that_occurs_twice(mine):
    assert "more than one column 'u'" in message_of(mine("u,i,r,t,u\n1,2,3,4,5\n"))


def test_one_column_for_two_things(mine):
    columns = Columns(user_id="u", item_id="u", rating="r", timestamp=None)
    assert "params.yaml: ingest.columns: expected a different column" in message_of(
        mine(TEXT), columns
    )


@pytest.mark.parametrize(
    ("line", "place", "expected", "got"),
    [
        ("x1,2,3,4", "column u", "a whole number", "'x1'"),
        ("1.5,2,3,4", "column u", "a whole number", "'1.5'"),
        ("1,9223372036854775808,3,4", "column i", "a whole number", "'9223372036854775808'"),
        (f"1,{'9' * 9999},3,4", "column i", "a whole number", repr("9" * 80)),
        ("1,2,good,4", "column r", "a number", "'good'"),
        ('1,2,"4,5",4', "column r", "a number", "'4,5'"),
        ("1,2,NA,4", "column r", "a number", "'NA'"),
        ("1,2,3,2020-01-01", "column t", "whole seconds since 1970", "'2020-01-01'"),
        ("1,2,3", "", "4 fields as in the header", "3"),
        ("1,2,3,4,5", "", "4 fields as in the header", "5"),
        ('1,2,3,"4', "column t", "whole seconds since 1970", "'4\\n7,8,3,4'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(mine, line, place, expected, got):
    path = mine(f'u,i,r,t\n\n5,6,"3",\n5,7,3,"4"\n{line}\n7,8,3,4\n'.replace('"3",', "3,4"))
    message = message_of(path)
    assert message.startswith(f"{path}, line 5{', ' if place else ''}{place}: expected {expected}")
    assert f"got {got}. Correct or remove the line" in message


def test_lines_are_counted_as_an_editor_does(mine):
    path = mine('note,u,i,r,t\n"two\r\nlines",1,2,3,4\n\n\r\n"",x,2,3,4\n')
    assert message_of(path).startswith(f"{path}, line 6, column u: ")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (",2,3,4", "user_id is empty"),
        ("1,2,nan,4", "rating is not a finite number"),
        ("1,2,inf,4", "rating is not a finite number"),
        ("1,2,1e300,4", "rating is not a finite number"),
        ("1,2,7,4", "rating is out of range"),
        ("7,20,5,4", "a user may rate an item once"),
    ],
)
def test_a_rating_that_cannot_be_used_is_refused_with_its_line(mine, line, what):
    path = mine(f"u,i,r,t\n\n7,20,3,4\n\n{line}\n")
    assert message_of(path).startswith(f"{path}, line 5: {what}")


@pytest.mark.parametrize("content", [TEXT.encode("utf-16"), b"PK\x03\x04\0\0", b"\x89PNG\r\n\0"])
def test_what_is_no_text(mine, content):
    path = mine(content)
    assert message_of(path).startswith(f"{path}: is not text in UTF-8. Save it as such")


def test_a_huge_field(mine):
    message = message_of(mine(f"u,i,r,t\n1,2,3,4\n1,2,x,{'9' * 200_000}\n"))
    assert "line 3: field larger than field limit" in message


def test_an_unknown_kind_of_file(mine):
    path = mine(TEXT, "mine.xlsx")
    assert message_of(path) == (
        f"{path}: expected a name that ends in .csv, .tsv or .parquet. Convert or rename it."
    )


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1", b"text"])
def test_a_damaged_parquet_file(mine, content):
    path = mine(content, "mine.parquet")
    assert message_of(path).startswith(f"{path}: cannot be read as Parquet")


def test_parquet_of_other_types(parquet):
    when = datetime(2020, 1, 1, tzinfo=UTC)
    path = parquet(
        u=pa.array([1.0, 2.0]),
        i=pa.array([3, 4], pa.uint8()).dictionary_encode(),
        r=pa.array([3, 4], pa.int8()),
        t=pa.array([when, when], pa.timestamp("us", "UTC")),
    )
    seconds = int(when.timestamp())
    assert rows(path) == [(1, 3, 3.0, seconds), (2, 4, 4.0, seconds)]


@pytest.mark.parametrize(
    ("changes", "column", "expected", "got"),
    [
        ({"u": [1.0, 1.0, 1.5]}, "u", "a whole number", "1.5"),
        ({"i": ["1", "2", "x"]}, "i", "a whole number", "'x'"),
        ({"u": pa.array([1, 2, 2**63], pa.uint64())}, "u", "a whole number", str(2**63)),
        ({"r": ["1", "2", "good"]}, "r", "a number", "'good'"),
        ({"t": ["1", "2", "soon"]}, "t", "whole seconds since 1970", "'soon'"),
    ],
)
def test_a_wrong_value_in_parquet_is_refused_with_its_row(parquet, changes, column, expected, got):
    path = parquet(**{"u": [1, 2, 3], "i": [1, 2, 3], "r": [1, 2, 3], "t": [1, 2, 3]} | changes)
    message = message_of(path)
    assert message.startswith(f"{path}, row 3, column {column}: expected {expected}, got {got}.")
    assert "Correct or remove the row" in message


def test_a_rating_in_parquet_that_cannot_be_used_is_refused_with_its_row(parquet):
    path = parquet(u=[1, 2], i=[1, 2], r=[1.0, None], t=[1, 2])
    assert message_of(path).startswith(f"{path}, row 2: rating is empty")


def test_parquet_without_rows(parquet):
    path = parquet(u=[], i=[], r=[], t=[])
    assert message_of(path) == f"{path}: holds no ratings. It needs at least one."
