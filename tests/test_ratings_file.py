import bz2
import csv
import gzip
import json
import lzma
import re
import tarfile
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO, StringIO
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cf.core.config import Columns, Ingest, TextLayout
from cf.core.errors import InputError
from cf.data import table_file, text_file
from cf.data.datasets import local_files
from cf.data.ratings_file import has_interactions, read
from tests.ingest_files import ITEM_DTYPES, RATING_DTYPES, dtypes, tuples

COLUMNS = {"user_id": "u", "item_id": "i", "rating": "r", "timestamp": "t"}
NO_TIME = {**COLUMNS, "timestamp": None}
ROWS = [(7, 20, 4.0, 1000), (7, -10, 3.5, 1001), (2**63 - 1, 20, 5.0, 0)]
TEXT = "u,i,r,t\n7,20,4,1000\n7,-10,3.5,1001\n9223372036854775807,20,5,0\n"
OF_IDS = (
    '; if that is a thousands separator, say so: ingest.layout.thousands: "," (or "."); if it is '
    "part of the ids, null."
)
OF_RATINGS = "; if the decimal sign is a comma, say so: ingest.layout.decimal."
OF_TIMES = (
    ", or say what times are in (ingest.layout.time_unit) or that there are none: "
    "ingest.columns.timestamp: null in params.yaml."
)


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


def ratings_of(path, columns=COLUMNS, **changes):
    changes.setdefault("rating_range", [0.5, 5.0])
    if "layout" in changes:
        changes["layout"] = TextLayout(**changes["layout"])
    stated = Ingest(dataset=str(path), fallback=None, columns=Columns(**columns), **changes)
    return read(local_files(str(path))[0], stated)


def rows(path, columns=COLUMNS, **changes):
    return tuples(ratings_of(path, columns, **changes).ratings)


def message_of(path, columns=COLUMNS, **changes):
    with pytest.raises(InputError) as caught:
        ratings_of(path, columns, **changes)
    return str(caught.value)


def test_ratings_and_the_items_in_them(mine):
    found = ratings_of(mine(TEXT))
    assert dtypes(found.ratings) == RATING_DTYPES
    assert tuples(found.ratings) == ROWS
    assert dtypes(found.items) == ITEM_DTYPES
    assert tuples(found.items) == [(20, None, None, ""), (-10, None, None, "")]


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


@pytest.mark.parametrize("delimiter", [";", "|", "::", "  ", " \t", "\x01"])
def test_other_delimiters(mine, delimiter):
    content = TEXT.replace(",", delimiter)
    layout = {} if delimiter != "\x01" else {"delimiter": "\x01"}
    assert rows(mine(content, "mine.dat"), layout=layout) == ROWS


def test_without_names(mine):
    content = TEXT.partition("\n")[2].replace("1000", "978300760").replace("1001", "978300761")
    expected = [(u, i, r, t + 978299760 * (t > 0)) for u, i, r, t in ROWS[:2]]
    path = mine(content.partition("9223")[0])
    assert rows(path, {}) == rows(path, dict(zip(COLUMNS, "1234", strict=True))) == expected


@pytest.mark.parametrize("before", ["# exported\n", "sep=,\n", "\n# one\n# two\n\n", "%%Matrix\n"])
def test_lines_before_the_table(mine, before):
    assert rows(mine(before + TEXT)) == ROWS


def test_names_behind_a_comment_sign(mine):
    assert rows(mine("# made up\n# " + TEXT)) == ROWS


def test_a_column_that_numbers_the_rows(mine):
    lines = TEXT.splitlines()
    content = "\n".join([f",{lines[0]}", *(f"{n},{line}" for n, line in enumerate(lines[1:]))])
    assert rows(mine(content)) == ROWS


def test_names_that_are_recognized(mine):
    content = TEXT.replace("u,i,r,t", "reviewerID,asin,overall,unixReviewTime")
    found = ratings_of(mine(content), {})
    assert tuples(found.ratings) == ROWS
    assert found.notes[0] == "user_id: column reviewerID, by its name"


def zipped(content):
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner.csv", content)
    return packed.getvalue()


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, lzma.compress, zipped, lambda c: pa.compress(c, "zstd", True)],
    ids=["gz", "bz2", "xz", "zip", "zst"],
)
def test_packed_files_by_their_content(mine, pack):
    assert rows(mine(pack(TEXT.encode()), "mine.csv")) == ROWS


@pytest.mark.parametrize(
    ("n", "got"), [(0, "0"), (2, "2: 0.csv, 1.csv"), (7, "7: 0.csv, 1.csv, 2.csv, 3.csv, 4.csv")]
)
def test_a_zip_of_none_or_several(tmp_path, n, got):
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("folder")
        for at in range(n):
            archive.writestr(f"{at}.csv", TEXT)
    assert message_of(path) == (
        f"{path}: expected one file in the zip, got {got}. Unpack it, and give the file."
    )


def test_a_zip_of_one_beside_folders_and_what_macos_adds(tmp_path):
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.mkdir("folder")
        archive.writestr("__MACOSX/folder/._mine.csv", "x")
        archive.writestr("folder/mine.csv", TEXT)
    assert rows(tmp_path / "one.zip") == ROWS


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_a_packed_file_that_is_cut_off(mine, pack):
    path = mine(pack(TEXT.encode())[:-20])
    assert re.match(rf"{path}(, line \d+)?: cannot be ", message_of(path)), message_of(path)


