"""Side information of users and items, as columns of numbers for the Gibbs sampler."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from cf.core.config import Gibbs
from cf.core.ratings import Indices, Ratings
from cf.training.item_features import feature_columns, further, genre_columns

try:
    from cf.bayes import compiled
except ImportError:  # numba is optional: SciPy's products take longer
    compiled = None  # type: ignore[assignment]

Columns = NDArray[np.float32]
YEAR_BANDWIDTH = 3.0  # years: standard deviation of the bump at each year of release
CHUNK = 16384  # rows at a time
N_ITERATIONS = 3  # of the randomized SVD
N_MORE = 40  # directions in it beyond those that are asked for
EPS = 1e-6  # a standard deviation below it is rounding error


class Feature:
    """A matrix F of features, ready for regressions on it.

    Columns are scaled by one factor, so that the mean squared norm of a row is 1, and F is
    represented by the eigenvectors V of FᵀF: regression coefficients in F V are independent. The
    eigenvalues, (r,), are those that are not 0; the name is that in params.yaml.

    Attributes:
        of_others: (n_others, r), of a feature made from interactions: the rows of F V are weighted
            sums of these, less `center`; so a row that is not among them can be made as well.
        center: (r,).
    """

    of_others: Tensor
    center: Tensor

    def __init__(self, name: str, columns: Columns) -> None:
        self.name = name
        products = gram(columns)
        rms_norm = (np.trace(products) / max(1, len(columns))) ** 0.5
        scale = 1 / rms_norm if rms_norm > EPS else 0.0
        eigenvalues, vectors = np.linalg.eigh(scale**2 * products)
        nonzero = eigenvalues > 1e-6 * eigenvalues.max(initial=0)
        self.eigenvalues = torch.tensor(eigenvalues[nonzero], dtype=torch.float32)
        self._rotation = scale * vectors[:, nonzero]
        self._basis = self.rotate(columns)

    def to(self, device: torch.device) -> "Feature":
        """The same feature, for rows on this device."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def rotate(self, columns: Columns) -> Tensor:
        """Rows of further columns, (m, n_columns), as rows of F V: (m, r)."""
        return torch.from_numpy(multiply(columns, self._rotation))

    def project(self, rows: Tensor) -> Tensor:
        """Vᵀ Fᵀ rows: (r, d) of (n, d)."""
        # In the other order the product takes four times as long.
        return torch.mm(rows.T, self._basis).T.contiguous()

    def expand(self, coefficients: Tensor) -> Tensor:
        """F V coefficients: (n, d) of (r, d)."""
        # In the other order the product takes twice as long.
        return torch.mm(coefficients.T, self._basis.T).T.contiguous()


def drop_unavailable(
    gibbs: Gibbs, train: Ratings, items: pd.DataFrame, users: pd.DataFrame, tags: pd.DataFrame
) -> Gibbs:
    """The settings, with what the data does not have switched off: times, genres, features, ..."""
    unavailable = {
        "genres": not items["genres"].any(),
        "year": bool(items["year"].isna().all()),
        "item_features": not further(items),
        "tags": known_tags(tags, train).empty,
        "user_features": not further(users),
    }
    off: dict[str, Any] = {key: False for key, missing in unavailable.items() if missing}
    if train.timestamps is None:
        off["time_scales"] = []
    return gibbs.model_copy(update=off)


def features(
    gibbs: Gibbs, train: Ratings, users: pd.DataFrame, items: pd.DataFrame, tags: pd.DataFrame
) -> tuple[list[Feature], list[Feature]]:
    """The users' and the items' features that are switched on.

    `users` and `items` have a row each; items have genres, joined by "|", and year, and both have
    their further features, which are used only if switched on. `tags` are those of
    data/encoded/tags.parquet: item, tag and timestamp.
    """
    of_users, of_items = [], []
    n_users, n_items = len(users), len(items)
    if gibbs.user_features:
        of_users.append(Feature("user_features", feature_columns(users).to_numpy()))
    if gibbs.user_implicit:
        pairs = train.users, train.items, n_users, n_items
        of_users.append(interaction_feature("user_implicit", *pairs))
    if gibbs.genres:
        of_items.append(Feature("genres", genre_columns(items).to_numpy()))
    if gibbs.year:
        of_items.append(Feature("year", year_bumps(items["year"].to_numpy(np.float64))))
    if gibbs.item_features:
        of_items.append(Feature("item_features", feature_columns(items).to_numpy()))
    if gibbs.tags:
        of_items.append(Feature("tags", tag_columns(known_tags(tags, train), n_items)))
    if gibbs.popularity:
        of_items.append(Feature("popularity", popularity(train.items, n_items)))
    if gibbs.item_implicit:
        pairs = train.items, train.users, n_items, n_users
        of_items.append(interaction_feature("item_implicit", *pairs))
    return of_users, of_items


