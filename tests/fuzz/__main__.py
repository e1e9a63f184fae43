"""Search for files that break a loader: python -m tests.fuzz [MINUTES [TARGET ...]]."""

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.run import Failure, search
from tests.fuzz.targets import TARGETS

ROUND = 200  # examples of a target at a time


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    names = sys.argv[2:] or list(TARGETS)
    end = time.monotonic() + 60 * minutes
    tried, taken, failures = (dict.fromkeys(names, 0) for _ in range(3))
    while time.monotonic() < end:
        for name in names:
            if time.monotonic() > end:
                break
            with tempfile.TemporaryDirectory() as folder:
                try:
                    counts = search(TARGETS[name], Path(folder), ROUND, random.getrandbits(64))
                    tried[name] += counts[0]
                    taken[name] += counts[1]
                except Failure as failure:
                    failures[name] += 1
                    print(failure, *failure.__notes__, sep="\n  ", flush=True)
    print(f"\n{'loader':20}{'files':>8}{'taken':>8}{'failures':>10}")
    for name in names:
        print(f"{name:20}{tried[name]:8,}{taken[name]:8,}{failures[name]:10,}")
    print(f"{'all':20}{sum(tried.values()):8,}{sum(taken.values()):8,}{sum(failures.values()):10,}")
    sys.exit(any(failures.values()))


if __name__ == "__main__":
    main()