def test_a_folder_and_a_pattern(mine, tmp_path):
    lines = TEXT.splitlines(keepends=True)
    mine(lines[0] + lines[1], "a.csv")
    mine(gzip.compress(b"i,u,t,r\n-10,7,1001,3.5\n"), "b.csv.gz")
    mine("not a table", "notes.md")
    assert rows(tmp_path) == rows(f"{tmp_path}/*.csv*") == ROWS[:2]
    path = mine("u,i,r\n1,2,3\n", "c.csv")
    assert message_of(tmp_path) == (
        f"{path}: no column 't' for timestamp, got ['u', 'i', 'r']. Name the column in "
        "params.yaml: ingest.columns.timestamp (null if there is none)."
    )
    mine("u,i,r,t\n7,20,4,1000\n", "c.csv")
    assert message_of(tmp_path).startswith(
        f"{tmp_path}, c.csv line 2: a user may rate an item once, got user_id 7, item_id 20, "
        "rating 4 though a.csv line 2 has user_id 7, item_id 20, rating 4 (one such row). "
    )


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("rating=5", "userId movieId timestamp"),
        ("rating=5", "userId movieId timestamp helpful"),
        ("rating=5", "userId movieId watched"),
        ("rating=5", "userId movieId plays"),
        ("userId=7/year=1999", "movieId rating"),
        ("userId=7", "movieId rating timestamp session"),
        ("movieId=7", "userId rating timestamp device"),
    ],
)
@pytest.mark.parametrize("given", ["", "*/*"])
def test_a_column_in_the_names_of_folders_is_not_lost(tmp_path, folder, names, given):
    values = range(12)
    path = tmp_path / folder / "part-0.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(dict.fromkeys(names.split(), values)), path)
    settings = Ingest(dataset=str(tmp_path / given), fallback=None)
    lost = folder.partition("=")[0]
    with pytest.raises(InputError, match=f"the column {lost} is in the names of folders, not in"):
        read([path], settings)


def test_folders_may_have_other_columns_in_their_names(tmp_path):
    path = tmp_path / "user=me/date=2024-01-01/country=de/part-0.parquet"
    path.parent.mkdir(parents=True)
    columns = {"userId": [1, 2], "movieId": [3, 4], "rating": [1.5, 2.0]}
    pq.write_table(pa.table(columns), path)
    expected = [(1, 3, 1.5), (2, 4, 2.0)]
    assert tuples(read([path], Ingest(dataset=str(tmp_path), fallback=None)).ratings) == expected
    pq.write_table(pa.table({"movieId": [3, 4], "x": [1, 2], "rating": [1.5, 2]}), path)
    above = path.parents[2]  # its name does not count: it is the folder that was given
    assert tuples(read([path], Ingest(dataset=str(above), fallback=None)).ratings) == expected


def test_lines_of_json(mine):
    entries = [dict(zip("uirt", row, strict=True), note={"a": [1]}) for row in ROWS]
    lines = "\n".join(map(json.dumps, entries))
    assert rows(mine(lines + "\n")) == rows(mine(json.dumps(entries))) == ROWS
    path = mine(lines.replace("5.0", "5.0.0"))
    assert message_of(path) == (
        f"{path}, line 3: expected an object of JSON: Expecting ',' delimiter: line 1 column 45 "
        "(char 44). Correct or remove the line."
    )
    for content, unit in ((lines, "line"), (json.dumps(entries), "entry")):
        assert message_of(mine(content.replace('"r": 3.5, ', ""))) == (
            f"{path}, {unit} 2, column r: expected a value, got None. Correct or remove the {unit}"
            + OF_RATINGS
        )
    mine(json.dumps(entries).replace("5.0", "5.0.0"))
    assert message_of(path) == (
        f"{path}: expected an object of JSON: Expecting ',' delimiter: line 1 column 167 (char "
        "166)."
    )


HALF = "is no text: it has half of a character"


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        ('[{"u": 1, "i": 2, "r": 3, "t": 4},\n\n7]', "entry 2", "got 7"),
        ('{"u": 1, "i": 2, "r": 3, "t": 4}\n\n7', "line 3", "got 7"),
        (f'["{"x" * 99}"]', "entry 1", f"got {'x' * 80}"),
        ('{"u": 1, "u": 2, "i": 2, "r": 3, "t": 4}', "line 1", "a key occurs twice"),
        (r'{"\ud800u": 1, "i": 2}', "line 1", rf"'\ud800u' {HALF}"),
        (r'{"i": 2, "u": "a\udfff"}', "line 1", rf"'a\udfff' {HALF}"),
    ],
)
def test_what_is_no_object_of_json(mine, content, place, problem):
    path = mine(content)
    assert message_of(path) == (
        f"{path}, {place}: expected an object of JSON: {problem}. Correct or remove the "
        f"{place.split()[0]}."
    )


def test_json_of_nothing(mine):
    for content in ("[]", "{}", "[{}]"):
        path = mine(content)
        assert message_of(path) == (
            f"{path}: has no columns. Expected rows of users, items and ratings."
        )


def test_json_ids_keep_their_digits(mine):
    path = mine('{"u": 1.50, "i": "01", "r": 3, "t": 5}\n{"u": 1.5, "i": 1, "r": 4, "t": 5}\n')
    assert [row[:2] for row in rows(path)] == [("1.50", "01"), ("1.5", "1")]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["01", "1", "001"], ["01", "1", "001"]),
        (["0x10", "16"], ["0x10", "16"]),
        (["+1", "1"], ["+1", "1"]),
        (["13.0", "14.0"], [13, 14]),
        (["13.0", "13"], ["13.0", "13"]),
        (["13.5", "1e3"], ["13.5", "1e3"]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
        (["-0", "5"], ["-0", "5"]),
        (["a@b.org", "użytkownik"], ["a@b.org", "użytkownik"]),
        (["nan", "NULL"], ["nan", "NULL"]),
    ],
)
def test_ids_are_what_the_file_has(mine, parquet, given, kept):
    content = "u,i,r\n" + "".join(f"{id_},1,{n + 1}\n" for n, id_ in enumerate(given))
    assert [row[0] for row in rows(mine(content), NO_TIME)] == kept
    path = parquet(u=given, i=[1] * len(given), r=list(range(1, len(given) + 1)))
    assert [row[0] for row in rows(path, NO_TIME)] == kept


