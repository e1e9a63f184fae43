"""Ratings at a URL: a file, a folder or a pattern, from a server on this machine."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from cf.core.errors import InputError
from cf.data import remote
from tests.project import Project, made_up_ratings, untrained


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
        with remote.local_copy(path) as here:
            assert here == path


def test_a_file_of_a_server_is_here_until_the_end(served: tuple[Path, str], cache: Path) -> None:
    folder, url = served
    (folder / "stars.csv").write_text("user,item,rating\n1,2,3\n")
    with remote.local_copy(f"{url}/stars.csv") as here:
        assert Path(here).name == "stars.csv"
        assert Path(here).read_text() == "user,item,rating\n1,2,3\n"
        assert Path(here).is_relative_to(cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("pattern", ["", "/", "/**/*.csv"])
def test_a_folder_and_a_pattern_are_all_of_their_files(tmp_path: Path, pattern: str) -> None:
    for name in ("2024/a.csv", "2025/a.csv", "2025/b.csv"):
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_text(name)
    with remote.local_copy(f"file://{tmp_path}/there{pattern}") as here:
        found = {path.name: path.read_text() for path in Path(here).iterdir()}
    assert sorted(found.values()) == ["2024/a.csv", "2025/a.csv", "2025/b.csv"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/stars.csv", r"http://127.0.0.1:9/stars.csv(:| cannot be read \()"),
        ("nowhere://stars.csv", r"nowhere://stars.csv cannot be read \(Protocol not known"),
        ("file:///no/such/stars.csv", "file:///no/such/stars.csv: no file of ratings there"),
        ("s3://ann:secret@bucket/stars.csv", "this URL has a password in it"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_key(url: str, message: str, cache: Path) -> None:
    with pytest.raises(InputError, match=f"^params.yaml: ingest.dataset: {message}") as raised:
        remote.local_copy(url).__enter__()
    assert "secret" not in str(raised.value)
    assert list(cache.iterdir()) == []


def test_messages_name_the_url(served: tuple[Path, str]) -> None:
    folder, url = served
    (folder / "stars.csv").write_text("user,item,rating\n")
    with pytest.raises(InputError) as raised, remote.local_copy(f"{url}/stars.csv") as here:
        raise InputError(f"{here}, line 1: no")
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
    shown = project.cf("inspect", f"{url}/stars.parquet", "--user", "who", "--item", "what")
    assert f"dataset: {url}/stars.parquet" in shown.stdout.replace("'", "")
