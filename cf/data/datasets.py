"""Which data sets there are, and a verified file of the one asked for."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import platformdirs

from cf.core import io
from cf.core.config import Columns, Ingest, ItemTable, TextLayout
from cf.core.errors import InputError
from cf.data import table_file

GROUPLENS = "https://files.grouplens.org/datasets/movielens"


@dataclass(frozen=True)
class RemoteFile:
    """A published file that holds a data set, and its name in the cache.

    Attributes:
        origin: its URL; by pip, the requirement of a wheel that is read as a zip, not installed.
        digest: SHA-256, in hexadecimal digits.
        size: in bytes; None if it is not known.
        mirrors: URLs of the same bytes, to be tried in this order where the origin fails.
    """

    name: str
    origin: str
    digest: str
    by_pip: bool = False
    size: int | None = None
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        rating_range: lowest and highest rating.
        files: any of them holds it; to be tried in this order.
        bundled: a folder of cf that has all the files, the ratings first; None if none has.
        settings: how it is read, as people's own files are; None: in a layout of MovieLens.
    """

    rating_range: tuple[float, float]
    files: tuple[RemoteFile, ...]
    bundled: Path | None = None
    settings: Ingest | None = None


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
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    by_pip=True,
    size=2_130_151,
)
# Size and SHA-256. For ml-10m and ml-32m GroupLens gives an MD5 only: these are what at least two
# others have published, independently, of a file of that size.
MOVIELENS = {
    "ml-latest-small": (
        978_202,
        "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
    ),
    "ml-100k": (
        4_924_029,
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    ),
    "ml-1m": (
        5_917_549,
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    ),
    "ml-10m": (
        65_566_137,
        "813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
    ),
    "ml-20m": (
        198_702_078,
        "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
    ),
    "ml-25m": (
        261_978_986,
        "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
    ),
    "ml-32m": (
        238_950_008,
        "e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee",
    ),
}
# Mirrors. Not tried: no connection to any of these hosts was to be had when this was written. The
# digest guards: other bytes are refused, and the next source is tried.
# - GitHub: the file of that commit has the digest; it was compared in a copy of the repository.
# - Hugging Face, by the library Recommenders, whose maintainers compared the SHA-256 of these four
#   with GroupLens's: github.com/recommenders-team/recommenders/pull/2369.
# - The Internet Archive's captures of GroupLens's own URLs, as they were served (id_), nearest to
#   2025. Of ml-1m there is one, from 2022; of the others that is not known.
GITHUB = "https://raw.githubusercontent.com/neaorin/databricks-workshop"
GITHUB_COMMIT = "d8a32d05571bc0b6f223d554aa221303e1cea7f1"
HUGGING_FACE = "https://huggingface.co/datasets/Recommenders/MovieLens/resolve/main"
ARCHIVE = "https://web.archive.org/web/2025id_"


def _movielens(name: str) -> Dataset:
    size, digest = MOVIELENS[name]
    url, mirrors = f"{GROUPLENS}/{name}.zip", []
    if name == "ml-latest-small":
        mirrors.append(f"{GITHUB}/{GITHUB_COMMIT}/data/{name}.zip")
    if name in ("ml-100k", "ml-1m", "ml-10m", "ml-20m"):
        mirrors.append(f"{HUGGING_FACE}/{name}.zip")
    mirrors.append(f"{ARCHIVE}/{url}")
    file = RemoteFile(f"{name}.zip", url, digest, size=size, mirrors=tuple(mirrors))
    lowest = 1.0 if name in ("ml-100k", "ml-1m") else 0.5
    return Dataset((lowest, 5.0), (file, WHEEL) if name == "ml-100k" else (file,))


def _movietweetings() -> Dataset:
    """The first 10,000 ratings of MovieTweetings, which come with cf under their own license."""
    folder = Path(__file__).parent / "movietweetings-10k"
    origin = "https://github.com/sidooms/MovieTweetings"
    digests = {
        "ratings.dat": "bf313a3b00f2d58ab6cbceb7f1a5f9b6fe46ae4453856773267b37a3701b105b",
        "movies.dat": "48769961349ec2aa6eaab8a7ade0e282a768475b2528cbe045266632cc05f981",
    }
    files = tuple(RemoteFile(name, origin, sha) for name, sha in digests.items())
    layout = TextLayout(encoding="utf-8", delimiter="::", quote=None, header=False, time_unit="s")
    settings = Ingest(
        dataset=str(folder / "ratings.dat"),
        fallback=None,
        columns=Columns(user_id="1", item_id="2", rating="3", timestamp="4"),
        layout=layout,
        items=ItemTable(
            file=str(folder / "movies.dat"),
            layout=layout,
            item_id="1",
            title="2",
            genres="3",
            separator="|",
        ),
        rating_range=[0.0, 10.0],
    )
    return Dataset((0.0, 10.0), files, folder, settings)


REGISTRY = {name: _movielens(name) for name in MOVIELENS}
REGISTRY["movietweetings-10k"] = _movietweetings()


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
            if path and Path(path).expanduser().is_dir()
            else ("neither a data set nor an existing file")
        )
        raise InputError(
            f"params.yaml: ingest.dataset: {path or repr(path)} is {got}.{hint} Give one of "
            f"{', '.join(REGISTRY)}, or the path of your own ratings: a file, a folder, or a "
            f"pattern such as data/own/*.csv. `cf inspect FILE` says what is in a file."
        )
    name = files[0].name if len(files) == 1 else Path(path).name
    digest = digests[0]
    if len(files) > 1:
        digest = sha256("".join(digests).encode()).hexdigest()
    return files, Source(files[0], name, name, name, digest, (0.0, 0.0))


