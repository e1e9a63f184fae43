"""The learning rate of every step."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cf.core.config import Schedule


def learning_rates(schedule: Schedule, n_batches: int) -> Iterator[NDArray[np.float64]]:
    """The learning rates of each epoch's steps, (n_batches,) an epoch.

    With cosine annealing a phase's rate falls from its start to 0 along half a cosine, and the
    next phase starts anew. The first `warm_up` share of the first phase's steps runs at a
    hundredth of its rate, while the cosine goes on below.

    Source:
        fastai 0.7 `CosAnneal`; Loshchilov and Hutter 2017, "SGDR", equation 5.
    """
    n_warm_up = schedule.warm_up * n_batches * schedule.n_epochs[0]
    for n_epochs, rate in schedule.phases:
        for epoch in range(n_epochs):
            step = np.arange(epoch * n_batches, (epoch + 1) * n_batches)
            rates = np.full(n_batches, rate)
            if schedule.anneal == "cosine":
                rates *= (1 + np.cos(np.pi * step / (n_epochs * n_batches))) / 2
            rates[step < n_warm_up] = rate / 100
            yield rates
        n_warm_up = 0.0