def test_ids_of_other_types_in_parquet(parquet):
    uuid = UUID("12345678-1234-5678-1234-567812345678")
    path = parquet(u=pa.array([uuid.bytes, uuid.bytes], pa.binary(16)), i=[True, False], r=[1, 2])
    assert rows(path, NO_TIME) == [(str(uuid), "true", 1.0), (str(uuid), "false", 2.0)]


@pytest.mark.parametrize("sign", [",", "."])
def test_signs_between_thousands_are_refused_unless_stated(mine, sign):
    path = mine(f'u,i,r,t\n1,"1{sign}027",3,4\n1,"999",4,5\n')
    assert message_of(path) == (
        f"{path}, column i: expected ids, got numbers such as 1{sign}027. Convert it{OF_IDS}"
    )
    assert [row[1] for row in rows(path, layout={"thousands": sign})] == [1027, 999]
    kept = [row[1] for row in rows(path, layout={"thousands": None})]
    assert kept == [f"1{sign}027", "999"]


def test_a_decimal_comma_is_refused_unless_stated(mine):
    path = mine("u;i;r;t\n1;2;4,5;4\n1;3;2;4\n")
    said = f"{path}, line 2, column r: expected a number, got '4,5'. Correct or remove the line"
    assert message_of(path) == said + OF_RATINGS
    assert [row[2] for row in rows(path, layout={"decimal": ","})] == [4.5, 2.0]
    message = message_of(mine("u;i;r;t\n1;2;4.5;4\n"), layout={"decimal": ","})
    assert message == said.replace("4,5", "4.5") + OF_RATINGS


WHEN = 1_588_327_200  # 2020-05-01T10:00:00Z


@pytest.mark.parametrize(
    "given",
    [
        f"{WHEN}.0",
        f"{WHEN}.75",
        f"{WHEN}123",
        f"{WHEN}123456",
        f"{WHEN}123456789",
        "2020-05-01T10:00:00Z",
        "2020-05-01 12:00:00+02:00",
        "2020-05-01T10:00:00.5",
        "20200501100000",
    ],
)
def test_times_in_any_unit(mine, parquet, given):
    assert rows(mine(f"u,i,r,t\n1,2,3,{given}\n1,3,4,{given}\n"))[1][3] == WHEN
    assert rows(parquet(u=[1, 1], i=[2, 3], r=[1, 2], t=[given, given]))[1][3] == WHEN


@pytest.mark.parametrize(("given", "day"), [("20200501", 18383), ("2020-05-01", 18383)])
def test_dates(mine, given, day):
    assert rows(mine(f"u,i,r,t\n1,2,3,{given}\n1,3,4,{given}\n"))[0][3] == day * 86400


@pytest.mark.parametrize(
    "given", [("2005", "2006"), ("5000000000", "5"), (f"{WHEN}000", f"{WHEN}")]
)
def test_times_in_no_unit_are_refused_unless_stated(mine, given):
    path = mine(f"u,i,r,t\n1,2,3,{given[0]}\n1,3,4,{given[1]}\n")
    ends = " to ".join(sorted(given, key=int))
    assert message_of(path) == (
        f"{path}, column t: {ends} are no times in s, ms, us or ns since 1970. Convert it{OF_TIMES}"
    )
    assert rows(path, layout={"time_unit": "s"})[0][3] == int(given[0])


def test_a_stated_pattern_of_dates(mine):
    path = mine("u,i,r,t\n1,2,3,01.05.2020\n1,3,4,02.05.2020\n")
    assert message_of(path) == (
        f"{path}, line 2, column t: expected a date, as all are, got '01.05.2020'. Correct or "
        f"remove the line{OF_TIMES}"
    )
    assert rows(path, layout={"time_unit": "%d.%m.%Y"})[0][3] == 18383 * 86400


def test_numbers_and_dates_in_one_column(mine):
    path = mine("u,i,r,t\n1,2,3,5\n1,3,4,2020-05-01\n")
    wrong = f"Correct or remove the line{OF_TIMES}"
    assert message_of(path) == (
        f"{path}, line 3, column t: expected whole seconds since 1970, got '2020-05-01'. {wrong}"
    )
    mine("u,i,r,t\n1,2,3,2020-05-01\n1,3,4,5\n")
    assert message_of(path) == (
        f"{path}, line 3, column t: expected a date, as all are, got '5'. {wrong}"
    )


def test_numbers_and_dates_in_two_files(mine, tmp_path):
    mine("u,i,r,t\n1,2,3,1588327200\n", "a.csv")
    path = mine("u,i,r,t\n1,3,4,2020-05-01\n", "b.csv")
    assert message_of(f"{tmp_path}/*.csv") == (
        f"{path}, line 2, column t: expected a number, or a date, as in the rows before, got "
        f"'2020-05-01'. Correct or remove the line{OF_TIMES}"
    )


def test_dates_of_no_century_that_has_films(mine):
    path = mine("u,i,r,t\n1,2,3,2020-05-01\n1,3,4,1850-05-01\n")
    assert message_of(path) == (
        f"{path}, column t: expected dates from 1900 to 2100, got 1850-05-01 to 2020-05-01. "
        f"Convert it{OF_TIMES}"
    )


