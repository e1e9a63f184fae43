"""Files of text with a table in them: how they are laid out, and their columns as text."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from cf.core.config import AUTO, TextLayout

csv.field_size_limit(1 << 30)

BLANKS = " "  # as a delimiter: any run of spaces and tabs
DELIMITERS = ("::", "\t", ";", "|", ",", BLANKS)  # the first of two that fit alike
SELDOM_IN_TEXT = ("::", "\t")  # so they delimit, however many others there are
DELIMITER_NAMES = {"\t": "tabs", BLANKS: "blanks", ",": "commas", ";": "semicolons"}
UNIT_SEPARATOR = "\x1f"  # stands for a delimiter of several characters
HEAD_SIZE = 1 << 18  # bytes by which the layout is recognized
BLOCK_SIZE = 1 << 23
COMMENT = ("#", "%")
NAME = re.compile(r"user|item|rating|score|movie|title|time|date|product|book|id$", re.IGNORECASE)
NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*")

Open = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out.

    Attributes:
        encoding: as Python calls it.
        newline: the end of a line; "\\n" for "\\r\\n" as well.
        delimiter: between the fields of a line.
        quote: around fields that hold delimiters or line ends; None where there is no such sign.
        n_skipped: lines before the first row.
        padded: whether spaces around fields are no part of them.
        names: of the columns; "1", "2", … where the file has none.
        sample: the first rows.
        notes: what was recognized, for people.
    """

    encoding: str
    newline: str
    delimiter: str
    quote: str | None
    n_skipped: int
    padded: bool
    names: list[str]
    sample: list[list[str]] = field(repr=False)
    notes: list[str] = field(repr=False)


class UnreadableError(Exception):
    """A line that is no row of the table.

    Attributes:
        line: its number from 1; 0 if it is not known.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def recognize(open_file: Open, stated: TextLayout) -> Layout:
    """The layout of a file, by its beginning; what `stated` says is taken as it is.

    Raises:
        UnreadableError: the file is empty, or is not text.
    """
    with open_file() as file:
        head = file.read(HEAD_SIZE)
    if not head.strip():
        raise UnreadableError(0, "is empty. Expected a first line with column names, then rows")
    encoding = stated.encoding if stated.encoding != AUTO else _encoding(open_file, head)
    lines = re.split(r"\r\n|\n|\r", head.decode(encoding, errors="replace").lstrip("\ufeff"))
    if len(head) == HEAD_SIZE and len(lines) > 1:
        del lines[-1]  # which may go on
    n_skipped, separator = _count_preamble(lines)
    rows = [line for line in lines[n_skipped:] if line.strip()]
    delimiter, quote = _find_delimiter(rows, stated, separator)
    fields = _split(rows, delimiter, quote)
    names: list[str] = []
    if n_skipped and lines[n_skipped - 1].startswith(COMMENT):  # which may have the names
        hidden = _split([lines[n_skipped - 1].lstrip("#% ")], delimiter, quote)[0]
        if len(hidden) == len(fields[0]) > 1 and is_header(hidden, fields):
            names = hidden
    if not names and fields:
        header = is_header(fields[0], fields[1:]) if stated.header == AUTO else stated.header
        if header:
            names = fields.pop(0)
            n_skipped = lines.index(rows[0], n_skipped) + 1
    padded = _is_padded(fields, delimiter)
    if padded:
        fields = [[value.strip() for value in row] for row in fields]
    quoted = quote is not None and any(quote in row for row in rows)
    notes = [
        f"text in {encoding}, fields separated by {DELIMITER_NAMES.get(delimiter, delimiter)}, "
        + (f"quoted by {quote}" if quoted else "without quotes")
        + (", with spaces around them" if padded else ""),
        "the names of the columns are in the file" if names else "no names: columns are 1, 2, …",
    ]
    width = len(names) or (Counter(map(len, fields)).most_common(1)[0][0] if fields else 0)
    names = [name.strip() for name in names] or [str(n) for n in range(1, width + 1)]
    newline = "\r" if b"\r" in head and b"\n" not in head else "\n"
    return Layout(encoding, newline, delimiter, quote, n_skipped, padded, names, fields, notes)


def is_number(text: str) -> bool:
    """Whether a text is a number, with a point or a comma before its decimals."""
    return NUMBER.fullmatch(text) is not None


def is_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the fields of the first line are names: none is a number, but fields below are."""
    if any(map(is_number, first)) or not any(first):
        return False
    numeric = any(is_number(value) for row in rows[:100] for value in row)
    return numeric or not rows or any(map(NAME.search, first))


