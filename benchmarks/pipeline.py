"""Wall time and peak memory of a clean `dvc repro`, with MLflow and without, and of an idle one.

Copies the project without what was made into a temporary folder, where it is no git repository,
and runs it there a few times; the data set comes from the cache.
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

ROUNDS = 3
MADE = (".git", "mlruns", "ingested", "encoded", "split", "models", "blend", "runs", "reports")
CACHES = (".venv*", "cache", "tmp", "dvc.lock", "__pycache__", ".*_cache", ".hypothesis")


def fresh(folder: Path) -> None:
    """Copy the project into `folder` as one would download it."""
    root = Path(__file__).parent.parent

    def left_out(parent: str, names: list[str]) -> set[str]:
        made = MADE if Path(parent) in (root, root / "data") else ()
        return {*shutil.ignore_patterns(*CACHES)(parent, names), *(set(made) & set(names))}

    shutil.copytree(root, folder, ignore=left_out)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")


def measured(folder: Path) -> tuple[float, float]:
    """Seconds of `dvc repro` in `folder`, and the most memory of all its processes at once, GiB."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(["dvc", "repro", "--quiet"], cwd=folder, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, tree_memory(process))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"dvc repro failed in {folder}")
    return time.perf_counter() - started, peak / 2**30


def tree_memory(process: psutil.Process) -> int:
    """Bytes that the process and all below it have resident, shared pages counted each time."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def switch_off_tracking(folder: Path) -> None:
    """Let the project in `folder` record nothing."""
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("enabled: true", "enabled: false"))


def main() -> None:
    """Measure and print."""
    clean, untracked, idle = [], [], []
    with tempfile.TemporaryDirectory() as parent:
        for number in range(ROUNDS):
            with_mlflow, without = (Path(parent) / f"{number}{kind}" for kind in "ab")
            fresh(with_mlflow)
            clean.append(measured(with_mlflow))
            idle.append(measured(with_mlflow))
            fresh(without)
            switch_off_tracking(without)
            untracked.append(measured(without))
    named = {"clean dvc repro": clean, "the same without MLflow": untracked, "nothing to do": idle}
    for name, figures in named.items():
        seconds = sorted(second for second, _ in figures)
        memory = max(gib for _, gib in figures)
        print(
            f"{name}: median {statistics.median(seconds):.1f} s of {ROUNDS} "
            f"({seconds[0]:.1f} to {seconds[-1]:.1f}), peak memory {memory:.2f} GiB"
        )
    costs = (a / b for (a, _), (b, _) in zip(clean, untracked, strict=True))
    print(f"with MLflow it takes {statistics.median(costs):.2f} times as long")


if __name__ == "__main__":
    main()
