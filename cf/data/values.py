"""Columns of ids, ratings and times, put together from blocks as they are read."""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from cf.core.config import AUTO

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units of times, and how many of each are a second."""
LATEST_S = 4_102_444_800  # 2100-01-01
EARLIEST_DATE_S = -2_208_988_800  # 1900-01-01
EARLIEST_S = 100_000_000  # 1973, for finer units: fewer could as well be seconds
N_WAITING = 1 << 22  # texts that are given codes at a time
DATE_NUMBERS = {"%Y%m%d": (19e6, 2101e4), "%Y%m%d%H%M%S": (19e12, 2101e10)}
"""How dates are written as numbers, and between which."""


class WrongValueError(Exception):
    """A value that cannot be used.

    Attributes:
        row: its number in the block, from 0.
    """

    def __init__(self, row: int, expected: str) -> None:
        super().__init__(expected)
        self.row = row


class GrowingArray:
    """Numbers put together from blocks, without a moment in which they are there twice."""

    def __init__(self, dtype: str) -> None:
        self.values, self.n = np.empty(0, dtype), 0

    def append(self, block: pa.Array) -> None:
        """Take a block of numbers of this type, none missing."""
        end = self.n + len(block)
        if end > len(self.values):  # memory that is not yet written to takes no room
            self.values.resize(max(1 << 20, end + end // 2), refcheck=False)
        self.values[self.n : end] = block.to_numpy(zero_copy_only=False)
        self.n = end

    def take(self) -> NDArray[Any]:
        """All of them, after which there is none."""
        self.values.resize(self.n, refcheck=False)
        taken, self.values, self.n = self.values, np.empty(0, self.values.dtype), 0
        return taken


class Ids:
    """Ids as the file has them, to the character.

    They are int64 where all are whole numbers without leading zeros or signs, or all are written
    as floats of such (13.0); else text, as a categorical. Numbers are freed of stated signs between
    thousands.
    """

    def __init__(self, thousands: str | None = None) -> None:
        self.thousands = thousands
        self.kind = ""  # of all so far: "int", "float" or "text"; no block yet
        self.numbers = GrowingArray("int64")
        self.codes = GrowingArray("int32")
        self.names = pa.array([], pa.string())
        self.waiting: list[pa.Array] = []  # texts that have no code yet

    def add(self, values: pa.Array) -> None:
        """Take a block; WrongValueError is raised where one is missing or cannot be an id."""
        values = plain(values, "text or numbers", refused=(types.is_time, types.is_duration))
        kind = "text"
        if types.is_floating(values.type):
            values = values.cast(pa.float64())
            whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**53))
            numbers = pc.if_else(whole, values, 0).cast(pa.int64())
            if pc.all(whole).as_py():
                kind, values = "int", numbers
            else:
                values = pc.if_else(whole, numbers.cast(pa.string()), values.cast(pa.string()))
        elif types.is_integer(values.type):
            with suppress(pa.ArrowInvalid):  # larger than int64
                kind, values = "int", values.cast(pa.int64())
        elif types.is_string(values.type):
            if self.thousands not in (None, AUTO):
                values = without_thousands(values, self.thousands)
            kind, values = as_numbers(values)
            refuse_objects(values)
        if self.kind not in ("", kind):
            self._as_text()
        self.kind = self.kind or kind
        if self.kind == "text":
            self._add_text(as_text(values, kind))
        else:
            self.numbers.append(values)

    def _as_text(self) -> None:
        """Keep the blocks so far, and all further ones, as text."""
        numbers = self.numbers.take()
        for start in range(0, len(numbers), N_WAITING):
            self._add_text(as_text(pa.array(numbers[start : start + N_WAITING]), self.kind))
        self.kind = "text"

    def _add_text(self, values: pa.Array) -> None:
        self.waiting.append(values.dictionary_encode())
        if sum(map(len, self.waiting)) >= N_WAITING:
            self._give_codes()

    def _give_codes(self) -> None:
        """Number the texts that wait, as they first appear."""
        chunks = pa.chunked_array(self.waiting, pa.dictionary(pa.int32(), pa.string()))
        chunks = chunks.unify_dictionaries().chunks
        self.waiting = []
        if chunks:
            names = chunks[0].dictionary
            known = pc.index_in(names, self.names)
            is_new = known.is_null()
            codes = known.to_numpy(zero_copy_only=False, writable=True).astype("float64")
            new = is_new.to_numpy(zero_copy_only=False)
            codes[new] = len(self.names) + np.arange(new.sum())
            self.names = pa.concat_arrays([self.names, names.filter(is_new)])
            of_name = codes.astype("int32")
            for chunk in chunks:
                self.codes.append(pa.array(of_name[chunk.indices.to_numpy()]))

    def found(self) -> "Kind":
        """Of all blocks so far."""
        if self.kind != "text":
            numbers = self.numbers.values[: self.numbers.n]
            few_digits = not len(numbers) or (numbers.min() >= 0 and numbers.max() <= 999)
            return Kind(self.kind, "", bool(few_digits and self.kind != "float"))
        self._give_codes()
        if self.thousands != AUTO:
            return Kind("text", "", in_thousands=False)
        names = pd.Series(self.names.to_pandas(), dtype="str")
        with_sign = names[names.str.contains(r"[.,]")]
        first = str(with_sign.iloc[0]) if len(with_sign) else ""
        return Kind("text", first, bool(names.str.fullmatch(r"\d{1,3}([.,]\d{3})*").all()))

    @staticmethod
    def combine(kinds: Iterable["Kind"]) -> "Kind":
        """The kind of ids whose parts, in order, are of these kinds."""
        parts = list(kinds)
        names = {part.name for part in parts} - {""}
        return Kind(
            names.pop() if len(names) == 1 else "text" if names else "",
            next((part.with_sign for part in parts if part.with_sign), ""),
            all(part.in_thousands for part in parts),
        )

    @staticmethod
    def check(kind: "Kind") -> None:
        """Raise ValueError where ids look like numbers with signs between thousands."""
        if kind.with_sign and kind.in_thousands:
            raise ValueError(f"expected ids, got numbers such as {kind.with_sign}")

    def series(self, kind: "Kind | None" = None) -> pd.Series:
        """All blocks together; or as a part of ids of this kind.

        Raises:
            ValueError: as `check`.
        """
        of_all = kind or self.found()
        self.check(of_all)
        if of_all.name != "text":
            return pd.Series(self.numbers.take(), copy=False)
        if self.kind != "text":
            self._as_text()
        self._give_codes()
        names = pd.Index(self.names.to_pandas(), dtype="str")
        return pd.Series(pd.Categorical.from_codes(self.codes.take(), names))


class Kind(NamedTuple):
    """What decides how ids are kept.

    Attributes:
        name: int, float (whole numbers written as 13.0) or text; "" if there is none.
        with_sign: the first one with a dot or comma, where these may be between thousands.
        in_thousands: whether these are where they would be between thousands, in all ids.
    """

    name: str
    with_sign: str
    in_thousands: bool


def refuse_objects(values: pa.Array) -> None:
    """Raise WrongValueError about the first text that is an object or a list of JSON."""
    if types.is_string(values.type):
        likely = pc.match_substring_regex(values, r'^(\{".*\}|\[[{\["\d].*\])$')
        for row in np.flatnonzero(likely.to_numpy(zero_copy_only=False)):
            with suppress(ValueError, RecursionError):
                json.loads(values[row].as_py())
                raise WrongValueError(int(row), "an id")


def as_text(ids: pa.Array, kind: str) -> pa.Array:
    """Ids as they were written, of whatever kind."""
    texts = ids if types.is_string(ids.type) else ids.cast(pa.string())
    return pc.binary_join_element_wise(texts, ".0", "") if kind == "float" else texts


class Numbers:
    """Numbers, as float32."""

    def __init__(self, decimal: str = ".", thousands: str | None = None) -> None:
        self.decimal, self.thousands = decimal, None if thousands == AUTO else thousands
        self.numbers = GrowingArray("float32")

    def add(self, values: pa.Array) -> None:
        """Take a block; WrongValueError is raised where one is missing or is no number."""
        refused = (types.is_temporal, types.is_boolean)
        values = plain(values, "numbers", refused)
        self.numbers.append(converted(values, self._parse, "a number"))

    def found(self) -> None:
        """Nothing that decides how numbers are kept."""

    @staticmethod
    def combine(found: Iterable[None]) -> None:
        """Nothing, of any parts."""

    @staticmethod
    def check(found: None) -> None:
        """Nothing to refuse."""

    def series(self, found: None = None) -> pd.Series:
        """All blocks together."""
        return pd.Series(self.numbers.take(), copy=False)

    def _parse(self, values: pa.Array) -> pa.Array:
        if types.is_string(values.type):
            values = pc.utf8_trim_whitespace(values)
            if self.thousands:
                values = without_thousands(values, self.thousands)
            if self.decimal != ".":
                values = pc.replace_substring(values, ".", "?")  # which no number has
                values = pc.replace_substring(values, self.decimal, ".")
        if types.is_decimal(values.type):  # straight to float32 they are rounded wrongly
            values = values.cast(pa.float64())
        return values.cast(pa.float32(), safe=False)  # a safe cast refuses 2**24 + 1


class Times:
    """Times in seconds since 1970 UTC, as int64, out of numbers in any unit or of dates."""

    def __init__(self, unit: str = AUTO) -> None:
        self.unit = unit  # or a pattern of strptime's
        self.numbers = GrowingArray("int64")
        self.in_unit: bool | None = None  # whether they are in `unit`; else seconds; None: no block

    def add(self, values: pa.Array) -> None:
        """Take a block; WrongValueError is raised where one is missing or is no time."""
        refused = (types.is_time, types.is_duration, types.is_boolean)
        values = plain(values, "numbers or dates", refused)
        if types.is_temporal(values.type):
            values, in_unit = values.cast(pa.timestamp("s"), safe=False).cast(pa.int64()), False
        else:
            in_unit = self.unit in UNITS or (self.unit == AUTO and is_numeric(values[:1]))
            parse = as_integers if in_unit else self._parse_dates
            expected = "whole seconds since 1970" if in_unit else "a date, as all are"
            values = converted(values, parse, expected)
        if self.in_unit not in (None, in_unit):
            raise WrongValueError(0, "a number, or a date, as in the rows before")
        self.in_unit = in_unit
        self.numbers.append(values)

    def found(self) -> "Span":
        """The unit and the ends of the times so far, and how they may be written."""
        times = self.numbers.values[: self.numbers.n]
        if not len(times):
            return Span(None, 0, 0, frozenset(DATE_NUMBERS))
        lowest, highest = int(times.min()), int(times.max())
        patterns = [
            pattern
            for pattern, (low, high) in DATE_NUMBERS.items()
            if self.unit == AUTO
            and low <= lowest
            and highest <= high
            and not as_dates(times, pattern).hasnans
        ]
        return Span(self.in_unit, lowest, highest, frozenset(patterns))

    @staticmethod
    def combine(spans: Iterable["Span"]) -> "Span":
        """The span of times that have been found in parts.

        Raises:
            ValueError: some are numbers, and others dates.
        """
        known = [span for span in spans if span.in_unit is not None]
        if not known:
            return Span(None, 0, 0, frozenset())
        if len({span.in_unit for span in known}) > 1:
            raise ValueError("expected numbers, or dates, got both")
        return Span(
            known[0].in_unit,
            min(span.lowest for span in known),
            max(span.highest for span in known),
            frozenset.intersection(*(span.patterns for span in known)),
        )

    def check(self, span: "Span") -> None:
        """Raise ValueError where times of this span are in no unit."""
        lowest, highest = span.lowest, span.highest
        if span.in_unit is None or span.patterns:
            return
        if not span.in_unit:
            if not EARLIEST_DATE_S <= lowest <= highest <= LATEST_S:
                ends = " to ".join(
                    str(np.datetime64(int(end), "s"))[:10] for end in (lowest, highest)
                )
                raise ValueError(f"expected dates from 1900 to 2100, got {ends}")
            return
        likely = find_unit(lowest, highest)
        unit = self.unit if self.unit != AUTO else likely
        if unit is None:
            raise ValueError(f"{lowest} to {highest} are no times in s, ms, us or ns since 1970")
        if likely not in (None, unit) and lowest // UNITS[unit] < EARLIEST_S:
            raise ValueError(
                f"{lowest} to {highest} are no times in {unit}, but may be in {likely}"
            )

    def series(self, span: "Span | None" = None) -> pd.Series:
        """All blocks together; or as a part of times of this span.

        Raises:
            ValueError: as `check`.
        """
        of_all = self.found() if span is None else span
        self.check(of_all)
        times = pd.Series(self.numbers.take(), copy=False)
        if not of_all.in_unit:
            return times
        if of_all.patterns:
            return to_seconds(pd.Series(as_dates(times.to_numpy(), min(of_all.patterns))))
        unit = self.unit if self.unit != AUTO else find_unit(of_all.lowest, of_all.highest)
        assert unit is not None  # as `check` says
        return times // UNITS[unit] if UNITS[unit] > 1 else times

    def _parse_dates(self, values: pa.Array) -> pa.Array:
        pattern = "ISO8601" if self.unit == AUTO else self.unit
        if not pc.all(pc.match_substring_regex(values, r"\d")).as_py():  # such as now, or NaT
            raise ValueError("a date has digits")
        dates = pd.to_datetime(values.to_pandas(), format=pattern, utc=True)
        return pa.array(to_seconds(dates), pa.int64())


class Span(NamedTuple):
    """Between which times others are, and how they are written.

    Attributes:
        in_unit: whether they are numbers; else dates; None if there are none.
        lowest, highest: in that unit, or in seconds.
        patterns: those of `DATE_NUMBERS` that all of them may be written by.
    """

    in_unit: bool | None
    lowest: int
    highest: int
    patterns: frozenset[str]


def as_dates(numbers: NDArray[np.int64], pattern: str) -> pd.DatetimeIndex:
    """The dates that numbers are written as, such as 20151231; NaT for those that are none."""
    texts = pd.Series(numbers).astype(str)
    return pd.DatetimeIndex(pd.to_datetime(texts, format=pattern, errors="coerce"))


def find_unit(lowest: int, highest: int) -> str | None:
    """The unit in which times from `lowest` to `highest` are plausible, if there is one."""
    if lowest >= 1900 and highest <= 2100:  # years
        return None
    if lowest >= -LATEST_S and highest <= LATEST_S:
        return "s"
    for unit in ("ms", "us", "ns"):
        if lowest >= EARLIEST_S * UNITS[unit] and highest <= LATEST_S * UNITS[unit]:
            return unit
    return None


def to_seconds(dates: pd.Series) -> pd.Series:
    """Dates as whole seconds since 1970 UTC."""
    seconds: pd.Series = dates.dt.floor("s").dt.as_unit("s").astype("int64")
    return seconds


def plain(
    values: pa.Array, expected: str, refused: tuple[Callable[[pa.DataType], bool], ...]
) -> pa.Array:
    """Values of a plain type of Arrow's, none of them missing.

    Raises:
        ValueError: they are of a type that is refused, or nested.
        WrongValueError: one is missing.
    """
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if types.is_float16(values.type):
        values = values.cast(pa.float32())
    if types.is_fixed_size_binary(values.type) and values.type.byte_width == 16:
        texts = [None if value is None else str(UUID(bytes=value)) for value in values.to_pylist()]
        values = pa.array(texts, pa.string())
    of_text = (
        *(types.is_large_string, types.is_string_view, types.is_null),
        *(types.is_binary, types.is_large_binary, types.is_binary_view),
    )
    if any(is_type(values.type) for is_type in of_text):
        with suppress(pa.ArrowInvalid):  # bytes that are no text
            values = values.cast(pa.string())
    known = (types.is_primitive, types.is_decimal, types.is_string)
    is_known = any(is_type(values.type) for is_type in known)
    if not is_known or any(is_type(values.type) for is_type in refused):
        raise ValueError(f"expected {expected}, got values of the type {values.type}")
    if types.is_string(values.type):
        refuse_other_encodings(values)
    missing = values.is_null(nan_is_null=True)
    if types.is_string(values.type):
        missing = pc.or_(missing, pc.equal(values, "").fill_null(True))
    if pc.any(missing).as_py():
        raise WrongValueError(missing.index(True).as_py(), "a value")
    if types.is_string(values.type):
        damaged = pc.match_substring(values, "\0")
        if pc.any(damaged).as_py():
            raise WrongValueError(damaged.index(True).as_py(), "text without NUL")
    return values


def refuse_other_encodings(texts: pa.Array) -> None:
    """Raise WrongValueError about the first text that is not UTF-8, as all in Parquet should be."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        for row, content in enumerate(texts.view(pa.binary()).to_pylist()):
            try:
                (content or b"").decode()
            except UnicodeDecodeError:
                raise WrongValueError(row, "text in UTF-8") from None