def year_bumps(years: NDArray[np.float64]) -> Columns:
    """A column for each year of release, a Gaussian bump around that year, centered.

    An unknown year, NaN, is taken for the median of the (n,) years.
    """
    filled = np.where(np.isnan(years), np.nanmedian(years), years)
    distances = (filled[:, None] - np.unique(filled)) / YEAR_BANDWIDTH
    columns: Columns = np.exp(-0.5 * distances**2, dtype=np.float32)
    columns -= columns.mean(0)
    return columns


def known_tags(tags: pd.DataFrame, train: Ratings) -> pd.DataFrame:
    """The tags that items share, item and tag: each tag of an item once, in lower case.

    Tags later than the last training rating are left out, as a split by time has them in the
    future; where the ratings have no times, all count. Nor are there any of a single item, which
    likens it to no other.
    """
    if train.timestamps is not None:
        tags = tags[tags["timestamp"] <= train.timestamps.max()]
    pairs = tags[["item"]].assign(tag=tags["tag"].str.strip().str.lower())
    pairs = pairs[pairs["tag"] != ""].drop_duplicates(ignore_index=True)
    shared: pd.DataFrame = pairs[pairs["tag"].duplicated(keep=False)]
    return shared


def tag_columns(tags: pd.DataFrame, n_items: int) -> Columns:
    """The truncated SVD of the items' tags, and last whether an item has any, centered.

    The columns before the last are those of `tag_matrix`: 0 for items without tags.
    """
    columns, _ = truncated_svd(tag_matrix(tags, n_items))
    has_tags = np.isin(np.arange(n_items), tags["item"]).astype(np.float32)
    return np.column_stack([columns, has_tags - has_tags.mean()])


def tag_matrix(tags: pd.DataFrame, n_items: int) -> sparse.csr_array:
    """The items' tags, (n_items, n_tags): log(n_items / items with that tag), rows of unit norm.

    `tags` has item and tag, no two rows the same.

    Source:
        Salton and Buckley 1988, "Term-Weighting Approaches in Automatic Text Retrieval": tf-idf.
    """
    numbers, names = pd.factorize(tags["tag"])
    items = tags["item"].to_numpy()
    weights = np.log(n_items / np.bincount(numbers))[numbers]
    norms = np.sqrt(np.bincount(items, weights**2, n_items))[items]
    weights = (weights / np.where(norms > EPS, norms, np.inf)).astype(np.float32)
    return sparse.csr_array((weights, (items, numbers)), shape=(n_items, len(names)))


def popularity(items: Indices, n_items: int) -> Columns:
    """The logarithm of an item's number of ratings, and its square, (n_items, 2), standardized.

    The rating that is being fitted would leak, so counts are leave-one-out: an item with one rating
    looks like a cold one.
    """
    counts = np.maximum(np.bincount(items, minlength=n_items) - 1, 0)
    logs = np.log1p(counts)
    columns = np.stack([logs, (logs - logs.mean()) ** 2], axis=1)
    columns -= columns.mean(0)
    deviations = columns.std(0)
    columns /= np.where(deviations > EPS, deviations, np.inf)
    return columns.astype(np.float32)


def interaction_feature(
    name: str, rows: Indices, others: Indices, n_rows: int, n_others: int
) -> Feature:
    """Who rated what, as `cooccurrence_features` has it, so that more rows can be made."""
    columns, directions, center = cooccurrence_features(rows, others, n_rows, n_others)
    feature = Feature(name, columns)
    feature.of_others, feature.center = feature.rotate(directions), feature.rotate(center[None])[0]
    return feature


def cooccurrence_features(
    rows: Indices, others: Indices, n_rows: int, n_others: int
) -> tuple[Columns, Columns, Columns]:
    """The truncated SVD of the interactions, centered on rows with at least one rating.

    So a row without ratings is expected to be like the average row that has some.

    Returns:
        The columns, (n_rows, k): those of a row of `NormalizedInteractions` times the directions,
        (n_others, k), less the share of ratings that is left without one, times the center, (k,).
    """
    matrix = NormalizedInteractions(rows, others, n_rows, n_others)
    columns, directions = truncated_svd(matrix)
    weights = leave_one_out_shares(np.bincount(rows, minlength=n_rows))
    center = columns.sum(0) / max(weights.sum(), 1)
    columns -= weights[:, None] * center
    return columns, directions, center


