"""Whether two chains of bayesmf from different starts agree on the held-out rows.

Where the ratings have times, the chains are those that know them.
Takes data/split (`dvc repro split`). Usage: python -m benchmarks.chains [SWEEPS BURN_IN SAMPLES]
"""

import sys

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bayesmf import changed, read, sampled
from benchmarks.rhat import rhat
from cf.core import config, paths
from cf.core.config import Sampling
from cf.core.ratings import Ratings

CHUNK_SIZE = 2048  # rows at a time


def drawn(sampling: Sampling, train: Ratings, held: Ratings) -> NDArray[np.float32]:
    """(n_samples, n): each sample's predicted stars for the held-out rows."""
    model = sampled(sampling, train, read())
    users, items = torch.tensor(held.users), torch.tensor(held.items)
    if model.timed is None or held.timestamps is None:
        predictions = model.sample_predictions(model.timeless, users, items)
    else:
        effect = model.timed.at(users, torch.tensor(held.timestamps)).effect
        predictions = model.sample_predictions(model.timed, users, items, effect)
    return torch.stack(list(predictions)).numpy()


def main() -> None:
    """Print the quantiles of R-hat."""
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    n_sweeps, burn_in, n_samples = map(int, sys.argv[1:] or (400, 200, 200))
    train, held = (
        Ratings.read(paths.TRAIN),
        Ratings.read(paths.VALID),
    )
    changes = {"n_sweeps": n_sweeps, "burn_in": burn_in, "n_samples": n_samples}
    both = [drawn(changed(sampling, seed, **changes), train, held) for seed in (1, 2)]
    parts = [
        rhat(np.stack([draws[:, first : first + CHUNK_SIZE] for draws in both]))
        for first in range(0, len(held), CHUNK_SIZE)
    ]
    found = np.concatenate(parts)
    found = found[np.isfinite(found)]  # else all draws are the highest rating
    quantiles = {f"{level:.0%}": np.quantile(found, level) for level in (0.5, 0.9, 0.95, 0.99)}
    print(
        f"R-hat of {len(found):,} held-out rows, 2 chains, {n_samples} samples from the sweeps "
        f"{burn_in + 1} to {n_sweeps}:"
    )
    print(f"at most 1.05 for {np.mean(found <= 1.05):.1%} of the rows")
    print(", ".join(f"{level} at most {value:.3f}" for level, value in quantiles.items()))


if __name__ == "__main__":
    main()