def without_thousands(texts: pa.Array, sign: str) -> pa.Array:
    """Texts, those of numbers freed of the signs between their thousands."""
    pattern = rf"^[-+]?\d{{1,3}}(\{sign}\d{{3}})+(\D.*)?$"
    in_thousands = pc.match_substring_regex(texts, pattern)
    return pc.if_else(in_thousands, pc.replace_substring(texts, sign, ""), texts)


def as_numbers(texts: pa.Array) -> tuple[str, pa.Array]:
    """ "int" or "float" with the numbers that are written as these texts; else "text" with them."""
    kind, digits = "int", texts
    if pc.all(pc.ends_with(texts, ".0")).as_py():
        kind, digits = "float", pc.utf8_slice_codeunits(texts, 0, -2)
    with suppress(pa.ArrowInvalid):
        digits[:1].cast(pa.int64())  # to fail on a whole block takes long
        numbers = digits.cast(pa.int64())
        if numbers.cast(pa.string()).equals(digits):
            return kind, numbers
    return "text", texts


def is_numeric(values: pa.Array) -> bool:
    """Whether these are numbers, or texts of numbers."""
    with suppress(pa.ArrowInvalid):
        as_integers(values)
        return True
    return False


def as_integers(values: pa.Array) -> pa.Array:
    """Numbers, or texts of numbers, rounded down."""
    if types.is_string(values.type):
        values = pc.utf8_trim_whitespace(values)
        with suppress(pa.ArrowInvalid):
            return values.cast(pa.int64())
        values = values.cast(pa.float64())
    return (pc.floor(values) if types.is_floating(values.type) else values).cast(pa.int64())


def converted(values: pa.Array, convert: Callable[[pa.Array], pa.Array], expected: str) -> pa.Array:
    """`convert` of the values.

    Raises:
        WrongValueError: about the first value that it does not take.
    """

    def fails(n: int) -> bool:
        try:
            convert(values[:n])
        except (pa.ArrowException, ValueError, OverflowError):
            return True
        return False

    try:
        return convert(values)
    except (pa.ArrowException, ValueError, OverflowError):
        row = bisect_left(range(1, len(values)), True, key=fails)
        raise WrongValueError(row, expected) from None
