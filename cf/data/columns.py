"""Which column of a table is the user, the item, the rating and the time, and why."""

import re
from collections.abc import Mapping, Sequence

from cf.data.text_file import is_number

NAMES = {
    "user_id": (
        *("user", "userid", "uid", "reviewer", "reviewerid", "customer", "customerid", "member"),
        *("memberid", "author", "authorid", "username", "person", "account", "accountid"),
        *("profilename", "who", "steamid", "playerid", "users", "userindex", "useridx"),
    ),
    "item_id": (
        *("item", "itemid", "iid", "movie", "movieid", "film", "filmid", "book", "bookid", "isbn"),
        *("asin", "parentasin", "product", "productid", "artist", "artistid", "song", "songid"),
        *("track", "trackid", "anime", "animeid", "game", "gameid", "business", "businessid"),
        *("beer", "beerid", "joke", "jokeid", "recipe", "recipeid", "place", "placeid", "venueid"),
        *("restaurantid", "article", "articleid", "tconst", "imdbid", "appid", "title", "items"),
        *("what", "mid", "bid", "pid", "contentid", "newsid", "hotelid", "gmapid", "workid"),
    ),
    "rating": (
        *("rating", "ratings", "score", "stars", "star", "overall", "bookrating", "grade", "value"),
        *("rate", "userrating", "reviewoverall", "reviewscore", "starrating", "myrating", "points"),
        *("preference", "ratingvalue"),
    ),
    "timestamp": (
        *("timestamp", "time", "date", "ts", "datetime", "unixreviewtime", "reviewtime"),
        *("createdat", "ratedat", "ratingtimestamp", "reviewdate", "dateadded", "unixtime", "when"),
        *("sorttimestamp", "submitted", "tstamp", "updatedat", "ratingdate"),
    ),
}
"""Names of columns, in lower case without signs, the most telling first."""
COUNTS = (
    *("plays", "playcount", "listens", "listencount", "scrobbles", "views", "viewcount", "clicks"),
    *("count", "counts", "hours", "hoursplayed", "minutes", "playtime", "playtimeforever"),
    *("watchtime", "quantity", "qty", "purchases", "interactions", "frequency", "times", "weight"),
)
"""Names of columns that count interactions, instead of ratings."""


def choose(
    names: Sequence[str], sample: Sequence[Sequence[str]], stated: Mapping[str, str | None]
) -> dict[str, tuple[str, str]]:
    """The name of each column, and why it was chosen, by user_id, item_id, rating, timestamp.

    Args:
        names: of all columns; without a header 1, 2, …
        sample: rows of text.
        stated: names of columns that are not to be chosen; None where there is no such column.

    A column that is not found is left out.
    """
    chosen = {key: (name, "as stated") for key, name in stated.items() if name is not None}
    left = [key for key in NAMES if key not in stated]

    def take(key: str, name: str, why: str) -> None:
        chosen[key] = name, why
        left.remove(key)

    def free() -> list[str]:
        taken = {name for name, _ in chosen.values()}
        return [name for name in names if name not in taken]

    for key in list(left):
        if found := named(free(), NAMES[key]):
            take(key, found, "by its name")
        elif key == "rating" and (found := named(free(), COUNTS)):
            take(key, found, "by its name: counts")
    columns = {name: [row[at] for row in sample if at < len(row)] for at, name in enumerate(names)}
    checks = {"timestamp": _is_time, "rating": _is_rating}
    for key in [key for key in checks if key in left]:
        if len(free()) <= len({"user_id", "item_id"}.intersection(left)):
            break  # which need these columns
        third_first = sorted(free(), key=lambda name: names.index(name) != 2)  # as is usual
        found = next((name for name in third_first if checks[key](columns[name])), None)
        if found is not None:
            take(key, found, "by its values")
    index = next((name for name in free() if _is_index(columns[name])), None)
    rest = [name for name in free() if name != index or len(free()) <= len(left)]
    for key in [key for key in ("user_id", "item_id") if key in left]:
        if rest:
            take(key, rest.pop(0), "the first that is left" if key == "user_id" else "the next")
    return {key: chosen[key] for key in NAMES if key in chosen}


def named(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the names that is the first of the known ones that any is; None if none is."""
    plain = {plain_name(name): name for name in reversed(names)}
    return next((plain[name] for name in known if name in plain), None)


def plain_name(name: str) -> str:
    """A column's name in lower case, letters alone, without a type at its end (age:float)."""
    return re.sub(r":\w+$|[^a-z]", "", name.lower())


def _is_time(values: Sequence[str]) -> bool:
    return bool(values) and all(
        re.fullmatch(r"\d{9,19}(\.\d+)?|\d{4}-\d\d-\d\d.*", value.strip()) for value in values
    )


def _is_rating(values: Sequence[str]) -> bool:
    """Numbers, few of them different, or with decimals."""
    if not values or not all(map(is_number, values)):
        return False
    numbers = [float(value.replace(",", ".")) for value in values]
    whole = all(number.is_integer() for number in numbers)
    return max(map(abs, numbers)) <= 100 and (not whole or len(set(numbers)) <= 11)


def _is_index(values: Sequence[str]) -> bool:
    """Whether a column only numbers the rows."""
    if len(values) < 2 or values[0] not in ("0", "1"):
        return False
    return list(values) == [str(int(values[0]) + n) for n in range(len(values))]
