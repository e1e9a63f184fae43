"""People who are not in the data: how well bayesmf predicts them after a few of their ratings.

A fifth of the users is held out whole, and folded in by some of their ratings; the others of their
ratings are predicted. Takes data/encoded (`dvc repro encode`).
Usage: python -m benchmarks.new_people [SEEDS]
"""

import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import bayesmf
from cf.core import config, io, paths
from cf.core.config import Sampling
from cf.core.ratings import Indices, Ratings, Stars
from cf.inference.bayesmf import BayesMF

FRACTION = 0.2
COUNTS = (1, 2, 3, 5, 10, 15, 20)
N_ASKED = 5  # questions, to compare which to ask
DAMPING = 5.0
N_RESAMPLES = 10_000

Floats = NDArray[np.float64]


class Baselines:
    """Averages of the items, and of what a user is above them."""

    def __init__(self, train: Ratings, n_items: int) -> None:
        mean = train.values.mean(dtype=np.float64)
        counts = np.bincount(train.items, minlength=n_items)
        sums = np.bincount(train.items, train.values, minlength=n_items)
        self.plain = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
        self.damped = (sums + DAMPING * mean) / (counts + DAMPING)

    def predict(self, items: Indices, ratings: Stars, wanted: Indices) -> dict[str, Floats]:
        """Each baseline's prediction of the wanted items, given ratings of others."""
        above = (ratings - self.plain[items]).mean()
        damped = (ratings - self.damped[items]).sum() / (len(items) + 1)
        return {
            "item average": self.plain[wanted],
            "user-adjusted": self.plain[wanted] + above,
            "both damped": self.damped[wanted] + damped,
        }


class Case(NamedTuple):
    """The training ratings of four fifths of the users, and the others' in random order."""

    train: Ratings
    people: list[Ratings]
    data: bayesmf.Data
    sampling: Sampling


def make_case(seed: int) -> Case:
    """People with enough ratings to be asked for some and to be judged by others."""
    ratings = Ratings.from_frame(io.read_parquet(paths.ENCODED_RATINGS))
    data, draw = bayesmf.read(), np.random.default_rng(seed)
    n_users = len(data.users)
    new = draw.permutation(n_users)[: int(FRACTION * n_users)]
    train = ratings.take(np.flatnonzero(~np.isin(ratings.users, new)))
    people = [ratings.take(draw.permutation(np.flatnonzero(ratings.users == u))) for u in new]
    people = [person for person in people if len(person) > max(COUNTS)]
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    return Case(train, people, data, bayesmf.changed(sampling, seed))


def sampled(case: Case, train: Ratings) -> BayesMF:
    """bayesmf, sampled from these ratings."""
    model = bayesmf.sampled(case.sampling, train, case.data)
    weights = {name: values.numpy() for name, values in model.state_dict().items()}
    return BayesMF(
        weights, None, len(case.data.users), len(case.data.items), case.data.rating_range
    )


def after_each_count(answers: BayesMF, case: Case) -> pd.DataFrame:
    """RMSE on all ratings but the first twenty: a row per number of ratings known, the first."""
    baselines = Baselines(case.train, len(case.data.items))
    errors: dict[tuple[int, str], list[Floats]] = {}
    for person in case.people:
        wanted, values = person.items[max(COUNTS) :], person.values[max(COUNTS) :]
        for n in COUNTS:
            items, ratings = person.items[:n], person.values[:n]
            found = baselines.predict(items, ratings, wanted)
            mean = answers.score(answers.fold_in(items, ratings), wanted)[0]
            found["bayesmf"] = mean.astype(np.float64)
            for name, predicted in found.items():
                squares = np.square(predicted.clip(*case.data.rating_range) - values)
                errors.setdefault((n, name), []).append(squares)
    rmse = {key: float(np.sqrt(np.concatenate(of_key).mean())) for key, of_key in errors.items()}
    return pd.Series(rmse).unstack()


def trained_with(n: int, case: Case) -> float:
    """The RMSE on the same ratings, where the first n of each person were there in training."""
    known = [person.take(np.arange(n)) for person in case.people]
    train = Ratings.from_frame(pd.concat([part.to_frame() for part in [case.train, *known]]))
    answers, squares = sampled(case, train), []
    for person in case.people:
        rest = person.take(np.arange(max(COUNTS), len(person)))
        squares.append(np.square(answers.predict(rest.users, rest.items)[0] - rest.values))
    return float(np.sqrt(np.concatenate(squares).mean()))


def by_questions(answers: BayesMF, case: Case) -> pd.DataFrame:
    """Squared errors of half of each person's ratings, after five of the other half: a row each.

    Asked are the most telling, one after the other, the most rated, or any, of those they know.
    """
    counts = np.bincount(case.train.items, minlength=len(case.data.items))
    weights = counts / case.train.users.max()
    rows = []
    for person in case.people:
        half = len(person) // 2
        pool, rest = person.take(np.arange(half)), person.take(np.arange(half, len(person)))
        chosen: list[int] = []
        for _ in range(N_ASKED):
            known = pool.take(np.array(chosen, dtype=np.int64))
            tells = answers.information(known.items, known.values, weights)[pool.items]
            tells[chosen] = -np.inf
            chosen.append(int(tells.argmax()))
        popular = np.argsort(-counts[pool.items], kind="stable")[:N_ASKED]
        asked = {"most telling": np.array(chosen), "most rated": popular, "any": np.arange(N_ASKED)}
        row: dict[str, float] = {"n": len(rest)}
        for name, positions in asked.items():
            known = pool.take(positions)
            predicted = answers.score(answers.fold_in(known.items, known.values), rest.items)[0]
            row[name] = float(np.square(predicted - rest.values).sum())
        rows.append(row)
    return pd.DataFrame(rows)


def paired(errors: pd.DataFrame, name: str, other: str) -> tuple[float, float]:
    """The ends of the 95% interval of RMSE less another's, by a bootstrap over people."""
    draw = np.random.default_rng(0)
    picks = draw.integers(0, len(errors), (N_RESAMPLES, len(errors)))
    sums = {key: errors[key].to_numpy()[picks].sum(1) for key in (name, other, "n")}
    differences = np.sqrt(sums[name] / sums["n"]) - np.sqrt(sums[other] / sums["n"])
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Print the tables, means over the seeds."""
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    tables, full, questions = [], [], []
    for seed in range(1, n_seeds + 1):
        case = make_case(seed)
        answers = sampled(case, case.train)
        tables.append(after_each_count(answers, case))
        full.append(trained_with(10, case))
        questions.append(by_questions(answers, case))
    console, rmse = Console(), pd.concat(tables).groupby(level=0).mean()
    table = Table(
        title=f"RMSE by the number of ratings known, {n_seeds} times a fifth of the users"
    )
    for heading in ("ratings", *rmse.columns):
        table.add_column(str(heading), justify="right")
    for n, row in rmse.iterrows():
        table.add_row(str(n), *(f"{value:.4f}" for value in row))
    console.print(table)
    console.print(f"bayesmf trained with the first 10 ratings of each: {np.mean(full):.4f}")
    errors = pd.concat(questions, ignore_index=True)
    for name in ("most telling", "most rated", "any"):
        value = np.sqrt(errors[name].sum() / errors["n"].sum())
        gap = "" if name == "most telling" else "; the most telling less this: {:+.4f} to {:+.4f}"
        ends = paired(errors, "most telling", name)
        console.print(f"asked for {N_ASKED}, {name}: {value:.4f}{gap.format(*ends)}")


if __name__ == "__main__":
    main()