@pytest.mark.parametrize(
    ("repeats", "kept"),
    [
        ("last", [(2, 1, 1.0, 5), (1, 1, 2.0, 9)]),
        ("first", [(2, 1, 1.0, 5), (1, 1, 4.0, 3)]),
        ("mean", [(2, 1, 1.0, 5), (1, 1, 3.0, 9)]),
    ],
)
def test_repeats(mine, repeats, kept):
    path = mine("u,i,r,t\n1,1,2,9\n2,1,1,5\n1,1,4,3\n1,1,3,5\n")
    assert "ingest.repeats in params.yaml be last, first or mean" in message_of(path)
    found = ratings_of(path, repeats=repeats)
    assert sorted(tuples(found.ratings)) == sorted(kept)
    assert f"2 repeats: {repeats} of each user and item" in found.notes


def test_a_wrong_rating_after_repeats_and_marks_is_refused_with_its_line(mine):
    path = mine("u,i,r,t\n1,1,0,9\n2,1,1,5\n2,1,4,3\n3,1,7,5\n")
    for repeats in ("last", "first", "mean"):
        message = message_of(path, repeats=repeats, missing=[0])
        assert message.startswith(f"{path}, line 5: rating is out of range")


def test_marks_of_missing_ratings(mine):
    path = mine("u,i,r,t\n1,2,0,4\n1,3,99,4\n1,4,3,4\n1,5,7,4\n")
    message = message_of(path, missing=[0, 99])
    assert "line 5: rating is out of range" in message
    assert rows(path, missing=[0, 99], rating_range="auto") == [(1, 4, 3.0, 4), (1, 5, 7.0, 4)]


def test_the_range_of_the_data(mine):
    path = mine("u,i,r,t\n1,2,0,4\n1,3,100,4\n")
    assert ratings_of(path, rating_range="auto").rating_range == (0.0, 100.0)
    assert "all ratings are 3" in message_of(mine("u,i,r\n1,2,3\n"), NO_TIME, rating_range="auto")


def test_a_stray_quote_swallows_nothing(mine):
    path = mine(
        'u,i,r,t,tag\n1,1,4,1,a\n1,2,3,2,"best\n2,1,5,3,ok\n2,2,2,4,12" x\n3,1,1,5,"a, b"\n'
    )
    assert message_of(path) == (
        f'{path}, line 3: a field opens with " and goes on over lines that look like rows. '
        "Correct or remove the line."
    )
    path = mine('u,i,r,t,tag\n1,1,4,1,a\n1,2,3,2,"best\n2,1,5,3,"\n3,1,1,5,ok\n')
    assert "line 3: a field opens" in message_of(path)


def test_quoted_text_over_several_lines(mine):
    content = 'u,i,r,t,note\n1,1,4,1,"one,\ntwo\n\nthree"\n1,2,3,2,"a ""b"""\n'
    assert rows(mine(content)) == [(1, 1, 4.0, 1), (1, 2, 3.0, 2)]


def test_latin_1_and_utf_16(mine):
    content = "u,i,r,t\ncafé,20,4,1000\n7,-10,3.5,1001\n"
    for encoding in ("latin-1", "utf-16", "utf-8-sig"):
        assert rows(mine(content.encode(encoding)))[0][0] == "café"
    assert rows(mine(content.encode("cp437")), layout={"encoding": "cp437"})[0][0] == "café"


def test_other_columns_in_any_order_and_encoding(mine):
    content = b't,note,r,i,u\n1000,"caf\xe9, \n""x""",4,20,7\n1001,,3.5,-10,7\n'
    assert rows(mine(content)) == ROWS[:2]


@pytest.mark.parametrize("write", ["text", "parquet"])
def test_no_timestamps_no_column(mine, parquet, write):
    path = mine("u,i,r\n1,2,3\n") if write == "text" else parquet(u=[1], i=[2], r=[3.0])
    assert list(ratings_of(path, NO_TIME).ratings) == ["user_id", "item_id", "rating"]


ids = st.integers(-(2**63), 2**63 - 1)
stars = st.integers(1, 10).map(lambda n: n / 2)
seconds = st.integers(-(10**9), 4 * 10**9).filter(lambda n: not 1900 <= n <= 2100)
many = st.lists(
    st.tuples(ids, ids, stars, seconds), min_size=1, unique_by=lambda rating: rating[:2]
)


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
        found = ratings_of(path, rating_range="auto").ratings
        assert len(found) <= content.count(b"\n") + content.count(b"\r") + 1


@pytest.mark.parametrize("note", ["\t", "\t" * 8, "a;b;c;d;e;f", "a::b", "a|b|c|d|e|f"])
@pytest.mark.parametrize("n", [1, 20])
def test_text_with_another_delimiter_in_each_row(mine, note, n):
    content = "u,i,r,t,note\n" + "".join(f"{u},20,4,{1000 + u},{note}\n" for u in range(n))
    assert rows(mine(content)) == [(u, 20, 4.0, 1000 + u) for u in range(n)]


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
    assert "is empty. Expected a first line" in message_of(mine(content))


def test_a_missing_column(mine):
    path = mine("u,item,r,t\n1,2,3,4\n")
    assert message_of(path) == (
        f"{path}: no column 'i' for item_id, got ['u', 'item', 'r', 't']. Name the column in "
        "params.yaml: ingest.columns.item_id."
    )


def test_a_missing_timestamp_may_be_null(mine, parquet):
    for path in (mine("u,i,r\n1,2,3\n"), parquet(u=[1], i=[2], r=[3.0])):
        assert message_of(path) == (
            f"{path}: no column 't' for timestamp, got ['u', 'i', 'r']. Name the column in "
            "params.yaml: ingest.columns.timestamp (null if there is none)."
        )
        assert message_of(path, {**NO_TIME, "rating": "x"}).endswith(
            "ingest.columns.rating (null if there is none)."
        )


READ_AS = "text in utf-8, fields separated by commas, without quotes; "


