"""Frames, JSON and files between stages: written whole or not at all, read with a plain error.

Whatever reads raises InputError where there is no such file, or it is something else than expected.
Whatever writes raises WriteError where the system refuses (disk full, no permission).
"""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from cf.core.errors import InputError, WriteError

pa.set_memory_pool(pa.system_memory_pool())  # gives freed memory back, as the default does not

ROW_GROUP = 2**17  # rows that are read at once where a table is too large for memory
DECIMALS = 6
"""Decimals of numbers in CSV and JSON that git tracks: machines of one kind agree to these."""

FORMULA = r"[=@\t\r]|[-+](?!\d*\.?\d+(?:[eE][-+]?\d+)?$)"
"""What a spreadsheet takes for the beginning of a formula."""

DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError),
    *(EOFError, NotImplementedError, MemoryError, SyntaxError, TokenError),
    *(pa.ArrowException, SafetensorError),
)
"""What readers of files raise, theirs and the libraries', where a file is not what it should be."""

T = TypeVar("T")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path, renamed to `path` if the block ends well and removed if not.

    It is in a folder of its own beside `path`: what a library makes beside it, and what is left
    when the process is killed, goes with that at the latest when `path` is written again. Missing
    parent folders are made. What is there when this returns is on the disk, and others may read it
    as far as the umask allows, whatever the writer has made of that.
    """
    folder = path.with_name(f".partial-{path.name}.d")
    tmp_path = folder / path.name
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tmp_path.touch()
        mode = tmp_path.stat().st_mode
        yield tmp_path
        tmp_path.chmod(mode)
        _sync(tmp_path)
        tmp_path.replace(path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", "") or str(error)
        raise WriteError(
            f"cannot write {path}: {reason}. Free some space or choose a folder that can be "
            "written to, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # where nothing can be written, nothing can go


def _sync(path: Path, flags: int = os.O_RDWR) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    try:
        _sync(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network file systems sync none
            raise


def digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as a Parquet file, without its index."""
    with atomic_write(path) as tmp_path:
        frame.to_parquet(tmp_path, engine="pyarrow", index=False, row_group_size=ROW_GROUP)


