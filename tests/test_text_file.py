"""How files of text are laid out, and their rows, out of memory."""

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from itertools import product
from typing import Any

import pytest

from cf.core.config import TextLayout
from cf.data import text_file
from cf.data.text_file import Layout, UnreadableError, is_header, is_number, recognize, records

HEADER, NONE = "the names of the columns are in the file", "no names: columns are 1, 2, …"


def laid_out(content: str | bytes, **stated: Any) -> Layout:
    data = content if isinstance(content, bytes) else content.encode()
    return recognize(lambda: BytesIO(data), TextLayout(**stated))


def rows_of(content: str | bytes, **stated: Any) -> list[tuple[str, ...]]:
    data = content if isinstance(content, bytes) else content.encode()
    layout = recognize(lambda: BytesIO(data), TextLayout(**stated))
    every = range(len(layout.names))
    blocks = text_file.read(lambda: BytesIO(data), layout, every)
    rows = [row for block in blocks for row in zip(*(c.to_pylist() for c in block), strict=True)]
    slow = [tuple(fields) for _, fields in records(lambda: BytesIO(data), layout)]
    if layout.padded:
        slow = [tuple(value.strip(" \t") for value in row) for row in slow]
    assert slow == rows, "read another way"
    return rows


def refused(content: str | bytes, **stated: Any) -> tuple[int, str]:
    """The line and the problem with which a file is refused."""
    with pytest.raises(UnreadableError) as caught:
        rows_of(content, **stated)
    assert caught.value.unit == "line"
    return caught.value.line, str(caught.value)


PLAIN = "u,i,r\na,b,1\nc,d,2\n"


def test_all_of_a_layout() -> None:
    assert laid_out("# made up\n" + PLAIN) == Layout(
        encoding="utf-8",
        newline="\n",
        delimiter=",",
        quote='"',
        escaped=False,
        n_skipped=2,
        padded=False,
        names=["u", "i", "r"],
        sample=[["a", "b", "1"], ["c", "d", "2"]],
        notes=[
            "text in utf-8, fields separated by commas, without quotes",
            HEADER,
            "left out before the table: # made up",
        ],
    )


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (PLAIN, ["text in utf-8, fields separated by commas, without quotes", HEADER]),
        ("a,b,1\nc,d,2\n", ["text in utf-8, fields separated by commas, without quotes", NONE]),
        (
            PLAIN.replace(",", "\t"),
            ["text in utf-8, fields separated by tabs, without quotes", HEADER],
        ),
        (
            PLAIN.replace(",", "  "),
            ["text in utf-8, fields separated by blanks, without quotes", HEADER],
        ),
        (
            PLAIN.replace(",", ";"),
            ["text in utf-8, fields separated by semicolons, without quotes", HEADER],
        ),
        (PLAIN.replace(",", "|"), ["text in utf-8, fields separated by |, without quotes", HEADER]),
        (
            PLAIN.replace(",", "::"),
            ["text in utf-8, fields separated by ::, without quotes", HEADER],
        ),
        (
            PLAIN.replace("b", '"b"'),
            ['text in utf-8, fields separated by commas, quoted by "', HEADER],
        ),
        (
            PLAIN.replace("b", r'"b \"x\", y"'),
            [
                'text in utf-8, fields separated by commas, quoted by ", which are escaped within',
                HEADER,
            ],
        ),
        (
            PLAIN.replace(",", ", "),
            [
                "text in utf-8, fields separated by commas, without quotes, with spaces around "
                "them",
                HEADER,
            ],
        ),
        (
            PLAIN.encode("utf-16"),
            ["text in utf-16, fields separated by commas, without quotes", HEADER],
        ),
        (
            PLAIN.replace("b", "é").encode("latin-1"),
            ["text in latin-1, fields separated by commas, without quotes", HEADER],
        ),
        (
            PLAIN.replace("b", "€").encode("cp1252"),
            ["text in cp1252, fields separated by commas, without quotes", HEADER],
        ),
        (
            f"# {'x' * 70}\n# y and more\n\n" + PLAIN,
            [
                "text in utf-8, fields separated by commas, without quotes",
                HEADER,
                f"left out before the table: # {'x' * 70}, # y an",
            ],
        ),
    ],
)
def test_what_was_recognized_is_noted(content: str | bytes, notes: list[str]) -> None:
    assert laid_out(content).notes == notes


