"""Which data sets there are, and a verified file of the one asked for."""

import difflib
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import platformdirs

from cf.core import io
from cf.core.errors import InputError
from cf.data import table_file

GROUPLENS = "https://files.grouplens.org/datasets/movielens"


@dataclass(frozen=True)
class RemoteFile:
    """A published file that holds a data set, and its name in the cache.

    Attributes:
        origin: its URL; by pip, the requirement of a wheel that is read as a zip, not installed.
        digest: algorithm and hexadecimal digest, joined by a colon.
    """

    name: str
    origin: str
    digest: str
    by_pip: bool = False


@dataclass(frozen=True)
class Dataset:
    """A data set's lowest and highest rating, and the files to try, in this order."""

    rating_range: tuple[float, float]
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Source:
    """A file to read ratings from.

    Attributes:
        dataset: its true name; differs from the one `requested` after a fallback.
        origin: where the file is published; for the user's own, its name.
        rating_range: lowest and highest rating it may hold.
        warning: what the user must know about it, if anything.
    """

    path: Path
    dataset: str
    requested: str
    origin: str
    sha256: str
    rating_range: tuple[float, float]
    warning: str | None = None


WHEEL = RemoteFile(
    "recbole-1.2.1-py3-none-any.whl",
    "recbole==1.2.1",
    "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    by_pip=True,
)
# ml-10m and ml-32m have the digests of the .md5 files that GroupLens serves beside the zips: no
# sha256 is known.
DIGESTS = {
    "ml-latest-small": "sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
    "ml-100k": "sha256:50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    "ml-1m": "sha256:a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    "ml-10m": "md5:ce571fd55effeba0271552578f2648bd",
    "ml-20m": "sha256:96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
    "ml-25m": "sha256:8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
    "ml-32m": "md5:d472be332d4daa821edc399621853b57",
}
REGISTRY = {
    name: Dataset(
        rating_range=(1.0 if name in ("ml-100k", "ml-1m") else 0.5, 5.0),
        files=(
            RemoteFile(f"{name}.zip", f"{GROUPLENS}/{name}.zip", digest),
            *((WHEEL,) if name == "ml-100k" else ()),
        ),
    )
    for name, digest in DIGESTS.items()
}


def cache_folder() -> Path:
    """The folder that holds data sets: CF_DATA_HOME, else the platform's cache folder."""
    home = os.environ.get("CF_DATA_HOME")
    root = os.environ.get("DVC_ROOT", "")  # of the project, also for experiments run elsewhere
    return Path(root, home).expanduser() if home else platformdirs.user_cache_path("cf")


def download_folder() -> Path:
    """The folder that downloads go to: the cache, or the platform's where that is read-only."""
    folder = cache_folder()
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    # root may write anywhere; a folder that nobody may write to is meant to stay as it is
    writable = os.access(existing, os.W_OK) and existing.stat().st_mode & 0o222
    return folder if writable else platformdirs.user_cache_path("cf")


def local_files(path: str) -> tuple[list[Path], Source]:
    """The user's own files, which a path, a folder or a pattern names, as a source of ratings.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    try:
        files = table_file.find(path)
        digests = [io.digest(file) for file in files]
    except (OSError, RuntimeError) as error:  # not readable, a name that is too long, or of no user
        raise InputError(f"params.yaml: ingest.dataset: {path[:80]}: {error}.") from None
    if not files:
        close = difflib.get_close_matches(path, REGISTRY, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        got = (
            "a folder without such files"
            if Path(path).expanduser().is_dir()
            else ("neither a data set nor an existing file")
        )
        raise InputError(
            f"params.yaml: ingest.dataset: {path} is {got}.{hint} Give one of "
            f"{', '.join(REGISTRY)}, or the path of your own ratings: a file, a folder, or a "
            f"pattern such as data/own/*.csv. `cf inspect FILE` says what is in a file."
        )
    name = files[0].name if len(files) == 1 else Path(path).name
    digest = digests[0]
    if len(files) > 1:
        digest = sha256("".join(digests).encode()).hexdigest()
    return files, Source(files[0], name, name, name, digest, (0.0, 0.0))


def fetch(name: str, fallback: str | None) -> Source:
    """A verified file of the data set `name`, from the cache or from where it is published.

    Where none of its files can be reached, the data set `fallback` is taken instead and the
    source carries a warning. A host that did not answer is not asked twice.

    Raises:
        InputError: neither can be reached, or as `cf.data.download`.
    """
    reasons: dict[str, str] = {}  # host -> why it cannot be reached
    by_hand = f"By hand: download {REGISTRY[name].files[0].origin} and put it, still zipped, into "
    by_hand += str(cache_folder())
    problem, warning = "", None
    for candidate in dict.fromkeys([name, fallback or name]):
        dataset = REGISTRY[candidate]
        if candidate != name:
            warning = (
                f"{problem} {candidate} is used INSTEAD: all results are about {candidate}. "
                f"`dvc repro -f ingest` tries again. {by_hand}."
            )
        try:
            if found := _find(dataset) or _download(dataset, reasons):
                path, file = found
                origin = f"wheel of {file.origin}" if file.by_pip else file.origin
                sha256 = io.digest(path)
                return Source(path, candidate, name, origin, sha256, dataset.rating_range, warning)
        except OSError as error:
            hint = "Check its permissions, or set CF_DATA_HOME to a folder that you may read."
            raise InputError(f"{error.filename}: {error.strerror}. {hint}") from None
        answers = "; ".join(f"{host}: {reason}" for host, reason in reasons.items())
        problem = f"{name} cannot be reached: {answers}."
    other = "" if fallback else ", or allow other data with ingest.fallback: ml-100k in params.yaml"
    raise InputError(f"{problem} {by_hand}{other}.")


def _find(dataset: Dataset) -> tuple[Path, RemoteFile] | None:
    for file in dataset.files:
        for folder in (cache_folder(), download_folder()):
            path = folder / file.name
            if path.is_file():
                algorithm, expected = file.digest.split(":")
                if (got := io.digest(path, algorithm)) != expected:
                    raise InputError(
                        f"{path}: wrong {algorithm}: expected {expected}, got {got}. It is "
                        f"damaged, or not what {file.origin} is. Delete it and run the same "
                        "command again: it is then downloaded anew."
                    )
                return path, file
    return None


def _download(dataset: Dataset, reasons: dict[str, str]) -> tuple[Path, RemoteFile] | None:
    """A file that a host gives; in `reasons`, hosts that do not, and why, which are not asked."""
    from cf.data import download  # pooch and requests: time that a cached file need not pay

    for file in dataset.files:
        host = "pip" if file.by_pip else file.origin.split("/")[2]
        if host not in reasons:
            path = download_folder() / file.name
            get = download.by_pip if file.by_pip else download.by_https
            try:
                get(file.origin, path, file.digest)
                return path, file
            except download.UnreachableError as error:
                reasons[host] = str(error)
    return None
