"""Predictions for a file of pairs: cf score."""

from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

import cf
from cf.cli.recommend import refuse_to_overwrite
from cf.core import io
from cf.core.config import TextLayout
from cf.core.errors import InputError
from cf.data import columns, table_file

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
    recommender, n_pairs, n_new, writer = cf.load(model), 0, 0, None
    with io.atomic_write(target) as tmp_path:
        for users, items in table_file.read_blocks(table, names):
            frame = recommender.predict(users.to_pylist(), items.to_pylist())
            frame = frame.astype(dict.fromkeys(("user_id", "item_id", "title", "note"), "str"))
            batch = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or WRITERS[target.suffix](tmp_path, batch.schema)
            writer.write_table(batch.cast(writer.schema) if target.suffix == ".parquet" else batch)
            n_pairs, n_new = n_pairs + len(frame), n_new + int((frame["note"] != "").sum())
        if writer is None:
            raise InputError(f"{pairs}: holds no pairs.")
        writer.close()
    new = f", {n_new:,} of them of a new user or item" if n_new else ""
    print(f"{out}: {n_pairs:,} predictions by {recommender.name}{new}")
