"""A sample of `make torture`: every write of a stage fails once."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores import environment

ROOT = Path(__file__).parent.parent
SAMPLE = (
    *("ingest", "encode", "split", "train_dot", "train_dotbias", "train_bayesmf", "blend"),
    *("evaluate", "rank", "plot", "tune", "sync", "first_sync", "upgrade"),
)


@pytest.mark.skipif(sys.platform != "linux", reason="preloads a library, as only Linux does")
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here: apt install gcc libc6-dev")
def test_after_any_write_that_fails_the_command_again_ends_as_if_none_had(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", *SAMPLE, "--tries", "3"],
        cwd=ROOT,
        env={**environment(), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (counts,) = re.findall(r"^(\d+) tried, (\d+) held$", done.stdout, re.M)
    assert int(counts[0]) == int(counts[1]) >= 2 * len(SAMPLE)