@pytest.mark.parametrize(
    ("content", "key", "found", "advice"),
    [
        (
            "u,i\n1,2\n",
            "user_id",
            f"among ['u', 'i'] ({READ_AS}the names of the columns are in the file; the first row "
            "is ['1', '2'])",
            " (one person's own ratings have none: cf needs several people); or let `cf inspect "
            "FILE --user NAME` do it.",
        ),
        (
            "user,y\n1,2\n",
            "item_id",
            f"among ['user', 'y'] ({READ_AS}the names of the columns are in the file; the first "
            "row is ['1', '2'])",
            "; or let `cf inspect FILE --item NAME` do it.",
        ),
        (
            "x,y,z\na,b,c\n",
            "rating",
            f"among ['1', '2', '3'] ({READ_AS}no names: columns are 1, 2, …; the first row is "
            "['x', 'y', 'z'])",
            ", or null if rows are interactions without ratings; or let `cf inspect FILE --rating "
            "NAME` do it.",
        ),
        (
            "user,y\n",
            "item_id",
            f"among ['user', 'y'] ({READ_AS}the names of the columns are in the file)",
            "; or let `cf inspect FILE --item NAME` do it.",
        ),
    ],
)
def test_a_column_that_is_not_recognized(mine, content, key, found, advice):
    path = mine(content)
    assert message_of(path, {}) == (
        f"{path}: no column was recognized as {key} {found}. Name it in params.yaml: "
        f"ingest.columns.{key}{advice}"
    )


def test_ratings_that_are_stated_to_be_there_are_needed(mine):
    path = mine("user,item\n1,2\n1,3\n")
    assert ratings_of(path, {}, rating_range="auto").implicit
    assert message_of(path, {}, feedback="explicit").startswith(
        f"{path}: no column was recognized as rating among ['user', 'item']"
    )


@pytest.mark.parametrize("n", [11, 12])
def test_a_matrix_of_users_and_items(mine, n):
    path = mine(f"{','.join(f'item{at}' for at in range(n))}\n" + f"{'3,' * (n - 1)}4\n" * 2)
    assert (
        message_of(path, {})
        == (
            f"{path}: has {n} columns of numbers, as a matrix of users and items has. cf needs a "
            "row for each rating, with the user, the item and the rating: pandas' DataFrame.melt "
            "makes them of it. If it has them, name these columns in params.yaml: ingest.columns."
        )
    ) == (n == 12)
    if n == 12:
        assert "matrix" in message_of(path, {"user_id": "item0"})
        stated = {"user_id": "item0", "item_id": "item1", "rating": "item2", "timestamp": None}
        assert "a user may rate an item once" in message_of(path, stated)


def test_interactions_are_told_by_a_look(mine):
    def implicit(content, **settings):
        stated = Ingest(dataset="mine.csv", fallback=None, **settings)
        return has_interactions([mine(content)], stated)

    assert implicit("user,item\n1,2\n")
    assert implicit("user,item,plays\n1,2,3\n")
    assert not implicit("user,item,rating\n1,2,3\n")
    assert not implicit("user,item,plays\n1,2,3\n", feedback="explicit")
    assert implicit("user,item,rating\n1,2,3\n", feedback="implicit")
    assert implicit("user+item+plays\n1+2+3\n", layout=TextLayout(delimiter="+"))


def test_blocks_of_some_columns(mine):
    path = mine("u,i,r\n1,2,3\n4,5,6\n")
    table = table_file.open_table(path, TextLayout())
    (block,) = table_file.read_blocks(table, ["r", "u"])
    assert [column.to_pylist() for column in block] == [["3", "6"], ["1", "4"]]
    path.write_text("u,i,r\n1,2,3\n4,5\n")
    with pytest.raises(InputError) as caught:
        list(table_file.read_blocks(table, ["r", "u"]))
    assert str(caught.value) == (
        f"{path}, line 3: expected 3 fields as in other lines, got 2. Correct or remove the line."
    )


def test_files_with_other_columns(mine, tmp_path):
    first = mine("user,item,rating\n7,20,4\n", "a.csv")
    path = mine("user,item,score\n7,21,4\n", "b.csv")
    both = f"{tmp_path}/*.csv"
    assert message_of(both, {}) == (
        f"{path}: no column 'rating', which {first} has. All files need the same columns."
    )
    mine("item,user,x,rating\n20,8,y,5\n", "b.csv")
    assert rows(both, {}) == [(7, 20, 4.0), (8, 20, 5.0)]
    numbers = "1,101,4.5\n2,102,3.5\n3,101,2.5\n"
    other = (
        f"{path}: its columns, which have no names, are not those of {first}. All files need the "
        "same columns; or state ingest.columns in params.yaml."
    )
    mine(numbers, "a.csv")
    mine("101,4.5,1\n102,3.5,2\n101,2.5,3\n", "b.csv")
    assert message_of(both, {}) == other
    mine("4,101,4.5,x\n5,102,3.5,x\n6,101,2.5,x\n", "b.csv")
    assert message_of(both, {}) == other
    mine("4,101,4.5\n5,102,3.5\n", "b.csv")
    assert len(rows(both, {})) == 5


def test_a_column_that_occurs_twice(mine):
    path = mine("u,i,r,t,u\n1,2,3,4,5\n")
    assert message_of(path) == f"{path}: more than one column is called 'u'. Rename one."


def test_one_column_for_two_things(mine):
    columns = {**NO_TIME, "item_id": "u"}
    assert message_of(mine(TEXT), columns) == (
        "params.yaml: ingest.columns: expected a different column for each, got {'user_id': 'u', "
        "'item_id': 'u', 'rating': 'r'}."
    )


