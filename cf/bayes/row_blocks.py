"""Users, or items, with a similar number of ratings side by side in a few large tensors.

All of it is done on the device of the ratings. Nothing but the division into blocks reads from it,
so a GPU is never waited for in between.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from cf.core.ratings import Indices

BLOCK_SIZE = 32768  # ratings of a block, with padding: what it computes with stays in the cache
GPU_BLOCK_SIZE = 2**20  # where launches take time, and a few hundred MB are at hand
ROW_COST = 16  # ratings that take as long as a row's own system of equations, roughly
MOST_ROWS = 32768  # of a block: libraries for GPUs have solved up to 65,535 systems at once


class Targets(NamedTuple):
    """What ratings observe: scale · (value - offset of the other side) · factor of the other side.

    Attributes:
        values: (n,), by rating.
        offsets: (n_others,), by the other side of the rating, as are factors; None: 0, and 1.
    """

    values: Tensor
    offsets: Tensor | None = None
    factors: Tensor | None = None
    scale: float = 1.0

    def of(self, others: Tensor) -> Tensor:
        """(n,): of ratings whose other side is known."""
        targets = self.values
        if self.offsets is not None:
            targets = targets - self.offsets.index_select(0, others)
        if self.factors is not None:
            targets = targets * self.factors.index_select(0, others)
        return self.scale * targets


class RatingsByRow(Protocol):
    """The ratings of each user, or of each item, in a form to draw rows from."""

    def draw(
        self, designs: Tensor, targets: Targets, weights: Tensor, centers: Tensor, noise: Tensor
    ) -> Tensor:
        """A draw of each row, (n_rows, d), as in `draw`, with an identity as the prior's precision.

        Args:
            designs: (n_others, d), by the other side of the rating.
            weights: (n_rows,), > 0.
            centers: (n_rows, d) the prior means.
            noise: (n_rows, d) standard normal; a multiple of it gives deviations from the mean that
                are as many times as large.
        """


@dataclass(frozen=True)
class Block:
    """B rows with at most L ratings each."""

    rows: Tensor  # (B,) indices
    ratings: Tensor  # (B, L) indices of their ratings, padded with the number of ratings
    others: Tensor  # (B, L) the other side's index of each, padded with the number of those


class RowBlocks:
    """`RatingsByRow` by torch's operators."""

    def __init__(self, rows: Tensor, others: Tensor, n_rows: int, n_others: int) -> None:
        self._others = others
        size = BLOCK_SIZE if rows.device.type == "cpu" else GPU_BLOCK_SIZE
        self._blocks = divide(rows, others, n_rows, n_others, size)

    def draw(
        self, designs: Tensor, targets: Targets, weights: Tensor, centers: Tensor, noise: Tensor
    ) -> Tensor:
        """As `RatingsByRow.draw`."""
        designs = torch.cat([designs, designs.new_zeros(1, designs.shape[1])])
        padded = torch.cat([targets.of(self._others), targets.values.new_zeros(1)])
        drawn = torch.empty_like(centers)
        for block in self._blocks:
            x, t = gather(designs, block.others), gather(padded, block.ratings)
            sampler = sample_dual if t.shape[1] < designs.shape[1] else sample_primal
            of_rows = (gather(table, block.rows) for table in (weights, centers, noise))
            drawn.index_copy_(0, block.rows, sampler(x, t, *of_rows))
        return drawn


