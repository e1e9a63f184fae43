import os
import shutil
from contextlib import suppress
from errno import EACCES, EINVAL, EIO, ENOSPC, ENOTSUP
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from safetensors import SafetensorError

from cf.core import io
from cf.core.errors import InputError, WriteError
from cf.core.io import (
    atomic_write,
    read_csv,
    read_json,
    read_parquet,
    round_floats,
    without_formulas,
    write_array,
    write_csv,
)
from cf.core.ratings import Ratings


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


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    path = tmp_path / "weights"
    with suppress(KeyboardInterrupt), atomic_write(path) as tmp:
        (tmp.parent / ".tmp0aF3").write_text("a library's own temporary file")
        left = tmp_path / "left"
        shutil.copytree(tmp.parent, left)
        name = tmp.parent.name
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [left]
    left.rename(tmp_path / name)
    with atomic_write(path) as tmp:
        tmp.write_text("whole")
    assert list(tmp_path.iterdir()) == [path]


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


def test_a_librarys_own_error_of_writing_is_a_message(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*weights: I/O error: no space"):
        write_half_then(SafetensorError("I/O error: no space"), tmp_path / "weights")
    assert not list(tmp_path.iterdir())


def test_an_array_that_does_not_fit_is_not_taken_for_whole(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    path, array = tmp_path / "items.npy", np.arange(50)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))  # bytes of a file
    try:
        with pytest.raises(WriteError, match=r"cannot write .*items\.npy: File too large"):
            write_array(path, array)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(3,), (0, 2), (2, 3)])
def test_arrays_are_written_as_numpy_does(tmp_path, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    for given in (array, np.asfortranarray(array)):
        write_array(tmp_path / "a.npy", given)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
        np.save(tmp_path / "b.npy", array)
        assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_what_is_not_on_the_disk_replaces_nothing(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(EIO, "Input/output error")

    path = tmp_path / "facts.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", refuse)
    with (
        pytest.raises(InputError, match=r"cannot write .*Input/output error"),
        atomic_write(path) as tmp,
    ):
        tmp.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_on_the_disk_before_its_name_and_then_the_name(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor):
        steps.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def renamed(path, target):
        steps.append("renamed")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    with atomic_write(tmp_path / "facts.json") as tmp:
        tmp.write_text("new")
    assert steps == [str(tmp), "renamed", str(tmp_path)]


@pytest.mark.parametrize("code", [EINVAL, ENOTSUP])
def test_a_file_system_that_syncs_no_folders_takes_files(tmp_path, monkeypatch, code):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").readlink() == tmp_path:
            raise OSError(code, "")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with atomic_write(tmp_path / "facts.json") as tmp:
        tmp.write_text("new")
    assert (tmp_path / "facts.json").read_text() == "new"


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_colleagues_read_what_the_umask_lets_them(tmp_path, umask):
    path = tmp_path / "weights"
    before = os.umask(umask)
    try:
        with atomic_write(path) as tmp:  # as safetensors writes: a private file takes its place
            private = tmp_path / "private"
            private.write_text("w")
            private.chmod(0o600)
            private.replace(tmp)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


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


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        *((text, dict[str, float]) for text in ("", "[1]", "null", '{"a": "x"}', "{", '"a"')),
        ("[" * 100_000, list),
        ("1" * 5_000, int),
    ],
)
def test_json_that_is_damaged_is_named(tmp_path, content, kind):
    (tmp_path / "facts.json").write_text(content)
    with pytest.raises(InputError, match=r"facts\.json: cannot be read .*`dvc repro` makes it"):
        read_json(tmp_path / "facts.json", kind)


def test_a_table_without_rows_has_its_columns(tmp_path):
    (tmp_path / "t.csv").write_text("model,rmse\n")
    back = read_csv(tmp_path / "t.csv", ["model", "rmse"], {"model": "str"})
    assert (list(back), len(back)) == (["model", "rmse"], 0)


def test_a_number_that_is_text_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("model,rmse\ndot,much\n")
    with pytest.raises(InputError, match=r"t\.csv: cannot be read .*column rmse holds"):
        read_csv(tmp_path / "t.csv", ["model", "rmse"], {"model": "str"})