def read(open_file: Open, layout: Layout, columns: Sequence[int]) -> Iterator[list[pa.Array]]:
    """The columns at these positions as text, block by block; an empty field is an empty text.

    Every line with something in it becomes a row, or part of a quoted field that goes on over
    line ends.

    Raises:
        UnreadableError: a line with another number of fields, or a stray quote.
    """
    names = [str(position) for position in range(len(layout.names))]
    wanted = [names[position] for position in columns]
    simple = len(layout.delimiter) == 1 and layout.delimiter != BLANKS
    parse = arrow_csv.ParseOptions(
        delimiter=layout.delimiter if simple else UNIT_SEPARATOR,
        quote_char=layout.quote or False,
        newlines_in_values=layout.quote is not None,
    )
    convert = arrow_csv.ConvertOptions(
        include_columns=list(dict.fromkeys(wanted)),
        column_types=dict.fromkeys(wanted, pa.string()),
        null_values=[],
    )
    options = arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_SIZE, column_names=names)
    n_rows = 0
    with open_file() as file:
        stream = _Lines(file, layout)
        try:
            for batch in arrow_csv.open_csv(stream, options, parse, convert):
                n_rows += batch.num_rows
                arrays = [batch.column(name) for name in wanted]
                yield [pc.utf8_trim(a, " \t") for a in arrays] if layout.padded else arrays
        except pa.ArrowInvalid as error:
            if stream.n_lines:  # a file without rows is an error to Arrow
                _raise_unreadable(open_file, layout)
                raise UnreadableError(0, f"cannot be read: {error}") from None
    if n_rows != stream.n_lines:
        _raise_unreadable(open_file, layout)