@pytest.mark.parametrize(
    ("line", "place", "expected", "got"),
    [
        ("1,2,good,4", "column r", "a number", "'good'"),
        ('1,2,"4,5",4', "column r", "a number", "'4,5'"),
        ("1,2,NA,4", "column r", "a number", "'NA'"),
        ("1,2,3", "", "4 fields as in other lines", "3"),
        ("1,2,3,4,5", "", "4 fields as in other lines", "5"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(mine, line, place, expected, got):
    path = mine(f'u,i,r,t\n\n5,6,"3",\n5,7,3,"4"\n{line}\n7,8,3,4\n'.replace('"3",', "3,4"))
    message = message_of(path)
    assert message == (
        f"{path}, line 5{', ' if place else ''}{place}: expected {expected}, got {got}. Correct or "
        f"remove the line{OF_RATINGS if place else '.'}"
    )


def test_lines_are_counted_as_an_editor_does(mine):
    path = mine('note,u,i,r,t\n"two\r\nlines",1,2,3,4\n\n\r\n"",1,2,x,4\n')
    assert message_of(path).startswith(f"{path}, line 6, column r: ")


@pytest.mark.parametrize(
    ("line", "what"),
    [
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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04\0\0", "cannot be unpacked (File is not a zip file). Is it whole?"),
        (b"\x89PNG\r\n\0", "is not text, nor a Parquet file."),
        (b"PAR1", "cannot be read (Parquet file size is 4 bytes"),
        (b"PAR1" + b"\0" * 50 + b"PAR1", "cannot be read (Couldn't deserialize thrift"),
        (b"text", "no column 'u' for user_id, got ['text']. Name the column in params.yaml: "),
    ],
)
def test_what_is_no_table(mine, content, said):
    path = mine(content, "mine.parquet")
    message = message_of(path)
    assert message.startswith(f"{path}: {said}")
    assert message.endswith("Is it whole?") == ("cannot be" in said)


def test_a_workbook(tmp_path):
    path = tmp_path / "mine.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
        archive.writestr("xl/worksheets/sheet1.xml", "")
    assert message_of(path) == (
        f"{path}: is an Excel workbook. Save the sheet as CSV, and give that."
    )


def test_a_huge_field(mine):
    message = message_of(mine(f"u,i,r,t\n1,2,3,4\n1,2,x,{'9' * 200_000}\n"))
    assert "line 3, column r: expected a number, got 'x'" in message


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
        ({"r": ["1", "2", "good"]}, "r", "a number", "'good'. "),
        ({"t": ["1", "2", "soon"]}, "t", "whole seconds since 1970", "'soon'. "),
        ({"u": ["a", "b", ""]}, "u", "a value", "''. "),
        ({"u": ["a", "b", "c\0" + "d" * 99]}, "u", "text without NUL", f"'c\\x00{'d' * 78}'. "),
        ({"i": ["a", "b", "[1]"]}, "i", "an id", "'[1]'. "),
        ({"r": [1.0, 2.0, None]}, "r", "a value", "None. "),
        (
            {"r": pa.array([b"1", b"2", b"\xff"], pa.binary()).view(pa.string())},
            *("r", "text in UTF-8", "'a value of the type string'. "),
        ),
    ],
)
def test_a_wrong_value_in_parquet_is_refused_with_its_row(parquet, changes, column, expected, got):
    path = parquet(**{"u": [1, 2, 3], "i": [1, 2, 3], "r": [1, 2, 3], "t": [1, 2, 3]} | changes)
    message = message_of(path)
    hint = {"r": OF_RATINGS, "t": OF_TIMES}.get(column, OF_IDS)
    assert message == (
        f"{path}, row 3, column {column}: expected {expected}, got {got}Correct or remove the row"
        f"{hint}"
    )


def test_a_rating_in_parquet_that_cannot_be_used_is_refused_with_its_row(parquet):
    path = parquet(u=[1, 2], i=[1, 2], r=[1.0, None], t=[1, 2])
    assert message_of(path).startswith(f"{path}, row 2, column r: expected a value, got None")


def test_parquet_without_rows(parquet):
    path = parquet(u=[], i=[], r=[], t=[])
    assert message_of(path) == f"{path}: holds no ratings. It needs at least one."


@pytest.mark.parametrize("when", ["NaT", "nan", "now", "today", "None"])
def test_a_word_is_no_time(mine, when):
    path = mine(f"u,i,r,t\n1,2,3,2020-05-01\n1,3,4,{when}\n")
    assert "line 3, column t: expected a date" in message_of(path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('"ab"c,2,3', 'something follows a field that ends with "'),
        ('"ab"""c,2,3', 'something follows a field that ends with "'),
        ('"a\nb",2,3', "column u has a line end in it"),
        ('"a\rb",2,3', "column u has a line end in it"),
        ("a\rb,2,3", "there is a carriage return inside the line"),
        (
            '9,2,3\n"a,2,3\n"b",2,3',
            'a field opens with " and goes on over lines that look like rows',
        ),
    ],
)
def test_quotes_and_line_ends_in_wrong_places(mine, line, problem):
    path = mine(f"u,i,r\n5,6,1\n{line}\n7,8,2\n")
    n = 3 + line.startswith("9")
    assert message_of(path, NO_TIME) == f"{path}, line {n}: {problem}. Correct or remove the line."


def test_a_quote_within_a_field_is_part_of_it(mine):
    assert [row[0] for row in rows(mine('u,i,r\n12" x,1,2\n5"" y",1,3\n'), NO_TIME)] == [
        *('12" x', '5"" y"'),
    ]


def test_rows_that_begin_like_comments(mine):
    numbers = dict(zip(("user_id", "item_id", "rating"), "123", strict=True), timestamp=None)
    path = mine("#a,1,4\n%b,2,5\nc,3,1\n")
    assert [row[0] for row in rows(path, numbers, layout={"header": False})] == ["#a", "%b", "c"]
    assert len(rows(mine("#a,1,4\n#b,2,5\n"), numbers)) == 2
    found = ratings_of(mine("# made up, 2\n" + TEXT))
    assert tuples(found.ratings) == ROWS
    assert "left out before the table: # made up, 2" in found.notes


