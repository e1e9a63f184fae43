"""cf's models and other libraries on the rows of data/split, each in a process of its own.

Prints two tables in Markdown: who predicts stars, by RMSE over all validation rows, and who makes
lists, by NDCG. Systems are measured in turn, round by round, a round a seed; figures are medians.
`make peers` installs what is compared, apart from cf's own environment.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata

from benchmarks.peers.case import System
from benchmarks.peers.systems import LISTS, STARS
from benchmarks.peers.table import Measured, table

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "LK_NUM_THREADS",
    "LK_NUM_BACKEND_THREADS",
)
"""Variables that libraries read their number of threads from, the last two LensKit's."""


def measured(system: System, seed: int, n_threads: int) -> Measured | None:
    """One run of a system, or None, and why on the console, where it fails."""
    command = [sys.executable, "-m", "benchmarks.peers.one", system.name, str(seed), str(n_threads)]
    environment = {**os.environ, **dict.fromkeys(THREADS, str(n_threads)), "LK_NUM_PROCS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        say(f"{system.name}: failed: {(run.stderr.strip().splitlines() or ['no word'])[-1]}")
        return None
    found = Measured(**json.loads(run.stdout.splitlines()[-1]))
    say(f"round {seed}: {system.name}: {found.score:.4f}, {found.fitted + found.predicted:.2f} s")
    return found


def version(package: str) -> str | None:
    """The version of an installed package, None where there is none."""
    if package == "cf":
        return "here"
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def say(line: str) -> None:
    """Tell how it goes, apart from the tables."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="that each system may use")
    parser.add_argument("--only", nargs="+", metavar="PACKAGE", help="such as cf myfm")
    asked = parser.parse_args()

    systems = [s for s in [*STARS, *LISTS] if not asked.only or s.package in asked.only]
    versions = {package: version(package) for package in {s.package for s in systems}}
    for package in sorted(package for package, there in versions.items() if there is None):
        say(f"{package} is not installed and left out: `make peers` installs it.")
    systems = [system for system in systems if versions[system.package]]
    rounds: dict[str, list[Measured]] = {system.name: [] for system in systems}
    for seed in range(1, asked.rounds + 1):
        for system in systems:
            if len(rounds[system.name]) == seed - 1 and (
                found := measured(system, seed, asked.threads)
            ):
                rounds[system.name].append(found)

    def show(scored: str, group: Sequence[System]) -> None:
        done = [s for s in group if len(rounds.get(s.name, [])) == asked.rounds]
        if done:
            print()
            named = {s.name: versions[s.package] or "" for s in done}
            print(*table(scored, {name: rounds[name] for name in named}, named), sep="\n")

    print(f"Medians of {asked.rounds} rounds; {asked.threads} thread(s) of {os.cpu_count()} cores.")
    show("RMSE", STARS)
    show("NDCG", LISTS)
    sys.exit(any(len(runs) < asked.rounds for runs in rounds.values()))


if __name__ == "__main__":
    main()
