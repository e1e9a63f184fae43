"""Folders for what is between two steps, which all machines share."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from cf.core import config, io
from cf.core.errors import InputError

PROJECT_ID = Path(".dvc/tmp/project-id")  # neither DVC nor git looks there


def storage_of(settings: config.Ray) -> Path:
    """The folder that params.yaml names."""
    return Path(settings.storage).expanduser().resolve()


@contextmanager
def temporary_folder(settings: config.Ray, name: str) -> Iterator[Path]:
    """A new folder, gone in the end, or, where the process is killed, with the next one."""
    folder = storage_of(settings) / f"{name}-{project_id()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def project_id() -> str:
    """Tells this project's folder from others, on whatever machine; an experiment's has its own."""
    if not PROJECT_ID.is_file():
        with io.atomic_write(PROJECT_ID) as tmp_path:
            tmp_path.write_text(uuid4().hex[:8])
    text = PROJECT_ID.read_text(encoding="ascii", errors="replace")
    if not re.fullmatch(r"[0-9a-f]{8}", text):
        raise InputError(f"{PROJECT_ID}: expected eight hexadecimal digits. Delete the file.")
    return text
