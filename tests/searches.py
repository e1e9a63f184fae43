"""What tests of the search have in common: a training section, spaces, and planted trials."""

from typing import Any

from cf.core import config
from cf.core.config import Training, Tune
from cf.core.ratings import Provenance, Ratings, SplitInfo
from cf.training.checkpoint import ModelSpec
from cf.tuning.search import Trial, search

Pair = tuple[Ratings, Ratings]
SECTION: dict[str, Any] = {
    "model": {"name": "dotbias", "n_factors": 3, "init_range": [-0.3, 0.3]},
    "seed": 1,
    "device": "cpu",
    "n_threads": 1,
    "batch_size": 64,
    "optimizer": {"name": "adam", "betas": [0.9, 0.999], "weight_decay": 0.0},
    "schedule": {"n_epochs": [2, 3], "learning_rate": 0.00001, "anneal": "none"},
}
RATES = {"schedule.learning_rate": {"type": "float", "low": 0.00001, "high": 0.3, "log": True}}
ONE = {"type": "int", "low": 1, "high": 2}
PROVENANCE = Provenance("made-up", "made-up", "test", "ab" * 32, 3000, 60, 80, (0.5, 5.0))
SPLIT = SplitInfo(0.2, 42, "cd" * 32)


def section(**parts: dict[str, Any]) -> Training:
    """The section above, with some keys of its parts changed."""
    changed = {name: {**SECTION[name], **part} for name, part in parts.items()}
    return config.validate({**SECTION, **changed}, "test", Training)


def tune(space: dict[str, Any], n_trials: int = 12, **others: Any) -> Tune:
    settings = {"section": "train_dotbias", "seed": 1, "holdout": 0.2, **others}
    return config.validate({**settings, "n_trials": n_trials, "space": space}, "p: tune", Tune)


def trials(train: Ratings, training: Training, asked: Tune) -> list[Trial]:
    spec = ModelSpec(training.model, 60, 80, (0.5, 5.0))
    return list(search(train, training, asked, spec, "p"))
