from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cf.core.errors import InputError
from cf.data import split_file


def written(tmp_path: Path, text: str, name: str = "parts.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_rows_that_are_not_named_are_for_train(tmp_path: Path) -> None:
    text = "part,why,row\nvalid,a,3\ntrain,b,0\ntest,c,1\n"
    assert split_file.read(written(tmp_path, text), 5, test=True).tolist() == [0, 2, 0, 1, 0]
    tabbed = written(tmp_path, "row\tpart\n2\tvalid\n", "parts.tsv")
    assert split_file.read(tabbed, 3, test=False).tolist() == [0, 0, 1]


def test_parquet_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "parts.parquet"
    pq.write_table(pa.table({"row": [3, 1], "part": ["valid", "train"]}), path)
    assert split_file.read(path, 5, test=False).tolist() == [0, 0, 0, 1, 0]
    pq.write_table(pa.table({"row": [3, 9], "part": ["valid", "train"]}), path)
    with pytest.raises(InputError, match=r"parts.parquet, row 2, column row: expected a row from"):
        split_file.read(path, 5, test=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,part\n1,valid\n\n5,train\n", ", line 4, column row: expected a row from 0 to 4, as"),
        ("row,part\n-1,valid\n", ", line 2, column row: expected a row from 0 to 4"),
        ("row,part\n1.0,valid\n", ", line 2, column row: expected a row .*, got '1.0'"),
        ("row,part\n1,valid\n,valid\n", ", line 3, column row: expected a row .*, got <NA>"),
        ("row,part\n99999999999999999999,valid\n", ", line 2, column row: expected a row from 0"),
        ("row,part\n1,valid\n2,valid\n01,train\n", ", line 4, column row: expected each row once"),
        ("row,part\n1,valid\n2,Test\n", ", line 3, column part: expected the part train .*'Test'"),
        ("row,part\n1,test\n", r", line 2, column part: .*\(or test, with split.test: true in "),
        ("row,part\n1,valid\n2\n", ", line 3: expected 2 fields as in the header, got 1"),
        ("row,portion\n1,valid\n", ": no column 'part', got .*portion"),
        ("row,part,row\n1,valid,1\n", ": more than one column 'row'"),
        ("", ": is empty. Expected a first line"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"parts.csv{message}"):
        split_file.read(written(tmp_path, text), 5, test=False)


def test_a_file_that_is_not_there_or_not_readable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split.file: .*none.csv: no such file"):
        split_file.read(tmp_path / "none.csv", 5, test=False)
    with pytest.raises(InputError, match=r"parts.txt: .*ends in .csv, .tsv or .parquet"):
        split_file.read(written(tmp_path, "", "parts.txt"), 5, test=False)
    with pytest.raises(InputError, match=r"parts.parquet: cannot be read as Parquet"):
        split_file.read(written(tmp_path, "row,part\n", "parts.parquet"), 5, test=False)
