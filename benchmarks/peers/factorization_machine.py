"""myFM with the ids alone, and with what else is known, put as its documentation does."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.peers.case import Case, Steps, System, days
from cf.core.ratings import Indices, Ratings

RANK, SWEEPS = 10, 200


def ids_only(case: Case) -> Steps:
    """Both ids one-hot; an unknown one is a row of zeros."""
    import myfm

    yield
    sizes = case.n_users, case.n_items
    users, items = known(case.train.users, sizes[0]), known(case.train.items, sizes[1])
    machine = myfm.MyFMRegressor(rank=RANK, random_seed=case.seed)
    train, valid = (
        sparse.hstack([users[part.users], items[part.items]], format="csr")
        for part in (case.train, case.valid)
    )
    values = case.train.values.astype(np.float64)
    machine.fit(train, values, n_iter=SWEEPS, n_kept_samples=SWEEPS, group_shapes=sizes)
    yield
    return clipped(machine.predict(valid), case)


def with_features(days_too: bool, rated_too: bool, case: Case) -> Steps:
    """Ids, genres and year, and if asked the day and who rated what, both ways.

    Blocks of relations repeat a user's or an item's features for each of its ratings.
    """
    import myfm

    yield
    users = [known(case.train.users, case.n_users)]
    items = [known(case.train.items, case.n_items)]
    if rated_too:
        rated = case.task.train
        users.append(normalized(rated))
        items.append(normalized(rated.T))
    items += [
        genres(case.items["genres"].tolist()),
        onehot(case.items["year"].fillna(0).to_numpy(np.int64)),
    ]
    dated = [dates(case.train, part) if days_too else None for part in (case.train, case.valid)]
    groups = [*([dated[0]] if days_too else []), *users, *items]
    shapes = [matrix.shape[1] for matrix in groups]
    of_users, of_items = (sparse.hstack(parts, format="csr") for parts in (users, items))
    train, valid = (
        [myfm.RelationBlock(part.users, of_users), myfm.RelationBlock(part.items, of_items)]
        for part in (case.train, case.valid)
    )
    machine = myfm.MyFMRegressor(rank=RANK, random_seed=case.seed)
    machine.fit(
        dated[0],
        case.train.values.astype(np.float64),
        X_rel=train,
        n_iter=SWEEPS,
        n_kept_samples=SWEEPS,
        group_shapes=shapes,
    )
    yield
    return clipped(machine.predict(dated[1], valid), case)


def clipped(predicted: Any, case: Case) -> NDArray[np.float64]:
    """Within the range of ratings, as myFM's examples score it."""
    return np.asarray(np.clip(predicted, *case.rating_range), dtype=np.float64)


def onehot(numbers: Indices) -> Any:
    """A column for each distinct number."""
    _, columns = np.unique(numbers, return_inverse=True)
    return sparse.csr_matrix((np.ones(len(numbers)), (np.arange(len(numbers)), columns)))


def known(trained: Indices, n: int) -> Any:
    """The one-hot row of each of n ids; zeros for those without training ratings."""
    there = np.bincount(trained, minlength=n) > 0
    return sparse.csr_matrix(sparse.diags(there.astype(np.float64)))


def dates(train: Ratings, part: Ratings) -> Any:
    """The one-hot day of each rating; zeros for days that train does not have."""
    there, wanted = np.unique(days(train)), days(part)
    columns = np.searchsorted(there, wanted).clip(max=len(there) - 1)
    ones = (there[columns] == wanted).astype(np.float64)
    return sparse.csr_matrix((ones, (np.arange(len(part)), columns)), (len(part), len(there)))


def normalized(rated: Any) -> Any:
    """Who rated what, each row divided by the root of its number, as in SVD++."""
    rows = sparse.csr_matrix(rated, dtype=np.float64)
    sizes = np.maximum(np.diff(rows.indptr), 1)
    return sparse.csr_matrix(sparse.diags(sizes**-0.5) @ rows)


def genres(names: list[str]) -> Any:
    """A column a genre, 1 where the item is of it."""
    split = [joined.split("|") if joined else [] for joined in names]
    columns = {name: at for at, name in enumerate(sorted({n for each in split for n in each}))}
    rows = np.repeat(np.arange(len(split)), [len(each) for each in split])
    places = [columns[name] for each in split for name in each]
    return sparse.csr_matrix((np.ones(len(rows)), (rows, places)), (len(split), len(columns)))


STARS = [
    System("myFM, ids only", "myfm", ids_only),
    System("myFM, genres and year", "myfm", partial(with_features, False, False)),
    System("myFM, days, implicit, genres, year", "myfm", partial(with_features, True, True)),
]
