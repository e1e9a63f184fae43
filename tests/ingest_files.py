"""Made-up data sets in every format, and a server to download them from."""

import csv
import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from cf.data.datasets import Dataset, RemoteFile
from cf.data.movielens import GENRES

ROOT = Path(__file__).parents[1]

RATINGS = [
    (7, 20, 4.0, 1000),
    (7, 10, 3.0, 1001),
    (3, 20, 5.0, 1002),
    (9, 30, 1.0, 1003),
]
ITEMS = [
    (10, "Toy Story (1995)", "Animation|Comedy"),
    (20, "City of Lost Children, The (Cité des enfants perdus, La) (1995)", "Sci-Fi"),
    (30, "Nameless", ""),
]
TAGS = [(7, 20, "Dark", 1000), (3, 20, "dark ", 1002), (3, 40, 'NA, "5"::', 1002), (9, 10, "", 7)]
USERS = [(3, 24, "M", "writer"), (7, 53, "F", "other")]
RATING_DTYPES = {
    "user_id": "int64",
    "item_id": "int64",
    "rating": "float32",
    "timestamp": "int64",
}
ITEM_DTYPES = {"item_id": "int64", "title": "str", "year": "Int32", "genres": "str"}
TAG_DTYPES = {"item_id": "int64", "tag": "str", "timestamp": "int64"}
LAYOUTS = ["ratings.csv", "ratings.dat", "u.data", "ml-100k.inter"]


def members(layout, ratings=RATINGS, items=ITEMS):
    """The names and contents of the members of a MovieLens file, two or three."""
    if layout == "ratings.csv":
        rows = ["userId,movieId,rating,timestamp", *(f"{u},{i},{r},{t}" for u, i, r, t in ratings)]
        films = ["movieId,title,genres"]
        for item, title, genres in items:
            quoted = '"' + title.replace('"', '""') + '"'
            films.append(f"{item},{quoted},{genres or '(no genres listed)'}")
        return _texts(("ml/ratings.csv", rows), ("ml/movies.csv", films), "utf-8", "\r\n")
    if layout == "ratings.dat":
        rows = [f"{u}::{i}::{r:g}::{t}" for u, i, r, t in ratings]
        films = [f"{item}::{title}::{genres}" for item, title, genres in items]
        people = [f"{user}::{sex}::{age}::{job}::0" for user, age, sex, job in USERS]
        users = ("ml/users.dat", people)
        return _texts(("ml/ratings.dat", rows), ("ml/movies.dat", films), "latin-1", users=users)
    if layout == "u.data":
        rows = [f"{u}\t{i}\t{r:g}\t{t}" for u, i, r, t in ratings]
        films = [f"{item}|{title}|01-Jan-1995|||{_flags(genres)}" for item, title, genres in items]
        users = ("ml/u.user", ["|".join(map(str, (*user, "01002"))) for user in USERS])
        return _texts(("ml/u.data", rows), ("ml/u.item", films), "latin-1", users=users)
    rows = [
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        *(f"{u}\t{i}\t{r:g}\t{t}" for u, i, r, t in ratings),
    ]
    films = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    for item, title, genres in items:
        name, _, ending = title.rpartition(" (")
        start, end = (name, ending.removesuffix(")")) if name else (title, "unkonwn")
        films.append(f"{item}\t{start}\t{end}\t{genres.replace('|', ' ') or 'unknown'}")
    people = ["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"]
    people += ["\t".join(map(str, (*user, "01002"))) for user in USERS]
    folder = "recbole/dataset_example/ml-100k"
    tables = (f"{folder}/ml-100k.inter", rows), (f"{folder}/ml-100k.item", films)
    return _texts(*tables, "utf-8", users=(f"{folder}/ml-100k.user", people))


def tags_member(layout, tags):
    """The name and content of a MovieLens file's member of tags, which some have."""
    if layout == "ratings.csv":
        text = io.StringIO()
        csv.writer(text).writerows([("userId", "movieId", "tag", "timestamp"), *tags])
        return {"ml/tags.csv": text.getvalue().encode()}
    lines = ("::".join(map(str, fields)) for fields in tags)
    return {"ml/tags.dat": "".join(f"{line}\n" for line in lines).encode()}


def movielens_zip(path, layout="ratings.csv", ratings=RATINGS, items=ITEMS, tags=None):
    """`path`, now a MovieLens file."""
    contents = members(layout, ratings, items)
    return zipped(path, contents if tags is None else contents | tags_member(layout, tags))


def zipped(path, contents):
    """`path`, now a zip of `contents`: name -> bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def dtypes(frame):
    return frame.dtypes.astype(str).to_dict()


def tuples(frame):
    """The rows, with None where a value is missing."""
    return list(frame.astype(object).where(frame.notna(), None).itertuples(index=False, name=None))


def published(name, path, url="https://files.grouplens.org/x.zip", *others, mirrors=()):
    """A registry entry for the file at `path`."""
    return Dataset((0.5, 5.0), (remote_file(path, f"{name}.zip", url, mirrors=mirrors), *others))


def remote_file(path, name, origin, by_pip=False, mirrors=()):
    digest = digest_of(path.read_bytes())
    return RemoteFile(name, origin, digest, by_pip, path.stat().st_size, mirrors)


def digest_of(content):
    return hashlib.sha256(content).hexdigest()


def write_params(folder, dataset, **changes):
    """A params.yaml with a section ingest."""
    section = {
        "dataset": str(dataset),
        "fallback": "ml-100k",
        "columns": {"user_id": "u", "item_id": "i", "rating": "r", "timestamp": "t"},
        "rating_range": [0.5, 5.0],
    }
    (folder / "params.yaml").write_text(yaml.safe_dump({"ingest": section | changes}))


def real_zip(name):
    """The path of a real data set; the test is skipped where there is none."""
    path = Path(os.environ.get("CF_DATA_HOME", ""), f"{name}.zip")
    if not os.environ.get("CF_DATA_HOME") or not path.is_file():
        pytest.skip(f"needs the real {name}.zip: set CF_DATA_HOME to the folder that holds it")
    return path


class Server(ThreadingHTTPServer):
    """Serves `content`, in the ways that servers do and ought not.

    Attributes:
        status: what it answers.
        breaks: how many transfers break off half-way.
        stalls: whether transfers stop half-way and never go on.
        requests: (method, path) of each request.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.status, self.breaks, self.stalls = 200, 0, False
        self.requests = []
        self.closing = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/ml.zip"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self):
        self.server.requests.append((self.command, self.path))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        server, body = self.server, self.server.content
        if server.stalls or server.breaks:
            server.breaks = max(server.breaks - 1, 0)
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if server.stalls:
                server.closing.wait()
        else:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serving(content) -> Iterator[Server]:
    """A server of `content` on this machine."""
    with Server(content) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()


def _texts(ratings, items, encoding, end="\n", users=None):
    return {
        name: "".join(line + end for line in lines).encode(encoding)
        for name, lines in filter(None, (ratings, items, users))
    }


def _flags(genres):
    named = genres.split("|") if genres else []
    return "|".join(["0" if named else "1", *("1" if name in named else "0" for name in GENRES)])
