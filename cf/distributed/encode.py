"""Ids to indices on Ray, as stages.encode does: no process but the driver's has all ids.

The ratings are read in parts. Each id belongs to one of several owners, by a hash. A part tells
each owner which of its ids it has; the owner finds in which part an id appears first; and that
part numbers it. So indices are in order of first appearance, as `pandas.factorize` gives them.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.core import config, io
from cf.core.ratings import Indices
from cf.distributed.cluster import cluster, in_order, n_workers_of, result, submit, tell_if_busy
from cf.distributed.parts import Part, parts_of

KEYS = {"user_id": "user", "item_id": "item"}


def encode_on_ray(settings: config.Ray, ratings: Path, encoded: Path) -> tuple[pd.Index, pd.Index]:
    """Write the ratings by index, and return the id of each user and of each item by index.

    Args:
        ratings: a Parquet file with user_id, item_id and more columns.
        encoded: the Parquet file to write, as `stages.encode` does.

    Raises:
        InputError: `ratings` cannot be read, or Ray cannot be had.
    """
    parts = parts_of(ratings)
    with cluster(settings):
        n_owners = n_workers_of(settings)
        tell_if_busy(n_needed=1)
        numbered = [number(parts, key, n_owners) for key in KEYS]

        def start() -> Iterator[Any]:
            for at, part in enumerate(parts):
                given = [indices for _, by_part in numbered for indices in by_part[at]]
                yield submit(encode_part, 1, part, n_owners, *given)[0]

        with io.parquet_writer(encoded) as write:
            for frame in in_order(start(), most_waiting=2 * n_owners):
                write(frame)
        users, items = (
            pd.Index(np.concatenate(list(in_order(ids, most_waiting=0)))) for ids, _ in numbered
        )
    return as_ids(users), as_ids(items)


def as_ids(values: pd.Index) -> pd.Index:
    """Ids by index: whole numbers, or text."""
    return values if values.dtype == "int64" else pd.Index(values.astype("str"))


class Appearance(NamedTuple):
    """Where ids appear first: references to what tasks return.

    Attributes:
        found: by owner and part, what `find_ids` gives.
        is_new: by owner and part, what `find_new` gives.
        ranked: by part, what `rank_new` gives.
    """

    found: list[Any]
    is_new: list[Any]
    ranked: list[Any]

    @property
    def ids(self) -> list[Any]:
        """By part, references to the ids that are new in it, in order of appearance."""
        return [each[0] for each in self.ranked]


def appear(parts: Sequence[Part], key: str, n_owners: int) -> Appearance:
    """Start the tasks that find where each id of a column appears first."""
    found = [submit(find_ids, n_owners, part, key, n_owners) for part in parts]
    by_owner = list(zip(*found, strict=True))
    is_new = [submit(find_new, len(parts), *ids) for ids in by_owner]
    ranked = []
    for ids, masks in zip(found, zip(*is_new, strict=True), strict=True):
        ranked.append(submit(rank_new, 2 + n_owners, *ids, *masks))
    return Appearance(by_owner, is_new, ranked)


def number(parts: Sequence[Part], key: str, n_owners: int) -> tuple[list[Any], list[list[Any]]]:
    """Start the tasks that number the ids of a column.

    Returns:
        By part, references to the ids that are new in it, in the order of their indices; and by
        part and owner, references to the indices of the ids that `find_ids` gives.
    """
    first = appear(parts, key, n_owners)
    counts = result([each[1] for each in first.ranked])
    starts = [0, *accumulate(counts)][:-1]
    indices = []
    for owner in range(n_owners):
        ranks = [each[2 + owner] for each in first.ranked]
        arguments = *first.found[owner], *first.is_new[owner], *ranks
        indices.append(submit(give_indices, len(parts), starts, *arguments))
    return first.ids, [list(each) for each in zip(*indices, strict=True)]


def owners(ids: Any, n_owners: int) -> NDArray[np.int64]:
    """The number of the owner of each id."""
    values = np.asarray(ids, dtype=None if ids.dtype == "int64" else object)
    hashed = pd.util.hash_array(values, categorize=False)
    return (hashed % np.uint64(n_owners)).astype(np.int64)


def distinct(values: pd.Series) -> tuple[Indices, NDArray[Any]]:
    """For each value its place among the distinct ones; and these, in order of appearance."""
    places, unique = pd.factorize(values)
    return places, np.asarray(unique, dtype=None if values.dtype == "int64" else object)


def find_ids(part: Part, key: str, n_owners: int) -> list[tuple[NDArray[Any], Indices]]:
    """By owner, the distinct ids of a part, and the rank of each by appearance in the part."""
    _, ids = distinct(part.read([key], only=True)[key])
    owner = owners(ids, n_owners)
    by_owner = [np.flatnonzero(owner == each) for each in range(n_owners)]
    return [(ids[ranks], ranks) for ranks in by_owner]


def find_new(*found: tuple[NDArray[Any], Indices]) -> list[NDArray[np.bool_]]:
    """By part, which of an owner's ids are in no earlier part; `found` has them by part."""
    ids = np.concatenate([each for each, _ in found])
    is_new = ~pd.Series(ids).duplicated().to_numpy()
    return np.split(is_new, np.cumsum([len(each) for each, _ in found])[:-1])


def rank_new(*found_and_masks: Any) -> list[Any]:
    """The ids that are new in a part, in order of appearance; how many; by owner, their ranks."""
    half = len(found_and_masks) // 2
    pairs = list(zip(found_and_masks[:half], found_and_masks[half:], strict=True))
    ids = np.concatenate([each[mask] for (each, _), mask in pairs])
    places = np.concatenate([ranks[mask] for (_, ranks), mask in pairs])
    order = np.argsort(places)
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    sizes = [int(mask.sum()) for _, mask in pairs]
    return [ids[order], len(ids), *np.split(ranks, np.cumsum(sizes)[:-1])]


def give_indices(starts: Sequence[int], *found_masks_ranks: Any) -> list[Indices]:
    """By part, the indices of an owner's ids; `starts` has the first index that each part gives."""
    n = len(starts)
    found, masks, ranks = (found_masks_ranks[at : at + n] for at in (0, n, 2 * n))
    new = [ids[mask] for (ids, _), mask in zip(found, masks, strict=True)]
    indices = [start + each for start, each in zip(starts, ranks, strict=True)]
    table = pd.Index(np.concatenate(new))
    by_id = np.concatenate(indices)
    return [by_id[table.get_indexer(pd.Index(ids))] for ids, _ in found]


def encode_part(part: Part, n_owners: int, *indices: Indices) -> list[pd.DataFrame]:
    """A part's ratings by index; `indices` has those of users by owner, then those of items."""
    ratings = part.read([*KEYS, "rating"])
    encoded: dict[str, Any] = {}
    for at, (key, name) in enumerate(KEYS.items()):
        places, ids = distinct(ratings.pop(key))
        owner = owners(ids, n_owners)
        by_place = np.empty(len(ids), np.int64)
        for each in range(n_owners):
            by_place[owner == each] = indices[at * n_owners + each]
        encoded[name] = by_place[places]
    rows = part.first_row + np.arange(part.n_rows)
    return [pd.DataFrame({**encoded, **ratings, "row": rows}, copy=False)]
