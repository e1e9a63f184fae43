"""Ratings at a URL: a file, a folder or a pattern, from a server or from this machine."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
import yaml

from cf.core.errors import InputError, WriteError
from cf.data import remote
from cf.data.table_file import find
from tests.project import Project, made_up_ratings, untrained

SECRET = "this URL has a password or a key in it"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CF_DATA_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL at which a server gives what is in it."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_path_of_this_machine_stays_as_it_is() -> None:
    for path in ("data/own/*.csv", r"C:\ratings.csv", "ml-100k"):
        with remote.local_copy(path) as (here, *_):
            assert here == path


@pytest.mark.parametrize(
    ("url", "name", "last"),
    [
        ("http://host/a/stars.csv?version=2/3", "stars.csv", "3"),
        ("https://host/a/stars.csv#top", "stars.csv", "stars.csv#top"),
        ("https://host/a/", "a", "a"),
        ("s3://bucket/a/stars?.csv", "stars?.csv", "stars?.csv"),
        ("s3://bucket/stars#1.csv", "stars#1.csv", "stars#1.csv"),
        ("s3://bucket/X/", "X", "X"),
        ("s3://bucket/a ", "a ", "a "),
    ],
)
def test_the_last_part_of_a_url_names_a_file(url: str, name: str, last: str) -> None:
    assert (remote.name_of(url), remote.last_part(url)) == (name, last)
    assert remote.is_http(url) == (not url.startswith("s3"))


@pytest.mark.parametrize("query", ["", "?version=2"])
def test_a_file_of_a_server_is_here_until_the_end(
    served: tuple[Path, str], cache: Path, query: str
) -> None:
    folder, url = served
    (folder / "stars.csv").write_text("user,item,rating\n1,2,3\n")
    with remote.local_copy(f"{url}/stars.csv{query}") as (here, *_):
        assert Path(here).name == "stars.csv"
        assert Path(here).read_text() == "user,item,rating\n1,2,3\n"
        assert Path(here).is_relative_to(cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["a/b_c.csv", "a/c.csv", "a_b/c.csv"]),
        ("/", ["a/b_c.csv", "a/c.csv", "a_b/c.csv"]),
        ("/a", ["a/b_c.csv", "a/c.csv"]),
        ("/a/*.csv", ["a/b_c.csv", "a/c.csv"]),
        ("/*/c.csv", ["a/c.csv", "a_b/c.csv"]),
        ("/a/[b-d].csv", ["a/c.csv"]),
        ("/a/c.csv", ["a/c.csv"]),
    ],
)
def test_a_url_stands_for_the_files_that_a_path_does(
    tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    for name in ("a_b/c.csv", "a/b_c.csv", "a/c.csv", "a/readme.md", "a/.hidden.csv"):
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_text(name)
    local = [file.read_text() for file in find(f"{tmp_path}/there{pattern}")]
    url = f"file://{tmp_path}/there{pattern}"
    with remote.local_copy(url) as (here, folder, root):
        assert [file.read_text() for file in find(here)] == local == expected
        assert here.replace(folder, root) == url.rstrip("/")


def test_folders_below_the_url_stay_but_hidden_ones(tmp_path: Path) -> None:
    for name in ("X/one.csv", "X/two/three/X.csv", "X/_temporary/0/one.csv"):
        (tmp_path / "X" / name).parent.mkdir(parents=True)
        (tmp_path / "X" / name).write_text(name)
    (tmp_path / "copy").mkdir()
    assert remote.fetch(f"file://{tmp_path}/X", tmp_path / "copy") == f"file://{tmp_path}/X"
    found = sorted(file for file in (tmp_path / "copy").rglob("*") if file.is_file())
    names = [file.relative_to(tmp_path / "copy").as_posix() for file in found]
    assert names == ["X/one.csv", "X/two/three/X.csv"]
    assert [file.read_text() for file in found] == names


@pytest.mark.parametrize("pattern", ["", "/*.parquet", "/*/*.parquet"])
def test_a_table_with_earlier_versions_is_refused(tmp_path: Path, pattern: str) -> None:
    for name in ("part-0.parquet", "year=1/part-0.parquet", "_delta_log/0.json"):
        (tmp_path / "X" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "X" / name).write_text(name)
    for read in (find, lambda path: remote.fetch(f"file://{path}", tmp_path)):
        with pytest.raises(InputError, match="is a table of Delta Lake, and has files of its"):
            read(f"{tmp_path}/X{pattern}")


def test_a_url_of_a_server_is_no_pattern(served: tuple[Path, str]) -> None:
    folder, url = served
    for name in ("stars[1].csv", "stars1.csv"):
        (folder / name).write_text(name)
    with remote.local_copy(f"{url}/stars[1].csv") as (here, *_):
        assert Path(here).name == "stars[1].csv"
        assert Path(here).read_text() == "stars[1].csv"


@pytest.mark.parametrize("error", [ValueError(), ValueError("x" * 400), FileNotFoundError()])
def test_any_error_of_a_library_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(url: str) -> None:
        raise error

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(InputError) as caught, remote.local_copy("s3://bucket/stars.csv"):
        pass
    reason = "x" * 300 if str(error) else "ValueError"
    assert str(caught.value) == (
        "params.yaml: ingest.dataset: s3://bucket/stars.csv: no such file or folder is found."
        if isinstance(error, FileNotFoundError)
        else f"params.yaml: ingest.dataset: s3://bucket/stars.csv cannot be read ({reason}). Check "
        "the URL, and what its library needs: it may have to be installed, or to log in."
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/stars.csv", r"http://127.0.0.1:9/stars.csv: .* \(Cannot connect"),
        ("nowhere://stars.csv", r"nowhere://stars.csv cannot be read \(Protocol not known"),
        ("file:///no/such/stars.csv", "file:///no/such/stars.csv: no such file or folder is found"),
        ("file:///no/such/*.csv", r"file:///no/such/\*.csv: no file of ratings there"),
        ("s3://[a-c]*/x.csv", r"s3://\[a-c\]\*/x.csv cannot be read"),
        ("s3://ann:secret@bucket/stars.csv", SECRET),
        ("https://secret@host/stars.csv", SECRET),
        ("https://host/stars.csv?X-Amz-Signature=secret", SECRET),
        ("simplecache::s3://ann:secret@b/x.csv", SECRET),
        ("zip://x.csv::file:///a.zip", "expected one URL, got several"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_key(url: str, message: str, cache: Path) -> None:
    with (
        pytest.raises(InputError, match=f"^params.yaml: ingest.dataset: {message}") as raised,
        remote.local_copy(url),
    ):
        pass
    assert "secret" not in str(raised.value)
    assert not cache.exists() or list(cache.iterdir()) == []


def test_a_file_that_a_server_lacks_is_not_there(served: tuple[Path, str]) -> None:
    with (
        pytest.raises(InputError, match="no such file or folder is found"),
        remote.local_copy(f"{served[1]}/stars.csv"),
    ):
        pass


@pytest.mark.parametrize("kind", [InputError, WriteError])
def test_messages_name_the_url(served: tuple[Path, str], kind: type[InputError]) -> None:
    folder, url = served
    (folder / "stars.csv").write_text("user,item,rating\n")
    with pytest.raises(kind) as raised, remote.local_copy(f"{url}/stars.csv") as (here, *_):
        raise kind(f"{here}, line 1: no")
    assert str(raised.value) == f"{url}/stars.csv, line 1: no"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return untrained(tmp_path / "project", "dotbias")


def test_ratings_at_a_url_are_ingested(project: Project, served: tuple[Path, str]) -> None:
    folder, url = served
    made_up_ratings().to_parquet(folder / "stars.parquet")
    project.change("ingest", lambda s: s.update(dataset=f"{url}/stars.parquet"))
    project.change("ingest", lambda s: s["columns"].update(user_id="who", item_id="what"))
    project.repro("ingest")
    provenance = project.read("data/ingested/provenance.json")
    assert provenance["source"] == f"{url}/stars.parquet"
    assert provenance["dataset"] == provenance["requested"] == "stars.parquet"
    assert len(pd.read_parquet(project.folder / "data/ingested/ratings.parquet")) == 600


def test_what_inspect_states_is_there_when_it_is_read(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "there/2024"
    folder.mkdir(parents=True)
    made_up_ratings().to_csv(folder / "ratings.csv", index=False)
    pd.DataFrame({"what": range(7, 47), "title": "t"}).to_csv(folder / "movies.csv", index=False)
    columns = "--user", "who", "--item", "what", "--rating", "stars"
    done = project.cf("inspect", f"file://{tmp_path}/there", *columns, "--write")
    assert "cache" not in done.stdout
    ingest = yaml.safe_load((project.folder / "params.yaml").read_text())["ingest"]
    assert ingest["dataset"] == f"file://{folder}/ratings.csv"
    project.repro("ingest")