ROWS = [("a", "b", "1"), ("c", "d", "2")]


@pytest.mark.parametrize(
    ("content", "n_skipped"),
    [
        (PLAIN, 1),
        ("\ufeff" + PLAIN, 1),
        (PLAIN.replace("\n", "\r\n"), 1),
        (PLAIN.replace("\n", "\r"), 1),
        (PLAIN.rstrip(), 1),
        (PLAIN.replace(",", " , "), 1),
        ("sep=,\n" + PLAIN, 2),
        ('"sep=,"\r\n' + PLAIN, 2),
        ("\ufeffsep=;\n" + PLAIN.replace(",", ";"), 2),
        ("SEP=\t\n" + PLAIN.replace(",", "\t"), 2),
        ("sep=::\n" + PLAIN.replace(",", "::"), 2),
        ("# made up\n#\n" + PLAIN, 3),
        ("sep=,\n# \n" + PLAIN, 3),
        ("# one\n% two\n \n" + PLAIN, 4),
        ("# u,i,r\n" + PLAIN.partition("\n")[2], 1),
        ("#\n#% u,i,r\n" + PLAIN.partition("\n")[2], 2),
        ("# one, two\n" + PLAIN, 2),
        ("\n\n" + PLAIN.replace("\n", "\n\n"), 3),
    ],
)
def test_lines_before_the_rows_are_skipped(content: str, n_skipped: int) -> None:
    layout = laid_out(content)
    assert layout.n_skipped == n_skipped
    assert layout.names == ["u", "i", "r"]
    assert layout.sample == [list(row) for row in ROWS]
    assert rows_of(content) == ROWS


@pytest.mark.parametrize(
    ("content", "names", "rows"),
    [
        ("#a,x,1\n#b,y,2\n", ["1", "2", "3"], [("#a", "x", "1"), ("#b", "y", "2")]),
        ("#a,x,1\nb,y,2\n", ["1", "2", "3"], [("#a", "x", "1"), ("b", "y", "2")]),
        ("#a,1\nb,2\n", ["1", "2"], [("#a", "1"), ("b", "2")]),
        ('#a,"x, y",1\nb,z,2\n', ["1", "2", "3"], [("#a", "x, y", "1"), ("b", "z", "2")]),
        ('# X,"i, j"\n"a, b",1\n', ["X", "i, j"], [("a, b", "1")]),
        ("# user\n5\n6\n", ["1"], [("5",), ("6",)]),
        ("#u,#i\n", ["#u", "#i"], []),
        ("\n \n#u,#i\n", ["#u", "#i"], []),
        ("#a,1\nb,y,2\n", ["1", "2", "3"], [("b", "y", "2")]),
        ("#a,x,z\nb,y,2\n", ["a", "x", "z"], [("b", "y", "2")]),
        ("# no 1\n#a,x,1\nb,y,2\n", ["1", "2", "3"], [("#a", "x", "1"), ("b", "y", "2")]),
        ("u,,r\na,b,1\n", ["u", "2", "r"], [("a", "b", "1")]),
        ("u,,2\na,b,1\n", ["1", "2", "3"], [("u", "", "2"), ("a", "b", "1")]),
        ("2,,user\n", ["1", "2", "3"], [("2", "", "user")]),
        ("user, ,2x\na,b,1\n", ["user", "2", "2x"], [("a", "b", "1")]),
        ("user,,3\n", ["1", "2", "3"], [("user", "", "3")]),
        (",0,1\n0,a,b\n1,c,d\n", ["column 1", "0", "1"], [("0", "a", "b"), ("1", "c", "d")]),
        ('"u","i\nj k",r\na,b,1\n', ["u", "ij k", "r"], [("a", "b", "1")]),
        ("0,1,2\na,b,1\n", ["0", "1", "2"], [("a", "b", "1")]),
        ("u i\nr1 a 1\nr2 b 2\n", ["1", "u", "i"], [("r1", "a", "1"), ("r2", "b", "2")]),
        ("u,i\nr1,a,1\nr2,a,\n", ["1", "u", "i"], [("r1", "a", "1"), ("r2", "a", "")]),
    ],
)
def test_names_are_those_of_the_file_or_numbers(
    content: str, names: list[str], rows: list[tuple[str, ...]]
) -> None:
    assert laid_out(content).names == names
    assert rows_of(content) == rows


