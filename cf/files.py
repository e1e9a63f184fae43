"""Files that are either complete or not there."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cf.errors import InputError


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it if the block ends well and removed if not.

    Missing parent folders are made. The last suffix of `path` is kept, for writers that look
    at it.

    Raises:
        InputError: the system refused to write (disk full, no permission).
    """
    beside = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write {path}: {reason}. Free some space or choose a folder that can be "
            "written to, then run the same command again."
        ) from error
    finally:
        with suppress(OSError):  # where nothing can be written, nothing can be removed
            beside.unlink()


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
