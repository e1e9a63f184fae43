"""What is known of users and items besides their ratings, as columns of numbers."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from cf.core.config import Gibbs
from cf.core.ratings import Indices, Ratings

Columns: TypeAlias = NDArray[np.float32]
YEARS_ALIKE = 3.0  # standard deviation of the bumps that a year of release is spread over
DIRECTIONS = 200  # of who rated what; the RMSE with all differs by no more than seeds do
EQUAL = 1e-6  # a standard deviation below is of rounding


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
        f = torch.tensor(columns, dtype=torch.float64)
        size = f.square().mean(0).sum().sqrt()
        f *= 1 / size if size > EQUAL else 0.0
        squares, vectors = torch.linalg.eigh(torch.mm(f.T, f))
        kept = squares > tolerance * squares[-1]
        self.squares = squares[kept].float()
        self._basis = torch.mm(f, vectors[:, kept]).float()

    def project(self, rows: Tensor) -> Tensor:
        """Vᵀ Fᵀ rows: (r, d) of (n, d)."""
        # The other way round takes four times as long.
        return torch.mm(rows.T, self._basis).T.contiguous()

    def spread(self, coefficients: Tensor) -> Tensor:
        """F V coefficients: (n, d) of (r, d)."""
        return torch.mm(coefficients.T, self._basis.T).T.contiguous()  # likewise twice


def of_users(asked: Gibbs, train: Ratings, n_users: int, n_items: int) -> list[Feature]:
    """The users' features that are asked for."""
    if not asked.rated:
        return []
    return [Feature("rated", company(train.users, train.items, n_users, n_items))]


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
        found.append(Feature("raters", company(train.items, train.users, n_items, n_users)))
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
    columns -= columns.mean(0)
    return columns


def years(released: NDArray[np.float64]) -> Columns:
    """A column for each year of release, high where the item was released about then, centred.

    Args:
        released: (n,) years, NaN where unknown: as the median.
    """
    filled = np.where(np.isnan(released), np.nanmedian(released), released)
    centres = np.unique(filled)
    columns: Columns = np.exp(
        -0.5 * ((filled[:, None] - centres) / YEARS_ALIKE) ** 2, dtype=np.float32
    )
    columns -= columns.mean(0)
    return columns


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
    deviations = columns.std(0)
    columns /= np.where(deviations > EQUAL, deviations, np.inf)
    return columns.astype(np.float32)


def company(rows: Indices, others: Indices, n_rows: int, n_others: int) -> Columns:
    """The `strongest` directions of a row's `partners`, about what the rows have on average.

    So a row without ratings is expected to be like the average of those that have some, and not
    like what the others would be if they met nobody.
    """
    columns = strongest(partners(rows, others, n_rows, n_others))
    m = np.bincount(rows, minlength=n_rows)
    share = (np.maximum(m - 1, 0) / np.maximum(m, 1)).astype(np.float32)
    columns -= share[:, None] * (columns.sum(0) / max(share.sum(), 1))
    return columns


def partners(rows: Indices, others: Indices, n_rows: int, n_others: int) -> sparse.csr_array:
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


def strongest(matrix: sparse.csr_array, n_directions: int = DIRECTIONS) -> Columns:
    """Few columns C with C Cᵀ close to M Mᵀ, through which alone a regression knows its features.

    Exact where M has no more rows, or no more columns; else as near as so few can be, but for
    chance.

    Returns:
        (n, n_directions), or fewer columns where the matrix has fewer rows or columns.

    Source:
        Halko, Martinsson and Tropp 2011, "Finding Structure with Randomness", algorithm 4.4.
    """
    flat = matrix if matrix.shape[0] < matrix.shape[1] else matrix.T
    width = min(n_directions + 10, flat.shape[0])
    draw = np.random.default_rng(0)
    basis = draw.standard_normal((flat.shape[0], width), dtype=np.float32)
    for _ in range(4):
        basis = flat @ (flat.T @ np.linalg.qr(basis).Q)
    basis = np.linalg.qr(basis).Q
    inside = flat.T @ basis
    squares, vectors = np.linalg.eigh(inside.T @ inside)
    vectors, squares = vectors[:, -n_directions:], squares[-n_directions:].clip(min=0)
    columns: Columns = basis @ (vectors * np.sqrt(squares)) if flat is matrix else inside @ vectors
    return columns
