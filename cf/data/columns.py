"""Which column of a table is the user, the item, the rating and the time, and why."""

import re
from collections.abc import Mapping, Sequence

from cf.data.text_file import is_number

NAMES = {
    "user_id": (
        *("user", "userid", "uid", "reviewer", "reviewerid", "customer", "customerid", "member"),
        *("memberid", "username", "person", "account", "accountid"),
        *("profilename", "who", "steamid", "playerid", "users", "userindex", "useridx", "visitor"),
        *("visitorid", "viewer", "viewerid", "reader", "readerid", "rater", "raterid", "listener"),
        *("listenerid", "buyer", "buyerid", "client", "clientid", "guest", "guestid", "player"),
        *(
            "student",
            "studentid",
            "subject",
            "subjectid",
            "respondent",
            "email",
            "login",
            "nickname",
        ),
    ),
    "item_id": (
        *("item", "itemid", "iid", "movie", "movieid", "film", "filmid", "book", "bookid", "isbn"),
        *("asin", "parentasin", "product", "productid", "artist", "artistid", "song", "songid"),
        *("track", "trackid", "anime", "animeid", "game", "gameid", "business", "businessid"),
        *("beer", "beerid", "joke", "jokeid", "recipe", "recipeid", "place", "placeid", "venueid"),
        *("restaurantid", "article", "articleid", "tconst", "imdbid", "appid", "title", "items"),
        *(
            "what",
            "mid",
            "bid",
            "pid",
            "contentid",
            "newsid",
            "hotelid",
            "gmapid",
            "workid",
            "video",
        ),
        *("videoid", "venue", "poi", "poiid", "location", "locationid", "hotel", "restaurant"),
        *("recipe", "joke", "anime", "game", "song", "artist", "album", "albumid", "podcast"),
        *("podcastid", "course", "courseid", "show", "showid", "paper", "paperid", "job", "jobid"),
        *("wine", "wineid", "profileid", "streamer", "sku", "stockcode", "adid", "url"),
    ),
    "rating": (
        *("rating", "ratings", "score", "stars", "star", "overall", "bookrating", "grade", "value"),
        *("rate", "userrating", "reviewoverall", "reviewscore", "starrating", "myrating", "points"),
        *("preference", "ratingvalue", "yourrating"),
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


NO_RATING = re.compile(
    "age|price|cost|vote|helpful|year|month|day|hour|lat|lon|gender|sex|verified|categor|length|size"
    "|id$|num|rank|page|episode|duration|abv|zip|index"
)
"""What the names of other columns of few numbers have in them."""
IDS = ("user_id", "item_id")
BY_NAME = ("by its name", "by the end of its name")
BY_VALUES, BY_COUNTS = "by its values", "by its values: counts"
MATRIX_WIDTH = 12  # columns
MOST_USUAL = 3  # columns but a time: user, item and rating, none of which then numbers the rows
FEWEST_NUMBERED = 10  # rows: fewer may look numbered by chance

Columns = Mapping[str, Sequence[str]]


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
            take(key, found, BY_NAME[0])
        elif key == "rating" and (found := named(free(), COUNTS)):
            take(key, found, "by its name: counts")
        elif key in IDS and (found := _ending(free(), NAMES[key])):
            take(key, found, BY_NAME[1])
    columns = {name: [row[at] for row in sample if at < len(row)] for at, name in enumerate(names)}
    ids_left = [key for key in IDS if key in left]
    index = next((name for name in free() if _is_index(columns[name])), None)
    certain = len(sample) >= FEWEST_NUMBERED

    def can_take(key: str) -> bool:
        return key in left and len(free()) > len(ids_left)  # which need these columns

    if can_take("timestamp") and (time := _find_time(free(), columns)):
        take("timestamp", *time)
    if can_take("rating"):
        usual = len(names) <= MOST_USUAL + ("timestamp" in chosen)
        places = [name for name in names if name != index or not certain or usual]
        rating = _find_rating(free(), places, columns, has_names(names))
        if not rating and (rating := _find_rating(free(), names, columns, has_names(names))):
            index = None  # with it a rating is where it usually is: these are users
        if rating:
            take("rating", *rating)
    n_needed = len(ids_left if certain else left)
    rest = [name for name in free() if name != index or len(free()) <= n_needed]
    sure = len(rest) == len(ids_left) and "rating" in chosen  # else any of them might be it
    if sure or not has_names(names):
        for key, name in zip(ids_left, rest, strict=False):
            take(key, name, "the next" if key == "item_id" else "the first that is left")
    return {key: chosen[key] for key in NAMES if key in chosen}


def named(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the names that is the first of the known ones that any is; None if none is."""
    plain = {plain_name(name): name for name in reversed(names)}
    return next((plain[name] for name in known if name in plain), None)


def plain_name(name: str) -> str:
    """A column's name in lower case, letters alone, without a type at its end (age:float)."""
    return re.sub(r":\w+$|[^a-z]", "", name.lower())


def has_names(names: Sequence[str]) -> bool:
    """Whether columns have names of their own, and are not called 1, 2, …"""
    return list(names) != [str(n + 1) for n in range(len(names))]


def is_matrix(sample: Sequence[Sequence[str]]) -> bool:
    """Whether rows seem to be users and columns items: many columns, and all of them numbers."""
    widths = {len(row) for row in sample}
    wide = len(widths) == 1 and max(widths) >= MATRIX_WIDTH
    return wide and all(is_number(value) or not value.strip() for row in sample for value in row)


def _ending(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the names that ends in one of the known ones, as review_profilename does."""
    endings = tuple(name for name in known if len(name) >= 6)
    return next((name for name in names if plain_name(name).endswith(endings)), None)


Found = tuple[str, str] | None


def _find_time(free: Sequence[str], columns: Columns) -> Found:
    pattern = r"\d{9,19}(\.\d+)?|\d{4}-\d\d-\d\d.*|\d{1,2}([./])\d{1,2}\2\d{4}.*"
    for name in free:
        values = columns[name]
        if values and all(re.fullmatch(pattern, value.strip()) for value in values):
            return name, BY_VALUES
    return None


def _find_rating(
    free: Sequence[str], places: Sequence[str], columns: Columns, has_names: bool
) -> Found:
    """A column of numbers: few different ones, or with few decimals, or at the usual place.

    `places` are the names of all columns but one of row numbers.
    """
    numbers = {}
    for name in free:
        if columns[name] and all(map(is_number, columns[name])) and not _is_index(columns[name]):
            numbers[name] = [float(value.replace(",", ".")) for value in columns[name]]
    third = [name for name in numbers if places.index(name) == 2]
    few = [name for name, values in numbers.items() if _is_rating(values)]
    decimals = [name for name in few if not all(map(float.is_integer, numbers[name]))]
    if len(decimals) > 1:  # as latitudes and longitudes
        return None
    if not has_names and third and third[0] in few:
        return third[0], BY_VALUES
    if has_names:
        few = [name for name in few if not NO_RATING.search(plain_name(name))]
    if len(few) == 1 and (has_names or len(numbers) == 1):  # else any may be an id
        return few[0], BY_VALUES
    if len(places) == 3 and third and max(abs(number) for number in numbers[third[0]]) <= 100:
        return third[0], "the third, as is usual"
    if len(numbers) == 1:
        ((name, values),) = numbers.items()
        if min(values) > 0 and all(map(float.is_integer, values)):
            return name, BY_COUNTS
    return None


def _is_rating(numbers: Sequence[float]) -> bool:
    """Whether these are few different numbers, or have one to three decimals."""
    whole = all(map(float.is_integer, numbers))
    fine = any(round(number, 3) != number for number in numbers)
    return max(map(abs, numbers)) <= 100 and not fine and (not whole or len(set(numbers)) <= 11)


def _is_index(values: Sequence[str]) -> bool:
    """Whether a column only numbers the rows."""
    if len(values) < 2 or values[0] not in ("0", "1"):
        return False
    return list(values) == [str(int(values[0]) + n) for n in range(len(values))]
