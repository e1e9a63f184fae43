"""The pipeline's lists of recommended items, on a split by time: cf rank."""

import subprocess

from cf.core.errors import InputError


def main() -> None:
    """Run the pipeline up to the stage rank in a folder of its own, as an experiment of DVC."""
    command = ["dvc", "exp", "run", "--temp", "--set-param", "split.method=time", "rank"]
    if subprocess.run(command, check=False).returncode:
        raise InputError("the experiment failed; DVC's message above says why.")
