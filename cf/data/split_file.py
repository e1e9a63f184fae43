"""The user's own file that says which rows are held out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cf.core.errors import InputError
from cf.core.provenance import SUBSET_LABELS
from cf.data import user_file
from cf.data.user_file import Column

NEEDS = (
    "It needs the columns row, a rating's number in the ingested file from 0, and part: train, "
    "valid or test."
)


def read(path: Path, n: int, test: bool) -> NDArray[np.int8]:
    """The number of each rating's subset, (n,), in the order of SUBSET_LABELS; 0 if not named.

    Args:
        path: of a .csv, .tsv or .parquet file; `NEEDS` says what it holds.
        n: number of ratings that there are.
        test: whether a test subset was asked for.

    Raises:
        InputError: as `user_file.read`; no such file, a row that there is not or that is named
            twice, or an unknown subset.
    """
    if not path.is_file():
        raise InputError(f"params.yaml: split.file: {path}: no such file. {NEEDS}")
    a_number = f"a row from 0 to {n - 1}, as there are {n} ratings"
    columns = {
        "row": Column("row", pa.int64(), a_number, if_missing=NEEDS),
        "part": Column("part", pa.string(), "a word", if_missing=NEEDS),
    }
    frame = user_file.read(path, columns)

    def raise_if_any(column: str, wrong: pd.Series, expected: str) -> None:
        if wrong.any():
            row = int(wrong.to_numpy(bool).argmax())
            raise InputError(
                f"{path}, {user_file.locate(path, row)}, column {column}: expected {expected}, got "
                f"{frame[column].iloc[row]!r}."
            )

    rows, names = frame["row"], list(SUBSET_LABELS)[: 2 + test]
    hint = "" if test else " (or test, with split.test: true in params.yaml)"
    raise_if_any("row", ~rows.between(0, n - 1).fillna(False), a_number)
    raise_if_any("row", rows.duplicated(), "each row once")
    raise_if_any("part", ~frame["part"].isin(names), f"the part {' or '.join(names)}{hint}")
    numbers = np.zeros(n, np.int8)
    numbers[rows.to_numpy(np.int64)] = pd.Categorical(frame["part"], names).codes
    return numbers