@pytest.mark.parametrize("name", ["user", "item", "rating", "row"])
@pytest.mark.parametrize("damage", ["text", "nothing", "gone"])
def test_a_table_of_ratings_that_is_damaged_is_named(tmp_path, name, damage):
    path = tmp_path / "train.parquet"
    n = np.arange(3)
    frame = pd.DataFrame({"user": n, "item": n, "rating": n.astype(np.float32), "row": n})
    frame.to_parquet(path)
    assert len(Ratings.read(path)) == 3
    damaged = {
        "text": frame.assign(**{name: ["a", "b", "c"]}),
        "nothing": frame.assign(**{name: [1, None, 2]}),
        "gone": frame.drop(columns=name),
    }
    damaged[damage].to_parquet(path)
    with pytest.raises(InputError, match=r"train\.parquet: cannot be read"):
        Ratings.read(path)


def test_memory_that_runs_out_is_no_damage(tmp_path):
    path = tmp_path / "ratings.parquet"
    memory = "cannot be read, as this process gets no more memory"
    with pytest.raises(InputError, match=rf"ratings\.parquet: {memory}"), io.reading(path):
        pa.allocate_buffer(2**62)


@pytest.mark.parametrize("size", [0, 3, 100])
def test_parquet_that_is_damaged_is_named(tmp_path, size):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"x": range(1000)}).to_parquet(path)
    whole = path.read_bytes()
    for content in (whole[:size], whole[:size] + b"\xff" * 40 + whole[size + 40 :], whole[size:]):
        path.write_bytes(content)
        with suppress(InputError):  # nothing else may be raised
            assert len(read_parquet(path, ["x"])) == 1000


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1", "-a", "+", "-"]
PLAIN = [
    "a=b",
    "1-2",
    "-0.5",
    "-1e-07",
    "+2E5",
    "-.5",
    "+3",
    "-7",
    "",
    "'=1",
    "Ocean's Eleven (2001)",
]


@pytest.mark.parametrize("sizes", [[10], [3, 4, 3], [4, 4], [1, 0, 8, 0], [9]])
def test_frames_that_are_written_one_after_the_other_give_the_bytes_of_one(
    tmp_path, monkeypatch, sizes
):
    monkeypatch.setattr(io, "ROW_GROUP", 4)
    n = sum(sizes)
    whole = pd.DataFrame({"user": np.arange(n), "tag": [f"é{i}" for i in range(n)]})
    whole["rating"] = np.arange(n, dtype=np.float32)
    with io.parquet_writer(tmp_path / "parts.parquet") as write:
        for end, size in zip(np.cumsum(sizes), sizes, strict=True):
            write(whole[end - size : end])
    io.write_parquet(tmp_path / "whole.parquet", whole)
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    found = io.read_row_groups(tmp_path / "parts.parquet", [1], ["user", "tag"], only=True)
    pd.testing.assert_frame_equal(found, whole.iloc[4:8, :2].reset_index(drop=True))


def test_a_block_of_frames_that_fails_leaves_no_file(tmp_path):
    with suppress(KeyError), io.parquet_writer(tmp_path / "parts.parquet") as write:
        write(pd.DataFrame({"user": np.arange(3)}))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_row_groups_with_other_values_are_named(tmp_path):
    path = tmp_path / "ratings.parquet"
    io.write_parquet(path, pd.DataFrame({"user": [0, -1]}))
    with pytest.raises(InputError, match=r"parquet: cannot be read \(column user: expected"):
        io.read_row_groups(path, [0], ["user"])
    with pytest.raises(InputError, match=r"ratings.parquet: cannot be read \("):
        io.read_row_groups(path, [1], ["user"])


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    texts = [*FORMULAS, *PLAIN]
    frame = pd.DataFrame({"genre": texts, "n": -1.0, "kind": pd.Categorical(texts)})
    write_csv(tmp_path / "t.csv", frame)
    back = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)
    expected = [*(f"'{text}" for text in FORMULAS), *PLAIN]
    assert back["genre"].tolist() == back["kind"].tolist() == expected
    assert set(back["n"]) == {"-1.000000"}
    assert without_formulas(pd.DataFrame({"a": [None, "=1"]}))["a"].tolist()[1] == "'=1"