def test_rows_that_end_in_a_delimiter_have_no_names() -> None:
    content = "user,item\na,b,\nc,d,\n"
    assert laid_out(content).names == ["user", "item"]
    assert refused(content) == (2, "expected 2 fields as in other lines, got 3")


def test_names_of_rows_are_in_all_of_several_rows() -> None:
    assert laid_out("user,item\na,b,1\n").names == ["user", "item"]
    assert laid_out("user,item\na,b\nr2,c,d\nr3,e,f\n").names == ["user", "item"]
    assert laid_out("user,item\nr1,a,b\nr1,c,d\n").names == ["user", "item"]
    assert laid_out("user,item\nr1,a,b\nr2,c,d\n").names == ["1", "user", "item"]


def test_a_carriage_return_in_quotes_is_a_space_of_the_sample() -> None:
    assert laid_out('a,"b\rc"\n', header=False).sample == [["a", "b c"]]
    assert rows_of('a,"b\rc"\n', header=False) == [("a", "b\rc")]


def test_empty_quotes_alone_are_no_row() -> None:
    for content, n_skipped in (('""\n', 0), ('"" \n', 0), ('# u,i\n""\n', 1)):
        layout = laid_out(content)
        assert (layout.names, layout.sample, layout.n_skipped) == ([], [], n_skipped)
        assert refused(content) == (n_skipped + 1, "expected 0 fields as in other lines, got 1")


def test_a_header_may_be_stated() -> None:
    content = "#a,1\nu,i\nb,2\n"
    assert rows_of(content, header=False) == [("#a", "1"), ("u", "i"), ("b", "2")]
    assert rows_of(content, header=True) == [("b", "2")]
    assert laid_out("a,b\nc,d\n", header=True).names == ["a", "b"]
    assert laid_out("u,i\n1,2\n", header=False).names == ["1", "2"]
    assert laid_out("# u,i\n1,2\n", header=False).names == ["1", "2"]
    assert laid_out("# u,i\n1,2\n").names == ["u", "i"]


@pytest.mark.parametrize(
    ("content", "delimiter", "quote"),
    [
        ("a,b;c\nd,e;f\n", ";", '"'),
        ("a;b,c\nd;e,f,g\n", ";", '"'),
        ("a::b,c\nd::e,f\n", "::", None),
        ("a\tb,c,d\ne\tf,g,h\n", "\t", '"'),
        ("a b\nc d\n", " ", None),
        ("a b,c\nd e,f\n", ",", '"'),
        ("a|b c\nd|e f\n", "|", None),
        ('"a"|b\n"c"|d\n', "|", '"'),
        ('"a"::b\n"c"::d\n', "::", '"'),
        ('a"::b\nc::d\n', "::", None),
        ('12" x,b\n7" y,d\n', ",", '"'),
        ("one\ntwo\n", ",", '"'),
        ("a,b\n" * 9 + "c,d,e\n", ",", '"'),
        ("sep=|\na|b,c,d\ne|f,g,h\n", "|", None),
        ('"x""|y"|z\na|b\n', "|", '"'),
        ("a ; c\n", " ", None),
        ("a b\tc\na\n", " ", None),
        ("a\na\tb c\na\tb c\n", " ", None),
        ("a\tb b\n" * 9 + "a c\t\t\n", " ", None),
        ("a\tb\n" * 19 + "a\t\tb\n", " ", None),
        ("a,b\t,\n", "\t", '"'),
        ("a,|b,\n", ",", '"'),
        ("u,i\n" + "a;b,c\n" * 30 + "a;b,c,d\n", ",", '"'),
        ("u i\n" + "a b,c\n" * 30 + "a b d,c\n", ",", '"'),
    ],
)
def test_the_delimiter_is_the_one_with_which_lines_are_alike(
    content: str, delimiter: str, quote: str | None
) -> None:
    layout = laid_out(content, header=False)
    assert (layout.delimiter, layout.quote) == (delimiter, quote)


