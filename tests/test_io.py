from errno import EACCES, ENOSPC

import numpy as np
import pandas as pd
import pytest

from cf.core.errors import InputError
from cf.core.io import atomic_write, read_csv, round_floats, write_csv


def write_half_then(error, path):
    with atomic_write(path) as tmp_path:
        tmp_path.write_text("half")
        raise error


def test_the_file_appears_whole_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "table.parquet"
    with atomic_write(path) as tmp_path:
        assert tmp_path.suffix == path.suffix
        tmp_path.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failing_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half_then(ZeroDivisionError(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "reason"), [(ENOSPC, "No space left on device"), (EACCES, "Permission denied")]
)
def test_a_disk_that_refuses_is_named_with_a_remedy(tmp_path, code, reason):
    path = tmp_path / "ratings.parquet"
    with pytest.raises(InputError) as caught:
        write_half_then(OSError(code, reason), path)
    for part in (str(path), reason, "Free some space", "run the same command again"):
        assert part in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_parent_that_is_a_file_is_a_message(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*ratings\.parquet"):
        write_half_then(OSError(), tmp_path / "data" / "ratings.parquet")


def test_floats_are_rounded_and_zero_has_no_sign():
    content = {"a": [1.23456789, -1e-9, 3], "b": {"c": "x", "d": None}}
    rounded = round_floats(content)
    assert rounded == {"a": [1.234568, 0.0, 3], "b": {"c": "x", "d": None}}
    assert str(rounded["a"][1]) == "0.0"


def test_csv_has_six_decimals_and_comes_back(tmp_path):
    frame = pd.DataFrame(
        {"n": [1, 2], "x": [-1e-9, np.nan], "tied": [True, False], "name": ["a,b", None]}
    )
    write_csv(tmp_path / "t.csv", frame)
    text = 'n,x,tied,name\n1,0.000000,true,"a,b"\n2,,false,\n'
    assert (tmp_path / "t.csv").read_text() == text
    back = read_csv(tmp_path / "t.csv", needed=["n", "tied"])
    assert back["tied"].tolist() == [True, False]
    assert back["name"].isna().tolist() == [False, True]
    with pytest.raises(InputError, match=r"t\.csv: cannot be read \(no column z\)"):
        read_csv(tmp_path / "t.csv", needed=["z"])


@pytest.mark.parametrize("content", [None, "", "n,name\n", "n,x\n1,much\n", 'n,x\n1,"\n'])
def test_a_table_that_is_missing_or_damaged_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=r"t\.csv: cannot be read .*`dvc repro` makes it"):
        read_csv(tmp_path / "t.csv", {"n": int, "x": float})