def records(open_file: Open, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its first line, from 1; slow, so for messages only."""
    with open_file() as file:
        text = io.TextIOWrapper(file, layout.encoding, errors="replace", newline=layout.newline)
        lines = enumerate(text, start=1)
        for number, line in lines:
            if number <= layout.n_skipped or not line.strip("\r\n"):
                continue
            if layout.quote:
                while line.count(layout.quote) % 2 and (more := next(lines, None)):
                    line += more[1]
            try:
                yield number, _split([line.rstrip("\r\n")], layout.delimiter, layout.quote)[0]
            except csv.Error as error:
                raise UnreadableError(number, str(error)) from None


def _raise_unreadable(open_file: Open, layout: Layout) -> None:
    """Raise about the first line that is no row; do nothing if there is none."""
    width, numeric = len(layout.names), [is_number(value) for value in layout.sample[0]]
    for line, fields in records(open_file, layout):
        for value in fields:
            for inner in re.split(r"\r\n|\n|\r", value)[1:]:
                begun = inner.split(layout.delimiter)[:-1]
                if any(numeric[: len(begun)]) and numeric[: len(begun)] == [*map(is_number, begun)]:
                    raise UnreadableError(
                        line,
                        f"a field opens with {layout.quote} and goes on over lines that look like "
                        "rows",
                    )
        if len(fields) != width:
            raise UnreadableError(
                line, f"expected {width} fields as in other lines, got {len(fields)}"
            )


class _Lines(io.RawIOBase):
    """The rows of a file in UTF-8, with a delimiter of one character.

    Attributes:
        n_lines: of those read so far, how many have something in them.
    """

    def __init__(self, file: BinaryIO, layout: Layout) -> None:
        self._blocks = self._translate(file, layout)
        self._rest = memoryview(b"")
        self.n_lines = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self.n_lines += _count_lines(block)
            self._rest = memoryview(block)
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n

    @staticmethod
    def _translate(file: BinaryIO, layout: Layout) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(layout.encoding)()
        to_skip, tail = layout.n_skipped, b""
        while block := file.read(BLOCK_SIZE):
            if layout.encoding != "utf-8":
                block = decoder.decode(block).encode()
            if layout.newline == "\r":
                block = block.replace(b"\r", b"\n")
            block = tail + block
            end = block.rfind(b"\n") + 1
            block, tail = block[:end], block[end:]
            while to_skip and block:
                block, to_skip = block[block.index(b"\n") + 1 :], to_skip - 1
            yield _with_one_delimiter(block.removeprefix(codecs.BOM_UTF8), layout.delimiter)
        if not to_skip:
            yield _with_one_delimiter(tail.removeprefix(codecs.BOM_UTF8), layout.delimiter)


def _with_one_delimiter(block: bytes, delimiter: str) -> bytes:
    if delimiter == BLANKS:
        block = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", block)
        return re.sub(rb"[ \t]+", UNIT_SEPARATOR.encode(), block)
    return block.replace(delimiter.encode(), UNIT_SEPARATOR.encode()) if delimiter[1:] else block


def _count_lines(block: bytes) -> int:
    """How many lines have something in them."""
    n_blank = 0
    if block.startswith((b"\n", b"\r\n")) or b"\n\n" in block or b"\n\r\n" in block:
        n_blank = sum(not line.strip(b"\r") for line in block.split(b"\n")[:-1])
    return block.count(b"\n") - n_blank + bool(block) * (not block.endswith(b"\n"))


def _encoding(open_file: Open, head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open_file() as file:
            while block := file.read(BLOCK_SIZE):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        if b"\0" in head:
            raise UnreadableError(0, "is not text, nor a Parquet file") from None
        return "latin-1"
    return "utf-8"


def _count_preamble(lines: Sequence[str]) -> tuple[int, str | None]:
    """How many lines are before the table, and the delimiter that a line sep=; names."""
    count, separator = 0, None
    for line in lines:
        if found := re.fullmatch(r"sep=(.+)", line.strip("\ufeff\"' "), re.IGNORECASE):
            separator = found[1]
        elif line.strip() and not line.startswith(COMMENT):
            break
        count += 1
    return count, separator


def _find_delimiter(
    rows: Sequence[str], stated: TextLayout, separator: str | None
) -> tuple[str, str | None]:
    """The delimiter and the quote with which most lines have as many fields as the first."""
    quotes = ['"', None] if stated.quote == AUTO else [stated.quote]
    if stated.delimiter != AUTO:
        separator = stated.delimiter
    sample = [row for row in rows[:200] if len(row) < 100_000]
    best, found = (0.0, 0), (separator or ",", quotes[0])
    for delimiter in (separator,) if separator else DELIMITERS:
        choices = []
        usual = delimiter in (",", ";", "\t") or len(quotes) == 1
        seen = any('"' in row for row in sample)
        for quote in quotes if usual or seen else [None]:
            widths = [len(fields) for fields in _split(sample, delimiter, quote)]
            common, count = Counter(widths).most_common(1)[0] if widths else (0, 0)
            choices.append((count / max(1, len(widths)), common, quote))
        share, common, quote = max(choices, key=lambda choice: choice[0])  # of two, the first
        if delimiter == BLANKS and share < 1 and best[0] > 0.9:
            continue  # words in a column
        if common > 1 and (round(share, 1), common) > best:
            best, found = (round(share, 1), common), (delimiter, quote)
        if delimiter in SELDOM_IN_TEXT and best[0] > 0.9:
            break
    return found


def _split(lines: Sequence[str], delimiter: str, quote: str | None) -> list[list[str]]:
    if delimiter == BLANKS:
        return [line.split() for line in lines]
    if len(delimiter) > 1:
        lines, delimiter = (
            [line.replace(delimiter, UNIT_SEPARATOR) for line in lines],
            UNIT_SEPARATOR,
        )
    if quote is None:
        return [line.split(delimiter) for line in lines]
    return list(csv.reader(lines, delimiter=delimiter, quotechar=quote))


def _is_padded(rows: Sequence[Sequence[str]], delimiter: str) -> bool:
    """Whether in each row a field begins or ends with a space."""
    if delimiter == BLANKS or not rows:
        return False
    return all(any(value != value.strip() for value in row) for row in rows)