@contextmanager
def parquet_writer(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """What writes frames, one after the other, into one Parquet file, once the block ends well.

    The file has the bytes that `write_parquet` gives it for all of them at once.
    """
    waiting: list[pd.DataFrame] = []
    writer: parquet.ParquetWriter | None = None

    def flush(is_last: bool) -> None:
        nonlocal writer
        frame = pd.concat(waiting, ignore_index=True) if len(waiting) > 1 else waiting[0]
        if writer and frame.empty:
            return
        end = len(frame) if is_last else len(frame) // ROW_GROUP * ROW_GROUP
        table = pa.Table.from_pandas(frame[:end], preserve_index=False)
        writer = writer or parquet.ParquetWriter(tmp_path, table.schema)
        writer.write_table(table, row_group_size=ROW_GROUP)
        waiting[:] = [frame[end:]]

    def write(frame: pd.DataFrame) -> None:
        waiting.append(frame)
        if sum(map(len, waiting)) >= ROW_GROUP:
            flush(is_last=False)

    with atomic_write(path) as tmp_path:
        try:
            yield write
            flush(is_last=True)
        finally:
            if writer:
                writer.close()


def read_parquet(
    path: Path,
    needed: Sequence[str] = (),
    only: bool = False,
    n_rows: int | None = None,
    categories: Sequence[str] = (),
) -> pd.DataFrame:
    """The frame of a Parquet file, which has at least the columns `needed`, or `only` these.

    What these have is checked by `VALUES`; `n_rows` is how many there are, if that is known. Ids of
    `categories` that are text come as categoricals, since in most tables each is there often.
    """
    in_place = {"split_blocks": True, "self_destruct": True}  # half of the memory
    with reading(path):
        there = parquet.read_schema(path).names
        columns = [name for name in there if name in needed] if only else None
        # `pd.read_parquet` takes these since pandas 3; LensKit, a peer in benchmarks, needs 2.
        table = parquet.read_table(path, columns=columns, read_dictionary=list(categories))
        table.validate(full=True)  # texts in another encoding
        frame: pd.DataFrame = table.to_pandas(**in_place)
        del table
        pa.default_memory_pool().release_unused()
        _check_values(with_columns(frame, needed), needed)
        if n_rows not in (None, len(frame)):
            raise ValueError(f"expected {n_rows:,} rows, got {len(frame):,}")
        return frame


def read_row_groups(
    path: Path, numbers: Sequence[int], needed: Sequence[str], only: bool = False
) -> pd.DataFrame:
    """The rows of these row groups of a Parquet file, as `read_parquet` gives those of all."""
    with reading(path):
        file = parquet.ParquetFile(path)
        columns = list(needed) if only else None
        table = file.read_row_groups(list(numbers), columns)
        table.validate(full=True)
        frame: pd.DataFrame = table.to_pandas()
        _check_values(with_columns(frame, needed), needed)
        return frame


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as CSV, without its index: numbers to `DECIMALS`, nothing where missing."""
    frame = without_formulas(frame)
    booleans = frame.select_dtypes("bool").columns
    lower = {name: frame[name].map({True: "true", False: "false"}) for name in booleans}
    numbers = frame.assign(**lower).round(DECIMALS)
    floats = numbers.select_dtypes("float").columns
    numbers[floats] += 0.0  # 0 for -0
    with atomic_write(path) as tmp_path:
        numbers.to_csv(tmp_path, index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")


def read_csv(path: Path, needed: Iterable[str] = (), dtype: Any = None) -> pd.DataFrame:
    """The frame of a CSV file, which has at least the columns `needed`.

    If `needed` has the columns' types by name, `dtype`, as for `pandas.read_csv`, is these. The
    columns that a `dtype` by name leaves out are numbers.
    """
    if dtype is None and isinstance(needed, Mapping):
        dtype = needed
    with reading(path):
        frame = pd.read_csv(path, dtype=dtype, keep_default_na=False, na_values=[""])
        if isinstance(dtype, Mapping) and len(frame):
            texts = [
                name for name in frame.select_dtypes(["object", "string"]) if name not in dtype
            ]
            if texts:
                raise ValueError(f"column {texts[0]} holds what is no number")
        return with_columns(frame, needed)


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an apostrophe before each text that a spreadsheet would run as a formula.

    A number, such as -0.5, is none.
    """
    guarded = {}
    for name in frame.select_dtypes(["object", "string", "category"]):
        texts = frame[name].astype("string")
        is_formula = texts.str.match(FORMULA).fillna(False)
        if is_formula.any():
            guarded[str(name)] = frame[name].astype(object).mask(is_formula, "'" + texts)
    return frame.assign(**guarded)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write what `numpy.load` reads.

    `numpy.save` says nothing where the disk is full and the array is small.
    """
    array = np.asarray(array, order="C")
    header = np.lib.format.header_data_from_array_1_0(array)
    with atomic_write(path) as tmp_path, tmp_path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)


def round_floats(content: Any, decimals: int = DECIMALS) -> Any:
    """The content of a JSON file with every float rounded, and 0 for -0, as `write_csv` does."""
    if isinstance(content, dict):
        return {key: round_floats(value, decimals) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [round_floats(value, decimals) for value in content]
    if isinstance(content, float):
        return round(content, decimals) + 0.0
    return content


def write_json(path: Path, content: Any) -> None:
    """Write JSON, perhaps of a dataclass, that reads well in a diff."""
    text = json.dumps(content, indent=2, allow_nan=False, default=asdict)
    with atomic_write(path) as tmp_path:
        tmp_path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, kind: Any = Any) -> Any:
    """The content of a JSON file, which is of a type such as dict[str, float]."""
    with reading(path):
        return TypeAdapter(kind).validate_python(parse_json(path.read_text(encoding="utf-8")))


def parse_json(text: str) -> Any:
    """The content of a text of JSON, as `write_json` writes it.

    Raises:
        ValueError: it is none; or has a number that is not finite, or a key twice.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key is there twice, of {', '.join(found)[:80]}")
    return found


def read_dataclass(path: Path, cls: type[T]) -> T:
    """The dataclass `cls` that `write_json` wrote."""
    content = read_json(path, dict[str, Any])
    with reading(path):
        known = {each.name for each in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(content.keys() - known):
            raise ValueError(f"no {cls.__name__} has {', '.join(unknown)}: of a newer cf?")
        return TypeAdapter(cls).validate_python(content)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what the block raises, where a file is not what it should be, into an InputError."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split())  # Arrow's may have several lines
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = ": ".join([".".join(map(str, first["loc"])), first["msg"]]).lstrip(": ")
        if isinstance(error, MemoryError):  # which a file may also cause that claims to be large
            raise InputError(
                f"{path}: cannot be read, as this process gets no more memory ({reason}). Free "
                "memory, or use a larger machine. If the file is damaged, delete it, and `dvc "
                "repro` makes it anew."
            ) from None
        raise InputError(
            f"{path}: cannot be read ({reason}). `dvc repro` makes it; where your team has a "
            "remote of DVC, `dvc pull` fetches it. If it is damaged, delete it first."
        ) from None


def _check_values(frame: pd.DataFrame, needed: Collection[str]) -> None:
    """Raise ValueError where a column of the project's tables has something else than it should."""
    for name, (expected, fits) in VALUES.items():
        if name in needed and not fits(frame[name]):
            raise ValueError(f"column {name}: expected {expected}, got {frame[name].dtype}")


def _is_text(values: "pd.Series[Any]") -> bool:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.cat.categories.to_series()
    known = values.dropna()
    return known.empty or pd.api.types.is_string_dtype(known)


Check = Callable[["pd.Series[Any]"], bool]
INDICES: tuple[str, Check] = (
    "whole numbers from 0",
    lambda values: values.dtype == "int64" and bool((values >= 0).all()),
)
NUMBERS: tuple[str, Check] = (
    "finite numbers",
    lambda values: values.dtype in ("float32", "float64") and bool(np.isfinite(values).all()),
)
IDS: tuple[str, Check] = (
    "ids",
    lambda values: values.dtype == "int64" or (not values.hasnans and _is_text(values)),
)
TEXT: tuple[str, Check] = ("text", _is_text)
VALUES: Mapping[str, tuple[str, Check]] = {
    **dict.fromkeys(("user", "item", "row"), INDICES),
    **dict.fromkeys(("rating", "observed"), NUMBERS),
    **dict.fromkeys(("user_id", "item_id"), IDS),
    **dict.fromkeys(("title", "genres", "tag"), TEXT),
    "timestamp": ("whole numbers", lambda values: values.dtype == "int64"),
    "year": ("years", lambda values: values.dtype == "Int32" or bool(values.isna().all())),
}
"""What columns of the project's own tables have, by name; checked where one is needed."""


def with_columns(frame: pd.DataFrame, needed: Iterable[str]) -> pd.DataFrame:
    """The frame; raises ValueError if it lacks a column."""
    if missing := set(needed) - set(frame.columns):
        raise ValueError(f"no column {', '.join(sorted(missing))}")
    return frame
