"""The curve of one system, fitted in this process, printed as the last line, in JSON.

Usage: python -m benchmarks.floor.one NAME FILE SEED LIMIT THREADS
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.floor.systems import SYSTEMS, Case, System
from benchmarks.floor.table import Measured, Point
from cf.core.ratings import Ratings
from cf.evaluation import metrics


def measure(system: System, case: Case, target: float, limit: float) -> Measured:
    """Points up to the first at `target`, an RMSE, or the first after `limit` seconds."""
    steps = system.curve(case)
    next(steps)
    started = time.perf_counter()
    next(steps)
    converted = time.perf_counter() - started
    fitted, points = 0.0, []
    while fitted < limit:
        started = time.perf_counter()
        step = next(steps, None)
        seconds = time.perf_counter() - started
        if step is None:
            break
        fitted = seconds if system.anew else fitted + seconds
        rmse = metrics.rmse(step.predict(), case.valid.values)
        points.append(Point(step.epochs, fitted, rmse))
        if rmse <= target:
            break
    return Measured(converted, points)


def read(path: Path, seed: int, n_threads: int) -> tuple[Case, float]:
    """The case that `benchmarks.floor` has written, and its target."""
    with np.load(path) as arrays:
        parts = []
        for part in ("train", "valid"):
            users, items, values = (arrays[f"{part}_{key}"] for key in ("users", "items", "values"))
            parts.append(Ratings(users, items, values, None, np.arange(len(values))))
        sizes = int(arrays["n_users"]), int(arrays["n_items"])
        return Case(parts[0], parts[1], *sizes, seed, n_threads), float(arrays["target"])


def main() -> None:
    """Measure and print."""
    name, path, seed, limit, n_threads = sys.argv[1:]
    case, target = read(Path(path), int(seed), int(n_threads))
    print(json.dumps(asdict(measure(SYSTEMS[name], case, target, float(limit)))))


if __name__ == "__main__":
    main()
