"""Models trained on made-up ratings, as the sections of params.yaml say but for how long."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cf.bayes import side_information
from cf.bayes.sample import sample
from cf.core import config
from cf.core.config import Sampling, Training
from cf.core.ratings import Provenance, Ratings
from cf.models.base import Model
from cf.models.bayesmf import BayesMF
from cf.training import optim
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit

PARAMS = Path(__file__).parent.parent / "params.yaml"
N_USERS, N_ITEMS = 60, 80
FACTS = Provenance("toy", "toy", "here", "0", 3000, N_USERS, N_ITEMS, (0.5, 5.0))
USERS = pd.DataFrame({"user_id": range(N_USERS)})
ITEMS = pd.DataFrame({"genres": [""] * N_ITEMS, "year": np.nan})
TAGS = pd.DataFrame({"item": [], "tag": [], "timestamp": []})


def train_model(
    section: str, train: Ratings, valid: Ratings, n_epochs: tuple[int, int] = (20, 10)
) -> tuple[Model, ModelSpec]:
    """The model of a section of params.yaml after so many epochs."""
    if config.is_sampled(PARAMS, section):
        return sample_model(section, train, valid, sum(n_epochs))
    training = config.load(PARAMS, section, Training)
    schedule = training.schedule.model_copy(update={"n_epochs": list(n_epochs)})
    torch.manual_seed(training.seed)
    spec = ModelSpec.from_data(training.model, FACTS, ITEMS, section)
    model = spec.build(section)
    optimizer = optim.build(training.optimizer, model, len(train))
    batch_size = training.batch_size_for(len(train))
    for _ in fit(model, train, valid, optimizer, schedule, batch_size):
        pass
    return model, spec


def sample_model(
    section: str, train: Ratings, valid: Ratings, n_sweeps: int
) -> tuple[Model, ModelSpec]:
    """The same for a model that is sampled, from ratings alone."""
    sampling = config.load(PARAMS, section, Sampling)
    off = ("genres", "year", "item_features", "tags", "user_features")
    nothing_else = dict.fromkeys(off, False) | {"time_scales": []}
    sweeps = {"n_sweeps": n_sweeps, "burn_in": n_sweeps // 3}
    gibbs = sampling.gibbs.model_copy(update=nothing_else | sweeps)
    torch.manual_seed(sampling.seed)
    spec = ModelSpec.from_data(sampling.model, FACTS, ITEMS, section)
    model = spec.build(section)
    assert isinstance(model, BayesMF)
    features = side_information.features(gibbs, train, USERS, ITEMS, TAGS)
    for _ in sample(model, train, valid, *features, gibbs):
        pass
    return model, spec