def test_a_delimiter_is_needed_in_more_than_nine_in_ten_of_four_hundred_rows() -> None:
    ends = "a,b\n" * 10 + "a\n" * 30 + "a;b;c,d\n"
    assert laid_out("a;b;c,d\n" * 360 + ends, header=False).delimiter == ","
    assert laid_out("a;b;c,d\n" * 361 + ends, header=False).delimiter == ";"


def test_very_long_rows_say_nothing_about_the_delimiter() -> None:
    assert laid_out("a;b,c\n" + "d," + "e" * 99_997 + "\n", header=False).delimiter == ","
    assert laid_out("a;b,c\n" + "d," + "e" * 99_998 + "\n", header=False).delimiter == ";"


@pytest.mark.parametrize(
    ("stated", "rows"),
    [
        ({"delimiter": "+"}, [("a,b", 'c"x"')]),
        ({"delimiter": ","}, [("a", 'b+c"x"')]),
        ({"quote": None}, [("a", 'b+c"x"')]),
        ({"delimiter": "+c"}, [("a,b", '"x"')]),
    ],
)
def test_signs_may_be_stated(stated: dict[str, Any], rows: list[tuple[str, ...]]) -> None:
    content = 'a,b+c"x"\n'
    if stated.get("delimiter") == "+c":
        stated = stated | {"quote": None}
    assert rows_of(content, header=False, **stated) == rows


def test_quotes_and_encodings_may_be_stated() -> None:
    assert rows_of('"a,b",c\n', header=False, quote=None) == [('"a', 'b"', "c")]
    assert rows_of("'a,b',c\n", header=False, quote="'") == [("a,b", "c")]
    assert rows_of(b"u,i\nx\xb3,1\n", encoding="cp1250") == [("xł", "1")]
    assert rows_of(b"u,i\nx\xb3,1\n") == [("x³", "1")]


def test_a_stated_encoding_that_the_file_does_not_have_is_refused() -> None:
    data = b"u,i\nx,1\n\xe9,2\n"
    assert laid_out(data, encoding="utf-8").sample == [["x", "1"], ["\ufffd", "2"]]
    line, problem = refused(data, encoding="utf-8")
    assert line == 0
    assert re.fullmatch("cannot be read: .*invalid UTF8 data", problem)


ESCAPED = r'a,"b \"c\""'


@pytest.mark.parametrize(
    ("content", "stated", "escaped"),
    [
        (ESCAPED, {}, True),
        (ESCAPED, {"quote": '"'}, True),
        (ESCAPED, {"quote": "'"}, False),
        (ESCAPED, {"escaped": False}, False),
        (r"a,b\"c", {"escaped": True}, True),
        (r"a,b\"c", {}, False),
        ('a,"b, c"\n' + r"d,e\"f", {}, False),
        (r'a,"x \"y, z\"",\"b\"', {}, False),
        (r'a::"b \"c\""' + "\nd::e", {}, False),
        (r"a|b \"c\"" + "\nd|e", {}, False),
        (r'a "b\"c"' + "\nd e", {}, False),
        (r"a;b\"c", {}, False),
        ("sep=|\n" + r'a,b|"c\"d,e,f"' + "\ng|h", {}, True),
        ("sep=,\n" + r'a|b,"c \"d,e\" f"' + "\ng|h,i", {}, True),
    ],
)
def test_quotes_are_escaped_where_all_lines_are_alike_then(
    content: str, stated: dict[str, Any], escaped: bool
) -> None:
    assert laid_out(content, header=False, **stated).escaped == escaped


def test_fifty_lines_and_two_hundred_with_escapes_tell_whether_quotes_are_escaped() -> None:
    assert not laid_out("a,b\n" * 49 + f"c\n{ESCAPED}\n", header=False).escaped
    assert laid_out("a,b\n" * 50 + f"c\n{ESCAPED}\n", header=False).escaped
    assert not laid_out(f"{ESCAPED}\n" * 199 + f"{ESCAPED},d\n", header=False).escaped
    assert laid_out(f"{ESCAPED}\n" * 200 + f"{ESCAPED},d\n", header=False).escaped


