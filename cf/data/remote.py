"""The user's own files at a URL, such as s3://bucket/ratings/*.parquet, copied here by fsspec."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from cf.core.errors import InputError
from cf.data.datasets import download_folder
from cf.data.table_file import is_table

KEY = "params.yaml: ingest.dataset"


def is_url(path: str) -> bool:
    """Whether this is no path of this machine."""
    return "://" in path


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """The path of a copy of what is at a URL: a file, or a folder with all files; gone in the end.

    What is no URL stays as it is. Messages of the block name the URL instead of the copy.

    Raises:
        InputError: nothing is there, it cannot be read, or the URL has a password.
    """
    if not is_url(path):
        yield path
        return
    folder = download_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="url-", dir=folder) as here:
        copied = fetch(path, Path(here))
        try:
            yield copied
        except InputError as error:
            root = path.rstrip("/") if Path(copied).is_dir() else path.rpartition("/")[0]
            raise InputError(str(error).replace(here, root)) from None


def fetch(url: str, folder: Path) -> str:
    """Copy what is at a URL into a folder; return the path of the file, or of the folder."""
    if urlsplit(url).password:
        raise InputError(
            f"{KEY}: this URL has a password in it, which git and MLflow would keep. Give it in "
            "an environment variable or a file, as the library for this kind of URL reads it."
        )
    import fsspec  # time that files of this machine need not take

    try:
        system, found = fsspec.core.url_to_fs(url)
        if "*" in found:
            paths = system.glob(found)
        else:
            paths = [found] if system.isfile(found) else system.find(found)
        names = [PurePosixPath(name).name for name in paths]
        if len(set(names)) < len(names):  # of folders within
            names = [name.removeprefix(found).strip("/").replace("/", "_") for name in paths]
        copies = [folder / name for name in names]
        system.get(paths, [str(copy) for copy in copies])
    except Exception as error:  # each kind of URL has a library with errors of its own
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{KEY}: {url} cannot be read ({reason[:300]}). Check the URL, and what its library "
            "needs: it may have to be installed, or to log in."
        ) from None
    if not any(map(is_table, copies)) and paths != [found]:
        raise InputError(f"{KEY}: {url}: no file of ratings there, got {names[:5]}.")
    return str(copies[0] if paths == [found] else folder)
