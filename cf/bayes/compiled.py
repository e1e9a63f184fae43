"""The sampler's loops over ratings, compiled by numba: much faster than blocks of tensors.

They run on the CPU, on as many threads as torch uses. What they compute does not depend on how
many these are.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cf.bayes.row_blocks import Targets, bounds_of_equal_work
from cf.core.jit import compiled
from cf.core.ratings import Indices

Floats = NDArray[np.float32]


class Interactions:
    """A matrix of zeros and ones, (n_rows, n_others): which others each row has."""

    def __init__(self, rows: Indices, others: Indices, n_rows: int, n_others: int) -> None:
        self.shape = n_rows, n_others
        self._starts, order = by_row(rows, n_rows)
        self._others = others[order].astype(np.int32)

    def __matmul__(self, x: Floats) -> Floats:
        """The product with (n_others, k): (n_rows, k)."""
        found = np.empty((self.shape[0], x.shape[1]), np.float32)
        given = self._starts, self._others, np.ascontiguousarray(x, np.float32), found
        _in_threads(lambda first, last: _sum_rows(first, last, *given), _shares(self._starts))
        return found


class CompiledRows:
    """As `cf.bayes.row_blocks.RowBlocks`."""

    def __init__(self, rows: Tensor, others: Tensor, n_rows: int) -> None:
        self._by_rating = others
        self._starts, self._ratings = by_row(rows.numpy(), n_rows)
        self._others = others.numpy()[self._ratings].astype(np.int32)

    def draw(
        self, designs: Tensor, targets: Targets, weights: Tensor, centers: Tensor, noise: Tensor
    ) -> Tensor:
        """As `RowBlocks.draw`."""
        d = designs.shape[1]
        given = (designs, targets.of(self._by_rating), weights, centers, noise)
        arrays = [table.contiguous().numpy() for table in given]
        drawn = torch.empty(centers.shape)
        # OpenBLAS would start threads of its own for products of longer chunks.
        chunk = max(16, min(256, 200_000 // d**2))

        def draw_part(first: int, last: int) -> None:
            layout = self._starts, self._others, self._ratings
            _draw_rows(first, last, *layout, *arrays, drawn.numpy(), chunk)

        _in_threads(draw_part, _shares(self._starts))
        return drawn


def by_row(rows: Indices, n_rows: int) -> tuple[Indices, NDArray[np.int32]]:
    """Where each row's ratings start, (n_rows + 1,), in the order of all by row, (n,)."""
    starts = np.concatenate([[0], np.bincount(rows, minlength=n_rows).cumsum()])
    order = np.empty(len(rows), np.int32)
    _fill_order(rows, starts.copy(), order)
    return starts, order