@pytest.mark.parametrize(
    ("content", "padded"),
    [
        ("a, b\nc, d\n", True),
        ("a ,b\nc ,d\n", True),
        ("a|\tb\nc\t|d\n", True),
        ("a, b, c, d\ne,, g, h\n,f, g,\n", True),
        ("a, b\nc,d\n", False),
        ("a, b,c\nd, e,f\n", False),
        ("a, b\nc,\n", False),
        ("a b,c\nd e,f\n", False),
        ("x a,b\ny c,d\n", False),
        ("a,b c\nd,e f\n", False),
        ("a, b, c\nd, , f\n", True),
    ],
)
def test_spaces_are_around_fields_if_they_are_at_each_delimiter(content: str, padded: bool) -> None:
    delimiter = "|" if "|" in content else ","
    assert laid_out(content, header=False, delimiter=delimiter).padded == padded


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('a,"b, c"\n"d ""e""",f\n', [("a", "b, c"), ('d "e"', "f")]),
        ('a::"b::c"\n"d"::f\n', [("a", "b::c"), ("d", "f")]),
        ('a,"b\nc"\nd,e\n', [("a", "b\nc"), ("d", "e")]),
        ('a,"b\r\n\r\nc"\r\nd,e\r\n', [("a", "b\r\n\r\nc"), ("d", "e")]),
        ('a,"",b\nc,d,""\n', [("a", "", "b"), ("c", "d", "")]),
        ('"a, b" , c , d\n' + 'e , "f" , "g"\n' * 3, [("a, b", "c", "d"), *[("e", "f", "g")] * 3]),
        ('"a" ,b\n"c" ,d\n', [("a", "b"), ("c", "d")]),
        (' a  b \n c  "d" \n', [("a", "b"), ("c", '"d"')]),
        ("\ta \t b\nc d\t\n", [("a", "b"), ("c", "d")]),
        ("a,b \nc ,d\n", [("a", "b "), ("c ", "d")]),
        ("Xa, bX\nX, X\n", [("Xa", "bX"), ("X", "X")]),
        ("080442957X,X\nX,a\n", [("080442957X", "X"), ("X", "a")]),
        ('a\x1fb,"c,\x1fd"\ne,f\n', [("a\x1fb", "c,\x1fd"), ("e", "f")]),
        ("\ufeffa,1\nb,2\n", [("a", "1"), ("b", "2")]),
        ("a\xa0b,1\n", [("a\xa0b", "1")]),
        (r'"a \"b\"",c' + "\n" + r'"d\\",e' + "\n", [('a "b"', "c"), (r"d\\", "e")]),
        (",a\nb,\n", [("", "a"), ("b", "")]),
        ("a,\ufeffb\n\ufeffc,d\n", [("a", "\ufeffb"), ("\ufeffc", "d")]),
    ],
)
def test_fields_are_what_the_file_means(content: str, rows: list[tuple[str, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for size in (1 << 23, 40):
            patch.setattr(text_file, "BLOCK_SIZE", size)
            assert rows_of(content, header=False) == rows
    sample = [[re.sub(r"\s*\n\s*", "", value) for value in row] for row in rows]
    assert laid_out(content, header=False).sample == sample


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 0, "is empty. Expected a first line with column names, then rows"),
        ("\n \r\n", 0, "is empty. Expected a first line with column names, then rows"),
        (
            "%%MatrixMarket\n1 2 3\n",
            *(0, "is in the Matrix Market format. Make rows of user, item and rating of it"),
        ),
        (b"\0" * 257 + b"ustar\x0000", 0, "is a tar archive. Unpack it, and give the file"),
        (b"a,\xff\0\n", 0, "is not text, nor a Parquet file"),
        (
            "u,i\né,1\nü,2\n".encode() + b"\xc3,3\n",
            *(4, "is not UTF-8, as other lines are. State ingest.layout.encoding if it is another"),
        ),
        (
            "u,i\né,1\n".encode() + b"\xc3",
            *(3, "is not UTF-8, as other lines are. State ingest.layout.encoding if it is another"),
        ),
        (
            b"\xff,1\n" + "é,2\n".encode(),
            *(1, "is not UTF-8, as other lines are. State ingest.layout.encoding if it is another"),
        ),
        ("a,b\nc,d,e\n", 2, "expected 2 fields as in other lines, got 3"),
        ("a,b\n\nc\n", 3, "expected 2 fields as in other lines, got 1"),
        ('a,b\n"c"d,e\n', 2, 'something follows a field that ends with "'),
        ('a,b\nc,"d\n', 2, 'a field opens with " and does not end'),
        ("a,b\nc\rd,e\n", 2, "there is a carriage return inside the line"),
        ('a,"b\nc"\nd\n', 3, "expected 2 fields as in other lines, got 1"),
        ("a\x1f::b\nc::d\n", 0, "cannot be read: it has the control character U+001F"),
    ],
)
def test_what_is_refused(content: str | bytes, line: int, problem: str) -> None:
    assert refused(content, header=False) == (line, problem)


