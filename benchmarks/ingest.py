"""How fast files of ratings are read, and how much memory it takes, on one core.

Makes up ratings with as many users and items as ml-32m has, and runs the stages that read them,
each as a process of its own. Usage: python -m benchmarks.ingest [MILLIONS] [ROUNDS]
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from psutil import NoSuchProcess, Popen
from pyarrow import csv
from rich.console import Console
from rich.table import Table

N_USERS, N_ITEMS = 200_948, 84_432  # of ml-32m
BLOCK = 4_000_000  # rows that are made up at a time
STAGES = ("ingest", "encode", "split")
ROOT = Path(__file__).parents[1]


def make_up(path: Path, n: int, as_text: bool) -> None:
    """Write n ratings, of different pairs, with times: ids are numbers, or text such as u00042."""
    draw = np.random.default_rng(0)
    writer = None
    for start in range(0, n, BLOCK):
        numbers = np.arange(start, min(n, start + BLOCK), dtype=np.int64)
        pairs = numbers * 7919 % (N_USERS * N_ITEMS)  # a prime: no pair comes twice
        users, items = pairs // N_ITEMS, pairs % N_ITEMS
        columns = {
            "userId": pa.array(users),
            "movieId": pa.array(items),
            "rating": pa.array(draw.integers(1, 11, len(numbers)) / 2),
            "timestamp": pa.array(draw.integers(10**9, 17 * 10**8, len(numbers))),
        }
        if as_text:
            for name, sign in (("userId", "u"), ("movieId", "tt")):
                texts = pc.utf8_lpad(columns[name].cast(pa.string()), 7, "0")
                columns[name] = pc.binary_join_element_wise(sign, texts, "")
        table = pa.table(columns)
        writer = writer or csv.CSVWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def run(stage: str, folder: Path) -> tuple[float, float]:
    """Seconds of a stage in a folder, and its peak memory, GB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started, peak = time.perf_counter(), 0
    command = [sys.executable, "-m", f"stages.{stage}"]
    process = Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except NoSuchProcess:
            break
        time.sleep(0.02)
    if process.wait():
        raise SystemExit(f"{stage} failed")
    return time.perf_counter() - started, peak / 1e9


def main() -> None:
    """Measure and print, medians of the rounds."""
    n = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 4_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    table = Table(title=f"{n:,} ratings, one core, medians of {rounds}")
    for heading in ("ids", "stage", "seconds", "ratings/s", "GB at most"):
        table.add_column(heading, justify="left" if heading in ("ids", "stage") else "right")
    for ids in ("whole numbers", "text"):
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent)
            make_up(folder / "ratings.csv", n, as_text=ids == "text")
            params = yaml.safe_load((ROOT / "params.yaml").read_text())
            params["ingest"]["dataset"] = "ratings.csv"
            (folder / "params.yaml").write_text(yaml.safe_dump(params))
            for stage in STAGES:
                found = [run(stage, folder) for _ in range(rounds)]
                seconds = statistics.median(second for second, _ in found)
                memory = max(gb for _, gb in found)
                table.add_row(ids, stage, f"{seconds:.1f}", f"{n / seconds:,.0f}", f"{memory:.2f}")
            shutil.rmtree(folder / "data")
    Console().print(table)


if __name__ == "__main__":
    main()
