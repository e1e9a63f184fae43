"""Files of text with a table in them: how they are laid out, and their columns as text."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np
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
HEAD_SIZE = 1 << 18  # bytes by which the layout is recognized, more where lines are long
MAX_HEAD_SIZE = 1 << 25
BLOCK_SIZE = 1 << 23
COMMENT = ("#", "%")
NAME = re.compile(r"user|item|rating|score|movie|title|time|date|product|book|id$", re.IGNORECASE)
UTF8 = re.compile(  # letters of several bytes
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
UNUSED = b"\x81\x8d\x8f\x90\x9d"  # by cp1252, Windows' Latin-1 with letters for control characters
ESCAPED = re.compile(rb'(?<!\\)((?:\\\\)*)\\"')
PADDING = r"[^\S\x1c-\x1f]*"  # that float() takes around a number
NUMBER = re.compile(rf"{PADDING}[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?{PADDING}")

Open = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out.

    Attributes:
        encoding: as Python calls it.
        newline: the end of a line; "\\n" for "\\r\\n" as well.
        delimiter: between the fields of a line.
        quote: around fields that hold delimiters or line ends; None where there is no such sign.
        escaped: whether quotes within quotes have a backslash before them.
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
    escaped: bool
    n_skipped: int
    padded: bool
    names: list[str]
    sample: list[list[str]] = field(repr=False)
    notes: list[str] = field(repr=False)


class UnreadableError(Exception):
    """A line that is no row of the table.

    Attributes:
        line: its number from 1; 0 if it is not known.
        unit: what is numbered.
    """

    def __init__(self, line: int, problem: str, unit: str = "line") -> None:
        super().__init__(problem)
        self.line, self.unit = line, unit


def recognize(open_file: Open, stated: TextLayout) -> Layout:
    """The layout of a file, by its beginning; what `stated` says is taken as it is.

    Raises:
        UnreadableError: the file is empty, or is not text.
    """
    head, is_whole = _read_head(open_file)
    if head.startswith(b"%%MatrixMarket"):
        raise UnreadableError(
            0, "is in the Matrix Market format. Make rows of user, item and rating of it"
        )
    encoding = stated.encoding if stated.encoding != AUTO else _encoding(open_file, head)
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    if not text.strip():
        raise UnreadableError(0, "is empty. Expected a first line with column names, then rows")
    newline = "\r" if "\r" in text and "\n" not in text else "\n"
    lines = [line.rstrip("\r").replace("\r", " ") for line in text.split(newline)]
    if not is_whole:
        del lines[-1]  # which may go on
        if not lines:
            size = f"{len(head) >> 20} MB"
            raise UnreadableError(1, f"has more than {size}. Expected a row in each line")
    n_skipped, separator = _count_preamble(lines)
    escaped = _has_escapes(lines[n_skipped:], stated, separator)
    if escaped:
        lines = [ESCAPED.sub(rb'\1""', line.encode()).decode() for line in lines]
    rows = lines[n_skipped:]
    delimiter, quote = _find_delimiter(rows, stated, separator)
    fields = _split(rows, delimiter, quote)
    header = stated.header
    if header == AUTO:
        header = bool(fields) and is_header(fields[0], fields[1:])
    comment = _first_row_in_comments(lines[:n_skipped], fields, delimiter, quote)
    if comment is not None and not header:
        n_skipped, rows = comment, lines[comment:]
        fields = _split(rows, delimiter, quote)
    names: list[str] = []
    if n_skipped and lines[n_skipped - 1].startswith(COMMENT) and stated.header is not False:
        for hidden in _split([lines[n_skipped - 1].lstrip("#% ")], delimiter, quote):
            if fields and len(hidden) == len(fields[0]) > 1 and is_header(hidden, fields):
                names = hidden
    if not names and fields and header:
        names = fields[0]
        one_more = {len(row) for row in fields[1:]} == {len(names) + 1}
        if one_more and any(row[-1] for row in fields[1:]):  # else these only end in a delimiter
            # R's write.table gives the names of rows none, and no two rows the same. One row alone
            # may as well have a field too many.
            row_names = {row[0] for row in fields[1:]}
            if len(row_names) == len(fields) - 1 > 1:
                names = ["", *names]
        n_skipped += _count_lines_of_first(lines[n_skipped:], delimiter, quote)
        rows, fields = lines[n_skipped:], fields[1:]
    padded = _is_padded(fields, delimiter)
    if padded:
        fields = _split(rows, delimiter, quote, padded)
        fields = [[value.strip() for value in row] for row in fields]
    quoted = quote is not None and any(quote in row for row in rows)
    notes = [
        f"text in {encoding}, fields separated by {DELIMITER_NAMES.get(delimiter, delimiter)}, "
        + (f"quoted by {quote}" if quoted else "without quotes")
        + (", which are escaped within" if escaped else "")
        + (", with spaces around them" if padded else ""),
        "the names of the columns are in the file" if names else "no names: columns are 1, 2, …",
    ]
    if comments := [line for line in lines[:n_skipped] if line.startswith(COMMENT)]:
        notes.append(f"left out before the table: {', '.join(comments)[:80]}")
    width = len(names) or (Counter(map(len, fields)).most_common(1)[0][0] if fields else 0)
    numbered = [str(n) for n in range(1, width + 1)]
    unnamed = [n if n not in names else f"column {n}" for n in numbered]
    names = [name.strip() or n for name, n in zip(names or numbered, unnamed, strict=True)]
    found = encoding, newline, delimiter, quote, escaped, n_skipped, padded, names, fields, notes
    return Layout(*found)


def _has_escapes(lines: Sequence[str], stated: TextLayout, separator: str | None) -> bool:
    """Whether quotes within quotes have a backslash before them, instead of another quote.

    That is so if all lines have as many fields then, and not otherwise.
    """
    if stated.escaped != AUTO:
        return bool(stated.escaped)
    some = [line for line in lines if '\\"' in line][:200]
    if stated.quote not in (AUTO, '"') or not some:
        return False
    some += [line for line in lines[:50] if line.strip() and line not in some]
    replaced = [ESCAPED.sub(rb'\1""', line.encode()).decode() for line in some]
    delimiter, quote = _find_delimiter(replaced, stated, separator)
    if quote is None or len(delimiter) > 1 or delimiter == BLANKS:
        return False
    return _is_regular(replaced, delimiter, quote) and not _is_regular(some, delimiter, quote)


def _is_regular(lines: Sequence[str], delimiter: str, quote: str) -> bool:
    """Whether all lines have as many fields, several, and no quote in a wrong place."""
    try:
        rows = csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)
        widths = {len(fields) for fields in rows}
    except csv.Error:
        return False
    return len(widths) == 1 and widths != {1}


def _read_head(open_file: Open) -> tuple[bytes, bool]:
    """The first bytes of a file, with some lines in them, and whether they are all."""
    with open_file() as file:
        head = more = file.read(HEAD_SIZE)
        while more and len(head) < MAX_HEAD_SIZE and max(map(head.count, (b"\r", b"\n"))) < 10:
            head += (more := file.read(len(head)))
        return head, not (more and file.read(1))


def is_number(text: str) -> bool:
    """Whether a text is a number, with a point or a comma before its decimals."""
    return NUMBER.fullmatch(text) is not None


def is_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the fields of the first line are names: none is a number, but fields below are.

    Names may also be 0, 1, 2, … as pandas numbers columns, after an empty one or not.
    """
    numbered = [str(n) for n in range(len(first))]
    if len(first) > 2 and list(first) in (numbered, ["", *numbered[:-1]]):
        return True
    if any(map(is_number, first)) or not any(first):
        return False
    numeric = any(is_number(value) for row in rows[:100] for value in row)
    return numeric or not rows or any(map(NAME.search, first))


