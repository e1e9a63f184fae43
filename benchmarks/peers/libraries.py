"""Surprise, cornac, LensKit, implicit and fastai, with their defaults where nothing is said."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Steps, System, frame


def surprise(name: str, options: dict[str, Any], case: Case) -> Steps:
    """An algorithm of Surprise, which leaves out what belongs to an unknown item."""
    import surprise

    yield
    reader = surprise.Reader(rating_scale=case.rating_range)
    data = surprise.Dataset.load_from_df(frame(case.train), reader)
    kind = getattr(surprise, name)
    seeded = {} if name == "KNNBaseline" else {"random_state": case.seed}
    algorithm = kind(verbose=False, **seeded, **options)
    algorithm.fit(data.build_full_trainset())
    yield
    pairs = zip(case.valid.users.tolist(), case.valid.items.tolist(), strict=True)
    return np.array([algorithm.predict(user, item).est for user, item in pairs])


def cornac(case: Case) -> Steps:
    """MF of cornac; an unknown item gets the global mean, as `rate` gives it."""
    from cornac.data import Dataset
    from cornac.models import MF

    yield
    arrays = case.train.users, case.train.items, case.train.values
    train = Dataset.from_uir(zip(*(array.tolist() for array in arrays), strict=True))
    seed = case.seed if case.n_threads == 1 else None  # a seed means one thread
    model = MF(k=50, max_iter=30, early_stop=False, num_threads=case.n_threads, seed=seed)
    model.fit(train)
    yield
    users = [train.uid_map.get(user, train.num_users) for user in case.valid.users.tolist()]
    items = [train.iid_map.get(item, train.num_items) for item in case.valid.items.tolist()]
    return np.array([model.rate(*pair) for pair in zip(users, items, strict=True)])


def lenskit_stars(name: str, case: Case) -> Steps:
    """A scorer of LensKit; where it cannot score, its BiasScorer does."""
    from lenskit.als import BiasedMFScorer
    from lenskit.batch import predict
    from lenskit.data import ItemListCollection, from_interactions_df
    from lenskit.knn import ItemKNNScorer
    from lenskit.pipeline import predict_pipeline
    from lenskit.training import TrainingOptions

    yield
    scorer = {"ALS": BiasedMFScorer, "ItemKNN": ItemKNNScorer}[name]()
    pipeline = predict_pipeline(scorer)
    pipeline.train(from_interactions_df(frame(case.train)), TrainingOptions(rng=case.seed))
    yield
    valid = frame(case.valid)
    lists = ItemListCollection.from_df(valid.drop(columns="rating"), ["user_id"])
    found = predict(pipeline, lists).to_df().set_index(["user_id", "item_id"])["score"]
    wanted = list(zip(valid["user_id"], valid["item_id"], strict=True))
    return np.asarray(found.loc[wanted], dtype=np.float64)


def fastai(batch_size: int, n_epochs: int, case: Case) -> Steps:
    """collab_learner as in fastai's tutorial; unknown items share the row of #na#."""
    import pandas as pd
    import torch._dynamo  # which the first step would import
    from fastai.callback.schedule import Learner  # noqa: F401 (has fit_one_cycle then)
    from fastai.collab import TabularCollab, collab_learner
    from fastai.data.block import TransformBlock
    from fastai.tabular.core import Categorify
    from fastai.torch_core import set_seed

    yield
    torch.set_num_threads(case.n_threads)
    set_seed(case.seed)
    names = ["user_id", "item_id"]
    rows = pd.concat([frame(case.train), frame(case.valid.take(np.arange(1)))], ignore_index=True)
    n = len(case.train)  # and one row to validate on, which is no part of fitting
    data = TabularCollab(
        rows,
        [Categorify],
        names,
        y_names=["rating"],
        y_block=TransformBlock(),
        splits=(list(range(n)), [n]),
    ).dataloaders(bs=batch_size)
    low, high = case.rating_range
    learner = collab_learner(data, n_factors=50, y_range=(low - 0.5, high + 0.5))
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(n_epochs, 5e-3, wd=0.1)
        yield
        wanted = data.test_dl(frame(case.valid)[names], bs=4096)
        predicted, _ = learner.get_preds(dl=wanted)
    return np.asarray(predicted).ravel()


def implicit(name: str, case: Case) -> Steps:
    """A model of implicit, on who rated what, whatever the stars."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from scipy.sparse import csr_matrix

    yield
    kinds = {"ALS": AlternatingLeastSquares, "BPR": BayesianPersonalizedRanking}
    rated = csr_matrix(case.task.train)
    model = kinds[name](num_threads=case.n_threads, random_state=case.seed)
    model.fit(rated, show_progress=False)
    yield
    users = case.task.users
    items, _ = model.recommend(users, rated[users], N=case.k, filter_already_liked_items=True)
    return np.asarray(items, dtype=np.int64)


def lenskit_lists(case: Case) -> Steps:
    """ItemKNN of LensKit on who rated what, whatever the stars."""
    from lenskit.batch import recommend
    from lenskit.data import from_interactions_df
    from lenskit.knn import ItemKNNScorer
    from lenskit.pipeline import topn_pipeline
    from lenskit.training import TrainingOptions

    yield
    pipeline = topn_pipeline(ItemKNNScorer(feedback="implicit"), n=case.k)
    pipeline.train(from_interactions_df(frame(case.train)), TrainingOptions(rng=case.seed))
    yield
    users = case.task.users.tolist()
    found: Any = {key.user_id: listed.ids() for key, listed in recommend(pipeline, users)}
    lists = np.full((len(users), case.k), -1, np.int64)
    for row, user in enumerate(users):
        lists[row, : len(found[user])] = found[user]
    return lists


OF_ITEMS = {"name": "pearson_baseline", "user_based": False}
"""As Surprise recommends for KNNBaseline, and of items, as in its source (Koren 2010)."""

STARS = [
    System("Surprise SVD", "scikit-surprise", partial(surprise, "SVD", {})),
    System("Surprise SVD++", "scikit-surprise", partial(surprise, "SVDpp", {})),
    System("Surprise KNNBaseline", "scikit-surprise", partial(surprise, "KNNBaseline", {})),
    System(
        "Surprise KNNBaseline, of items",
        "scikit-surprise",
        partial(surprise, "KNNBaseline", {"sim_options": OF_ITEMS}),
    ),
    System("cornac MF, k=50, 30 epochs", "cornac", cornac),
    System("LensKit BiasedMF (ALS)", "lenskit", partial(lenskit_stars, "ALS")),
    System("LensKit ItemKNN", "lenskit", partial(lenskit_stars, "ItemKNN")),
    System("fastai, batch 64, 3 epochs", "fastai", partial(fastai, 64, 3)),
    System("fastai, batch 512, 5 epochs", "fastai", partial(fastai, 512, 5)),
]
LISTS = [
    System("implicit ALS", "implicit", partial(implicit, "ALS")),
    System("implicit BPR", "implicit", partial(implicit, "BPR")),
    System("LensKit ItemKNN, implicit", "lenskit", lenskit_lists),
]
