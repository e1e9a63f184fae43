"""Time, CPU and memory of each stage on made-up ratings of a large data set's shape.

Usage: python -m benchmarks.large [--shape ml-32m] [--split leave_last] [--growth],
or make bench-large

Copies what git tracks into a temporary folder, makes the ratings there, takes presets/large.yaml
for params.yaml, and runs the stages one after the other, each as a process of its own. Its figures
go into a JSON file, which the next run compares with.
"""

import argparse
import errno
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import yaml
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from cf.data.synthetic import SHAPES
from cf.evaluation.ranking import METHODS
from cf.reporting.style import COLORS, GRAY, MARKERS, RC_PARAMS, apply_layout, new_figure, save

ROOT = Path(__file__).parents[1]
PRESET = ROOT / "presets/large.yaml"
IMAGE = ROOT / "docs/images/growth.png"
GROWTH = ("ml-100k", "ml-1m", "ml-10m", "ml-32m")
MODELS = "dotbias,bayesmf"
MADE = ("runs/", "reports/")  # in git, but of other data
SYNTHETIC = "synthetic"  # what making the ratings is called among the stages
Figures = dict[str, dict[str, float]]
"""By stage: seconds, cpu_s, peak_gb and silent_s, the longest time without a sign of life."""


@contextmanager
def project(keep: Path | None) -> Iterator[Path]:
    """A folder with what git tracks, as experiments of DVC have it; removed, but for `keep`."""
    with tempfile.TemporaryDirectory() as parent:
        folder = keep or Path(parent) / "cf"
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        for name in filter(None, listed.split("\0")):
            if not name.startswith(MADE):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        yield folder


def measure(command: Sequence[str], folder: Path) -> dict[str, float]:
    """Run a command on a terminal of its own, show what it prints, and say what it took.

    Where the output here goes to no terminal, only what a command that fails printed is shown. The
    peak is of its largest process, and at least of this one; seconds of CPU are of all its
    processes together.
    """
    terminal, inner = os.openpty()
    started = last = time.perf_counter()
    silent, end = 0.0, b""
    process = subprocess.Popen(command, cwd=folder, stdout=inner, stderr=inner, env=environment())
    os.close(inner)
    while output := read(terminal):
        now = time.perf_counter()
        silent, last = max(silent, now - last), now
        end = (end + output)[-4000:]
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), output)
    _, status, usage = os.wait4(process.pid, 0)
    os.close(terminal)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{end.decode(errors='replace')}\nfailed: {' '.join(command)}")
    seconds = time.perf_counter() - started
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes, elsewhere KiB
    return {
        "seconds": round(seconds, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_gb": round(usage.ru_maxrss * (1 if unit == 1e9 else 1.024) / unit, 3),
        "silent_s": round(max(silent, started + seconds - last), 1),
    }


def read(terminal: int) -> bytes:
    """What is there to read, b"" at the end."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError as error:
        if error.errno == errno.EIO:  # so Linux says that nobody writes any more
            return b""
        raise


def environment() -> dict[str, str]:
    """The code of the folder that a stage runs in, not of this one."""
    return {**os.environ, "PYTHONPATH": "", "COLUMNS": "100"}


def stages(models: Sequence[str]) -> dict[str, list[str]]:
    """The command of each stage, in the order of dvc.yaml; of the trainings, those of `models`."""
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    if unknown := [name for name in models if f"train_{name}" not in found]:
        raise SystemExit(f"--models: no stage train_{unknown[0]} in dvc.yaml")
    return {
        name: [sys.executable, *stage["cmd"].split()[1:]]
        for name, stage in found.items()
        if not name.startswith("train_") or name.removeprefix("train_") in models
    }


def run(
    shape: str, models: Sequence[str], seed: int, split: str, keep: Path | None
) -> dict[str, Any]:
    """Make ratings of a shape and run all stages on them: their figures, and the models' RMSE."""
    with project(keep) as folder:
        make = [sys.executable, "-m", "cf.data.synthetic", "data/large", "--shape", shape]
        figures = {SYNTHETIC: measure([*make, "--seed", str(seed)], folder)}
        params = yaml.safe_load(PRESET.read_text())
        params["ingest"] |= {"dataset": "data/large/ratings.csv", "items": "data/large/movies.csv"}
        params["split"]["method"] = split
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        for name, command in stages(models).items():
            figures[name] = measure(command, folder)
        scores = json.loads((folder / "reports/metrics.json").read_text())
        floors = json.loads((folder / "data/large/noise_floor.json").read_text())
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "n_ratings": SHAPES[shape].n_ratings,
        "stages": figures,
        "rmse": floors | {name: score["rmse"] for name, score in scores.items()},
    }


