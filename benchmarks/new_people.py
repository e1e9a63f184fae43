"""People who are not in the data: how well bayesmf predicts them after a few of their ratings.

A fifth of the users is held out whole, and folded in by some of their ratings; the others of their
ratings are predicted. Takes data/encoded (`dvc repro encode`).
Usage: python -m benchmarks.new_people [FOLDS]
"""

import sys
import time
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import bayesmf
from cf.core import config, paths
from cf.core.config import Sampling
from cf.core.ratings import Indices, Ratings, Stars
from cf.inference.bayesmf import BayesMF
from cf.inference.questions import Questions

N_FOLDS = 5
COUNTS = (1, 2, 3, 5, 10, 15, 20)
N_ASKED = 5  # ratings of items that people know
N_QUESTIONS = (5, 20)  # about any item
N_HALVES = 8  # of each person's ratings
TELLING, RATED, ANY = "most telling", "most rated", "any"
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


def make_case(fold: int) -> Case:
    """A fold's people, with enough ratings to be asked for some and to be judged by others."""
    ratings = Ratings.read(paths.ENCODED_RATINGS)
    data, draw = bayesmf.read(), np.random.default_rng(0)
    new = np.array_split(draw.permutation(len(data.users)), N_FOLDS)[fold]
    train = ratings.take(np.flatnonzero(~np.isin(ratings.users, new)))
    people = [ratings.take(draw.permutation(np.flatnonzero(ratings.users == u))) for u in new]
    people = [person for person in people if len(person) > max(COUNTS)]
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    return Case(train, people, data, bayesmf.changed(sampling, fold + 1))


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


def rmse_of(answers: BayesMF, known: Ratings, rest: Ratings) -> float:
    """Of a person's other ratings, where some are known."""
    predicted = answers.score(answers.fold_in(known.items, known.values), rest.items)[0]
    return float(np.sqrt(np.square(predicted - rest.values).mean()))


def after_ratings(answers: BayesMF, case: Case, questions: Questions) -> pd.DataFrame:
    """RMSE on half of each person's ratings, after five of the other half: a row per person.

    Of the items they know, these are the most telling, one after the other, the most rated, or any;
    means over several halves.
    """
    rows = []
    for person in case.people:
        draw = np.random.default_rng(person.users[0])
        halves = [person.take(draw.permutation(len(person))) for _ in range(N_HALVES)]
        rows.append(pd.DataFrame([after_half(answers, half, questions) for half in halves]).mean())
    return pd.DataFrame(rows)


