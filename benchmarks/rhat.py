"""Whether chains from different starts converge to the same posterior."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Draws = NDArray[np.float32]


def rhat(draws: Draws) -> NDArray[np.float64]:
    """The rank-normalized split R-hat of each quantity: 1 where all halves of chains agree.

    The maximum of two: R-hat of the draws, which detects chains with different means, and R-hat of
    their distances from the median, which detects chains with different spreads.

    Args:
        draws: (n_chains, n_samples, n), at least four samples each.

    Returns:
        (n,); NaN where all draws are equal.

    Source:
        Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, "Rank-normalization, folding, and
        localization: An improved R-hat for assessing convergence of MCMC", section 4.1.
    """
    n_chains, n_samples, n = draws.shape
    half = n_samples // 2
    halves = draws[:, : 2 * half].reshape(2 * n_chains, half, n)
    folded = np.abs(halves - np.median(halves, axis=(0, 1)))
    return np.maximum(_plain(_normal_scores(halves)), _plain(_normal_scores(folded)))


def _normal_scores(draws: Draws) -> NDArray[np.float64]:
    ranks = stats.rankdata(draws.reshape(-1, draws.shape[2]), axis=0)
    scores: NDArray[np.float64] = stats.norm.ppf((ranks - 0.375) / (len(ranks) + 0.25))
    return scores.reshape(draws.shape)


def _plain(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    n = draws.shape[1]
    within = draws.var(axis=1, ddof=1).mean(axis=0)
    between = draws.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(invalid="ignore"):
        ratio: NDArray[np.float64] = np.sqrt((n - 1) / n + between / within)
    return ratio
