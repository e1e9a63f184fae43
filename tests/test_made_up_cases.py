"""Inputs made up after public bug reports, each with what is right: tests/cases/<name>/."""

from pathlib import Path

import pandas as pd
import pytest

from cf.core.config import Ingest
from cf.core.errors import InputError
from cf.data import ratings_file, recognition

CASES = Path(__file__).parent / "cases"
READ = {  # name: rows, users, items
    "brackets": None,
    "comment": None,
    "dat": None,
    "float_ids": None,
    "float_time": None,
    "gz": None,
    "hexid": (3, ["0x10", "16", "17"], ["1", "2", "0X1"]),
    "isbnx": None,
    "iso_time": None,
    "ms": None,
    "noheader": None,
    "one_user": None,
    "p_uuid": None,
    "percent": None,
    "semicolon": None,
    "sep": None,
    "space_header": None,
    "unicode_ids": None,
    "us": None,
    "zeros": (None, ["01", "1", "001"], ["0451526", "451526"]),
    "zeros_silent": (None, ["01", "1", "001"], ["0451526", "451526"]),
    "zipped": None,
}
STATED = {  # name: what is stated
    "decimal_comma": {"layout": {"decimal": ","}},
    "thousands": {"layout": {"thousands": ","}},
    "dup_time": {"repeats": "last"},
}
REFUSED = {
    "q_quote": r"line 3",
    "p_dur": r"column timestamp.*duration",
    "trail": r"line 2",
    "footer": r"line \d+",
    "nul": r"line \d+",
    "nan_mid": r"line \d+",
}


def file(name: str) -> Path:
    (path,) = (CASES / name).iterdir()
    return path


def read(name: str, **stated: object) -> pd.DataFrame:
    path = file(name)
    settings = Ingest.model_validate({"dataset": str(path), "fallback": None, **stated})
    return ratings_file.read([path], settings).ratings


def test_every_case_is_tested() -> None:
    assert {path.name for path in CASES.iterdir()} == {*READ, *STATED, *REFUSED}


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str) -> None:
    found, expected = read(name), READ[name]
    users, items = (found[key].astype(str).unique().tolist() for key in ("user_id", "item_id"))
    if expected is not None:
        assert set(expected[1]) <= set(users)
        assert set(expected[2]) <= set(items)
    if "timestamp" in found and name not in ("hexid", "zeros", "zeros_silent"):
        assert found["timestamp"].between(9e8, 2e9).all(), "seconds, whatever the file has"
    assert recognition.recognize(str(file(name))).problems == []


@pytest.mark.parametrize("name", STATED)
def test_what_is_read_once_it_is_stated(name: str) -> None:
    with pytest.raises(InputError, match=r"ingest\.(layout|repeats)"):
        read(name)
    assert len(read(name, **STATED[name])) > 1
    found = recognition.recognize(str(file(name))).settings
    assert len(ratings_file.read([file(name)], found).ratings) == len(read(name, **STATED[name]))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]):
        read(name)


def test_all_lines_are_rows(tmp_path: Path) -> None:
    for name in ("noheader", "dat", "comment", "sep"):
        lines = file(name).read_text().splitlines()
        n_other = {"noheader": 0, "dat": 0, "comment": 2, "sep": 2}[name]
        assert len(read(name)) == len(lines) - n_other
