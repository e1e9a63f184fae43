"""Items and users by id, and items by title."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from cf.core.errors import InputError
from cf.core.ratings import Indices

YEAR = re.compile(r"\s*\((\d{4})[^)]*\)\s*$")
ARTICLE = re.compile(r"^(?:the|an?) |, (?:the|an?|le|la|les|l'|der|die|das|el|il|lo)(?= \(|$)")
N_SUGGESTED = 5
LEAST_LIKE = 75  # of rapidfuzz's 100, for a suggestion


class Catalog:
    """The items and users of the data, in the order of their indices.

    Attributes:
        items: item_id, title, year and genres.
        user_ids: (n_users,) as they are written.
    """

    def __init__(self, items: pd.DataFrame, user_ids: Sequence[Any]) -> None:
        self.items = items
        self.user_ids = pd.Index(user_ids)

    def find_users(self, ids: Iterable[Any]) -> Indices:
        """The index of each user, -1 for those who are not in the data."""
        return _lookup(self._user_keys, ids)

    def find_items(self, names: Iterable[Any], by_title: bool = False) -> Indices:
        """The index of each item by id or title, -1 for what is neither.

        Args:
            by_title: names are titles, though they might be ids as well: 300, 1917.

        Raises:
            InputError: a title that several items have.
        """
        names = list(names)
        found = np.full(len(names), -1) if by_title else _lookup(self._item_keys, names)
        for position in np.flatnonzero(found < 0):
            found[position] = self._find_title(str(names[position]))
        return found

    def require_item(self, name: Any) -> int:
        """The index of one item by id or title.

        Raises:
            InputError: there is none, with titles that are near; or several.
        """
        return int(self.require_items([name])[0])

    def require_items(self, names: Iterable[Any], by_title: bool = False) -> Indices:
        """The same of several items."""
        names = list(names)
        items = self.find_items(names, by_title)
        for name in (name for name, item in zip(names, items, strict=True) if item < 0):
            raise InputError(f"no item is called {name!r}.{self.suggest(str(name))}")
        return items

    def name(self, item: int) -> str:
        """What to call an item: its title, or if it has none, its id."""
        title = self.items["title"].iat[item]
        return title if isinstance(title, str) else str(self.items["item_id"].iat[item])

    def search(self, text: str, n: int = 8) -> list[int]:
        """The items whose titles begin with a text, or have it within, or are near it."""
        plain = plain_title(text)
        if not plain:
            return []
        begin = [item for item, title in enumerate(self._titles) if title.startswith(plain)]
        within = [item for item, title in enumerate(self._titles) if plain in title]
        found = list(dict.fromkeys([*begin, *within]))[:n]
        return found or self._nearest(plain, n)

    def suggest(self, name: str) -> str:
        """A sentence with the titles nearest to a name; empty for a number, or if none is near."""
        likely = [] if name.isdigit() else self.search(name, N_SUGGESTED)
        return f" Did you mean {self._named(likely)}?" if likely else ""

    def _nearest(self, plain: str, n: int) -> list[int]:
        from rapidfuzz import fuzz, process

        found: list[int] = []
        for scorer in (fuzz.ratio, fuzz.token_set_ratio):  # the whole title, then a part of it
            likely = process.extract(
                plain, self._titles, scorer=scorer, limit=n, score_cutoff=LEAST_LIKE
            )
            found += [item for *_, item in likely]
        return list(dict.fromkeys(found))[:n]

    def _find_title(self, name: str) -> int:
        plain, year = plain_title(name), YEAR.search(name)
        found = self._by_title.get(plain) or self._by_other_title.get(plain, [])
        if year:
            found = [item for item in found if self._may_be_of(item, year[1])]
        if len(found) > 1:
            raise InputError(
                f"several items are called {name!r}: {self._named(found)}. Give an id."
            )
        return found[0] if found else -1

    def _may_be_of(self, item: int, year: str) -> bool:
        """Whether an item's title has this year, or none."""
        of_title = YEAR.search(str(self.items["title"].iat[item]))
        of_item: Any = of_title[1] if of_title else self.items["year"].iat[item]
        return bool(pd.isna(of_item)) or int(of_item) == int(year)

    def _named(self, items: Iterable[int]) -> str:
        rows = (self.items.iloc[item] for item in items)
        return ", ".join(f"{row['title']} (id {row['item_id']})" for row in rows)

    @cached_property
    def _user_keys(self) -> pd.Index:
        return pd.Index([key(value) for value in self.user_ids])

    @cached_property
    def _item_keys(self) -> pd.Index:
        return pd.Index([key(value) for value in self.items["item_id"]])

    @cached_property
    def _titles(self) -> list[str]:
        return [plain_title(title) for title in self.items["title"].fillna("")]

    @cached_property
    def _by_title(self) -> dict[str, list[int]]:
        return _items_by(([title] if title else []) for title in self._titles)

    @cached_property
    def _by_other_title(self) -> dict[str, list[int]]:
        return _items_by(map(other_titles, self._titles))


def key(value: Any) -> str:
    """An id as text; 7 and 7.0, as a column with gaps has it, are the same.

    Raises:
        InputError: it is missing, or has half of a character, as JSON can.
    """
    if value is None or value is pd.NA or value != value:
        raise InputError("an id is missing. Leave out what has none.")
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{text[:80]!r} is no id: it has half of a character.") from None
    return text


def plain_title(title: str) -> str:
    """A title by which it is found: without year, accents and article, in lower case."""
    text = unicodedata.normalize("NFKD", YEAR.sub("", title)).casefold()
    text = "".join(sign for sign in text if not unicodedata.combining(sign)).strip()
    return ARTICLE.sub("", text)


def other_titles(plain: str) -> list[str]:
    """Those within a plain title: "seven", "se7en" of "seven (a.k.a. se7en)"."""
    parts = [part.removeprefix("a.k.a. ").strip() for part in re.split(r" \(|\)", plain)]
    return [ARTICLE.sub("", part) for part in parts if part] if len(parts) > 1 else []


def _items_by(titles: Iterable[list[str]]) -> dict[str, list[int]]:
    """The items that have each title, of each item's titles."""
    found: dict[str, list[int]] = {}
    for item, of_item in enumerate(titles):
        for title in dict.fromkeys(of_item):
            found.setdefault(title, []).append(item)
    return found


def _lookup(keys: pd.Index, ids: Iterable[Any]) -> Indices:
    wanted = pd.Index([key(value) for value in ids], dtype=keys.dtype)
    return keys.get_indexer(wanted).astype(np.int64)
