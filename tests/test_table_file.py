"""Files with a table, looked into: names, sample, blocks, records, and what cannot be read."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cf.core.config import TextLayout
from cf.core.errors import InputError
from cf.data import table_file
from cf.data.table_file import Table
from cf.data.values import Ids, Numbers

BOM = "\ufeff"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "BATCH", 2)


def opened(path: Path, content: str) -> Table:
    path.write_text(content, encoding="utf-8")
    return table_file.open_table(path, TextLayout())


def lines_of(*entries: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


def test_a_path_that_no_system_can_have_is_named_in_part() -> None:
    path = "~nobody-of-this-name/" + "x" * 99
    with pytest.raises(InputError) as caught:
        table_file.find(path)
    assert str(caught.value).startswith(f"{path[:80]}: Could not determine home directory.")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", True),
        ("A.TSV.GZ", True),
        ("a.parquet.zst", True),
        ("a_.csv", True),
        ("a.md", False),
        (".a.csv", False),
        ("_a.csv", False),
        ("2024/a.csv", True),
        ("_temporary/0/a.csv", False),
        ("b/.ipynb_checkpoints/a.csv", False),
        ("csv", False),
    ],
)
def test_a_name_tells_whether_there_is_a_table(name: str, expected: bool) -> None:
    assert table_file.has_table_name(name) == expected


def test_lines_of_json_in_blocks_and_as_records(tmp_path: Path, small_blocks: None) -> None:
    entries = [{"a": 1.50}, {"a": None}, {"a": [1], "b": "x"}, {"b": True}, {"a": "", "b": 7}]
    table = opened(tmp_path / "a.jsonl", "\n" + lines_of(*entries))
    assert (table.names, table.notes, table.unit) == (["a", "b"], ["objects of JSON"], "line")
    texts = [["1.5", ""], ["", ""], ['["1"]', "x"], ["", "true"], ["", "7"]]
    assert table.sample == texts
    assert table.records is not None
    assert list(table.records()) == list(enumerate(texts, start=2))
    blocks = list(table_file.read_blocks(table, ["b", "a"]))
    assert [[column.to_pylist() for column in block] for block in blocks] == [
        [[None, None], ["1.5", None]],
        [["x", "true"], ['["1"]', None]],
        [["7"], [""]],
    ]
    whole = table_file.read_whole(table.path, TextLayout())
    assert whole.schema == pa.schema({"a": pa.string(), "b": pa.string()})
    assert whole["b"].to_pylist() == [None, None, "x", "true", "7"]


@pytest.mark.parametrize("before", ["", BOM, "\n \n"])
@pytest.mark.parametrize("content", ['{"u": 1.50}\n{"u": "1.5"}\n', '[{"u": 1.50}, {"u": "1.5"}]'])
def test_json_is_recognized_behind_marks_and_blanks(
    tmp_path: Path, before: str, content: str
) -> None:
    table = opened(tmp_path / "a.json", before + content)
    assert table.notes == ["objects of JSON"]
    assert table_file.read_whole(table.path, TextLayout())["u"].to_pylist() == ["1.50", "1.5"]


def test_the_first_thousand_objects_name_the_columns(tmp_path: Path) -> None:
    entries = [{"a": n} for n in range(1000)]
    table = opened(tmp_path / "a.jsonl", lines_of(*entries, {"late": 1}))
    assert (table.names, len(table.sample)) == (["a"], 1000)


@pytest.mark.parametrize("content", ['{{"u": "{text}"}}', '[{{"u": "{text}"}}]'])
def test_half_a_character_is_shown_in_part(tmp_path: Path, content: str) -> None:
    text = r"\ud83d" + "x" * 99
    unit = "line 1" if content.startswith("{") else ""
    with pytest.raises(InputError) as caught:
        opened(tmp_path / "a.json", content.format(text=text))
    shown = repr("\ud83d" + "x" * 99)[:80]
    ending = f". Correct or remove the {unit.split()[0]}." if unit else "."
    assert str(caught.value) == (
        f"{tmp_path / 'a.json'}{', ' if unit else ''}{unit}: expected an object of JSON: {shown} "
        f"is no text: it has half of a character{ending}"
    )


def test_parquet_is_shown_as_text(tmp_path: Path) -> None:
    n = 150
    columns = {
        "n": range(n),
        "x": [None, "a"] * (n // 2),
        "far": pa.array([2**61] * n, pa.duration("s")),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    table = table_file.open_table(tmp_path / "a.parquet", TextLayout())
    assert (table.names, table.notes, table.unit) == (["n", "x", "far"], ["a Parquet file"], "row")
    assert table.sample == [[str(k), "a" if k % 2 else "", ""] for k in range(100)]
    assert table.records is None
    assert table.locate(0) == "row 1"


def test_parquet_comes_in_blocks(tmp_path: Path, small_blocks: None) -> None:
    pq.write_table(pa.table({"a": range(5), "b": list("vwxyz")}), tmp_path / "a.parquet")
    table = table_file.open_table(tmp_path / "a.parquet", TextLayout())
    blocks = list(table_file.read_blocks(table, ["b", "a"]))
    assert [[column.to_pylist() for column in block] for block in blocks] == [
        [["v", "w"], [0, 1]],
        [["x", "y"], [2, 3]],
        [["z"], [4]],
    ]


def test_a_wrong_value_is_found_in_any_block(tmp_path: Path, small_blocks: None) -> None:
    """By the row of its file, not of its block; and each file's rows are counted on their own."""
    pq.write_table(pa.table({"u": range(5), "r": list("12345")}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"u": range(7), "r": list("123456x")}), tmp_path / "b.parquet")
    tables = [
        table_file.open_table(tmp_path / f"{name}.parquet", TextLayout()) for name in ("a", "b")
    ]

    def read(tables: list[Table]) -> tuple[Any, list[int]]:
        collectors = {"user": Ids(None), "stars": Numbers(".", None)}
        columns = {"user": "u", "stars": "r"}
        return table_file.read_columns(tables, columns, collectors, dict.fromkeys(columns, "; hm"))

    frame, sizes = read([tables[0], tables[0]])
    assert sizes == [5, 5]
    assert frame["stars"].tolist() == [1, 2, 3, 4, 5] * 2
    with pytest.raises(InputError) as caught:
        read(tables)
    assert str(caught.value) == (
        f"{tmp_path / 'b.parquet'}, row 7, column r: expected a number, got 'x'. Correct or remove "
        "the row; hm."
    )


def test_a_value_without_text_is_named_by_its_type(tmp_path: Path) -> None:
    far = pa.array([1, 2**61], pa.duration("s"))
    pq.write_table(pa.table({"r": far}), tmp_path / "a.parquet")
    assert table_file._got(far[1]) == "a value of the type duration[s]"
    assert table_file._got(pa.scalar(" " * 9 + "x" * 99)) == "x" * 71
    assert table_file._got(pa.scalar(7)) == 7


@pytest.mark.parametrize("is_text", [True, False])
def test_a_table_without_rows_has_columns(tmp_path: Path, is_text: bool) -> None:
    path = tmp_path / "a"
    if is_text:
        path.write_text("a,b\n")
    else:
        pq.write_table(pa.table({"a": pa.array([], pa.int64()), "b": pa.array([])}), path)
    whole = table_file.read_whole(path, TextLayout())
    assert whole.num_rows == 0
    assert whole.schema == pa.schema({"a": pa.string(), "b": pa.string()})


def test_line_ends_within_fields_are_read_where_lines_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n"one\ntwo",3\n')
    whole = table_file.read_whole(tmp_path / "a.csv", TextLayout())
    assert whole.to_pydict() == {"a": ["one\ntwo"], "b": ["3"]}