def test_a_quote_that_opens_over_rows_is_refused_at_its_line() -> None:
    rows = "".join(f"a{n},{n}\n" for n in range(1, 5))
    assert refused(f'{rows}"b,5\n{rows}c","6\n', header=False) == (
        5,
        'a field opens with " and goes on over lines that look like rows',
    )


@pytest.mark.parametrize(
    "content",
    [
        'a,b,1\n"c,d,2\ne,f,3\ng",h,4\n',
        'a,b,1\nc,"d,2\ne,f,3\ng,h",4\n',
        'a,1,b\nc,2,"d\ne,3,f\ng,4,h"\n',
    ],
)
def test_a_field_that_swallows_a_row_is_refused(content: str) -> None:
    assert refused(content, header=False) == (
        2,
        'a field opens with " and goes on over lines that look like rows',
    )


def test_columns_look_like_numbers_if_more_than_nine_in_ten_are() -> None:
    rows = "a,b\n" + "c,5\n" * 8
    swallowing = '"c,6\nd",7\n'
    assert len(rows_of(rows + swallowing, header=False)) == 10
    assert refused(rows + "c,5\n" + swallowing, header=False)[0] == 11


def test_a_line_end_in_an_asked_column_is_refused() -> None:
    data = b'a,"b\nc"\nd,e\n'
    layout = recognize(lambda: BytesIO(data), TextLayout(header=False))
    read = text_file.read(lambda: BytesIO(data), layout, [1], in_one_line=True)
    with pytest.raises(UnreadableError) as caught:
        list(read)
    assert (caught.value.line, str(caught.value)) == (1, "column 2 has a line end in it")
    (block,) = text_file.read(lambda: BytesIO(data), layout, [0], in_one_line=True)
    assert block[0].to_pylist() == ["a", "d"]


def test_a_column_may_be_asked_for_twice() -> None:
    data = PLAIN.encode()
    layout = recognize(lambda: BytesIO(data), TextLayout())
    (block,) = text_file.read(lambda: BytesIO(data), layout, [2, 0, 2])
    assert [column.to_pylist() for column in block] == [["1", "2"], ["a", "c"], ["1", "2"]]


def test_a_field_that_is_too_long_is_refused() -> None:
    layout = laid_out("a,b\nc,d\n", header=False)
    limit = csv.field_size_limit(10)
    try:
        with pytest.raises(
            UnreadableError, match=r"^field larger than field limit \(10\)$"
        ) as error:
            list(records(lambda: BytesIO(b"a,b\nc," + b"d" * 20), layout))
    finally:
        csv.field_size_limit(limit)
    assert error.value.line == 2


def test_records_have_their_first_lines() -> None:
    data = b'# x\nuser,i\na,"b\nc"\n\n\nd,e\n'
    layout = recognize(lambda: BytesIO(data), TextLayout())
    assert list(records(lambda: BytesIO(data), layout)) == [(3, ["a", "b\nc"]), (7, ["d", "e"])]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        *((text, True) for text in ("1", "-1.5", "+1,5", ".5", ",5", "1.", "1e5", " 1E-5\t", "01")),
        *((text, False) for text in ("", "x", "1x", "1.5.5", "e5", "1e", ".", "- 1", "1 2", "--1")),
    ],
)
def test_numbers_have_a_point_or_a_comma(text: str, is_one: bool) -> None:
    assert is_number(text) == is_one


