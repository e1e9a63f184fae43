"""Draws held against the distribution that they should have."""

import math

import torch
from torch import Tensor

N = 40_000  # draws: the error of a mean is a two-hundredth of the deviation


def in_turn(mean: Tensor, covariance: Tensor, relaxation: float) -> tuple[Tensor, Tensor]:
    """The moments of a draw and, beside it, a second one that is relaxed from the first."""
    pair = torch.tensor([[1.0, relaxation], [relaxation, 1.0]])
    return mean.repeat(2), torch.kron(pair, covariance.contiguous())


def close_to_normal(draws: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Hold the mean and the covariance of (N, d) draws against what they should be."""
    scale = covariance.diag().sqrt()
    off = (draws.mean(0) - mean) / scale * math.sqrt(len(draws))
    assert off.abs().max() < 4.5
    got = torch.cov(draws.T) / scale.outer(scale)
    torch.testing.assert_close(
        got, covariance / scale.outer(scale), rtol=0, atol=6.5 / len(draws) ** 0.5
    )