def scores(user_rows: Tensor, item_rows: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """As `cf.models.bayesmf.scores`."""
    found = torch.empty(len(users))
    arrays = [table.numpy() for table in (user_rows, item_rows, users, items, found)]
    bounds = np.linspace(0, len(users), torch.get_num_threads() + 1).astype(int).tolist()
    _in_threads(lambda first, last: _scores(first, last, *arrays), bounds)
    return found


def _shares(starts: Indices) -> list[int]:
    """Bounds between rows, for as many parts of about equal work as torch uses threads."""
    return bounds_of_equal_work(starts, torch.get_num_threads())


def _in_threads(compute: Callable[[int, int], None], bounds: list[int]) -> None:
    """Compute each part between bounds, all at once."""
    if len(bounds) == 2:
        compute(*bounds)
        return
    with ThreadPoolExecutor(len(bounds) - 1) as pool:
        list(pool.map(compute, bounds[:-1], bounds[1:]))


@compiled
def _fill_order(rows, at, order):  # type: ignore[no-untyped-def]
    for k in range(len(rows)):
        order[at[rows[k]]] = k
        at[rows[k]] += 1


@compiled
def _sum_rows(first, last, starts, others, x, found):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        total = found[row]
        total[:] = 0
        for k in range(starts[row], starts[row + 1]):
            added = x[others[k]]
            for j in range(len(total)):
                total[j] += added[j]


@compiled
def _scores(first, last, user_rows, item_rows, users, items, found):  # type: ignore[no-untyped-def]
    for k in range(first, last):
        p, q = user_rows[users[k]], item_rows[items[k]]
        total = p[0] + q[0]
        for j in range(1, len(p)):
            total += p[j] * q[j]
        found[k] = total


@compiled
def _draw_rows(  # type: ignore[no-untyped-def]
    first, last, starts, others, ratings, designs, targets, weights, centers, noise, drawn, chunk
):
    d = designs.shape[1]
    # Designs, and the targets last: of a chunk of a row's ratings, or of all where these are few.
    gathered = np.empty((max(chunk, d), d + 1), np.float32)
    gram = np.empty((d + 1, d + 1), np.float32)
    part = np.empty((d + 1, d + 1), np.float32)
    a, b = np.empty((d, d), np.float32), np.empty((2, d), np.float32)
    for row in range(first, last):
        begin, end = starts[row], starts[row + 1]
        if end - begin < d:
            _gather(gathered, begin, end, others, ratings, designs, targets)
            _draw_dual(gathered[: end - begin], weights[row], centers[row], noise[row], a, b)
            drawn[row] = b[0]
            continue
        gram[:] = 0
        for at in range(begin, end, chunk):
            stop = min(at + chunk, end)
            _gather(gathered, at, stop, others, ratings, designs, targets)
            some = gathered[: stop - at]
            np.dot(some.T, some, part)
            gram += part
        for i in range(d):
            for j in range(i, d):
                a[i, j] = weights[row] * gram[i, j]
            a[i, i] += 1
            b[0, i] = weights[row] * gram[i, d] + centers[row, i]
        _factorize(a, d)
        _solve_transposed(a, b[0], d)
        b[0] += noise[row]
        _solve(a, b[0], d)
        drawn[row] = b[0]


@compiled
def _gather(gathered, begin, end, others, ratings, designs, targets):  # type: ignore[no-untyped-def]
    d = designs.shape[1]
    for k in range(begin, end):
        design, found = designs[others[k]], gathered[k - begin]
        for j in range(d):
            found[j] = design[j]
        found[d] = targets[ratings[k]]


@compiled
def _draw_dual(gathered, weight, center, noise, a, b):  # type: ignore[no-untyped-def]
    """As `row_blocks.sample_dual`, into b[0]."""
    n, d = len(gathered), len(center)
    deviation = 1 / np.sqrt(weight)
    means, spread = b[0, :n], b[1, :n]
    for i in range(n):
        means[i], spread[i] = gathered[i, d], 0
        for j in range(d):
            means[i] -= gathered[i, j] * center[j]
            spread[i] += gathered[i, j] * noise[j]
        for k in range(i, n):
            total = np.float32(0)
            for j in range(d):
                total += gathered[i, j] * gathered[k, j]
            a[i, k] = total
        a[i, i] += deviation**2
    _factorize(a, n)
    _solve_transposed(a, means, n)
    for i in range(n):
        a[i, i] += deviation
    _solve_transposed(a, spread, n)
    for i in range(n):
        a[i, i] -= deviation
        means[i] -= spread[i]
    _solve(a, means, n)
    for i in range(n):
        spread[i] = means[i]  # b[0] is about to be overwritten
    for j in range(d):
        b[0, j] = center[j] + noise[j]
    for i in range(n):
        for j in range(d):
            b[0, j] += spread[i] * gathered[i, j]


@compiled
def _factorize(a, n):  # type: ignore[no-untyped-def]
    """The upper Cholesky factor of a[:n, :n], in place; NaN where it is not positive definite."""
    for i in range(n):
        root = np.sqrt(a[i, i])
        for j in range(i, n):
            a[i, j] /= root
        for k in range(i + 1, n):
            factor = a[i, k]
            for j in range(k, n):
                a[k, j] -= factor * a[i, j]


@compiled
def _solve_transposed(a, b, n):  # type: ignore[no-untyped-def]
    """The solution of aᵀ x = b in place, with an upper triangular a."""
    for i in range(n):
        b[i] /= a[i, i]
        for j in range(i + 1, n):
            b[j] -= b[i] * a[i, j]


@compiled
def _solve(a, b, n):  # type: ignore[no-untyped-def]
    """The solution of a x = b in place, with an upper triangular a."""
    for i in range(n - 1, -1, -1):
        total = b[i]
        for j in range(i + 1, n):
            total -= a[i, j] * b[j]
        b[i] = total / a[i, i]