@pytest.mark.parametrize(
    ("first", "rows", "is_one"),
    [
        (["u", "i"], [["a", "1"]], True),
        (["u", "i"], [["a", "b"]], False),
        (["u", "i"], [], True),
        (["user", "i"], [["a", "b"]], True),
        (["u", "TITLE"], [["a", "b"]], True),
        (["u", "1"], [["a", "1"]], False),
        (["", ""], [["a", "1"]], False),
        (["", "u"], [["a", "1"]], True),
        (["0", "1", "2"], [["a", "b", "c"]], True),
        (["", "0", "1"], [["a", "b", "c"]], True),
        (["0", "1"], [["a", "b"]], False),
        (["1", "2", "3"], [["a", "b", "c"]], False),
        (["u", "i"], [["a", "b"]] * 99 + [["a", "1"]], True),
        (["u", "i"], [["a", "b"]] * 100 + [["a", "1"]], False),
    ],
)
def test_a_first_line_is_names_or_a_row(
    first: list[str], rows: list[list[str]], is_one: bool
) -> None:
    assert is_header(first, rows) == is_one


def test_the_head_of_a_file_is_read_until_it_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "HEAD_SIZE", 8)
    long = "x" * 100
    content = f"u,i\n{long},1\n" + "y,2\n" * 50
    layout = laid_out(content)
    assert layout.sample[0] == [long, "1"]
    assert 8 <= len(layout.sample) < 50, "the first rows, and no part of one"
    assert {len(row) for row in layout.sample} == {2}
    monkeypatch.setattr(text_file, "MAX_HEAD_SIZE", 64)
    assert refused("x" * 200) == (1, "has more than 0 MB. Expected a row in each line")
    monkeypatch.setattr(text_file, "MAX_HEAD_SIZE", 1 << 20)
    assert refused("x" * (3 << 20)) == (1, "has more than 1 MB. Expected a row in each line")


@pytest.mark.parametrize("newline", ["\n", "\r"])
def test_ten_line_ends_are_enough_of_a_file(newline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["ab", "1"]] * 30
    content = newline.join(map(",".join, rows))
    monkeypatch.setattr(text_file, "HEAD_SIZE", 50)
    assert laid_out(content, header=False).sample == rows[:10]
    monkeypatch.setattr(text_file, "HEAD_SIZE", 49)
    assert laid_out(content, header=False).sample == rows[:19]
    monkeypatch.setattr(text_file, "HEAD_SIZE", len(content) - 1)
    assert laid_out(content, header=False).sample == rows[:29]
    monkeypatch.setattr(text_file, "HEAD_SIZE", len(content))
    assert laid_out(content, header=False).sample == rows


@pytest.mark.parametrize("size", range(1, 12))
def test_blocks_are_cut_at_any_byte(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "\ufeff# é\r\nu,i\r\né,1\r\n\r\nö,2"
    layout = laid_out(content)
    monkeypatch.setattr(text_file, "BLOCK_SIZE", size)
    for encoding in ("utf-8", "utf-16"):
        data = content.removeprefix("\ufeff" * (encoding == "utf-16")).encode(encoding)
        assert data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16))
        found = list(records(lambda data=data: BytesIO(data), replace(layout, encoding=encoding)))
        assert found == [(3, ["é", "1"]), (5, ["ö", "2"])]


class Bounded(BytesIO):
    """A file that is read in pieces of a bounded size alone."""

    limit = 64

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 < size <= self.limit
        return super().read(size)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_file_is_read_piece_by_piece(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = "".join(f"usér{n},{n}\n" for n in range(5000)).encode(encoding)
    monkeypatch.setattr(text_file, "HEAD_SIZE", 64)
    monkeypatch.setattr(text_file, "BLOCK_SIZE", 64)
    files: list[Bounded] = []

    def open_file() -> Bounded:
        files.append(Bounded(data))
        return files[-1]

    layout = recognize(open_file, TextLayout())
    blocks = text_file.read(open_file, layout, [1])
    first = next(blocks)[0].to_pylist()
    assert first == [str(n) for n in range(len(first))]
    assert 1 <= len(first) <= 8
    assert files[-1].tell() < len(data) / 2, "only a few blocks are read ahead"
    assert sum(len(block[0]) for block in blocks) == 5000 - len(first)


@pytest.mark.parametrize("size", [24, 100, 5000])
def test_blocks_end_anywhere_in_rows(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"{mark}{n}", text) for n in range(400) for mark in "a\ufeff" for text in "xy"]
    for n in range(0, len(rows), 3):
        rows[n] = rows[n][0], f'"\n{n}'
    content = "".join(f'{a},"{b.replace(chr(34), chr(34) * 2)}"\n' for a, b in rows)
    monkeypatch.setattr(text_file, "BLOCK_SIZE", size)
    assert rows_of(content, header=False) == rows


