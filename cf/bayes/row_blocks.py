"""Users, or items, with a similar number of ratings side by side in a few large tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_SIZE = 32768  # ratings of a block, with padding: what it computes with stays in the cache


@dataclass(frozen=True)
class Block:
    """B rows with at most L ratings each."""

    rows: Tensor  # (B,) indices
    ratings: Tensor  # (B, L) indices of their ratings, padded with the number of ratings
    others: Tensor  # (B, L) the other side's index of each, padded with the number of those


def divide(rows: Tensor, others: Tensor, n_rows: int, n_others: int) -> list[Block]:
    """Blocks that hold every row once, those without ratings too; of each rating's indices, (n,).

    Lengths are powers of two, so padding takes less than half of a block.
    """
    counts = torch.bincount(rows, minlength=n_rows)
    starts = counts.cumsum(0) - counts
    order = torch.cat([rows.argsort(stable=True), rows.new_tensor([len(rows)])])
    padded = torch.cat([others, others.new_tensor([n_others])])
    lengths = 2 ** counts.clamp(min=1).log2().ceil().long()
    blocks = []
    for length in sorted(set(lengths.tolist())):
        of_length = (lengths == length).nonzero()[:, 0]
        for some in of_length.split(max(1, BLOCK_SIZE // length)):
            longest = max(1, int(counts[some].max()))
            step = torch.arange(longest, device=rows.device)
            present = step < counts[some, None]
            ratings = order[torch.where(present, starts[some, None] + step, len(rows))]
            blocks.append(Block(some, ratings, padded[ratings]))
    return blocks


def draw(
    blocks: list[Block],
    designs: Tensor,  # (n_others, d), by the other side of the rating
    targets: Tensor,  # (n,), by rating
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
    chol = torch.linalg.cholesky(precision)
    inverse = torch.linalg.solve_triangular(chol, torch.eye(d), upper=False)
    whitened = torch.cat([designs @ inverse.T, designs.new_zeros(1, d)])
    # Draws are linear in their means' parts and their noise, which are scaled by these.
    pull, renewal = 1 - relaxation, (1 - relaxation**2) ** 0.5
    targets = torch.cat([targets * pull, targets.new_zeros(1)])
    centers, noise = pull * means @ chol, renewal * torch.randn(n, d)
    drawn = torch.empty_like(means)
    for block in blocks:
        x, t = gather(whitened, block.others), gather(targets, block.ratings)
        sampler = sample_dual if t.shape[1] < d else sample_primal
        of_rows = (gather(table, block.rows) for table in (weights, centers, noise))
        drawn.index_copy_(0, block.rows, sampler(renewal, x, t, *of_rows))
    return torch.mm(drawn, inverse).add_(before, alpha=relaxation)


def sample_primal(
    renewal: float, x: Tensor, t: Tensor, weights: Tensor, centers: Tensor, noise: Tensor
) -> Tensor:
    """(B, d) draws by a system of d equations each, as in the formula of `draw`.

    x are (B, L, d) designs, t (B, L) targets, weights (B,), centers (B, d) the prior means, and
    noise (B, d) is normal with the standard deviation `renewal`.
    """
    weights = weights[:, None]
    a = torch.bmm(x.mT, x).mul_(weights[:, :, None])
    a.diagonal(dim1=1, dim2=2).add_(1)
    b = torch.bmm(t[:, None], x)[:, 0].mul_(weights).add_(centers)
    chol = torch.linalg.cholesky(a, upper=True)
    half = torch.linalg.solve_triangular(chol.mT, b[:, :, None], upper=False)
    half += noise[:, :, None]
    rows: Tensor = torch.linalg.solve_triangular(chol, half, upper=True)
    return rows[:, :, 0]


def sample_dual(
    renewal: float, x: Tensor, t: Tensor, weights: Tensor, centers: Tensor, noise: Tensor
) -> Tensor:
    """The same by a system of L equations each, which is smaller: most items have few ratings.

    Source:
        Bhattacharya, Chakraborty and Mallick 2016, "Fast sampling with Gaussian scale mixture
        priors in high-dimensional regression", algorithm in section 2.2.
    """
    variances = 1 / weights[:, None]
    rows = centers + noise
    residuals = t - torch.bmm(x, rows[:, :, None])[:, :, 0]
    residuals -= torch.randn_like(t) * (variances.sqrt() * renewal)
    covariance = torch.bmm(x, x.mT)
    covariance.diagonal(dim1=1, dim2=2).add_(variances)
    correction = torch.cholesky_solve(residuals[:, :, None], torch.linalg.cholesky(covariance))
    return rows + torch.bmm(x.mT, correction)[:, :, 0]


def gather(table: Tensor, indices: Tensor) -> Tensor:
    """table[indices], in a fraction of the time."""
    found = table.index_select(0, indices.reshape(-1))
    return found.reshape(indices.shape + table.shape[1:])
