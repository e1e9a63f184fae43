"""What is measured: cf's models and other libraries, fitted for longer and longer.

All have as many factors as are planted. The other settings of each were chosen by its curve on
ratings from another seed: docs/results.md says from how many.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.case import frame
from benchmarks.switches import OFF
from cf.core.config import Gibbs, RowwiseAdagrad, Schedule
from cf.core.ratings import Ratings, Stars
from cf.data.synthetic import LEVELS, N_FACTORS

RATING_RANGE = float(LEVELS[0]), float(LEVELS[-1])
EPOCHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 17, 20, 25, 30, 40, 50, 60)
"""Of a system that is fitted anew for each point of its curve."""


class Case(NamedTuple):
    """What every system is given."""

    train: Ratings
    valid: Ratings
    n_users: int
    n_items: int
    seed: int
    n_threads: int


class Fitted(NamedTuple):
    """A point of a curve.

    Attributes:
        epochs: passes over the ratings, or sweeps, so far.
        predict: gives the stars of the rows of valid, (n,).
    """

    epochs: int
    predict: Callable[[], Stars]


Curve = Iterator[Fitted | None]
"""First imports the library, then converts the ratings: None after each. Then a point a step."""


class System(NamedTuple):
    """A line of the figure.

    Attributes:
        package: the name under which pip installs it.
        anew: each point is a fit from the start, not some epochs more.
    """

    name: str
    package: str
    curve: Callable[[Case], Curve]
    anew: bool = False


def products(user_rows: Any, item_rows: Any, level: Any) -> Stars:
    """The dot product of each pair of rows, (n,), plus what is there without."""
    return np.asarray(level + np.einsum("nk,nk->n", user_rows, item_rows), np.float32)


def gradient(
    name: str, options: dict[str, Any], decay: float, rate: float, eps: float, case: Case
) -> Curve:
    """A model of cf by row-wise Adagrad; its learning rate falls to 0 over the epochs."""
    import torch

    from cf.models import base
    from cf.training import device, optim
    from cf.training.checkpoint import ModelSpec
    from cf.training.fit import fit

    settings = {"name": name, "n_factors": N_FACTORS, "init_range": [-0.05, 0.05], **options}
    spec = ModelSpec(settings, case.n_users, case.n_items, RATING_RANGE)
    adagrad = RowwiseAdagrad(name="rowwise_adagrad", eps=eps, weight_decay=decay)
    one = case.valid.take(np.arange(1))  # validation is no part of fitting

    def fitted(train: Ratings, epochs: int) -> base.Model:
        device.prepare(torch.device("cpu"), case.n_threads, case.seed)
        built = spec.build(name)
        optimizer = optim.build(adagrad, built, len(train))
        schedule = Schedule(n_epochs=[epochs], learning_rate=rate, anneal="cosine")
        for _ in fit(built, train, one, optimizer, schedule, batch_size=1):
            pass
        return built

    fitted(one, 1)  # loads the compiled code
    yield None
    yield None
    for epochs in EPOCHS:
        model = fitted(case.train, epochs)
        yield Fitted(epochs, partial(base.predict, model, case.valid.users, case.valid.items))


def bayesmf(case: Case) -> Curve:
    """cf's sampler with ids and the users' noise; three quarters of the sweeps are averaged."""
    import torch

    from cf.bayes.sample import sample
    from cf.models import base
    from cf.models.bayesmf import BayesMF
    from cf.training import device
    from cf.training.checkpoint import ModelSpec

    nothing = case.valid.take(np.arange(0))  # validation is no part of fitting

    def fitted(train: Ratings, sweeps: int) -> base.Model:
        device.prepare(torch.device("cpu"), case.n_threads, case.seed)
        burn_in = sweeps // 4
        settings = {"name": "bayesmf", "n_factors": N_FACTORS, "n_samples": sweeps - burn_in}
        model = ModelSpec(settings, case.n_users, case.n_items, RATING_RANGE).build("bayesmf")
        assert isinstance(model, BayesMF)
        gibbs = Gibbs(n_sweeps=sweeps, burn_in=burn_in, **(OFF | {"user_noise": True}))
        for _ in sample(model, train, nothing, (), (), gibbs):
            pass
        return model

    fitted(case.train.take(np.arange(1000)), 1)  # loads the compiled code
    yield None
    yield None
    for sweeps in EPOCHS[3:]:
        model = fitted(case.train, sweeps)
        yield Fitted(sweeps, partial(base.predict, model, case.valid.users, case.valid.items))


def cornac(rate: float, decay: float, case: Case) -> Curve:
    """MF of cornac, an epoch more for each point; with several threads its results vary."""
    from cornac.data import Dataset
    from cornac.models import MF

    yield None
    arrays = case.train.users, case.train.items, case.train.values
    train = Dataset.from_uir(zip(*(array.tolist() for array in arrays), strict=True))
    yield None
    model = MF(
        k=N_FACTORS, max_iter=1, learning_rate=rate, lambda_reg=decay, num_threads=case.n_threads
    )
    users = np.array([train.uid_map[user] for user in range(case.n_users)])[case.valid.users]
    items = np.array([train.iid_map[item] for item in range(case.n_items)])[case.valid.items]

    def predict() -> Stars:
        level = model.global_mean + model.u_biases[users] + model.i_biases[items]
        return products(model.u_factors[users], model.i_factors[items], level)

    for epoch in range(1, EPOCHS[-1] + 1):
        model.fit(train)
        yield Fitted(epoch, predict)


def lenskit(decay: float, case: Case) -> Curve:
    """BiasedMF of LensKit: alternating least squares."""
    from lenskit.als import BiasedMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    yield None
    train = from_interactions_df(frame(case.train))
    yield None
    scorer = BiasedMFScorer(embedding_size=N_FACTORS, regularization=decay)
    trainer = scorer.create_trainer(train, TrainingOptions(rng=case.seed))
    users = train.users.numbers(case.valid.users)
    items = train.items.numbers(case.valid.items)

    def predict() -> Stars:
        bias = scorer.bias
        level = bias.global_bias + bias.user_biases[users] + bias.item_biases[items]
        return products(scorer.user_embeddings[users], scorer.item_embeddings[items], level)

    for epoch in range(1, EPOCHS[-1] + 1):
        trainer.train_epoch()
        yield Fitted(epoch, predict)


def implicit(weight: float, decay: float, case: Case) -> Curve:
    """ALS of implicit, which knows likes and dislikes with a weight each, but no stars.

    A rating that is the share s of the highest one is put as a like of weight s and a dislike of
    weight 1 - s: the squared errors of the two add up to that of s. Pairs without a rating count as
    dislikes of weight 1, so `weight`, of a rating, is much more. Two more factors are for biases.
    """
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    yield None
    train, highest = case.train, RATING_RANGE[1]
    n = len(train)
    share = train.values / highest
    data = np.empty((n, 2), np.float32)
    data[:, 0], data[:, 1] = weight * share, -weight * (1 - share)
    starts = np.searchsorted(train.users, np.arange(case.n_users + 1))  # they are sorted by user
    indices = np.repeat(train.items.astype(np.int32), 2)
    shape = case.n_users, case.n_items
    rated = csr_matrix((data.ravel(), indices, 2 * starts.astype(np.int32)), shape)
    yield None
    model = AlternatingLeastSquares(
        N_FACTORS + 2,
        regularization=decay,
        iterations=1,
        num_threads=case.n_threads,
        random_state=case.seed,
    )

    def predict() -> Stars:
        users, items = case.valid.users, case.valid.items
        return highest * products(model.user_factors[users], model.item_factors[items], 0.0)

    threadpool_limits(1, "blas")  # as it asks for; its own threads remain
    for epoch in range(1, EPOCHS[-1] + 1):
        model.fit(rated, show_progress=False)
        yield Fitted(epoch, predict)


def surprise(rate: float, decay: float, case: Case) -> Curve:
    """SVD of Surprise, which has one thread."""
    from surprise import SVD, Dataset, Reader

    yield None
    data = Dataset.load_from_df(frame(case.train), Reader(rating_scale=RATING_RANGE))
    train = data.build_full_trainset()
    users, items = (
        np.array([to_inner(raw) for raw in range(n)])[raws]
        for to_inner, n, raws in (
            (train.to_inner_uid, case.n_users, case.valid.users),
            (train.to_inner_iid, case.n_items, case.valid.items),
        )
    )
    yield None
    for epochs in EPOCHS[4:]:
        model = SVD(
            N_FACTORS, epochs, lr_all=rate, reg_all=decay, random_state=case.seed, verbose=False
        )
        model.fit(train)

        def predict(model: Any = model) -> Stars:
            level = train.global_mean + model.bu[users] + model.bi[items]
            return products(model.pu[users], model.qi[items], level)

        yield Fitted(epochs, predict)


SYSTEMS = {
    system.name: system
    for system in (
        System("cf dotbias", "cf", partial(gradient, "dotbias", {}, 0.01, 0.8, 1.0), anew=True),
        System(
            "cf dotbias_ensemble, 2 members",
            "cf",
            partial(gradient, "dotbias_ensemble", {"n_members": 2}, 0.01, 0.8, 1.0),
            anew=True,
        ),
        System("cf bayesmf, ids and user noise", "cf", bayesmf, anew=True),
        System("cornac MF", "cornac", partial(cornac, 0.0055, 0.005)),
        System("LensKit BiasedMF", "lenskit", partial(lenskit, 0.01)),
        System("implicit ALS", "implicit", partial(implicit, 1000.0, 0.01)),
        System("Surprise SVD", "scikit-surprise", partial(surprise, 0.005, 0.01), anew=True),
    )
}
"""By name, in the order of the table."""