def after_half(answers: BayesMF, person: Ratings, questions: Questions) -> dict[str, float]:
    """RMSE on the second half of a person's ratings, after five of the first half."""
    pool, rest = np.split(np.arange(len(person)), [len(person) // 2])
    known, others = person.take(pool), person.take(rest)
    telling: list[int] = []
    gains = np.empty(len(questions.known))
    for _ in range(N_ASKED):
        so_far = known.take(np.array(telling, dtype=np.int64))
        gains[questions.items] = questions.gains(so_far.items, so_far.values)
        gains[so_far.items] = -np.inf
        telling.append(int(gains[known.items].argmax()))
    popular = np.argsort(-questions.known[known.items], kind="stable")[:N_ASKED]
    chosen = {TELLING: np.array(telling), RATED: popular, ANY: pool[:N_ASKED]}
    return {name: rmse_of(answers, known.take(rows), others) for name, rows in chosen.items()}


def after_questions(answers: BayesMF, case: Case, questions: Questions, n: int) -> pd.DataFrame:
    """RMSE on a quarter of each person's ratings, after questions about any items: a row each.

    A question about an item that is not among their other ratings tells nothing.
    """
    popular = np.argsort(-questions.known, kind="stable")[:n]
    rows = []
    for person in case.people:
        pool, rest = np.split(np.arange(len(person)), [len(person) * 3 // 4])
        known, others = person.take(pool), person.take(rest)
        telling: list[int] = []
        for _ in range(n):
            so_far = known.take(np.flatnonzero(np.isin(known.items, telling)))
            gains = questions.gains(so_far.items, so_far.values) * questions.known[questions.items]
            gains[np.isin(questions.items, telling)] = -np.inf
            telling.append(int(questions.items[gains.argmax()]))
        draw = np.random.default_rng(person.users[0])
        drawn = draw.permutation(np.flatnonzero(questions.known))[:n]
        answered = (
            known.take(np.flatnonzero(np.isin(known.items, asked)))
            for asked in (telling, popular, drawn)
        )
        found = (rmse_of(answers, ratings, others) for ratings in answered)
        rows.append(dict(zip((TELLING, RATED, ANY), found, strict=True)))
    return pd.DataFrame(rows)


def paired(errors: pd.DataFrame, name: str) -> tuple[float, float]:
    """The ends of the 95% interval of the most telling's RMSE less another's, over people."""
    differences = (errors[TELLING] - errors[name]).to_numpy()
    draw = np.random.default_rng(0)
    picks = draw.integers(0, len(differences), (N_RESAMPLES, len(differences)))
    low, high = np.quantile(differences[picks].mean(1), [0.025, 0.975])
    return float(low), float(high)


def median_ms(answers: BayesMF, case: Case) -> float:
    """The median time, in ms, to fold a person in by twenty ratings and put all items in order."""
    seconds = []
    for person in case.people:
        began = time.perf_counter()
        answers.table([answers.fold_in(person.items[:20], person.values[:20])]).argsort()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)) * 1000


def main() -> None:
    """Print the tables, means over the folds."""
    n_folds = int(sys.argv[1]) if len(sys.argv) > 1 else N_FOLDS
    tables, full, ms = [], [], []
    asked: dict[str, list[pd.DataFrame]] = {}
    for fold in range(n_folds):
        case = make_case(fold)
        answers, train = sampled(case, case.train), case.train
        tables.append(after_each_count(answers, case))
        full.append(trained_with(10, case))
        ms.append(median_ms(answers, case))
        of_train = answers, train.users, train.items, train.values
        questions = Questions(*of_train)
        of_any_item = Questions(*of_train, len(case.data.items))
        heading = f"{N_ASKED} ratings of items they know"
        asked.setdefault(heading, []).append(after_ratings(answers, case, of_any_item))
        for n in N_QUESTIONS:
            heading = f"{n} questions about any item"
            asked.setdefault(heading, []).append(after_questions(answers, case, questions, n))
    console, rmse = Console(width=120), pd.concat(tables).groupby(level=0).mean()
    table = Table(title=f"RMSE by the number of ratings known, mean of {n_folds} folds of users")
    for heading in ("ratings", *rmse.columns):
        table.add_column(str(heading), justify="right")
    for count, row in zip(rmse.index, rmse.to_numpy(), strict=True):
        table.add_row(str(count), *(f"{value:.4f}" for value in row))
    console.print(table)
    console.print(f"bayesmf trained with the first 10 ratings of each: {np.mean(full):.4f}")
    console.print(f"to fold in and put all items in order: {np.median(ms):.1f} ms, median")
    table = Table(title="RMSE of a person, mean, and 95% of the most telling less others")
    for heading in ("after", TELLING, RATED, "", ANY, ""):
        table.add_column(heading, justify="left" if heading == "after" else "right")
    for heading, frames in asked.items():
        errors = pd.concat(frames, ignore_index=True)
        cells = [heading, f"{errors[TELLING].mean():.4f}"]
        for name in (RATED, ANY):
            low, high = paired(errors, name)
            cells += [f"{errors[name].mean():.4f}", f"{low:+.4f} to {high:+.4f}"]
        table.add_row(*cells)
    console.print(table)


if __name__ == "__main__":
    main()
