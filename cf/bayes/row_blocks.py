"""Users, or items, with a similar number of ratings side by side in a few large tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

ENTRIES = 32768  # of a block, padding included: what it computes with then stays in the cache


@dataclass(frozen=True)
class Block:
    """B rows with at most L ratings each.

    Attributes:
        rows: (B,) indices.
        places: (B, L) which ratings they have; padded with the number of ratings.
        others: (B, L) the other side's index of each; padded with the number of those.
    """

    rows: Tensor
    places: Tensor
    others: Tensor


def divide(rows: Tensor, others: Tensor, n_rows: int, n_others: int) -> list[Block]:
    """Blocks that hold every row once, those without ratings too.

    Lengths are powers of two, so padding takes less than half of a block.

    Args:
        rows: (n,) in [0, n_rows), of each rating.
        others: (n,) in [0, n_others), of each rating.
    """
    sizes = torch.bincount(rows, minlength=n_rows)
    starts = sizes.cumsum(0) - sizes
    order = torch.cat([rows.argsort(stable=True), rows.new_tensor([len(rows)])])
    padded = torch.cat([others, others.new_tensor([n_others])])
    lengths = 2 ** sizes.clamp(min=1).log2().ceil().long()
    blocks = []
    for length in sorted(set(lengths.tolist())):
        alike = (lengths == length).nonzero()[:, 0]
        for part in alike.split(max(1, ENTRIES // length)):
            longest = max(1, int(sizes[part].max()))
            step = torch.arange(longest, device=rows.device)
            inside = step < sizes[part, None]
            places = order[torch.where(inside, starts[part, None] + step, len(rows))]
            blocks.append(Block(part, places, padded[places]))
    return blocks


def draw(
    blocks: list[Block],
    designs: Tensor,
    targets: Tensor,
    weights: Tensor,
    means: Tensor,
    precision: Tensor,
) -> Tensor:
    """A draw of each row of regression coefficients, given all else.

    Row r has the prior N(means_r, precision⁻¹), and each of its ratings observes
    target = design · row + noise, of precision weights_r. So, with the sums over its ratings,

        row_r ~ N(A⁻¹ (precision means_r + weights_r Σ target design), A⁻¹),
        A = precision + weights_r Σ design designᵀ.

    All is done in coordinates in which the prior's precision is the identity.

    Args:
        designs: (n_others, d), by the other side of the rating.
        targets: (n,), by rating.
        weights: (n_rows,), > 0.
        means: (n_rows, d).
        precision: (d, d), symmetric and positive definite.

    Returns:
        (n_rows, d).

    Source:
        Salakhutdinov and Mnih 2008, "Bayesian Probabilistic Matrix Factorization using Markov
        Chain Monte Carlo", equations 11 to 13.
    """
    n, d = means.shape
    root = torch.linalg.cholesky(precision)
    inverse = torch.linalg.solve_triangular(root, torch.eye(d), upper=False)
    white = torch.cat([designs @ inverse.T, designs.new_zeros(1, d)])
    targets = torch.cat([targets, targets.new_zeros(1)])
    centres, noise = means @ root, torch.randn(n, d)
    drawn = torch.empty_like(means)
    for block in blocks:
        rows = block.rows
        x, t = _at(white, block.others), _at(targets, block.places)
        way = _few if t.shape[1] < d else _many
        drawn.index_copy_(0, rows, way(x, t, *(_at(a, rows) for a in (weights, centres, noise))))
    return torch.mm(drawn, inverse)


def _many(x: Tensor, t: Tensor, weights: Tensor, centres: Tensor, noise: Tensor) -> Tensor:
    """(B, d) draws by a system of d equations each, as the formula of `draw` has it.

    Args:
        x: (B, L, d) designs.
        t: (B, L) targets.
        weights: (B,).
        centres: (B, d) prior means.
        noise: (B, d) standard normal.
    """
    weights = weights[:, None]
    a = torch.bmm(x.mT, x).mul_(weights[:, :, None])
    a.diagonal(dim1=1, dim2=2).add_(1)
    b = torch.bmm(t[:, None], x)[:, 0].mul_(weights).add_(centres)
    root = torch.linalg.cholesky(a, upper=True)
    half = torch.linalg.solve_triangular(root.mT, b[:, :, None], upper=False)
    half += noise[:, :, None]
    rows: Tensor = torch.linalg.solve_triangular(root, half, upper=True)
    return rows[:, :, 0]


def _few(x: Tensor, t: Tensor, weights: Tensor, centres: Tensor, noise: Tensor) -> Tensor:
    """Likewise by a system of L equations each, which is the smaller one: most items are rare.

    Source:
        Bhattacharya, Chakraborty and Mallick 2016, "Fast sampling with Gaussian scale mixture
        priors in high-dimensional regression", algorithm in section 2.2.
    """
    variances = 1 / weights[:, None]
    rows = centres + noise
    left = t - torch.bmm(x, rows[:, :, None])[:, :, 0]
    left -= torch.randn_like(t) * variances.sqrt()
    covariance = torch.bmm(x, x.mT)
    covariance.diagonal(dim1=1, dim2=2).add_(variances)
    pull = torch.cholesky_solve(left[:, :, None], torch.linalg.cholesky(covariance))
    return rows + torch.bmm(x.mT, pull)[:, :, 0]


def _at(table: Tensor, indices: Tensor) -> Tensor:
    """table[indices], which takes several times longer when it is written so."""
    found = table.index_select(0, indices.reshape(-1))
    return found.reshape(indices.shape + table.shape[1:])