def test_a_carriage_return_before_the_first_row(mine):
    numbers = dict(zip(("user_id", "item_id", "rating"), "123", strict=True), timestamp=None)
    assert "line 1: there is a carriage return" in message_of(mine("\r1,2,3\n1,3,4\n"), numbers)


def test_tabs_delimit_though_dates_have_blanks(mine):
    content = "".join(f"{n}\t{n + 1}\t{n % 5 + 1}\t2020-05-01 12:30:00\n" for n in range(30))
    assert rows(mine(content), {}, rating_range=[1, 5])[0] == (0, 1, 1.0, 1_588_336_200)
    assert rows(mine(content.replace("\t", ",")), {}, rating_range=[1, 5])[0][3] == 1_588_336_200


def test_blanks_are_trimmed_only_where_all_fields_have_them(mine):
    kept = rows(mine("u,i,r,note\na ,2,3,x \nb,3,4,y \n"), NO_TIME)
    assert [row[0] for row in kept] == ["a ", "b"]
    assert rows(mine('u, i, r\n"a, b", "2", 3\n"c", 3, 4\n'), NO_TIME)[0] == ("a, b", 2, 3.0)


def test_columns_that_are_numbered_by_pandas(mine):
    numbers = dict(zip(("user_id", "item_id", "rating"), "012", strict=True), timestamp=None)
    assert len(rows(mine("0,1,2\n7,8,3\n"), numbers)) == 1
    assert len(rows(mine(",0,1,2\n0,7,8,3\n"), numbers)) == 1


def test_a_damaged_encoding_is_refused_with_its_line(mine):
    content = "u,i,r\ncafé,1,2\nnaïve,2,3\nöl,3,4\n".encode()
    path = mine(content.replace("ö".encode(), b"\xc3"))
    assert message_of(path, NO_TIME) == (
        f"{path}, line 4: is not UTF-8, as other lines are. State ingest.layout.encoding if it "
        "is another. Correct or remove the line."
    )
    assert message_of(mine("u,i,r\n1,2,3\n".encode("utf-16")[:-1]), NO_TIME) == (
        f"{path}: cannot be read ('utf-16-le' codec can't decode byte 0x0a in position 0: "
        "truncated data). Is it whole?"
    )
    windows = "u,i,r\n€uro,1,2\n".encode("cp1252")
    assert rows(mine(windows), NO_TIME) == [("€uro", 1, 2.0)]


def test_a_first_row_that_is_very_long(mine):
    content = f"u,i,r,note\n1,2,3,{'long ' * 100_000}\n1,3,4,\n"
    assert rows(mine(content), NO_TIME) == [(1, 2, 3.0), (1, 3, 4.0)]
    path = mine("u" * (40 << 20))
    assert message_of(path) == (
        f"{path}, line 1: has more than 32 MB. Expected a row in each line. Correct or remove the "
        "line."
    )


def test_json_lines_in_any_package_and_ids_in_braces(mine):
    line = json.dumps(dict(zip("uirt", ROWS[0], strict=True))).encode()
    assert rows(mine(pa.compress(line, "zstd", asbytes=True))) == ROWS[:1]
    assert rows(mine("u,i,r\n{6f1c-2},1,2\n"), NO_TIME) == [("{6f1c-2}", 1, 2.0)]
    message = message_of(mine('[{"u": 1, "i": 2, "r": 3, "t": 4},\n\n{"u": 1, "i": 3}]'))
    assert "entry 2, column r: expected a value, got None. Correct or remove the entry" in message
    assert "a key occurs twice" in message_of(mine('{"u": 1, "u": 2, "i": 2, "r": 3, "t": 4}'))


def test_parquet_in_a_package_with_any_ids_and_types(mine, parquet):
    ids = [13.0, 14.0, 13.0, 13.5]
    path = parquet(u=ids, i=[1, 2, 3, 4], r=[1, 2, 3, 4], x=pa.array([2**61] * 4, pa.duration("s")))
    pq.write_table(pq.read_table(path), path, row_group_size=2)
    kept = ["13", "14", "13", "13.5"]
    assert [row[0] for row in rows(path, NO_TIME)] == kept, "the same in all row groups"
    packed = mine(gzip.compress(path.read_bytes()), "packed.parquet.gz")
    assert [row[0] for row in rows(packed, NO_TIME)] == kept


def test_what_cannot_be_unpacked(mine, tmp_path):
    content = bytearray(zipped(TEXT))
    content[6] |= 1  # encrypted
    content[content.index(b"PK\1\2") + 8] |= 1
    path = mine(bytes(content))
    assert message_of(path) == (
        f"{path}: cannot be unpacked (File 'inner.csv' is encrypted, password required for "
        "extraction). Is it whole?"
    )
    archive = tmp_path / "mine.tar"
    with tarfile.open(archive, "w") as file:
        file.add(mine(TEXT), "mine.csv")
    assert message_of(archive) == f"{archive}: is a tar archive. Unpack it, and give the file."


@pytest.mark.parametrize("layout", [{"quote": "ab"}, {"delimiter": ""}, {"encoding": "klingon"}])
def test_a_layout_that_cannot_be(layout):
    with pytest.raises(ValueError, match=next(iter(layout))):
        TextLayout(**layout)


def test_only_signs_between_thousands_are_left_out(mine):
    path = mine('u,i,r\n"Doe, J","1,027",2\n"1,5",7,3\n')
    kept = rows(path, NO_TIME, layout={"thousands": ","})
    assert kept == [("Doe, J", 1027, 2.0), ("1,5", 7, 3.0)]
    path = mine('u,i,r\n1,2,"4,5"\n')
    assert "expected a number, got '4,5'" in message_of(path, NO_TIME, layout={"thousands": ","})


