"""Columns of ids, ratings and times, block by block, of every type that a file may have."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cf.data import values
from cf.data.values import GrowingArray, Ids, Numbers, Times, WrongValueError, find_unit

Collector = Ids | Numbers | Times
TEXT, INT = pa.string(), pa.int64()


def collected(collector: Collector, *blocks: pa.Array) -> pd.Series:
    for block in blocks:
        collector.add(block)
    return collector.series()


def refused(collector: Collector, block: pa.Array) -> tuple[int, str]:
    """The row and the expected value of the error with which a block is refused."""
    with pytest.raises(WrongValueError) as caught:
        collector.add(block)
    return caught.value.row, str(caught.value)


def message(collector: Collector, *blocks: pa.Array) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        collected(collector, *blocks)
    return str(caught.value)


def test_an_array_grows_while_something_else_holds_it() -> None:
    """As a debugger does, or a profiler."""
    array = GrowingArray("int32")
    held = array.values
    array.append(pa.array([1, 2], pa.int32()))
    assert held is array.values
    assert array.take().tolist() == [1, 2]


def test_an_array_grows_without_losing_a_number() -> None:
    array = GrowingArray("int32")
    for block in ([1, 2], [], [3]):
        array.append(pa.array(block, pa.int32()))
    assert (array.n, len(array.values)) == (3, 1 << 20)
    n = 1 << 20
    array.append(pa.array(np.arange(n, dtype=np.int32)))
    assert len(array.values) == n + 3 + (n + 3) // 2
    taken = array.take()
    assert taken.dtype == "int32"
    assert taken[:4].tolist() == [1, 2, 3, 0]
    assert (len(taken), taken[-1]) == (n + 3, n - 1)
    assert (array.n, len(array.values), array.values.dtype) == (0, 0, "int32")


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([["1", "-2"], ["3"]], [1, -2, 3]),
        ([["1.0", "2.0"], ["3.0"]], [1, 2, 3]),
        ([["1.0", "2.0"], ["3"]], ["1.0", "2.0", "3"]),
        ([["1"], ["2.0"], ["x"]], ["1", "2.0", "x"]),
        ([["x"], ["1"]], ["x", "1"]),
        ([["x"], ["1.0"]], ["x", "1.0"]),
        ([["1"], ["01"]], ["1", "01"]),
        ([["1.0", "2"]], ["1.0", "2"]),
        ([["9223372036854775807"]], [2**63 - 1]),
        ([["9223372036854775808"]], ["9223372036854775808"]),
        ([["y", "x"], ["x", "z"]], ["y", "x", "x", "z"]),
    ],
)
def test_ids_are_numbers_only_if_all_are(blocks: list[list[str]], expected: list[object]) -> None:
    for n_waiting in (1, 2, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(values, "N_WAITING", n_waiting)
            found = collected(Ids(), *(pa.array(block, TEXT) for block in blocks))
        assert found.tolist() == expected
        if isinstance(expected[0], int):
            assert found.dtype == "int64"
        else:
            assert list(found.cat.categories) == list(dict.fromkeys(expected)), "as they appear"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (pa.array([1.0, 2.0]), [1, 2]),
        (pa.array([1.0, 2.5]), ["1", "2.5"]),
        (pa.array([2.0**53 - 1]), [2**53 - 1]),
        (pa.array([2.0**53]), ["9.007199254740992e+15"]),
        (pa.array([-(2.0**53)]), ["-9.007199254740992e+15"]),
        (pa.array([1.5, 2.0], pa.float16()), ["1.5", "2"]),
        (pa.array([7], pa.uint8()), [7]),
        (pa.array([7, 2**63], pa.uint64()), ["7", str(2**63)]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
        (pa.array([b"b"]), ["b"]),
        (pa.array(["b"], pa.large_string()), ["b"]),
        (pa.array([UUID(int=5).bytes], pa.binary(16)), [str(UUID(int=5))]),
        (
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([UUID(int=5).bytes], pa.binary(16))),
            [str(UUID(int=5))],
        ),
        (pa.array([datetime(2020, 1, 2)], pa.timestamp("s")), ["2020-01-02 00:00:00"]),
        (pa.array([], TEXT), []),
    ],
)
def test_ids_may_be_of_many_types(block: pa.Array, expected: list[object]) -> None:
    assert collected(Ids(), block).tolist() == expected


def test_ids_of_floats_stay_what_they_are_beside_others() -> None:
    assert collected(Ids(), pa.array([13.0]), pa.array([13.5])).tolist() == ["13", "13.5"]
    assert collected(Ids(), pa.array(["1.0"]), pa.array([2])).tolist() == ["1.0", "2"]


def test_whole_numbers_of_several_types_are_one_column() -> None:
    blocks = [pa.array(["1"]), pa.array([2]), pa.array([3.0]), pa.array([4], pa.uint8())]
    for order in (blocks, blocks[::-1]):
        found = collected(Ids(), *order)
        assert found.dtype == "int64"
        assert found.tolist() == [int(block[0].as_py()) for block in order]


@pytest.mark.parametrize(
    ("block", "row", "expected"),
    [
        (pa.array(["a", "", "b"]), 1, "a value"),
        (pa.array(["a", None]), 1, "a value"),
        (pa.array([1.0, float("nan")]), 1, "a value"),
        (pa.array([None, None], pa.null()), 0, "a value"),
        (pa.array([None], pa.binary(16)), 0, "a value"),
        (pa.array(["a", "b\0"]), 1, "text without NUL"),
        (pa.array(["a", '{"b": 1}']), 1, "an id"),
        (pa.array(["a", "{}"]), None, ""),
        (pa.array(["a", "[7, 8]"]), 1, "an id"),
        (pa.array(["a", '["b"]']), 1, "an id"),
        (pa.array(["[b]", "[7", "7]", '{"b"}', "x[1]", "[1]x"]), None, ""),
        (pa.array([100_000 * "[" + 100_000 * "]"]), None, ""),
    ],
)
def test_what_is_no_id(block: pa.Array, row: int | None, expected: str) -> None:
    if row is None:
        assert collected(Ids(), block).tolist() == block.to_pylist()
    else:
        assert refused(Ids(), block) == (row, expected)


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (pa.array([[1]]), "list<item: int64>"),
        (pa.array([1], pa.duration("s")), "duration[s]"),
        (pa.array([1], pa.time32("s")), "time32[s]"),
        (pa.array([b"\xff"]), "binary"),
        (pa.array([b"abc"], pa.binary(3)), "fixed_size_binary[3]"),
    ],
)
def test_types_that_no_id_has(block: pa.Array, kind: str) -> None:
    assert message(Ids(), block) == f"expected text or numbers, got values of the type {kind}"


@pytest.mark.parametrize(
    ("ids", "thousands", "expected"),
    [
        (["1,027", "999"], ",", [1027, 999]),
        (["1.027", "999"], ".", [1027, 999]),
        (["1,027", "1,02"], ",", ["1027", "1,02"]),
        (["-1,027,000", "+1,000"], ",", ["-1027000", "+1000"]),
        (["1,027.5", "1,0270", "1234,000"], ",", ["1027.5", "1,0270", "1234,000"]),
        (["1,027", "999"], None, ["1,027", "999"]),
    ],
)
def test_signs_between_thousands(
    ids: list[str], thousands: str | None, expected: list[object]
) -> None:
    assert collected(Ids(thousands), pa.array(ids)).tolist() == expected


@pytest.mark.parametrize(
    ("ids", "like"),
    [
        (["999", "1,027"], "1,027"),
        (["1.027", "12.000.000"], "1.027"),
        (["1,027", "x"], None),
        (["1,27"], None),
        (["1234,000"], None),
    ],
)
def test_ids_that_look_like_thousands_are_refused_unless_stated(
    ids: list[str], like: str | None
) -> None:
    block = pa.array(ids)
    if like is None:
        assert collected(Ids("auto"), block).tolist() == ids
    else:
        assert message(Ids("auto"), block) == f"expected ids, got numbers such as {like}"
    assert collected(Ids(), block).tolist() == ids


@pytest.mark.parametrize(
    ("block", "signs", "expected"),
    [
        (pa.array([" 1.5\t", "-2", "1e1"]), (), [1.5, -2, 10]),
        (pa.array(["1,5", "2"]), (",",), [1.5, 2]),
        (pa.array(["1.000,5", "2"]), (",", "."), [1000.5, 2]),
        (pa.array(["1,000.5", "2"]), (".", ","), [1000.5, 2]),
        (pa.array([0.1]), (), [np.float32(0.1)]),
        (pa.array([Decimal("0.1")]), (), [np.float32(0.1)]),
        (pa.array([7], pa.uint8()), (), [7]),
        (pa.array([str(2**24 + 1)]), (), [2**24]),
        (pa.array([2**24 + 1, 2**53 + 1]), (), [2**24, 2**53]),
        (pa.array([2**64 - 1], pa.uint64()), (), [2**64]),
    ],
)
def test_numbers_are_float32(
    block: pa.Array, signs: tuple[str, ...], expected: list[float]
) -> None:
    found = collected(Numbers(*signs), block, block)
    assert found.dtype == "float32"
    assert found.tolist() == [*map(float, expected)] * 2


@pytest.mark.parametrize(
    ("texts", "signs", "row"),
    [
        (["1", "2", "x", "y"], (), 2),
        (["x", "2"], (), 0),
        (["1,5"], (), 0),
        (["1.5"], (",",), 0),
        (["1", "1,000"], (".", "auto"), 1),
    ],
)
def test_the_first_text_that_is_no_number_is_named(
    texts: list[str], signs: tuple[str, ...], row: int
) -> None:
    assert refused(Numbers(*signs), pa.array(texts)) == (row, "a number")


@pytest.mark.parametrize(
    "block", [pa.array([True]), pa.array([1], pa.timestamp("s")), pa.array([1], pa.date32())]
)
def test_types_that_no_rating_has(block: pa.Array) -> None:
    assert message(Numbers(), block).startswith("expected numbers, got values of the type ")


DAY = 1_577_923_200  # 2020-01-02


@pytest.mark.parametrize("collector", [Ids(), Numbers(), Times()])
def test_a_column_is_not_copied_once_it_is_whole(collector: Collector) -> None:
    collector.add(pa.array([2**24, 2**24]))
    held = collector.numbers.values
    assert np.shares_memory(held, collector.series().to_numpy())


@pytest.mark.parametrize(
    ("unit", "block", "expected"),
    [
        ("auto", pa.array([DAY, DAY + 1]), [DAY, DAY + 1]),
        ("auto", pa.array([f" {DAY} ", f"{DAY}.9"]), [DAY, DAY]),
        ("auto", pa.array([DAY + 0.9]), [DAY]),
        ("auto", pa.array([DAY * 10**3 + 999]), [DAY]),
        ("auto", pa.array([DAY * 10**6]), [DAY]),
        ("auto", pa.array([DAY * 10**9]), [DAY]),
        ("auto", pa.array([0, 5]), [0, 5]),
        ("ms", pa.array([DAY * 10**3]), [DAY]),
        ("s", pa.array([2005]), [2005]),
        ("auto", pa.array([20200102]), [DAY]),
        ("auto", pa.array([20200102101500]), [DAY + 36900]),
        ("auto", pa.array([20200102, 20200132]), [20200102, 20200132]),
        ("auto", pa.array([19000101]), [-2_208_988_800]),
        ("auto", pa.array([21001231]), [4_133_894_400]),
        ("s", pa.array([20200102]), [20200102]),
        ("auto", pa.array(["2020-01-02"]), [DAY]),
        ("auto", pa.array(["2020-01-02T01:00:00.9+01:00"]), [DAY]),
        ("%d.%m.%Y", pa.array(["02.01.2020"]), [DAY]),
        ("auto", pa.array([DAY], pa.timestamp("s")), [DAY]),
        ("auto", pa.array([20200102], pa.timestamp("s")), [20200102]),
        ("auto", pa.array([20201399, 20200102]), [20201399, 20200102]),
        ("auto", pa.array([DAY * 1000 + 999], pa.timestamp("ms", "Europe/Berlin")), [DAY]),
        ("auto", pa.array([DAY // 86400], pa.date32()), [DAY]),
        ("auto", pa.array([], INT), []),
        ("auto", pa.array(["1900-01-01", "2100-01-01"]), [-2_208_988_800, 4_102_444_800]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_times_are_seconds(unit: str, block: pa.Array, expected: list[int]) -> None:
    found = collected(Times(unit), block)
    assert found.dtype == "int64"
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("unit", "block", "row", "expected"),
    [
        ("auto", pa.array(["5", "6", "x"]), 2, "whole seconds since 1970"),
        ("s", pa.array(["2020-01-02"]), 0, "whole seconds since 1970"),
        ("auto", pa.array(["2020-01-02", "5"]), 1, "a date, as all are"),
        ("auto", pa.array(["2020-01-02", "now"]), 1, "a date, as all are"),
        ("auto", pa.array(["02.01.2020"]), 0, "a date, as all are"),
        ("%d.%m.%Y", pa.array(["02.01.2020", "2020-01-02"]), 1, "a date, as all are"),
    ],
)
def test_what_is_no_time(unit: str, block: pa.Array, row: int, expected: str) -> None:
    assert refused(Times(unit), block) == (row, expected)


def test_numbers_after_dates_and_dates_after_numbers_are_refused() -> None:
    blocks = [pa.array(["5"]), pa.array(["2020-01-02"])]
    for first, second in (blocks, blocks[::-1]):
        times = Times()
        times.add(first)
        assert refused(times, second) == (0, "a number, or a date, as in the rows before")
        times.add(first)
        assert len(times.series()) == 2


@pytest.mark.parametrize(
    ("unit", "block", "said"),
    [
        ("auto", pa.array([2005, 2006]), "2005 to 2006 are no times in s, ms, us or ns since 1970"),
        ("ns", pa.array([DAY]), f"{DAY} to {DAY} are no times in ns, but may be in s"),
        (
            "auto",
            pa.array(["1899-12-31", "2020-01-02"]),
            "expected dates from 1900 to 2100, got 1899-12-31 to 2020-01-02",
        ),
        (
            "auto",
            pa.array(["2100-01-01T00:00:01"]),
            "expected dates from 1900 to 2100, got 2100-01-01 to 2100-01-01",
        ),
        (
            "auto",
            pa.array([1], pa.time32("s")),
            "expected numbers or dates, got values of the type time32[s]",
        ),
        (
            "auto",
            pa.array([1], pa.duration("s")),
            "expected numbers or dates, got values of the type duration[s]",
        ),
        (
            "auto",
            pa.array([True]),
            "expected numbers or dates, got values of the type bool",
        ),
    ],
)
def test_times_that_cannot_be(unit: str, block: pa.Array, said: str) -> None:
    assert message(Times(unit), block) == said


@pytest.mark.parametrize(
    ("lowest", "highest", "unit"),
    [
        (1900, 2100, None),
        (1899, 2100, "s"),
        (1900, 2101, "s"),
        (0, 4_102_444_800, "s"),
        (-4_102_444_800, 0, "s"),
        (-4_102_444_801, 0, None),
        (0, 4_102_444_801, None),
        (10**11, 4_102_444_800_000, "ms"),
        (10**11 - 1, 4_102_444_800_000, None),
        (10**11, 4_102_444_800_001, None),
        (10**14, 4_102_444_800 * 10**6, "us"),
        (10**17, 4_102_444_800 * 10**9, "ns"),
        (10**17, 4_102_444_800 * 10**9 + 1, None),
    ],
)
def test_the_unit_is_the_one_in_which_times_are_plausible(
    lowest: int, highest: int, unit: str | None
) -> None:
    assert find_unit(lowest, highest) == unit


def test_a_stated_unit_may_be_doubted_only_where_another_fits() -> None:
    early = 10**11 - 1  # 1973 in ms, of no unit that is plausible
    assert collected(Times("ms"), pa.array([early])).tolist() == [10**8 - 1]
    said = f"{DAY} to {DAY} are no times in ms, but may be in s"
    assert message(Times("ms"), pa.array([DAY])) == said


def test_dates_are_whole_seconds() -> None:
    dates = pd.Series([datetime(1969, 12, 31, 23, 59, 58, 500_000, UTC)])
    assert values.to_seconds(dates).tolist() == [-2]


def test_the_first_value_that_fails_is_found() -> None:
    texts = pa.array(["1", "2", "x", "3", "y"])
    with pytest.raises(WrongValueError) as caught:
        values.converted(texts, lambda block: block.cast(INT), "a number")
    assert (caught.value.row, str(caught.value)) == (2, "a number")
    assert values.converted(texts[:2], lambda block: block.cast(INT), "x").to_pylist() == [1, 2]
    assert pc.sum(values.as_integers(pa.array([1.9, -1.1]))).as_py() == -1


def in_parts(make: Callable[[], Collector], blocks: list[pa.Array]) -> pd.Series:
    """A column whose blocks different collectors take, as text where its ids are text."""
    parts = [make() for _ in blocks]
    for part, block in zip(parts, blocks, strict=True):
        if len(block):
            part.add(block)
    found = parts[0].combine([part.found() for part in parts])
    return pd.concat([part.series(found).astype(object) for part in parts], ignore_index=True)


@pytest.mark.parametrize(
    ("make", "blocks"),
    [
        (Ids, [pa.array([3, 1]), pa.array([7])]),
        (Ids, [pa.array([3, 1]), pa.array(["x", "1"])]),
        (Ids, [pa.array(["3.0"]), pa.array([], TEXT), pa.array(["4"])]),
        (Ids, [pa.array(["3.0"]), pa.array([4.0]), pa.array(["5.5"])]),
        (partial(Ids, "auto"), [pa.array(["1.234"]), pa.array(["1234"])]),
        (Numbers, [pa.array([0.5]), pa.array(["4"])]),
        (Times, [pa.array([10**9]), pa.array([2 * 10**9])]),
        (Times, [pa.array([10**12]), pa.array([], INT), pa.array([2 * 10**12])]),
        (Times, [pa.array([20150101, 20161231]), pa.array([20150230])]),
        (Times, [pa.array([20150101, 20161231]), pa.array([20150228])]),
        (Times, [pa.array(["2015-01-01"]), pa.array(["2016-12-31T10:00:00"])]),
    ],
)  # fmt: skip
def test_parts_of_a_column_are_as_all_of_it(
    make: Callable[[], Collector], blocks: list[pa.Array]
) -> None:
    whole = collected(make(), *(block for block in blocks if len(block)))
    assert in_parts(make, blocks).tolist() == whole.tolist()


def test_parts_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="expected numbers, or dates, got both"):
        in_parts(Times, [pa.array([10**9]), pa.array(["2015-01-01"])])
    with pytest.raises(ValueError, match="are no times in s, ms, us or ns"):
        in_parts(Times, [pa.array([10**9]), pa.array([-(10**17)])])


@pytest.mark.parametrize("make", [Ids, Numbers, Times])
def test_text_in_another_encoding_is_named(make: Callable[[], Collector]) -> None:
    content = pa.array([b"3", None, b"Caf\xe9"], pa.binary()).view(TEXT)
    assert refused(make(), content) == (2, "text in UTF-8")
    assert refused(make(), content.dictionary_encode()) == (2, "text in UTF-8")