def leave_one_out_shares(m: NDArray[np.int64]) -> NDArray[np.float32]:
    """(m - 1) / m for rows with m ratings each: the share that is left without one of them."""
    return (np.maximum(m - 1, 0) / np.maximum(m, 1)).astype(np.float32)


class NormalizedInteractions:
    """Who rated what, (n_rows, n_others): each of a row's m interactions is (m - 1)/m · 1/√m.

    The factor (m - 1)/m makes it leave-one-out: the rating that is being fitted is one of the m.
    A row with a single rating looks like one with none.

    Source:
        Koren 2008, "Factorization Meets the Neighborhood", equation 15 (SVD++), for the items
        that a user rates; Rendle, Zhang and Koren 2019, "On the Difficulty of Evaluating
        Baselines", section 4, for the users that rate an item.
    """

    def __init__(self, rows: Indices, others: Indices, n_rows: int, n_others: int) -> None:
        m = np.maximum(np.bincount(rows, minlength=n_rows), 1)
        self._weights = ((m - 1) / m**1.5).astype(np.float32)[:, None]
        self._of_rows = interactions(rows, others, n_rows, n_others)
        self._of_others = interactions(others, rows, n_others, n_rows)
        self.shape = n_rows, n_others

    def __matmul__(self, x: Columns) -> Columns:
        """The product with (n_others, k): (n_rows, k)."""
        found: Columns = self._of_rows @ x
        found *= self._weights
        return found

    @property
    def T(self) -> "Transposed":  # noqa: N802, as in NumPy
        """What can be multiplied with (n_rows, k)."""
        return Transposed(lambda x: self._of_others @ (self._weights * x))


class Transposed:
    """A matrix of which no more is needed than its products."""

    def __init__(self, multiply: Callable[[Columns], Columns]) -> None:
        self._multiply = multiply

    def __matmul__(self, x: Columns) -> Columns:
        """The product with a matrix."""
        return self._multiply(x)


def interactions(rows: Indices, others: Indices, n_rows: int, n_others: int) -> Any:
    """Zeros and ones, (n_rows, n_others): which others each row has."""
    if compiled:
        return compiled.Interactions(rows, others, n_rows, n_others)
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_array((ones, (rows, others)), shape=(n_rows, n_others))


def truncated_svd(
    matrix: sparse.csr_array | NormalizedInteractions, n_components: int = 200
) -> tuple[Columns, Columns]:
    """U S and V of the matrix's largest singular values: (n_rows, k), whose products of rows are
    close to the matrix's, and (n_others, k). The first is exactly the matrix times the second.

    k is `n_components`, or fewer where fewer singular values are above some thousandth of the
    largest. With more than 200 the RMSE differs by no more than seeds do.

    Source:
        Halko, Martinsson and Tropp 2011, "Finding Structure with Randomness", algorithms 4.4 and
        5.1. The dense steps are products of matrices and systems of a few hundred equations, which
        scikit-learn's take many times as long for where rows are many.
    """
    n_directions = min(n_components + N_MORE, *matrix.shape)
    draw = np.random.default_rng(0)
    basis = draw.standard_normal((matrix.shape[1], n_directions), np.float32)
    for _ in range(N_ITERATIONS):
        basis = orthonormal(matrix.T @ (matrix @ basis))
    basis = orthonormal(basis)  # what rounding left
    products = matrix @ basis
    turned = np.linalg.eigh(gram(products))[1][:, : -n_components - 1 : -1]
    return multiply(products, turned), multiply(basis, turned)


def orthonormal(x: Columns) -> Columns:
    """(n, r) orthonormal columns that span those of x, (n, k); r is their rank."""
    eigenvalues, vectors = np.linalg.eigh(gram(x))
    kept = eigenvalues > 1e-13 * eigenvalues.max(initial=1e-30)
    return multiply(x, vectors[:, kept] / np.sqrt(eigenvalues[kept]))


def multiply(x: Columns, weights: NDArray[Any]) -> Columns:
    """x weights, in 32 bits: (n, m) of (n, k) and (k, m)."""
    # By torch, whose threads and NumPy's would wait for each other.
    factors = (torch.tensor(np.asarray(part, np.float32)) for part in (x, weights))
    return torch.mm(*factors).numpy()


def gram(x: Columns) -> NDArray[np.float64]:
    """xᵀ x, in 64 bits: (k, k)."""
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for start in range(0, len(x), CHUNK):
        part = torch.tensor(x[start : start + CHUNK], dtype=torch.float64)
        total += torch.mm(part.T, part)
    return total.numpy()