def test_no_row_is_lost_between_blocks(mine, monkeypatch):
    lines = [f"user{n:02},{n},{n % 5 + 1}\r\n" for n in range(20)]
    path = mine("u,i,r\r\n" + "".join(lines))
    for size in range(20, 90):
        monkeypatch.setattr(text_file, "BLOCK_SIZE", size)
        assert len(rows(path, NO_TIME)) == 20, size


@pytest.mark.parametrize("row", ["7 a 4.0 5", "1 7 a 4.0"])
def test_one_row_with_a_field_too_many_is_no_row_with_a_name(tmp_path, row):
    path = tmp_path / "r.txt"
    path.write_text("user item rating\nr1 7 a 4.0\nr2 8 b 2.5\n")
    layout = text_file.recognize(lambda: path.open("rb"), TextLayout())
    assert layout.names == ["1", "user", "item", "rating"], "R's names of rows have none"
    path.write_text(f"user item rating\n{row}\n")
    layout = text_file.recognize(lambda: path.open("rb"), TextLayout())
    assert layout.names == ["user", "item", "rating"]
    with pytest.raises(text_file.UnreadableError):
        list(text_file.read(lambda: path.open("rb"), layout, [0, 1, 2]))


def test_all_that_is_noted_of_ratings(mine):
    content = "user,item,stars\n1,2,0\n1,3,4\n1,3,5\n1,4,2\n2,4,1\n2,4,1\n"
    found = ratings_of(
        mine(content), {}, repeats="first", missing=[0], rating_range="auto", feedback="implicit"
    )
    assert found.notes == [
        "user_id: column user, by its name",
        "item_id: column item, by its name",
        "rating: column stars, by its name",
        "text in utf-8, fields separated by commas, without quotes",
        "the names of the columns are in the file",
        "interactions, not ratings: for `make rank` alone",
        "1 rows with a missing rating are left out",
        "2 repeats: first of each user and item",
    ]
    assert (found.n_repeats, found.implicit, found.side_notes) == (2, True, [])
    assert found.rating_range == (1, 4)
    path = mine(content.replace("1,2,0\n", "").replace("1,3,5\n", "").replace("2,4,1\n", "", 1))
    found = ratings_of(path, {}, repeats="first", rating_range="auto")
    assert (found.n_repeats, len(found.notes)) == (0, 5)


def test_interactions_without_counts_are_ones(mine):
    found = ratings_of(mine("user,item\n1,2\n1,3\n"), {}, rating_range="auto")
    assert dtypes(found.ratings)["rating"] == "float32"
    assert found.ratings["rating"].tolist() == [1, 1]
    assert (found.n_repeats, found.rating_range) == (0, (1, 1))


def test_signs_between_thousands_of_counts_are_left_out_where_they_are_stated(mine):
    path = mine('user,item,plays\n1,2,"1,027"\n1,3,5\n')
    found = ratings_of(path, {}, rating_range="auto", layout={"thousands": ","})
    assert found.ratings["rating"].tolist() == [1027, 5]


def test_users_and_items_have_what_their_tables_say(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = mine("user,item,rating\nb,x,4\na,y,3\nb,y,1\n")
    found = ratings_of(path, {})
    assert tuples(found.users) == [("b",), ("a",)]
    assert dtypes(found.users) == {"user_id": "str"}
    assert dtypes(found.items) == ITEM_DTYPES | {"item_id": "str"}
    mine("user,age\na,20\nb,30\nc,40\n", "people.csv")
    mine("item,title\nx,Heat\n", "films.csv")
    of_users = ["people.csv: 2 of the 2 users, by column user", "features: age (number)"]
    of_items = ["films.csv: 1 of the 2 items, by column item", "title: column title"]
    found = ratings_of(path, {}, users="people.csv", items="films.csv")
    assert tuples(found.users) == [("b", 30.0), ("a", 20.0)]
    assert tuples(found.items) == [("x", "Heat", None, ""), ("y", None, None, "")]
    assert found.side_notes == of_items + of_users
    assert ratings_of(path, {}, users="people.csv").side_notes == of_users
    assert ratings_of(path, {}, items="films.csv").side_notes == of_items


def test_a_row_of_one_of_two_files_is_named_with_its_file(mine, tmp_path):
    for name, line in (("a", "1,2,3\n"), ("b", "1,3,9\n")):
        (tmp_path / name).mkdir()
        mine(f"u,i,r\n{line}", f"{name}/1.csv")
    assert message_of(f"{tmp_path}/*/1.csv", NO_TIME).startswith(
        f"{tmp_path}/a, 1.csv line 2: rating is out of range"
    )


def test_what_is_not_found_is_shown_in_part(mine):
    names = [f"column{n}" for n in range(60)]
    row = [str(10**9 + n) if n % 2 else f"value{n}" for n in range(60)]
    path = mine(f"{','.join(names)}\n{','.join(row)}\n")
    message = message_of(path)
    assert message.startswith(f"{path}: no column 'u' for user_id, got {str(names)[:300]}. Name ")
    message = message_of(path, {})
    assert f": no column was recognized as user_id among {str(names)[:300]} (" in message
    assert f"; the first row is {str(row)[:300]}). Name it in" in message


def test_two_columns_that_are_stated_make_no_matrix(mine):
    path = mine(f"{','.join(f'item{at}' for at in range(12))}\n" + f"{'3,' * 11}4\n" * 2)
    stated = {"user_id": "item0", "item_id": "item1"}
    assert message_of(path, stated).startswith(f"{path}: no column was recognized as rating among")
