"""The rows that others publish on: where their data is, and which of it is held out."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.bayesmf import Data
from cf.core.errors import InputError
from cf.core.ratings import Indices, Ratings
from cf.data import datasets, movielens, side_tables
from cf.data import split as splitting
from cf.data.datasets import REGISTRY, Dataset, RemoteFile
from stages.encode import encode, encode_tags, in_order

N_FOLD = 20_000  # rows of u.data
TENTH = 0.1
IGMC = "https://raw.githubusercontent.com/muhanzhang/IGMC"
IGMC_COMMIT = "5fa0e3cb1bdc46ffcb97fa6e0249a553e2e0b438"


class Rows(NamedTuple):
    """Ratings by index to fit to and to score on, and what is known of users and items."""

    train: Ratings
    held: Ratings
    data: Data


class Row(NamedTuple):
    """A row of the ladder.

    Attributes:
        dataset: its name.
        held: which of a MovieLens data set's n rows are held out; None: the file itself tells.
        default: whether it is run if no row is named.
    """

    name: str
    dataset: str
    what: str
    held: Callable[[int], Indices] | None
    default: bool = True


def _monti(name: str, size: int, sha256: str, low: float, high: float) -> Dataset:
    """A data set of Monti et al. 2017; not one of cf's, since it comes without a license."""
    url = f"{IGMC}/{IGMC_COMMIT}/raw_data/{name}/training_test_dataset.mat"
    file = RemoteFile(f"monti-{name}.mat", url, sha256, size=size)
    return Dataset((low, high), (file,))


DOUBAN = "1f4476321cbfe0f606e7e35d0695ca15447a1b0b2c811df130109b6cb9a067ae"
FLIXSTER = "8b07e0387edfe7ffdccead2826bb3844ddbd9e6a8ccba264ce81a3b59b273197"
YAHOO_MUSIC = "56a80de836537544d0d6ba36fc59937dfe87f738ac5e2a701cc8226faf4f31ec"
DATASETS = {
    **REGISTRY,
    "douban": _monti("douban", 2_778_554, DOUBAN, 1.0, 5.0),
    "flixster": _monti("flixster", 2_776_221, FLIXSTER, 0.5, 5.0),
    "yahoo_music": _monti("yahoo_music", 1_900_885, YAHOO_MUSIC, 1.0, 100.0),
}


def fold(k: int) -> Callable[[int], Indices]:
    """GroupLens' fold u1, u2, ...: u1's test rows are the first 20,000 of u.data, and so on."""
    return lambda n: np.arange((k - 1) * N_FOLD, min(k * N_FOLD, n))


def random_tenth(seed: int) -> Callable[[int], Indices]:
    """A random tenth of the rows. Of ml-1m, seed 42 draws myFM's fold 0 of 10 but for one row."""
    return lambda n: splitting.random_split(n, TENTH, seed)["valid"]


LADDER = {
    row.name: row
    for row in (
        *(Row(f"ml-100k-u{k}", "ml-100k", f"fold u{k}", fold(k)) for k in range(1, 6)),
        *(Row(name, name, "Monti's split", None) for name in ("douban", "flixster", "yahoo_music")),
        *(Row(f"ml-1m-{s}", "ml-1m", f"90/10, seed {s}", random_tenth(s)) for s in (42, 7, 8)),
        Row("ml-10m", "ml-10m", "90/10, seed 42", random_tenth(42)),
        *(
            Row(name, name, "90/10, seed 42", random_tenth(42), default=False)
            for name in ("ml-20m", "ml-25m", "ml-32m")
        ),
    )
}


def choose(names: list[str]) -> list[Row]:
    """The rows of these names, of rows or data sets; without a name, those that run by default.

    Raises:
        InputError: there is no such row or data set.
    """
    if not names:
        return [row for row in LADDER.values() if row.default]
    for name in names:
        if name not in {*LADDER, *(row.dataset for row in LADDER.values())}:
            raise InputError(f"{name}: no such row. Give rows or data sets: {', '.join(LADDER)}.")
    return [row for row in LADDER.values() if row.name in names or row.dataset in names]


def locate(name: str, reasons: dict[str, str]) -> Path:
    """The verified file of a data set, downloaded if it is not in the cache.

    `reasons` is that of `cf.data.datasets.obtain`.

    Raises:
        InputError: it cannot be had, or not read; the message says what to do.
    """
    dataset = DATASETS[name]
    if name not in REGISTRY and find_spec("h5py") is None:
        raise InputError("to read it takes the package h5py: `make ladder` installs it.")
    if found := datasets.obtain(dataset, reasons):
        return found[0]
    urls = [url for file in dataset.files for url in (file.origin, *file.mirrors)]
    of_these = {who: why for who, why in reasons.items() if any(who in url for url in urls)}
    raise InputError(
        f"it cannot be reached: {datasets.answers(of_these)}. By hand: download {urls[0]} and put "
        f"it as it is, under any name, into {datasets.cache_folder()}."
    )


def read(row: Row, path: Path) -> Rows:
    """The row's ratings, users and items, out of the file that `locate` found."""
    rating_range = DATASETS[row.dataset].rating_range
    if row.held is None:
        ratings, held = read_matrices(path)
        items = side_tables.bare_items(pd.Series(ratings["item_id"].unique()))
        users = pd.DataFrame({"user_id": ratings["user_id"].unique()})
        tags = side_tables.no_tags()
    else:
        ratings, items, users = movielens.read(path, rating_range)
        tags = movielens.read_tags(path)
        held = row.held(len(ratings))
    encoded, user_ids, item_ids = encode(ratings)
    items = in_order(items, "item_id", item_ids).fillna({"genres": ""})
    users = in_order(users, "user_id", user_ids)
    everything = Ratings.from_frame(encoded)
    train = everything.take(np.setdiff1d(np.arange(len(encoded)), held))
    data = Data(users, items, encode_tags(tags, item_ids), rating_range)
    return Rows(train, everything.take(held), data)


def read_matrices(path: Path) -> tuple[pd.DataFrame, Indices]:
    """The ratings of a MATLAB file of Monti et al., train before test, and the rows of test.

    M has the ratings, users by items, and Otraining and Otest have ones where they are of either
    part. MATLAB 7.3 writes HDF5, where matrices are transposed.
    """
    import h5py  # of the environment of `make ladder`

    with h5py.File(path) as file:
        matrix, train, test = (np.asarray(file[key]).T for key in ("M", "Otraining", "Otest"))
    users, items = np.hstack([np.nonzero(part) for part in (train, test)])
    ratings = matrix[users, items].astype(np.float32)
    frame = pd.DataFrame({"user_id": users, "item_id": items, "rating": ratings})
    return frame, np.arange(np.count_nonzero(train), len(frame))
