"""How long commands take from start to end, beside importing PyTorch in the same run.

Takes trained models (dvc repro). Usage: python -m benchmarks.commands [REPEATS]
"""

import os
import subprocess
import sys
import time
from statistics import median

COMMANDS = {
    "import torch": ["-c", "import torch"],
    "cf --help": ["-m", "cf.cli", "--help"],
    "cf predict": ["-m", "cf.cli", "predict", "--user", "1", "--item", "1"],
    "cf recommend": ["-m", "cf.cli", "recommend", "--user", "1"],
    "cf similar": ["-m", "cf.cli", "similar", "--item", "1"],
    "cf explain": ["-m", "cf.cli", "explain", "--user", "1", "--item", "1"],
}
REPEATS = 7


def main() -> None:
    """Print a table of medians; the commands take turns."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for repeat in range(n + 1):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if repeat:  # the first reads files into memory
                seconds[name].append(time.perf_counter() - began)
    base = median(seconds["import torch"])
    print(f"medians of {n}; load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for name, values in seconds.items():
        print(f"{name:14} {median(values):5.2f} s  {median(values) / base:5.2f} times import torch")


if __name__ == "__main__":
    main()