def read(
    open_file: Open, layout: Layout, columns: Sequence[int], in_one_line: bool = False
) -> Iterator[list[pa.Array]]:
    """The columns at these positions as text, block by block; an empty field is an empty text.

    Every line with something in it becomes a row, or part of a quoted field that goes on over
    line ends.

    Raises:
        UnreadableError: a line with another number of fields, a stray quote, or `in_one_line` a
            field of these columns that goes on over line ends.
    """
    names = [str(position) for position in range(len(layout.names))]
    wanted = [names[position] for position in columns]
    parse = arrow_csv.ParseOptions(
        delimiter=_sign(layout.delimiter),
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
                yield [_clean(batch.column(name), layout) for name in wanted]
        except pa.ArrowInvalid as error:
            if stream.n_lines:  # a file without rows is an error to Arrow
                _check(open_file, layout, [])
                raise UnreadableError(0, f"cannot be read: {error}") from None
    if n_rows != stream.n_lines or stream.may_be_odd:
        n_expected = _check(open_file, layout, columns if in_one_line else [])
        if n_rows != n_expected:
            raise UnreadableError(0, f"cannot be read: {n_rows:,} rows of {n_expected:,} are found")


def _clean(values: pa.Array, layout: Layout) -> pa.Array:
    if layout.quote and _sign(layout.delimiter) != layout.delimiter:  # a delimiter in quotes
        values = pc.replace_substring(values, UNIT_SEPARATOR, layout.delimiter)
    return pc.utf8_trim(values, " \t") if layout.padded else values


def records(
    open_file: Open, layout: Layout, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its first line, from 1; slow, so for messages only.

    Raises:
        UnreadableError: with `strict`, a quote in a wrong place.
    """
    with open_file() as file:
        stream = io.BufferedReader(_Lines(file, layout))
        text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="\n")
        for row in _parse(text, layout.delimiter, layout.quote, strict, layout.n_skipped):
            values = row.fields
            if layout.quote and _sign(layout.delimiter) != layout.delimiter:
                values = [value.replace(UNIT_SEPARATOR, layout.delimiter) for value in values]
            yield row.first, values


def _check(open_file: Open, layout: Layout, in_one_line: Sequence[int]) -> int:
    """How many rows there are; fields of the columns `in_one_line` have no line ends.

    Raises:
        UnreadableError: about the first line that is no row.
    """
    try:
        return _count_rows(records(open_file, layout, strict=True), layout, in_one_line)
    except UnreadableError:
        _count_rows(records(open_file, layout), layout, in_one_line)  # may know more about it
        raise


def _count_rows(
    rows: Iterable[tuple[int, list[str]]], layout: Layout, in_one_line: Sequence[int]
) -> int:
    width, n_rows = len(layout.names), 0
    sample = [row for row in layout.sample if len(row) == width]
    n_numbers = [sum(is_number(row[at]) for row in sample) for at in range(width)]
    numeric = [bool(sample) and n > 0.9 * len(sample) for n in n_numbers]
    for line, fields in rows:
        for at, value in enumerate(fields):
            if len(pieces := re.split(r"\r\n|\n|\r", value)) > 1 and layout.quote:
                parts = [piece.split(layout.delimiter) for piece in pieces]
                ends_row = len(parts[0]) == width - at and _fits(parts[0], numeric[at:])
                if ends_row or any(_fits(part[:-1], numeric) for part in parts[1:]):
                    raise UnreadableError(
                        line,
                        f"a field opens with {layout.quote} and goes on over lines that look like "
                        "rows",
                    )
                if at in in_one_line:
                    raise UnreadableError(line, f"column {layout.names[at]} has a line end in it")
        if len(fields) != width:
            raise UnreadableError(
                line, f"expected {width} fields as in other lines, got {len(fields)}"
            )
        n_rows += 1
    return n_rows


def _fits(fields: Sequence[str], numeric: Sequence[bool]) -> bool:
    """Whether there are numbers, and wherever a row has them."""
    expected = [value for value, is_numeric in zip(fields, numeric, strict=False) if is_numeric]
    return bool(expected) and all(map(is_number, expected))


class _Lines(io.RawIOBase):
    """The rows of a file in UTF-8, with a delimiter of one character.

    Attributes:
        n_lines: of those read so far, how many have something in them.
        may_be_odd: whether one of these may have a quote or a carriage return in a wrong place.
    """

    def __init__(self, file: BinaryIO, layout: Layout) -> None:
        self._blocks = self._translate(file, layout)
        self._rest = memoryview(b"")
        self._quote = (layout.quote or "").encode()
        self._sign = _sign(layout.delimiter).encode()
        self.n_lines = 0
        self.may_be_odd = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something: Arrow loses rows behind a block of \\n."""
        n = 0
        while n < len(buffer) and (self._rest or self._read_block()):
            part = self._rest[: len(buffer) - n]
            buffer[n : n + len(part)] = part
            n, self._rest = n + len(part), self._rest[len(part) :]
        return n

    def _read_block(self) -> bool:
        """Read the next block that has something in it, if there is one."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return False
            self.n_lines += _count_lines(block)
            if self._quote and self._quote in block:
                self.may_be_odd |= _has_stray_quote(block, self._sign, self._quote)
            if n_returns := block.count(b"\r"):
                self.may_be_odd |= n_returns != block.count(b"\r\n")
            self._rest = memoryview(block)
        return True

    @staticmethod
    def _translate(file: BinaryIO, layout: Layout) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(layout.encoding)()
        to_skip, tail, at_start, is_last = layout.n_skipped, b"", True, False
        while not is_last:
            block = file.read(BLOCK_SIZE)
            is_last = not block
            if layout.encoding != "utf-8":
                block = decoder.decode(block, final=is_last).encode()
            block = tail + block
            if at_start and block:
                block, at_start = block.removeprefix(codecs.BOM_UTF8), False
            if layout.newline == "\r":
                block = block.replace(b"\r", b"\n")
            end = len(block) if is_last else block.rfind(b"\n") + 1
            block, tail = block[:end], block[end:]
            while to_skip and block:
                block, to_skip = block[block.find(b"\n") + 1 or len(block) :], to_skip - 1
            if _sign(layout.delimiter) != layout.delimiter and UNIT_SEPARATOR.encode() in block:
                raise UnreadableError(0, "cannot be read: it has the control character U+001F")
            if layout.escaped:
                block = ESCAPED.sub(rb'\1""', block)
            block = _with_one_delimiter(block, layout.delimiter, layout.quote, layout.padded)
            # Arrow would leave out what looks like a byte-order mark, though it is part of an id
            yield b"\n" * block.startswith(codecs.BOM_UTF8) + block


def _sign(delimiter: str) -> str:
    """The delimiter, or the sign that stands for it."""
    simple = len(delimiter) == 1 and delimiter.isascii() and delimiter != BLANKS
    return delimiter if simple else UNIT_SEPARATOR


def _with_one_delimiter(
    block: bytes, delimiter: str, quote: str | None = None, padded: bool = False
) -> bytes:
    """The lines with a delimiter of one character, and no spaces before quotes if `padded`."""
    sign = _sign(delimiter).encode()
    if delimiter == BLANKS:
        block = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", block)
        return re.sub(rb"[ \t]+", sign, block)
    if sign != delimiter.encode():
        block = block.replace(delimiter.encode(), sign)
    if padded and quote and quote.encode() in block:
        q, d = re.escape(quote.encode()), re.escape(sign)
        opening = rb"(?m)(?:^|(?<=%b))[ \t]+(?=%b(?!%b)|%b%b[ \t]*(?:%b|\r?$))"
        block = re.sub(opening % (d, q, q, q, q, d), b"", block)
        block = re.sub(rb"(?m)(?<!%b)(%b)[ \t]+(?=%b|\r?$)" % (q, q, d), rb"\1", block)
    return block


def _has_stray_quote(block: bytes, sign: bytes, quote: bytes) -> bool:
    """Whether there is an odd number in a line, or a field in quotes, if it is one, goes on."""
    signs = np.frombuffer(b"\n" + block + b"\n", np.uint8)
    between = np.zeros(256, bool)
    between[[*sign, *b"\r\n"]] = True
    at = np.flatnonzero(signs == quote[0])
    if (np.searchsorted(at, np.flatnonzero(signs == ord("\n"))) % 2).any():
        return True
    is_first = np.diff(at, prepend=-1) > 1
    is_last = np.roll(is_first, -1)
    first, last = at[is_first], at[is_last]
    in_pairs = (last - first) % 2 == 1
    opens = between[signs[first - 1]]
    return bool(((opens == in_pairs) & ~between[signs[last + 1]]).any())


def _count_lines(block: bytes) -> int:
    """How many lines have something in them."""
    n_blank = 0
    if block.startswith((b"\n", b"\r\n")) or b"\n\n" in block or b"\n\r\n" in block:
        n_blank = sum(not line.strip(b"\r") for line in block.split(b"\n")[:-1])
    return block.count(b"\n") - n_blank + bool(block) * (not block.endswith(b"\n"))


def _encoding(open_file: Open, head: bytes) -> str:
    """The encoding, as Python calls it.

    Raises:
        UnreadableError: this is not text, or it is UTF-8 with some damage.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[257:262] == b"ustar":
        raise UnreadableError(0, "is a tar archive. Unpack it, and give the file")
    decoder = codecs.getincrementaldecoder("utf-8")()
    n_lines = 0
    try:
        with open_file() as file:
            while block := file.read(BLOCK_SIZE):
                decoder.decode(block)
                n_lines += block.count(b"\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        if b"\0" in head:
            raise UnreadableError(0, "is not text, nor a Parquet file") from None
        n_utf8, n_other, signs = _count_other_than_ascii(open_file)
        if n_utf8 > n_other / 2:
            line = n_lines + error.object[: error.start].count(b"\n") + 1
            raise UnreadableError(
                line,
                "is not UTF-8, as other lines are. State ingest.layout.encoding if it is another",
            ) from None
        controls = any(sign < 0xA0 for sign in signs)
        return "cp1252" if controls and not signs.intersection(UNUSED) else "latin-1"
    return "utf-8"


def _count_other_than_ascii(open_file: Open) -> tuple[int, int, set[int]]:
    """The bytes of letters in UTF-8 and of all letters that are not ASCII, and which they are."""
    n_utf8, n_other, signs = 0, 0, set[int]()
    with open_file() as file:
        while block := file.read(BLOCK_SIZE):
            other = block.translate(None, bytes(range(0x80)))
            n_utf8 += sum(map(len, UTF8.findall(block)))
            n_other += len(other)
            signs.update(other)
    return n_utf8, n_other, signs


def _count_preamble(lines: Sequence[str]) -> tuple[int, str | None]:
    """How many lines are before the table, and the delimiter that a line sep=; names."""
    separator = None
    for count, line in enumerate(lines):
        if found := re.fullmatch(r"sep=(.|\s|::)", line.strip("\ufeff\"' \r"), re.IGNORECASE):
            separator = found[1]
        elif line.strip() and not line.startswith(COMMENT):
            return count, separator
    return 0, None  # nothing but such lines: they are the table


def _first_row_in_comments(
    before: Sequence[str], fields: Sequence[Sequence[str]], delimiter: str, quote: str | None
) -> int | None:
    """The first line before the table that is a row, though it begins like a comment."""
    width = Counter(map(len, fields)).most_common(1)[0][0] if fields else 0
    rows = [row for row in fields[1:] or fields if len(row) == width]
    numeric = [all(is_number(row[at]) for row in rows) for at in range(width)]
    for at, line in enumerate(before):
        if line.startswith(COMMENT):
            row = _split([line], delimiter, quote)[0]
            alike = (is_number(v) for v, known in zip(row, numeric, strict=False) if known)
            if len(row) == width > 1 and any(alike):
                return at
    return None


def _find_delimiter(
    rows: Sequence[str], stated: TextLayout, separator: str | None
) -> tuple[str, str | None]:
    """The delimiter and the quote with which most lines have as many fields as the first."""
    quotes = ['"', None] if stated.quote == AUTO else [stated.quote]
    if stated.delimiter != AUTO:
        separator = stated.delimiter
    sample = [row for row in rows[:400] if row.strip() and len(row) < 100_000]
    best, found = (False, 0.0, 0), (separator or ",", quotes[0])
    for delimiter in (separator,) if separator else DELIMITERS:
        if delimiter == BLANKS and best >= (True, 1.0, 3):
            break  # blanks are in the text, then
        choices = []
        for quote in _quotes_by_rank(sample, delimiter, quotes):
            widths = [len(fields) for fields in _split(sample, delimiter, quote)]
            common, count = Counter(widths).most_common(1)[0] if widths else (0, 0)
            choices.append((count / max(1, len(widths)), common, quote, widths[:1] != [1]))
        share, common, quote, in_first = max(choices, key=lambda choice: choice[0])  # or the first
        if delimiter == BLANKS and share < 1 and best[1] > 0.9:
            continue  # words in a column
        # What a header lacks is in the text, however many a row has.
        rank = in_first and share > 0.9, round(share, 1), common
        if common > 1 and rank > best:
            best, found = rank, (delimiter, quote)
        if delimiter in SELDOM_IN_TEXT and best >= (True, 0.91, 0):
            break
    return found


def _quotes_by_rank(
    sample: Sequence[str], delimiter: str, quotes: list[str | None]
) -> list[str | None]:
    """The quotes that may be, the first of two that fit alike."""
    if len(quotes) == 1 or delimiter in (",", ";", "\t"):
        return quotes
    if delimiter == BLANKS:
        return [None]
    signs = rf"(^|{re.escape(delimiter)})\"", rf"\"($|{re.escape(delimiter)})"
    opening, closing = (sum(len(re.findall(sign, row)) for row in sample) for sign in signs)
    return quotes if opening == closing > 0 else quotes[::-1]


class _Row(NamedTuple):
    first: int  # its lines, from 1
    last: int
    fields: list[str]


def _parse(
    lines: Iterable[str],
    delimiter: str,
    quote: str | None,
    strict: bool = False,
    n_before: int = 0,
) -> Iterator[_Row]:
    """The rows in these lines, which have a delimiter of one character; empty lines are none."""
    how: dict[str, Any] = {"quoting": csv.QUOTE_NONE}
    if quote:
        how = {"quotechar": quote, "strict": strict}
    reader = csv.reader(lines, delimiter=_sign(delimiter), **how)
    first = n_before + 1
    try:
        for fields in reader:
            if fields:
                yield _Row(first, n_before + reader.line_num, fields)
            first = n_before + reader.line_num + 1
    except csv.Error as error:
        known = {
            "expected after": f"something follows a field that ends with {quote}",
            "unexpected end": f"a field opens with {quote} and does not end",
            "new-line": "there is a carriage return inside the line",
        }
        problem = next((text for part, text in known.items() if part in str(error)), str(error))
        raise UnreadableError(first, problem) from None


def _split(
    lines: Sequence[str], delimiter: str, quote: str | None, padded: bool = False
) -> list[list[str]]:
    """The fields of each row in these lines."""
    block = "\n".join(lines).encode()
    text = _with_one_delimiter(block, delimiter, quote, padded).decode()
    rows = [row.fields for row in _parse(text.split("\n"), delimiter, quote)]
    rows = [row for row in rows if row[1:] or row[0].strip()]
    if quote and _sign(delimiter) != delimiter:
        return [[v.replace(UNIT_SEPARATOR, delimiter) for v in row] for row in rows]
    return rows


def _count_lines_of_first(lines: Sequence[str], delimiter: str, quote: str | None) -> int:
    """How many lines there are until the first row has ended."""
    block = "\n".join(line if line.strip() else "" for line in lines).encode()
    text = _with_one_delimiter(block, delimiter).decode()
    return next(_parse(text.split("\n"), delimiter, quote)).last


def _is_padded(rows: Sequence[Sequence[str]], delimiter: str) -> bool:
    """Whether each delimiter in each row has a space beside it, but for empty fields."""
    if delimiter == BLANKS or not rows:
        return False

    def has_spaces(row: Sequence[str]) -> bool:
        beside = [left[-1:] + right[:1] for left, right in pairwise(row) if left and right]
        return bool(beside) and all(" " in signs or "\t" in signs for signs in beside)

    return all(map(has_spaces, rows))
