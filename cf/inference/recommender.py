"""A trained model as people use it: with their ids and titles, in frames."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cf.baselines.base import chunks, top_k
from cf.core.errors import InputError
from cf.core.ratings import Indices
from cf.inference import lists, own_ratings
from cf.inference.base import Answers, Doubles, Floats, Person
from cf.inference.bayesmf import BayesMF
from cf.inference.catalog import Catalog
from cf.inference.lists import By, Likely
from cf.inference.questions import Questions
from cf.inference.shortlist import MIN_SIZE, Shortlist

NEW_USER, NEW_ITEM, NEW_BOTH = "new user", "new item", "new user and item"
Years = int | str | tuple[int | None, int | None] | None
COLD_USER, COLD_ITEM = "user without training ratings", "item without training ratings"
LATEST = 2**40  # s since 1970
N_RESCORED = 200  # items that are put in the order of their predictions
Z95 = 1.959964  # standard deviations on either side that 95% of a normal distribution are within


class NothingLeftError(InputError):
    """No item is left to recommend to somebody."""


class Recommender:
    """What a trained model answers about users and items of its data, and about new people.

    Attributes:
        name: of the model.
        answers: its formula.
        catalog: items and users.
        facts: where the data is from, and its range and unit.
        likely: who rates what, if it is known.
        weight: of predicted ratings beside it, in lists.
    """

    def __init__(
        self,
        name: str,
        answers: Answers,
        catalog: Catalog,
        ratings: pd.DataFrame,
        train_rows: Indices,
        facts: Mapping[str, Any],
        likely: Likely | None = None,
        weight: float = 1.0,
    ) -> None:
        self.name, self.answers, self.catalog, self.facts = name, answers, catalog, facts
        self.likely, self.weight = likely, weight
        self._ratings, self._train_rows = ratings, train_rows
        self.shortlist: Shortlist | None = None

    def __repr__(self) -> str:
        """Model and data, with its size."""
        n_users, n_items = self.answers.n_users, self.answers.n_items
        return f"<{self.name} of {self.facts['dataset']}: {n_users:,} users, {n_items:,} items>"

    def prepare(self) -> None:
        """Do in advance, in seconds, what makes many answers fast."""
        if isinstance(self.answers, BayesMF) and self.answers.item_rows.size > MIN_SIZE:
            self.shortlist = Shortlist(self.answers)
        self.recommend(ratings={}, n=1, by="both" if self.likely else "stars")

    def predict(
        self, users: Any = None, items: Any = None, times: Any = None, ratings: Any = None
    ) -> pd.DataFrame:
        """The ratings that users would give to items.

        Args:
            users: an id, or several; or a frame with the columns user_id and item_id, and perhaps
                timestamp; or None, where ratings are given.
            items: an id or a title, or several, as many as users or one.
            times: when they rate, in seconds since 1970 UTC; models that do not use it leave it.
            ratings: of somebody who is not in the data, as for `recommend`: all predictions are
                for them.

        Returns:
            user_id, item_id, title, prediction; std, the standard deviation of the rating about it,
            of models that have one; note: "new user", "new item", or both, where the data does not
            have them and the prediction is what the model expects of any such; or that the data has
            them, but training had none of their ratings; else "".
        """
        if isinstance(users, pd.DataFrame):
            if missing := {"user_id", "item_id"} - set(users):
                raise InputError(
                    f"expected the columns user_id and item_id, no {', '.join(missing)}."
                )
            times = users.get("timestamp")
            users, items = users["user_id"], users["item_id"]
        if items is None or (users is None) == (ratings is None):
            raise InputError("give items, and a user of the data or the ratings of somebody else.")
        if ratings is not None:
            return self._predict_for(ratings, [items] if np.isscalar(items) else list(items))
        user_list, item_list = _aligned(users, items)
        u, i = self.catalog.find_users(user_list), self.catalog.find_items(item_list)
        known = (u >= 0) & (i >= 0)
        when = None if times is None else np.broadcast_to(_seconds(times), u.shape)
        mean = np.empty(len(u), np.float32)
        std = np.full(len(u), np.nan, np.float32)
        if known.any():
            of_known = None if when is None else when[known]
            mean[known], deviation = self.answers.predict(u[known], i[known], of_known)
            if deviation is not None:
                std[known] = deviation
        for user in np.unique(u[~known]):
            person = self._expected if user < 0 else self.answers.person(int(user))
            rows = np.flatnonzero(~known & (u == user))
            of_items, back = np.unique(i[rows], return_inverse=True)
            of_mean, of_std = self._of_person(person, of_items)
            mean[rows], std[rows] = of_mean[back], of_std[back]
        notes = np.select(
            [(u < 0) & (i < 0), u < 0, i < 0, self._is_cold("user", u), self._is_cold("item", i)],
            [NEW_BOTH, NEW_USER, NEW_ITEM, COLD_USER, COLD_ITEM],
            "",
        )
        frame = {"user_id": user_list, **self._described(item_list, i), "prediction": mean}
        if not np.isnan(std).all():
            frame["std"] = std
        return pd.DataFrame({**frame, "note": notes})

    def _predict_for(self, ratings: Any, names: list[Any]) -> pd.DataFrame:
        """`predict` for somebody new."""
        items, values = self.given(ratings)
        wanted = self.catalog.find_items(names)
        mean, std = self._of_person(self.answers.fold_in(items, values), wanted)
        cold = np.where(self._is_cold("item", wanted), COLD_ITEM, "")
        notes = np.where(wanted < 0, NEW_ITEM, cold)
        frame = {"user_id": None, **self._described(names, wanted), "prediction": mean}
        if not np.isnan(std).all():
            frame["std"] = std
        return pd.DataFrame({**frame, "note": notes})

    def recommend(
        self,
        user: Any = None,
        n: int = 10,
        *,
        ratings: Any = None,
        by: By = "both",
        genre: str | Sequence[str] | None = None,
        year: Years = None,
        min_ratings: int = 0,
    ) -> pd.DataFrame:
        """The items to recommend, the best first; none that the person has rated.

        Args:
            user: an id; somebody who is not in the data is recommended what anybody would be.
            n: how many.
            ratings: of somebody who is not in the data: {item: rating}, items by id or title; or a
                frame with the columns item_id (or title) and rating.
            by: stars, predicted ratings; likely, who rates what; both, as docs/models.md says.
            genre: one that all items are of, or several.
            year: of release: 1995; or the first and the last, "1990-1999" or (1990, None).
            min_ratings: that an item needs in the data.

        Returns:
            item_id, title, year, genres, n_ratings; prediction; std, low and high of models that
            have them, the standard deviation and the ends of the 95% interval of the rating.

        Raises:
            InputError: an item or a rating cannot be used, or no item is left.
        """
        self._check_question(n, by, min_ratings)
        person, rated, seen = self._who(user, ratings)
        wanted = self._wanted(genre, year, min_ratings)
        candidates = self._candidates([person], [rated], [seen], wanted, by, n)
        (top,), table = self._listed([person], candidates, by, n)
        if not len(top):
            raise NothingLeftError("no item is left to recommend. Ask for fewer restrictions.")
        return table

    def recommend_all(
        self,
        n: int = 10,
        *,
        by: By = "both",
        genre: str | Sequence[str] | None = None,
        year: Years = None,
        min_ratings: int = 0,
    ) -> Iterator[tuple[int, pd.DataFrame]]:
        """The lists that `recommend` has for all users of the data, some users at a time.

        Args:
            n, by, genre, year, min_ratings: as for `recommend`.

        Yields:
            The number of users, and a frame of their lists: user_id and rank, from 1, before the
            columns of `recommend`. Users to whom no item is left are not in it.
        """
        self._check_question(n, by, min_ratings)
        wanted = self._wanted(genre, year, min_ratings)
        items = self._ratings["item"].to_numpy()
        for chunk in chunks(self.answers.n_users, self.answers.n_items):
            users = range(chunk.start, chunk.stop)
            people = [self.answers.person(user) for user in users]
            rows = [self._rows_of(user) for user in users]
            seen = [items[of_user] for of_user in rows]
            rated = [items[of_user[self._is_train[of_user]]] for of_user in rows]
            candidates = self._candidates(people, rated, seen, wanted, by, n)
            tops, table = self._listed(people, candidates, by, n)
            sizes = [len(top) for top in tops]
            table.insert(0, "user_id", self.catalog.user_ids[chunk].repeat(sizes))
            table.insert(1, "rank", np.concatenate([np.arange(1, size + 1) for size in sizes]))
            yield len(users), table

    def _check_question(self, n: int, by: By, min_ratings: int) -> None:
        """Raise InputError where one of these cannot be asked for."""
        if by not in get_args(By):
            raise InputError(f"by: expected {', '.join(get_args(By))}, got {by!r}.")
        if self.likely is None and by != "stars":
            raise InputError(
                f"who rates what is not known beside {self.name}. Run `dvc repro blend`, or order "
                "by stars."
            )
        _check_count("n", n, 1)
        _check_count("min_ratings", min_ratings, 0)

    def _listed(
        self, people: Sequence[Person], candidates: Sequence[Indices], by: By, n: int
    ) -> tuple[list[Indices], pd.DataFrame]:
        """At most `n` items for each person, the best first, and a table of all, one by one."""
        tops, means, deviations = [], [], []
        for person, top in zip(people, candidates, strict=True):
            mean, std = self.answers.score(person, top)
            if by == "stars":  # the table of all items is without the correction by residuals
                best = np.argsort(-mean, kind="stable")[:n]
                top, mean, std = top[best], mean[best], None if std is None else std[best]
            tops.append(top)
            means.append(mean)
            if std is not None:
                deviations.append(std)
        items, mean = np.concatenate(tops), np.concatenate(means)
        table = self._items(items).assign(n_ratings=self.n_ratings[items], prediction=mean)
        if deviations:
            std = np.concatenate(deviations)
            low, high = self.facts["rating_range"]
            ends = {"low": mean - Z95 * std, "high": mean + Z95 * std}
            table = table.assign(std=std, **{key: end.clip(low, high) for key, end in ends.items()})
        return tops, table

    def _candidates(
        self,
        people: Sequence[Person],
        rated: Sequence[Indices],
        seen: Sequence[Indices],
        wanted: NDArray[np.bool_],
        by: By,
        n: int,
    ) -> list[Indices]:
        """The items for each person by `lists.scores`, the best first, some more by stars."""
        k = max(n, N_RESCORED) if by == "stars" else n
        how = self.likely, self.weight, by
        if self.shortlist:
            found = self.shortlist.best(people, rated, seen, wanted, *how, n)
            return [items[np.lexsort((items, -scores))[:k]] for items, scores in found]
        table = lists.scores(self.answers, people, rated, seen, *how)
        if not wanted.all():
            table[:, ~wanted] = -np.inf
        return [items[items >= 0] for items in top_k(table, k)]

    def similar(self, item: Any, n: int = 10, min_ratings: int = 5) -> pd.DataFrame:
        """The items most like one, given by id or title: item_id, title, year, genres, similarity.

        That is the cosine of what the model has learned of the two, from -1 to 1; items with fewer
        than `min_ratings` are left out, since little is learned of them.

        Raises:
            InputError: there is no such item, or several of that title.
        """
        _check_count("n", n, 1)
        _check_count("min_ratings", min_ratings, 0)
        index = self.catalog.require_item(item)
        vectors = self.answers.item_vectors()
        norms = np.linalg.norm(vectors, axis=1)
        cosine = vectors @ vectors[index] / np.maximum(norms * norms[index], 1e-12)
        cosine[index] = -np.inf
        cosine[self.n_ratings < min_ratings] = -np.inf
        top = np.argsort(-cosine, kind="stable")[:n]
        top = top[np.isfinite(cosine[top])]
        if not len(top):
            raise InputError(f"no other item has {min_ratings} ratings. Ask for fewer.")
        return self._items(top).assign(similarity=cosine[top])

    def explain(self, user: Any, item: Any, n: int = 10, ratings: Any = None) -> pd.DataFrame:
        """Which of a person's ratings speak for an item and which against it, the strongest first.

        `effect` is by how much the prediction would change if that rating were not there, with the
        sign turned: positive where it speaks for the item. The prediction with all ratings is the
        attribute `prediction` of the frame. User and item are as for `predict`, ratings as for
        `recommend`.

        Returns:
            item_id, title, rating, effect.

        Raises:
            InputError: there is no such user or item.
        """
        rated, values = self._rated_by(user, ratings)
        target = np.array([self.catalog.require_item(item)])
        (everything,), (effects,) = self.effects(rated, values, target)
        order = np.argsort(-np.abs(effects), kind="stable")[:n]
        table = self.catalog.items.iloc[rated[order]][["item_id", "title"]].reset_index(drop=True)
        table = table.assign(rating=values[order].astype(float).round(6), effect=effects[order])
        table.attrs["prediction"] = float(everything)
        return table

    def effects(self, rated: Indices, values: Floats, targets: Indices) -> tuple[Doubles, Doubles]:
        """`explain` as arrays: predictions of the targets, (n,), and effects of ratings, (n, m).

        Args:
            rated, values: (m,) somebody's items, as indices, and ratings.
            targets: (n,) indices of items.
        """
        everything, without = self.answers.without_each(rated, values, targets)
        return everything, everything[:, None] - without

    def ask(self, ratings: Any, skip: Any = ()) -> Any:
        """The id of the item whose rating would tell most about somebody.

        That is by the expected fall in the variance of all predictions, as `Questions` has it,
        times the share of the users who have rated the item, since others cannot tell.

        Args:
            ratings: theirs so far, as for `recommend`; perhaps none.
            skip: items, by id or title, that they do not know.

        Raises:
            InputError: no item is left to ask for.
        """
        items, values = self.given(ratings)
        asked = self._questions.items
        expected = self._questions.gains(items, values) * self._questions.known[asked]
        skipped = self.catalog.require_items(skip)
        expected[np.isin(asked, np.concatenate([items, skipped]))] = -np.inf
        best = int(np.argmax(expected))
        if not expected[best] > 0:
            raise InputError("no item is left to ask for.")
        return self.catalog.items["item_id"].iat[asked[best]]

    def _is_cold(self, kind: str, indices: Indices) -> NDArray[np.bool_]:
        """(n,) whether training had no rating of each user or item of the data."""
        return np.asarray((indices >= 0) & (self._n_train[kind][indices] == 0))

    @cached_property
    def _genres(self) -> "pd.Series[Any]":
        """The genres of each item, in lower case."""
        return self.catalog.items["genres"].str.casefold().str.split("|")

    @cached_property
    def _n_train(self) -> dict[str, Indices]:
        """The number of training ratings of each user and of each item."""
        train = self._ratings.iloc[self._train_rows]
        sizes = {"user": self.answers.n_users, "item": self.answers.n_items}
        return {kind: np.bincount(train[kind], minlength=n) for kind, n in sizes.items()}

    def _items(self, items: Indices) -> pd.DataFrame:
        """item_id, title, year and genres of these items."""
        table = self.catalog.items
        found = table.iloc[items][["item_id", "title", "year", "genres"]]
        return pd.DataFrame(found.reset_index(drop=True))

    def _who(self, user: Any, ratings: Any) -> tuple[Person, Indices, Indices]:
        """The person, the items of the ratings that answers know of, and of all their ratings."""
        if (user is None) == (ratings is None):
            raise InputError("give a user of the data, or the ratings of somebody else.")
        if ratings is not None:
            items, values = self.given(ratings)
            return self.answers.fold_in(items, values), items, items
        (found,) = self.catalog.find_users([user])
        if found < 0:
            return self._expected, np.zeros(0, np.int64), np.zeros(0, np.int64)
        everything = self._ratings["item"].to_numpy()[self._rows_of(int(found))]
        return self.answers.person(int(found)), self._of_user(int(found))[0], everything

    def given(self, ratings: Any) -> tuple[Indices, Floats]:
        """The items, as indices, and ratings that somebody gives, as for `recommend`, checked.

        Raises:
            InputError: an item is not in the data or rated twice, or a rating is out of range.
        """
        names, values, by_title = own_ratings.parse(ratings)
        low, high = self.facts["rating_range"]
        for name, value in zip(names, values, strict=True):
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise InputError(
                    f"expected a rating from {low:g} to {high:g} of {name!r}, got {value!r}."
                )
        items = self.catalog.require_items(names, by_title)
        if len(np.unique(items)) < len(items):
            twice = int(np.flatnonzero(np.bincount(items) > 1)[0])
            raise InputError(f"{self.catalog.name(twice)} is rated twice. Keep one of the ratings.")
        return items, np.array(values, dtype=np.float32)

    def _rated_by(self, user: Any, ratings: Any) -> tuple[Indices, Floats]:
        """Items and ratings of a user of the data, or those that somebody gives."""
        if ratings is not None:
            return self.given(ratings)
        (found,) = self.catalog.find_users([user])
        if found < 0:
            raise InputError(f"there is no user {user!r} in the data: give their ratings.")
        return self._of_user(int(found))

    def _of_user(self, user: int) -> tuple[Indices, Floats]:
        """Items and ratings of a user that the model was trained on."""
        rows = self._rows_of(user)
        rows = rows[self._is_train[rows]]
        found = self._ratings.iloc[rows]
        return found["item"].to_numpy(), found["rating"].to_numpy()

    def _wanted(
        self, genre: str | Sequence[str] | None, year: Years, min_ratings: int
    ) -> NDArray[np.bool_]:
        """(n_items,) whether each item is of this kind."""
        items = self.catalog.items
        wanted = self.n_ratings >= min_ratings
        for one in [genre] if isinstance(genre, str) else genre or ():
            has = self._genres.map(lambda of_item, one=one: one.casefold() in of_item).to_numpy(
                bool
            )
            if not has.any():
                there = sorted(set(items["genres"].str.split("|").explode()) - {""})
                raise InputError(f"no item is of the genre {one}. There are: {', '.join(there)}.")
            wanted &= has
        if year is not None:
            first, last = first_and_last(year)
            years = items["year"].astype("Float64").fillna(np.nan).to_numpy(float)
            wanted &= years >= (-np.inf if first is None else first)
            wanted &= years <= (np.inf if last is None else last)
        return wanted

    def _rows_of(self, user: int) -> Indices:
        """The rows of a user's ratings, ascending."""
        order, ends = self._by_user
        rows: Indices = order[ends[user] : ends[user + 1]]
        return rows

    @cached_property
    def _by_user(self) -> tuple[Indices, Indices]:
        """All rows, ordered by user, and where each user's begin, and the last's end."""
        users = self._ratings["user"].to_numpy()
        order = np.argsort(users, kind="stable")
        counts = np.bincount(users, minlength=self.answers.n_users)
        return order, np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def _is_train(self) -> NDArray[np.bool_]:
        """(n,) whether the model was trained on each rating."""
        is_train = np.zeros(len(self._ratings), bool)
        is_train[self._train_rows] = True
        return is_train

    @cached_property
    def n_ratings(self) -> Indices:
        """(n_items,) the number of ratings in the data."""
        return np.bincount(self._ratings["item"], minlength=self.answers.n_items)

    def _of_person(self, person: Person, items: Indices) -> tuple[Floats, Floats]:
        """Predictions and deviations, NaN where the model has none; items of index -1 are new."""
        mean, std = np.empty(len(items), np.float32), np.full(len(items), np.nan, np.float32)
        old = items >= 0
        if old.any():
            mean[old], deviation = self.answers.score(person, items[old])
            std[old] = np.nan if deviation is None else deviation
        if not old.all():
            mean[~old], deviation_of_one = self.answers.new_item(person)
            std[~old] = np.nan if deviation_of_one is None else deviation_of_one
        return mean, std

    def _described(self, names: Sequence[Any], items: Indices) -> dict[str, Any]:
        """item_id and title of items found by id or title; those not found are as they were."""
        ids, titles = self._item_names
        known = items >= 0
        given = np.empty(len(names), dtype=object)
        given[:] = names
        return {
            "item_id": np.where(known, ids[items], given),
            "title": np.where(known, titles[items], np.array(None)),
        }

    @cached_property
    def _item_names(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """(n_items,) ids, and titles or None."""
        ids, titles = (self.catalog.items[key].astype(object) for key in ("item_id", "title"))
        return ids.to_numpy(), titles.where(titles.notna(), None).to_numpy()

    @cached_property
    def _questions(self) -> Questions:
        train = self._ratings.iloc[self._train_rows]
        users, items = train["user"].to_numpy(), train["item"].to_numpy()
        return Questions(self.answers, users, items, train["rating"].to_numpy())

    @cached_property
    def _expected(self) -> Person:
        """Somebody of whom nothing is known."""
        return self.answers.fold_in(np.zeros(0, np.int64), np.zeros(0, np.float32))


def _check_count(name: str, value: Any, least: int) -> None:
    """Raise InputError if it is no whole number, or too small."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: expected a whole number from {least} on, got {value!r}.")


def _seconds(times: Any) -> Indices:
    """Times in seconds since 1970 UTC, of numbers or of dates.

    Raises:
        InputError: one is missing or no time.
    """
    values = pd.Series(times if pd.api.types.is_list_like(times) else [times])
    if pd.api.types.is_datetime64_any_dtype(values) and not values.isna().any():
        return (
            (values.dt.tz_localize(None) if values.dt.tz is None else values.dt.tz_convert(None))
            .to_numpy("datetime64[s]")
            .astype(np.int64)
        )
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    if not (np.abs(numbers) < LATEST).all():
        raise InputError("times: expected seconds since 1970 UTC, or dates, one for each pair.")
    return numbers.astype(np.int64)


def first_and_last(year: Years) -> tuple[int | None, int | None]:
    """The first and the last year, None for any, of 1995, "1990-1999", "2000-", (1990, None).

    Raises:
        InputError: it is none of these, or the last comes before the first.
    """
    if isinstance(year, tuple) and len(year) == 2:
        first, last = year
    else:
        found = re.fullmatch(r"(\d{4})?(-)?((?<=-)\d{4})?", str(year))
        if not found or not (found[1] or found[3]):
            raise InputError(f"year: expected 1995, 1990-1999, 2000- or -1999, got {year!r}.")
        first, last = (None if text is None else int(text) for text in (found[1], found[3]))
        last = last if found[2] else first
    if first is not None and last is not None and first > last:
        raise InputError(f"year: {first} comes after {last}.")
    return first, last


def _aligned(users: Any, items: Any) -> tuple[list[Any], list[Any]]:
    """Both as lists of one length; a single one of either goes with all of the other."""
    both = [[value] if np.isscalar(value) else list(value) for value in (users, items)]
    lengths = {len(values) for values in both}
    if len(lengths) > 1 and 1 not in lengths:
        raise InputError(f"expected as many users as items, got {len(both[0])} and {len(both[1])}.")
    n = max(lengths) if 0 not in lengths else 0
    return tuple(values * n if len(values) == 1 else values for values in both)  # type: ignore[return-value]
