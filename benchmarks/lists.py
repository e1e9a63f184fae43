"""Lists of recommended items: by who rates what, by predicted ratings, and by both, as users get.

Each user's last ratings are held out; all items that a user has not rated are candidates. Models
are trained on the rest, on which the weight is chosen, too. Takes data/encoded (dvc repro encode).
Usage: python -m benchmarks.lists [N_LAST]
"""

import sys
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import bayesmf
from cf.baselines.base import Scorer
from cf.baselines.ranking import interaction_scorers
from cf.core import config, io, paths
from cf.core.config import Rank, Sampling, Training
from cf.core.ratings import Indices, Provenance, Ratings
from cf.data.split import leave_last
from cf.evaluation import ranking
from cf.inference import lists, weights
from cf.inference.base import Answers
from cf.inference.bayesmf import BayesMF
from cf.inference.gradient_models import DotBias
from cf.training import optim
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit

N_LAST = 5


def models(train: Ratings, facts: Provenance) -> Iterator[tuple[str, Answers]]:
    """bayesmf and dotbias_ensemble, trained as params.yaml says."""
    sizes = facts.n_users, facts.n_items, facts.rating_range
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    sampled = bayesmf.sampled(sampling, train, bayesmf.read())
    yield "bayesmf", BayesMF(arrays(sampled), None, *sizes)
    training = config.load(paths.PARAMS, "train_dotbias_ensemble", Training)
    torch.manual_seed(training.seed)
    model = ModelSpec(training.model, *sizes).build("dotbias_ensemble")
    optimizer = optim.build(training.optimizer, model, len(train))
    batch_size = training.batch_size_for(len(train))
    one = train.take(np.arange(1))  # validation is no part of fitting
    for _ in fit(model, train, one, optimizer, training.schedule, batch_size):
        pass
    yield "dotbias_ensemble", DotBias(arrays(model), training.model, *sizes)


def arrays(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """The model's weights as they are in its checkpoint."""
    return {name: values.numpy() for name, values in model.state_dict().items()}


def systems(
    train: Ratings, facts: Provenance, rank: Rank, rated: object
) -> Iterator[tuple[str, Scorer]]:
    """What orders items for users, by name."""
    data = train, facts.n_users, facts.n_items
    yield from interaction_scorers(data, rank)
    trained = dict(models(train, facts))
    likely, chosen = weights.fit(*data, trained, rank)
    for name, answers in trained.items():
        weight = chosen[name]
        yield f"{name}, by stars", lists.scorer(answers, rated, None, 1.0)
        yield f"{name}, both (weight {weight:g})", lists.scorer(answers, rated, likely, weight)


def pairs_in_order(scorer: Scorer, held: Ratings, users: Indices) -> float:
    """The share of pairs of one user's held-out items with different ratings that are in order."""
    right, total = 0.0, 0
    for user in users:
        rows = np.flatnonzero(held.users == user)
        scores, values = scorer(np.array([user]))[0][held.items[rows]], held.values[rows]
        scores = np.where(np.isfinite(scores), scores, -1e9)
        above = values[:, None] > values
        right += (above & (scores[:, None] > scores)).sum() + 0.5 * (
            above & (scores[:, None] == scores)
        ).sum()
        total += above.sum()
    return right / max(1, total)


def hold_out_last(
    n_last: int, facts: Provenance, relevant: float | Literal["auto"]
) -> tuple[Ratings, Ratings, ranking.RankingTask]:
    """The ratings but for each user's last ones, these, and the task of finding them."""
    ratings = Ratings.read(paths.ENCODED_RATINGS)
    rows = leave_last(ratings.users, ratings.timestamps, n_last)
    train, held = ratings.take(rows["train"]), ratings.take(rows["valid"])
    return train, held, ranking.make_task(train, held, facts.n_users, facts.n_items, relevant)


def table_of_last(facts: Provenance, n_last: int, task: ranking.RankingTask) -> Table:
    """An empty table, whose title says what was held out."""
    return Table(title=f"{facts.dataset}, last {n_last} of each user, {len(task.users)} users")


def main() -> None:
    """Print the table."""
    n_last = int(sys.argv[1]) if len(sys.argv) > 1 else N_LAST
    rank = config.load(paths.PARAMS, "rank", Rank)
    facts = io.read_dataclass(paths.PROVENANCE, Provenance)
    train, held, task = hold_out_last(n_last, facts, rank.relevant)
    found, in_order = {}, {}
    for name, scorer in systems(train, facts, rank, task.train):
        found[name] = ranking.recommend(scorer, task, rank.k)
        in_order[name] = pairs_in_order(scorer, held, task.users)
    table = ranking.evaluate_lists(found, task, rank.k, "valid")
    shown = table_of_last(facts, n_last, task)
    metrics = [name for name in map(str, table.filter(like="_at_")) if "novelty" not in name]
    for heading in ("order", *metrics, "behind the best, 95%", "pairs in order"):
        shown.add_column(heading, justify="left" if heading == "order" else "right")
    for row in table.to_dict("records"):
        ends = f"{row['behind_low']:.4f} to {row['behind_high']:.4f}" if row["behind"] else ""
        cells = (f"{row[name]:.4f}" for name in metrics)
        shown.add_row(row["model"], *cells, ends, f"{in_order[row['model']]:.3f}")
    Console(width=140).print(shown)


if __name__ == "__main__":
    main()
