"""cf's own models, as params.yaml describes them."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peers.case import Case, Steps, System
from benchmarks.switches import OFF
from cf.baselines.bias import Bias
from cf.core import config, paths
from cf.core.config import Evaluate, Rank, Sampling, Training


def bias(case: Case) -> Steps:
    """Damped user and item biases; an unknown item has none."""
    damping = config.load(paths.PARAMS, "evaluate", Evaluate).damping
    yield
    baseline = Bias(damping).fit(case.train, case.n_users, case.n_items)
    yield
    return baseline.predict(case.valid.users, case.valid.items)


ROWWISE: dict[str, Any] = {
    "model": {"name": "dotbias", "n_factors": 50, "init_range": [-0.01, 0.01]},
    "batch_size": 1,
    "optimizer": {"name": "rowwise_adagrad", "eps": 1.0, "weight_decay": 0.1},
    "schedule": {"n_epochs": [20], "learning_rate": 0.05, "anneal": "cosine"},
}
"""dotbias with row-wise Adagrad, as docs/models.md has it for the notebook's rows."""


def gradient(section: str, changes: dict[str, Any], case: Case) -> Steps:
    """A model that is trained by batches; unknown items have the row they began with, decayed."""
    import torch

    import cf.core.jit  # noqa: F401 (numba, which the first step would import)
    from cf.models import base
    from cf.training import device as devices
    from cf.training import optim as optimizers
    from cf.training.checkpoint import ModelSpec
    from cf.training.fit import fit

    yield
    training = config.load(paths.PARAMS, section, Training)
    training = Training.model_validate(training.model_dump() | changes)
    devices.prepare(torch.device("cpu"), case.n_threads, case.seed)
    model = ModelSpec(training.model, case.n_users, case.n_items, case.rating_range).build(section)
    optimizer = optimizers.build(training.optimizer, model, len(case.train))
    batch_size = training.batch_size_for(len(case.train))
    one = case.valid.take(np.arange(1))  # validation is no part of fitting
    for _ in fit(model, case.train, one, optimizer, training.schedule, batch_size):
        pass
    yield
    return base.predict(model, case.valid.users, case.valid.items)


def sampled(changes: dict[str, Any], case: Case) -> Steps:
    """bayesmf, with some switches set otherwise; unknown items are drawn from their prior."""
    import cf.core.jit  # noqa: F401 (numba, which the first sweep would import)
    from benchmarks import bayesmf
    from cf.models import base

    yield
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    sampling = bayesmf.changed(sampling, case.seed, **changes)
    sampling = sampling.model_copy(update={"n_threads": case.n_threads})
    users = pd.DataFrame(index=range(case.n_users))  # no features of them
    data = bayesmf.Data(users, case.items, case.tags, case.rating_range)
    model = bayesmf.sampled(sampling, case.train, data)
    yield
    return base.predict(model, case.valid.users, case.valid.items, case.valid.timestamps)


def ease(case: Case) -> Steps:
    """EASE; items that nobody has rated are on no list."""
    from cf.baselines.ranking import EASE
    from cf.evaluation import ranking

    yield
    settings = config.load(paths.PARAMS, "rank", Rank).ease
    baseline = EASE(settings.l2, settings.max_items).fit(case.train, case.n_users, case.n_items)
    yield
    return ranking.recommend(baseline.score, case.task, case.k)


def itemknn(case: Case) -> Steps:
    """Item-kNN; items that nobody has rated are on no list."""
    from cf.baselines.ranking import ItemKNN
    from cf.evaluation import ranking

    yield
    settings = config.load(paths.PARAMS, "rank", Rank).knn
    baseline = ItemKNN(settings.n_neighbors, settings.shrinkage)
    baseline.fit(case.train, case.n_users, case.n_items)
    yield
    return ranking.recommend(baseline.score, case.task, case.k)


STARS = [
    System("cf bayesmf", "cf", partial(sampled, {})),
    System("cf bayesmf, ids and user noise", "cf", partial(sampled, OFF | {"user_noise": True})),
    System("cf bayesmf, ids only", "cf", partial(sampled, OFF)),
    System("cf dotbias_ensemble", "cf", partial(gradient, "train_dotbias_ensemble", {})),
    System("cf dotbias", "cf", partial(gradient, "train_dotbias", {})),
    System("cf dotbias, row-wise Adagrad", "cf", partial(gradient, "train_dotbias", ROWWISE)),
    System("cf bias", "cf", bias),
]
LISTS = [
    System("cf EASE", "cf", ease),
    System("cf item-kNN", "cf", itemknn),
]
