"""Predictions for a file of pairs: cf score."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

import cf
from cf.cli.recommend import refuse_to_overwrite
from cf.core import io
from cf.core.config import TextLayout
from cf.core.errors import InputError
from cf.data import columns, table_file
from cf.data.values import Times, WrongValueError
from cf.inference.recommender import Recommender

WRITERS = {".parquet": parquet.ParquetWriter, ".csv": csv.CSVWriter}


def main(pairs: str, out: str, force: bool, model: str | None) -> None:
    """Predict the pairs of a file, in batches, into a Parquet or CSV file.

    Raises:
        InputError: the file cannot be read, or there is one to be overwritten.
    """
    source, target = Path(pairs).expanduser(), Path(out)
    refuse_to_overwrite(target, force, tuple(WRITERS))
    if not source.is_file():
        raise InputError(f"{pairs}: there is no such file.")
    table = table_file.open_table(source, TextLayout())
    chosen = columns.choose(table.names, table.sample, {"rating": None, "timestamp": None})
    if missing := {"user_id", "item_id"} - set(chosen):
        raise InputError(
            f"{pairs}: no column was recognized as {', '.join(sorted(missing))} among "
            f"{str(table.names)[:300]}. Call them user_id and item_id."
        )
    names = [chosen[key][0] for key in ("user_id", "item_id")]
    time = columns.named([n for n in table.names if n not in names], columns.NAMES["timestamp"])
    recommender, n_pairs, n_new, writer = cf.load(model), 0, 0, None
    with io.atomic_write(target) as tmp_path:
        for blocks in table_file.read_blocks(table, names if time is None else [*names, time]):
            frame = predict(recommender, blocks, n_pairs, pairs)
            frame = frame.astype(dict.fromkeys(("user_id", "item_id", "title", "note"), "str"))
            if target.suffix == ".csv":
                frame = io.without_formulas(frame)
            batch = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or WRITERS[target.suffix](tmp_path, batch.schema)
            writer.write_table(batch.cast(writer.schema) if target.suffix == ".parquet" else batch)
            n_pairs, n_new = n_pairs + len(frame), n_new + int((frame["note"] != "").sum())
        if writer is None:
            raise InputError(f"{pairs}: holds no pairs.")
        writer.close()
    at = "" if time is None else f" at the times in {time}"
    new = f", {n_new:,} of them of a new user or item, or of one without training ratings"
    print(f"{out}: {n_pairs:,} predictions by {recommender.name}{at}{new if n_new else ''}")


def predict(
    recommender: Recommender, blocks: Sequence[pa.Array], n_before: int, name: str
) -> pd.DataFrame:
    """The predictions of a block of users, items and perhaps times.

    Raises:
        InputError: a row cannot be predicted, which the message has the number of.
    """
    row = 0
    try:
        try:
            users, items = (block.to_pylist() for block in blocks[:2])
        except UnicodeDecodeError:  # texts of Parquet files may be in any encoding
            for row in range(len(blocks[0])):
                [block[row].as_py() for block in blocks[:2]]
            raise
        times = None
        if len(blocks) > 2:
            parsed = Times()
            parsed.add(blocks[2])
            times = parsed.series().to_numpy()
        for row, cells in enumerate(zip(users, items, strict=True)):  # noqa: B007
            if None in cells or "" in cells:
                raise InputError("user or item is missing.")
        try:
            return recommender.predict(users, items, times)
        except InputError:
            for row, item in enumerate(items):  # noqa: B007
                recommender.catalog.find_items([item])
            raise
    except WrongValueError as error:
        row, problem = error.row, f"expected {error} as time."
    except (InputError, ValueError) as error:
        problem = str(error)
    raise InputError(f"{name}, row {n_before + row + 1}: {problem}")
