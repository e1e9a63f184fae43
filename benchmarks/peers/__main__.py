"""cf's models and other libraries on the rows of data/split, each in a process of its own.

Prints two tables in Markdown: who predicts stars, by RMSE over all validation rows, and who makes
lists, by NDCG. Systems are measured in turn, round by round, one seed each; medians are shown.
`make peers` installs what is compared, apart from cf's own environment. The medians go into a JSON
file, which the next run compares with, and from which `python -m benchmarks.frontier` draws.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks.peers.case import System
from benchmarks.peers.children import result, say, version
from benchmarks.peers.systems import LISTS, STARS
from benchmarks.peers.table import Measured, changes, medians, table
from cf.core import io, paths
from cf.core.errors import InputError
from cf.core.ratings import Provenance


def measured(system: System, seed: int, n_threads: int) -> Measured | None:
    """One run of a system, or None, and why on the console, where it fails."""
    values = result("benchmarks.peers.one", system.name, str(seed), n_threads=n_threads)
    if values is None:
        return None
    found = Measured(**values)
    say(f"round {seed}: {system.name}: {found.score:.4f}, {found.seconds:.2f} s")
    return found


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="that each system may use")
    parser.add_argument("--only", nargs="+", metavar="PACKAGE", help="such as cf myfm")
    parser.add_argument("--json", type=Path, help="the file with the last run's figures")
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
    figures = io.read_json(options.json) if options.json and options.json.exists() else {}
    for scored, group in (("RMSE", STARS), ("NDCG", LISTS)):
        versions = {s.name: version(s.package) or "" for s in group if s.name in rounds}
        if not versions:
            continue
        of_group = {name: rounds[name] for name in versions}
        now, before = medians(of_group), figures.get(scored, {})
        print("", *table(scored, of_group, versions), sep="\n")
        if lines := changes(scored, now, before):
            print("", f"Since the run in {options.json}:", *lines, sep="\n")
        figures[scored] = before | now
    if options.json:
        io.write_json(options.json, io.round_floats(figures))
    sys.exit(len(rounds) < len(installed))


if __name__ == "__main__":
    main()
