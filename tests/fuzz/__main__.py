"""Search for files that break a loader: python -m tests.fuzz [MINUTES [TARGET ...]]."""

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.run import LoaderError, search
from tests.fuzz.targets import TARGETS

ROUND = 200  # examples of a target at a time


def main() -> None:
    """Try all targets in turn until the time is over, and print what was tried."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    names = sys.argv[2:] or list(TARGETS)
    end = time.monotonic() + 60 * minutes
    tried: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    kinds: dict[str, set[str]] = {name: set() for name in names}
    while time.monotonic() < end:
        for name in names:
            target = TARGETS[name]
            if time.monotonic() > end:
                break
            with tempfile.TemporaryDirectory() as folder:
                n = min(ROUND, target.n_examples)
                try:
                    search(target, Path(folder), n, random.getrandbits(64), kinds[name])
                except LoaderError as failure:
                    kinds[name].add(failure.kind)
                    print(failure, failure.__notes__[-1], sep="\n  ", flush=True)
            tried[name] += target.counts["tried"]
            taken[name] += target.counts["taken"]
            target.counts.clear()
    failures = Counter({name: len(found) for name, found in kinds.items()})
    print(f"\n{'loader':20}{'files':>10}{'taken':>10}{'failures':>10}")
    for name in names:
        print(f"{name:20}{tried[name]:10,}{taken[name]:10,}{failures[name]:10,}")
    print(f"{'all':20}{tried.total():10,}{taken.total():10,}{failures.total():10,}")
    sys.exit(failures.total() > 0)


if __name__ == "__main__":
    main()