def test_columns_that_are_not_asked_for_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ("u,i\n" + "a,1\n" * 20 + "b,x\n" * 20).encode()
    layout = recognize(lambda: BytesIO(data), TextLayout())
    monkeypatch.setattr(text_file, "BLOCK_SIZE", 16)
    read = text_file.read(lambda: BytesIO(data), layout, [0])
    assert [value for block in read for value in block[0].to_pylist()] == ["a"] * 20 + ["b"] * 20


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace("\n", "\r\n\r\n"),
        PLAIN.replace("b", '"b ""x"", y"'),
        PLAIN.replace(",", "::"),
        PLAIN.replace(",", " "),
        PLAIN.rstrip(),
    ],
)
def test_files_without_oddities_are_read_once(content: str) -> None:
    data = content.encode()
    layout = recognize(lambda: BytesIO(data), TextLayout())
    files = iter([BytesIO(data)])
    (block,) = text_file.read(lambda: next(files), layout, [0])
    assert block[0].to_pylist() == ["a", "c"]


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        ('"a"b,c\r\n', 'something follows a field that ends with "'),
        ("a,b\rc,d\r\n", "there is a carriage return inside the line"),
    ],
)
def test_an_oddity_before_many_plain_blocks_is_refused(
    odd: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "BLOCK_SIZE", 16)
    rows = '"d",e\r\n' * 20
    assert refused(rows + odd + rows, header=False) == (21, problem)


def test_a_file_that_changes_while_it_is_read_is_refused() -> None:
    before, after = b'a,"b\nc"\n', b"a,b\n" * 1200
    layout = recognize(lambda: BytesIO(before), TextLayout(header=False))
    files = iter([BytesIO(before), BytesIO(after)])
    with pytest.raises(UnreadableError) as caught:
        list(text_file.read(lambda: next(files), layout, [0]))
    assert caught.value.line == 0
    assert str(caught.value) == "cannot be read: 1 rows of 1,200 are found"


def test_the_line_of_a_damage_is_counted_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "BLOCK_SIZE", 4)
    line, problem = refused("é,1\n".encode() * 9 + b"\xff,2\n")
    assert line == 10
    assert problem.startswith("is not UTF-8")


@pytest.mark.parametrize("size", [3, 1 << 23])
@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("é,ü,1\n".encode(), "utf-8"),
        (b"a\xa0b,1\n", "latin-1"),
        (b"a\x80b,1\n", "cp1252"),
        (b"a\xe9b,1\nc\x80,2\n", "cp1252"),
        (b"a\x80b,1\nc\x81,2\n", "latin-1"),
        (b"a\x9fb,1\n", "cp1252"),
        (b"a\x9f\x81,1\n", "latin-1"),
        (b"\xc3\xa9,\xff,\xff,1\n", "latin-1"),
    ],
)
def test_encodings_are_told_by_all_bytes_of_a_file(
    data: bytes, encoding: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "BLOCK_SIZE", size)
    assert laid_out(data).encoding == encoding


def texts(alphabet: tuple[bytes, ...], size: int) -> Iterator[bytes]:
    """All texts of up to `size` of these signs."""
    return (b"".join(signs) for n in range(size + 1) for signs in product(alphabet, repeat=n))


def test_lines_with_something_in_them_are_counted() -> None:
    for block in texts((b"X", b" ", b"\n", b"\r\n"), 5):
        lines = block.replace(b"\r\n", b"\n").split(b"\n")
        assert text_file._count_lines(block) == len([line for line in lines if line]), block


def test_quotes_that_may_be_in_a_wrong_place() -> None:
    stray = re.compile(
        rb'(?:^|(?<=[,\r\n]))(?:"")+(?=[^",\r\n])|(?<=[^",\r\n])"(?:"")*(?=[^",\r\n])'
    )
    for block in texts((b"X", b",", b'"', b"\n", b"\r\n"), 6):
        if b'"' in block:
            open_line = any(line.count(b'"') % 2 for line in block.split(b"\n"))
            expected = open_line or stray.search(block) is not None
            assert text_file._has_stray_quote(block, b",", b'"') == expected, block
