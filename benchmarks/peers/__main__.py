"""cf's models and other libraries on the rows of data/split, each in a process of its own.

Prints two tables in Markdown: who predicts stars, by RMSE over all validation rows, and who makes
lists, by NDCG. Systems are measured in turn, round by round, one seed each; medians are shown.
`make peers` installs what is compared, apart from cf's own environment.
"""

import argparse
import json
import os
import subprocess
import sys
from importlib import metadata

from benchmarks.peers.case import System
from benchmarks.peers.systems import LISTS, STARS
from benchmarks.peers.table import Measured, table
from cf.core import io, paths
from cf.core.errors import InputError
from cf.core.ratings import Provenance

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
    options = parser.parse_args()
    try:
        facts = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    except InputError as error:
        sys.exit(f"peers: {error}")

    wanted = [s for s in [*STARS, *LISTS] if not options.only or s.package in options.only]
    installed = [system for system in wanted if version(system.package)]
    for package in sorted({s.package for s in wanted} - {s.package for s in installed}):
        say(f"{package} is not installed and left out: `make peers` installs it.")
    rounds: dict[str, list[Measured]] = {system.name: [] for system in installed}
    for seed in range(1, options.rounds + 1):
        for system in installed:
            if system.name in rounds and (found := measured(system, seed, options.threads)):
                rounds[system.name].append(found)
            else:
                rounds.pop(system.name, None)

    cores = f"{options.threads} thread(s) each on {os.cpu_count()} cores"
    print(f"{facts.dataset}: medians of {options.rounds} round(s), {cores}")
    for scored, group in (("RMSE", STARS), ("NDCG", LISTS)):
        versions = {s.name: version(s.package) or "" for s in group if s.name in rounds}
        if versions:
            print("", *table(scored, {name: rounds[name] for name in versions}, versions), sep="\n")
    sys.exit(len(rounds) < len(installed))


if __name__ == "__main__":
    main()
