"""How files of text are laid out, and their rows, out of memory."""

import codecs
from dataclasses import replace
from io import BytesIO
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
        ("#a,1\nb,y,2\n", ["1", "2", "3"], [("b", "y", "2")]),
        ("#a,x,z\nb,y,2\n", ["a", "x", "z"], [("b", "y", "2")]),
        ("# no 1\n#a,x,1\nb,y,2\n", ["1", "2", "3"], [("#a", "x", "1"), ("b", "y", "2")]),
        ("u,,r\na,b,1\n", ["u", "2", "r"], [("a", "b", "1")]),
        ("u,,2\na,b,1\n", ["1", "2", "3"], [("u", "", "2"), ("a", "b", "1")]),
        ("2,,user\n", ["1", "2", "3"], [("2", "", "user")]),
        ("user, ,2x\na,b,1\n", ["user", "2", "2x"], [("a", "b", "1")]),
        ("user,,3\n", ["1", "2", "3"], [("user", "", "3")]),
        (",0,1\n0,a,b\n1,c,d\n", ["column 1", "0", "1"], [("0", "a", "b"), ("1", "c", "d")]),
        ('"u","i\nj",r\na,b,1\n', ["u", "ij", "r"], [("a", "b", "1")]),
        ("0,1,2\na,b,1\n", ["0", "1", "2"], [("a", "b", "1")]),
        ("u i\nr1 a 1\nr2 b 2\n", ["1", "u", "i"], [("r1", "a", "1"), ("r2", "b", "2")]),
    ],
)
def test_names_are_those_of_the_file_or_numbers(
    content: str, names: list[str], rows: list[tuple[str, ...]]
) -> None:
    assert laid_out(content).names == names
    assert rows_of(content) == rows


def test_a_header_may_be_stated() -> None:
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
    ],
)
def test_the_delimiter_is_the_one_with_which_lines_are_alike(
    content: str, delimiter: str, quote: str | None
) -> None:
    layout = laid_out(content, header=False)
    assert (layout.delimiter, layout.quote) == (delimiter, quote)


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


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 0, "is empty. Expected a first line with column names, then rows"),
        ("\n \r\n", 0, "is empty. Expected a first line with column names, then rows"),
        (
            "%%MatrixMarket\n1 2 3\n",
            *(0, "is in the Matrix Market format. Make rows of user, item and rating of it"),
        ),
        (b"\0" * 257 + b"ustar", 0, "is a tar archive. Unpack it, and give the file"),
        (b"a,\xff\0\n", 0, "is not text, nor a Parquet file"),
        (
            "u,i\né,1\nü,2\n".encode() + b"\xc3,3\n",
            *(4, "is not UTF-8, as other lines are. State ingest.layout.encoding if it is another"),
        ),
        ("a,b\nc,d,e\n", 2, "expected 2 fields as in other lines, got 3"),
        ("a,b\n\nc\n", 3, "expected 2 fields as in other lines, got 1"),
        ('a,b\n"c"d,e\n', 2, 'something follows a field that ends with "'),
        ("a,b\nc\rd,e\n", 2, "there is a carriage return inside the line"),
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