def fetch(name: str, fallback: Sequence[str]) -> Source:
    """A verified file of the data set `name`: from cf, the cache, its publisher or a mirror.

    Where it cannot be had, the data sets of `fallback` are tried in their order, and the source
    carries a warning. A host that did not answer is not asked twice.

    Raises:
        InputError: none can be had, or as `cf.data.download`.
    """
    reasons: dict[str, str] = {}  # what cannot give the data, such as a host, -> why
    by_hand = (
        f"By hand: download {REGISTRY[name].files[0].origin} and put it, still zipped, under any "
        f"name into {cache_folder()}"
    )
    problem, warning = "", None
    for candidate in dict.fromkeys([name, *fallback]):
        dataset = REGISTRY[candidate]
        if candidate != name:
            warning = (
                f"{problem} {candidate} is used INSTEAD: all results are about {candidate}. "
                f"`dvc repro -f ingest` tries again. {by_hand}."
            )
        try:
            if found := obtain(dataset, reasons):
                path, file = found
                origin = f"wheel of {file.origin}" if file.by_pip else file.origin
                sha256 = io.digest(path)
                return Source(path, candidate, name, origin, sha256, dataset.rating_range, warning)
        except InputError as error:
            if candidate == name:
                raise
            reasons[candidate] = str(error)
        except OSError as error:
            hint = "Check its permissions, or set CF_DATA_HOME to a folder that you may read."
            raise InputError(f"{error.filename}: {error.strerror}. {hint}") from None
        problem = f"{name} cannot be reached: {answers(reasons)}."
    other = (
        ", or allow other data with ingest.fallback: [ml-100k, movietweetings-10k] in params.yaml"
    )
    raise InputError(f"{problem} {by_hand}{'' if fallback else other}.")


def obtain(dataset: Dataset, reasons: dict[str, str]) -> tuple[Path, RemoteFile] | None:
    """A verified file of a data set, and which one it is: from cf, the cache, or a publisher.

    None where it cannot be had: then `reasons` has hosts or URLs that do not give it, and why. What
    is in `reasons` already is not asked, so that several data sets ask a silent host once.

    Raises:
        InputError: a file here is damaged, or as `cf.data.download`.
    """
    return _find(dataset) or _download(dataset, reasons)


def answers(reasons: Mapping[str, str]) -> str:
    """Who cannot give a data set, and why, in one line."""
    return "; ".join(f"{who}: {reason}" for who, reason in reasons.items())


def _find(dataset: Dataset) -> tuple[Path, RemoteFile] | None:
    """A file of the data set that is here, and which one it is."""
    if dataset.bundled:
        for file in dataset.files:
            path = dataset.bundled / file.name
            if not (path.is_file() and io.digest(path) == file.digest):
                raise InputError(
                    f"{path}: is missing or altered, though it comes with cf. Restore it with "
                    "`git checkout`, or install cf again."
                )
        return dataset.bundled / dataset.files[0].name, dataset.files[0]
    both = dict.fromkeys((cache_folder(), download_folder()))
    folders = [folder for folder in both if folder.is_dir()]
    for file in dataset.files:
        for folder in folders:
            path = folder / file.name
            if path.is_file():
                if (got := io.digest(path)) != file.digest:
                    raise InputError(
                        f"{path}: wrong sha256: expected {file.digest}, got {got}. It is "
                        f"damaged, or not what {file.origin} is. Delete it and run the same "
                        "command again: it is then downloaded anew."
                    )
                return path, file
    return _find_renamed(dataset, folders)


def _find_renamed(dataset: Dataset, folders: Sequence[Path]) -> tuple[Path, RemoteFile] | None:
    """A file under another name than the cache's. Only those of the right size are read."""
    there = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
    for file in dataset.files:
        for path in there:
            if file.size == path.stat().st_size and io.digest(path) == file.digest:
                return path, file
    return None


def _download(dataset: Dataset, reasons: dict[str, str]) -> tuple[Path, RemoteFile] | None:
    """A file that a host gives; in `reasons`, hosts or URLs that do not, and why.

    What is in `reasons` is not asked. If a publisher sends another file, or less than the whole,
    and no other source has it, that is an InputError: to try again may help.
    """
    from cf.data import download  # pooch and requests: time that a cached file need not pay

    bad = None
    for file in dataset.files:
        get = download.by_pip if file.by_pip else download.by_https
        for url in (file.origin, *file.mirrors):
            host = "pip" if file.by_pip else url.split("/")[2]
            if host in reasons or url in reasons:
                continue
            path = download_folder() / file.name
            try:
                get(url, path, file.digest)
                return path, file
            except download.RefusedError as error:
                reasons[url] = str(error)
            except download.UnreachableError as error:
                reasons[host] = str(error)
            except download.BadFileError as error:
                reasons[url] = error.reason
                if url == file.origin:
                    bad = error
    if bad:
        raise InputError(f"{bad} Nothing else has it: {answers(reasons)}.")
    return None
