"""Every write fails once: python -m tests.torture [COMMAND ...] [--most N] [--tries N] [--seed N]

For each command, its n-th write, rename or fsync fails: with EIO once, with ENOSPC as all after it
do, and by the death of the process. Then there is a message or a death, and the command again ends
as if nothing had happened.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("commands", nargs="*", help="all if none is named")
    parser.add_argument("--most", type=int, default=30, help="of one kind and file")
    parser.add_argument("--tries", type=int, help="at most, of each command")
    parser.add_argument("--seed", type=int, default=0, help="which, where not all")
    options = parser.parse_args()
    if "FAULTS" not in os.environ:
        from tests.stores import environment
        from tests.torture.tries import preloaded

        memory = Path("/dev/shm")  # where there are no disks to wait for
        place = memory if os.access(memory, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="torture-", dir=place) as folder:
            space = Path(folder).resolve() / "space"
            again = [sys.executable, "-m", "tests.torture", *sys.argv[1:]]
            environ = environment() | preloaded(space.parent, space)
            sys.exit(subprocess.run(again, env=environ, check=False).returncode)
    from tests.torture import torture  # late: all that a command imports

    sys.exit(torture.main(options))


if __name__ == "__main__":
    main()
