"""What is known of users and items besides their ratings, as columns of numbers."""

import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from cf.params import Gibbs
from cf.ratings import Indices, Ratings

Columns: TypeAlias = NDArray[np.float32] | sparse.csr_array
YEARS_ALIKE = 3.0  # standard deviation of the bumps that a year of release is spread over


class Feature:
    """A matrix F of features, ready for regressions on it.

    Columns are scaled by one factor, so that the mean squared length of a row is 1, and F is
    known by the eigenvectors V of FᵀF: regression coefficients F V and what they explain are
    independent of each other.

    Attributes:
        name: of the feature, as in params.yaml.
        squares: (r,) eigenvalues of FᵀF, those that are not 0.
    """

    def __init__(self, name: str, columns: Columns, tolerance: float = 1e-6) -> None:
        self.name = name
        n, f = columns.shape
        scale = np.sqrt(n / max(float((columns * columns).sum()), np.finfo(float).tiny))
        gram = _dense(columns @ columns.T if f > n else columns.T @ columns) * scale**2
        squares, vectors = torch.linalg.eigh(torch.tensor(gram, dtype=torch.float64))
        kept = squares > tolerance * squares[-1]
        self.squares, vectors = squares[kept].float(), vectors[:, kept]
        self._sparse: tuple[Tensor, Tensor] | None = None
        if f > n:  # the eigenvectors of F Fᵀ instead, times their singular values
            self._basis = (vectors * squares[kept].sqrt()).float()
        elif isinstance(columns, np.ndarray):
            self._basis = (torch.tensor(columns * scale, dtype=torch.float64) @ vectors).float()
        else:  # F V would be dense, and large
            self._basis = vectors.float()
            self._sparse = _csr(columns * scale), _csr(columns.T * scale)

    def project(self, rows: Tensor) -> Tensor:
        """Vᵀ Fᵀ rows: (r, d) of (n, d)."""
        return torch.mm(self._basis.T, self._sparse[1] @ rows if self._sparse else rows)

    def spread(self, coefficients: Tensor) -> Tensor:
        """F V coefficients: (n, d) of (r, d)."""
        rows = torch.mm(self._basis, coefficients)
        return torch.mm(self._sparse[0], rows) if self._sparse else rows


def of_users(asked: Gibbs, train: Ratings, n_users: int, n_items: int) -> list[Feature]:
    """The users' features that are asked for."""
    if not asked.rated:
        return []
    return [Feature("rated", partners(train.users, train.items, n_users, n_items))]


def of_items(
    asked: Gibbs,
    train: Ratings,
    n_users: int,
    n_items: int,
    genre_names: Sequence[str],
    released: NDArray[np.float64],
) -> list[Feature]:
    """The items' features that are asked for.

    Args:
        genre_names: of each item's genres, joined by "|"; asked for only where one is known.
        released: (n_items,) years, NaN where unknown; likewise.
    """
    found = []
    if asked.genres:
        found.append(Feature("genres", genres(genre_names)))
    if asked.year:
        found.append(Feature("year", years(released)))
    if asked.popularity:
        found.append(Feature("popularity", popularity(train.items, n_items)))
    if asked.raters:
        found.append(Feature("raters", partners(train.items, train.users, n_items, n_users)))
    return found


def genres(names: Sequence[str]) -> Columns:
    """A column a genre, 1 where the item is of it, centred.

    Args:
        names: of each item's genres, joined by "|".
    """
    known = sorted({genre for joined in names for genre in joined.split("|") if genre})
    place = {genre: column for column, genre in enumerate(known)}
    columns = np.zeros((len(names), len(known)), np.float32)
    for row, joined in enumerate(names):
        columns[row, [place[genre] for genre in joined.split("|") if genre]] = 1
    return columns - columns.mean(0)


def years(released: NDArray[np.float64]) -> Columns:
    """A column a year, high where the item was released about then, centred.

    Args:
        released: (n,) years, NaN where unknown: as the median.
    """
    filled = np.where(np.isnan(released), np.nanmedian(released), released)
    centres = np.arange(filled.min(), filled.max() + 1)
    columns = np.exp(-0.5 * ((filled[:, None] - centres) / YEARS_ALIKE) ** 2)
    return (columns - columns.mean(0)).astype(np.float32)


def popularity(rows: Indices, n_rows: int) -> Columns:
    """The logarithm of how many others rated the item, and its square, (n_rows, 2), centred.

    A rating tells of its own item what no rating to predict can tell: that it has one. So it is
    not counted, and an item with one rating looks like one with none: cold items are judged by
    those that only one user rated.
    """
    others = np.maximum(np.bincount(rows, minlength=n_rows) - 1, 0)
    logs = np.log1p(others)
    columns = np.stack([logs, (logs - logs.mean()) ** 2], axis=1)
    columns -= columns.mean(0)
    return (columns / np.maximum(columns.std(0), 1e-12)).astype(np.float32)


def partners(rows: Indices, others: Indices, n_rows: int, n_others: int) -> Columns:
    """A column for each of the other side, (n_rows, n_others): those that the row meets in train.

    A row that meets m has 1/√m in each of their columns, times (m - 1)/m: again, because a
    rating is no news of itself; with one rating only, a row is as if it had none.

    Source:
        Koren 2008, "Factorization Meets the Neighborhood", equation 15 (SVD++), for the items
        that a user rates; Rendle, Zhang and Koren 2019, "On the Difficulty of Evaluating
        Baselines", section 4, for the users that rate an item.
    """
    m = np.maximum(np.bincount(rows, minlength=n_rows), 1)
    weights = ((m - 1) / m**1.5).astype(np.float32)
    return sparse.csr_array((weights[rows], (rows, others)), shape=(n_rows, n_others))


def _dense(matrix: Columns) -> NDArray[np.float64]:
    array = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return array.astype(np.float64)


def _csr(matrix: sparse.csr_array) -> Tensor:
    csr = sparse.csr_array(matrix)
    pointers, places, values = map(torch.tensor, (csr.indptr, csr.indices, csr.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first one says that the format is in beta
        return torch.sparse_csr_tensor(pointers, places, values.float(), size=csr.shape)
