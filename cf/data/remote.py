"""The user's own files at a URL, such as s3://bucket/ratings/*.parquet, copied here by fsspec."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from cf.core.errors import InputError
from cf.data.datasets import download_folder
from cf.data.table_file import DEEPEST, VERSIONED, require_current, tables_in

KEY = "params.yaml: ingest.dataset"
SECRET = re.compile(
    r"://[^/@\s]*:[^/@\s]*@|^https?://[^/@\s]*@|[?&][^=]*(sig|token|key|credential|password)[^=]*=",
    re.IGNORECASE,
)
"""A password, or what stands for one, in a URL."""


def is_url(path: str) -> bool:
    """Whether this is no path of this machine."""
    return "://" in path


def name_of(url: str) -> str:
    """The last part of a URL, without a query."""
    return last_part(urlsplit(url).path if is_http(url) else url)


def last_part(url: str) -> str:
    """What is after the last slash but one at the end."""
    return url.rstrip("/").rpartition("/")[2]


def is_http(url: str) -> bool:
    """Whether a question mark in a URL begins a query, and nobody knows what a folder has."""
    return url.startswith(("http://", "https://"))


@contextmanager
def local_copy(path: str, parent: Path | None = None) -> Iterator[tuple[str, str, str]]:
    """A copy of the file, the folder or the files of a pattern at a URL; gone in the end.

    It is in the folder `parent`, if given. What is no URL stays as it is. Messages of the block
    name the URL instead of the copy.

    Yields:
        The path or pattern of the copy; the beginning of that; and what stands for it in the URL.

    Raises:
        InputError: nothing is there, it cannot be read, or the URL has a password.
    """
    if not is_url(path):
        yield path, "", ""
        return
    if SECRET.search(path):
        raise InputError(
            f"{KEY}: this URL has a password or a key in it, which git and MLflow would keep. Give "
            "it in an environment variable or a file, as the library for this kind of URL reads it."
        )
    if "::" in path:
        raise InputError(f"{KEY}: expected one URL, got several: {path[:80]}.")
    parent = parent or download_folder()
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="url-", dir=parent) as folder:
        root = fetch(path, Path(folder))
        rest = f"/{name_of(path)}" if is_http(path) else path[len(root) :].rstrip("/")
        try:
            yield folder + rest, folder, root
        except InputError as error:
            raise type(error)(str(error).replace(folder, root)) from None


def _parents(path: str) -> list[str]:
    """The folders that a path is in, the nearest first, as far as tables have them."""
    return [str(parent) for parent in PurePosixPath(path).parents][:DEEPEST]


def fetch(url: str, folder: Path) -> str:
    """Copy what is at a URL into a folder, and return the part of the URL that the folder is."""
    import fsspec  # time that files of this machine need not take

    try:
        system, found = fsspec.core.url_to_fs(url)
        magic = None if is_http(url) else re.search(r"[*?[]", url)
        root = url[: magic.start()] if magic else url.rstrip("/")
        if magic:
            entries: dict[str, Any] = system.glob(found, detail=True)
            paths = [name for name, entry in entries.items() if entry["type"] == "file"]
            for parent in {part for path in paths for part in _parents(path)}:
                beside = [name for name in VERSIONED if system.exists(f"{parent}/{name}")]
                require_current(url, beside)
        elif system.info(found)["type"] == "directory":
            start = len(found.rstrip("/")) + 1
            there = {path[start:]: path for path in system.find(found)}
            paths = [there[name] for name in tables_in(url, there)]
            root += "/"
        else:
            paths = [found]
        root = root.rpartition("/")[0]
        start = len(system._strip_protocol(root))
        for path in paths:
            name = name_of(url) if paths == [found] else path[start:].lstrip("/")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            system.get_file(path, str(folder / name))
    except InputError:
        raise
    except FileNotFoundError as error:
        reason = f" ({error.__cause__})" if error.__cause__ else ""  # such as no connection
        raise InputError(f"{KEY}: {url}: no such file or folder is found{reason}.") from None
    except Exception as error:  # each kind of URL has a library with errors of its own
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{KEY}: {url} cannot be read ({reason[:300]}). Check the URL, and what its library "
            "needs: it may have to be installed, or to log in."
        ) from None
    if not paths:
        raise InputError(f"{KEY}: {url}: no file of ratings there.")
    return root