def divide(
    rows: Tensor, others: Tensor, n_rows: int, n_others: int, size: int = BLOCK_SIZE
) -> list[Block]:
    """Blocks that hold every row once, those without ratings too; of each rating's indices, (n,).

    Lengths are powers of two, so padding takes less than half of a block. `size` is in ratings; a
    row that has more is a block of its own.
    """
    counts = torch.bincount(rows, minlength=n_rows)
    starts = counts.cumsum(0) - counts
    order = torch.cat([rows.argsort(stable=True), rows.new_tensor([len(rows)])])
    padded = torch.cat([others, others.new_tensor([n_others])])
    lengths = 2 ** counts.clamp(min=1).log2().ceil().long()
    blocks = []
    for length in sorted(set(lengths.tolist())):
        of_length = (lengths == length).nonzero()[:, 0]
        for some in of_length.split(max(1, min(MOST_ROWS, size // length))):
            longest = max(1, int(counts[some].max()))
            step = torch.arange(longest, device=rows.device)
            present = step < counts[some, None]
            ratings = order[torch.where(present, starts[some, None] + step, len(rows))]
            blocks.append(Block(some, ratings, padded[ratings]))
    return blocks


def bounds_of_equal_work(starts: Indices, n_parts: int) -> list[int]:
    """Bounds between rows, (n_parts + 1), for parts of about equal work.

    `starts`, (n_rows + 1,), is where each row's ratings start, in the order of all by row.
    """
    work = starts + ROW_COST * np.arange(len(starts))
    ends = np.searchsorted(work, work[-1] * np.arange(1, n_parts) / n_parts)
    return [0, *ends.tolist(), len(starts) - 1]


def draw(
    ratings: RatingsByRow,
    designs: Tensor,  # (n_others, d), by the other side of the rating
    targets: Targets,
    weights: Tensor,  # (n_rows,), > 0
    means: Tensor,  # (n_rows, d)
    precision: Tensor,  # (d, d), symmetric and positive definite
    before: Tensor,  # (n_rows, d), the rows that were drawn last
    relaxation: float,  # above -1, up to 0
) -> Tensor:
    """A draw of each row of regression coefficients, given all else: (n_rows, d).

    Row r has the prior N(means_r, precision⁻¹), and each of its ratings observes
    target = design · row + noise, of precision weights_r. So, with the sums over its ratings,

        row_r ~ N(A⁻¹ (precision means_r + weights_r Σ target design), A⁻¹),
        A = precision + weights_r Σ design designᵀ.

    With a relaxation r below 0 the row goes to the other side of its mean,

        mean + r (row before - mean) + (1 - r²)^½ (draw - mean),

    which has the same distribution if the row before has it, and moves on where plain draws would
    go to and fro. All is done in coordinates in which the prior's precision is the identity.

    Source:
        Salakhutdinov and Mnih 2008, "Bayesian Probabilistic Matrix Factorization using Markov
        Chain Monte Carlo", equations 11 to 13; Adler 1981, "Over-relaxation method for the Monte
        Carlo evaluation of the partition function for multiquadratic actions".
    """
    n, d = means.shape
    chol = cholesky(precision)
    inverse = torch.linalg.solve_triangular(chol, torch.eye(d, device=means.device), upper=False)
    # Draws are linear in their means' parts and their noise, which are scaled by these.
    pull, renewal = 1 - relaxation, (1 - relaxation**2) ** 0.5
    centers, noise = pull * means @ chol, renewal * torch.randn(n, d, device=means.device)
    targets = targets._replace(scale=pull * targets.scale)
    drawn = ratings.draw(designs @ inverse.T, targets, weights, centers, noise)
    return torch.mm(drawn, inverse).add_(before, alpha=relaxation)


def sample_primal(x: Tensor, t: Tensor, weights: Tensor, centers: Tensor, noise: Tensor) -> Tensor:
    """(B, d) draws by a system of d equations each, as in the formula of `draw`.

    x are (B, L, d) designs, t (B, L) targets, weights (B,), centers (B, d) the prior means, and
    noise (B, d).
    """
    weights = weights[:, None]
    a = torch.bmm(x.mT, x).mul_(weights[:, :, None])
    a.diagonal(dim1=1, dim2=2).add_(1)
    b = torch.bmm(t[:, None], x)[:, 0].mul_(weights).add_(centers)
    chol = cholesky(a, upper=True)
    half = torch.linalg.solve_triangular(chol.mT, b[:, :, None], upper=False)
    half += noise[:, :, None]
    rows: Tensor = torch.linalg.solve_triangular(chol, half, upper=True)
    return rows[:, :, 0]


def sample_dual(x: Tensor, t: Tensor, weights: Tensor, centers: Tensor, noise: Tensor) -> Tensor:
    """The same by a system of L equations each, which is smaller: most items have few ratings.

    With v² = 1 / weight and the Cholesky factor L of X Xᵀ + v² I, the rows' covariance is
    I - Xᵀ (L Lᵀ)⁻¹ X, and a root of it I - Xᵀ L⁻ᵀ (L + v I)⁻¹ X.

    Source:
        Andrews 1968, "A Square Root Formulation of the Kalman Covariance Equations".
    """
    deviations = weights.rsqrt()[:, None]
    both = torch.stack([centers, noise], dim=2)
    of_centers, spread = torch.bmm(x, both).unbind(2)
    covariance = torch.bmm(x, x.mT)
    covariance.diagonal(dim1=1, dim2=2).add_(deviations.square())
    chol = cholesky(covariance)
    half = torch.linalg.solve_triangular(chol, (t - of_centers)[:, :, None], upper=False)
    shifted = chol + torch.diag_embed(deviations.expand_as(t))
    half -= torch.linalg.solve_triangular(shifted, spread[:, :, None], upper=False)
    correction = torch.linalg.solve_triangular(chol.mT, half, upper=True)
    return centers + noise + torch.bmm(x.mT, correction)[:, :, 0]


def cholesky(matrices: Tensor, upper: bool = False) -> Tensor:
    """The Cholesky factors of (..., d, d), with NaN on the diagonal where there are none.

    So solutions are NaN where a matrix is not positive definite. torch.linalg.cholesky raises an
    error instead, for which a GPU has to be waited for.
    """
    factors: Tensor
    factors, info = torch.linalg.cholesky_ex(matrices, upper=upper)
    factors.diagonal(dim1=-2, dim2=-1).masked_fill_((info > 0)[..., None], torch.nan)
    return factors


def gather(table: Tensor, indices: Tensor) -> Tensor:
    """table[indices], in a fraction of the time."""
    found = table.index_select(0, indices.reshape(-1))
    return found.reshape(indices.shape + table.shape[1:])