def table(shape: str, now: dict[str, Any], before: dict[str, Any] | None) -> Table:
    """Figures by stage, and in brackets how many times as much as in the last run."""
    stages, last = now["stages"], (before or {}).get("stages", {})
    pipeline = [name for name in stages if name != SYNTHETIC]
    found = Table(title=f"{shape}, made up: {now['n_ratings']:,} ratings, {now['machine']}")
    found.add_column("stage")
    headings = {
        "seconds": "s",
        "cpu_s": "s of CPU",
        "peak_gb": "GB at most",
        "silent_s": "silent s",
    }
    for heading in headings.values():
        found.add_column(heading, justify="right")

    def cells(values: dict[str, float], old: dict[str, float]) -> list[str]:
        ratio = {key: f" ({values[key] / old[key]:.2f})" if old.get(key) else "" for key in values}
        return [f"{values[key]:.{1 + (key == 'peak_gb')}f}{ratio[key]}" for key in headings]

    for name, values in stages.items():
        found.add_row(name, *cells(values, last.get(name, {})), end_section=name == SYNTHETIC)
    both = [total(stages, pipeline), total(last, pipeline) if set(pipeline) <= set(last) else {}]
    found.add_section()
    found.add_row("all stages", *cells(*both))
    return found


def total(stages: Figures, names: Sequence[str]) -> dict[str, float]:
    """Sums of times, and the highest memory and silence."""
    combine: dict[str, Callable[[Iterable[float]], float]] = {
        **{"seconds": sum, "cpu_s": sum},
        **{"peak_gb": max, "silent_s": max},
    }
    return {key: how(stages[name][key] for name in names) for key, how in combine.items()}


def draw(results: dict[str, dict[str, Any]]) -> Figure:
    """CPU time of each stage against the number of ratings: parallel to the gray, it is linear."""
    figure = new_figure("CPU time of each stage against the number of ratings", (8, 5))
    axes = figure.add_subplot()
    ordered = sorted(results.values(), key=lambda result: result["n_ratings"])
    sizes = [result["n_ratings"] for result in ordered]
    names = [name for name in ordered[-1]["stages"] if name != SYNTHETIC]
    for k, name in enumerate(names):
        color, marker = COLORS[k % len(COLORS)], MARKERS[k % len(MARKERS)]
        found = [
            (n, r["stages"][name]["cpu_s"])
            for n, r in zip(sizes, ordered, strict=True)
            if name in r["stages"]
        ]
        axes.plot(*zip(*found, strict=True), color=color, marker=marker, label=name)
    top = total(ordered[-1]["stages"], names)["cpu_s"]
    line = [top * n / sizes[-1] for n in sizes]
    axes.plot(sizes, line, "--", color=GRAY, label="linear")
    axes.set(xscale="log", yscale="log", xlabel="ratings", ylabel="seconds of CPU")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(True)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return apply_layout(figure)


def main() -> None:
    """Measure, print, keep and, with --growth, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--shape", choices=SHAPES, default="ml-32m", help="of which data set")
    parser.add_argument("--growth", action="store_true", help=f"{', '.join(GROWTH)}, and a figure")
    parser.add_argument("--models", default=MODELS, help=f"with commas; by default {MODELS}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--split", choices=("random", *METHODS), default="random", help="others rank, too"
    )
    parser.add_argument("--json", type=Path, help="the file with the last run's figures")
    parser.add_argument("--keep", type=Path, help="run in this folder, and leave it")
    given = parser.parse_args()
    console = Console()
    results = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    models = [name for name in given.models.split(",") if name]
    for shape in GROWTH if given.growth else (given.shape,):
        now = run(shape, models, given.seed, given.split, given.keep)
        console.print(table(shape, now, results.get(shape)))
        console.print("RMSE: " + ", ".join(f"{k} {v:.4f}" for k, v in now["rmse"].items()))
        results[shape] = now
        if given.json:
            given.json.write_text(json.dumps(results, indent=2) + "\n")
    if given.growth:
        with matplotlib.rc_context(RC_PARAMS):
            save(draw({shape: results[shape] for shape in GROWTH}), IMAGE)


if __name__ == "__main__":
    main()
