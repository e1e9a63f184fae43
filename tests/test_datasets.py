import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cf.core.errors import InputError
from cf.data import datasets, download, ratings_file
from cf.data.datasets import REGISTRY, fetch, local_files
from cf.data.download import BadFileError, RefusedError, UnreachableError
from tests.ingest_files import movielens_zip, published, real_zip, remote_file

ORIGIN = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MIRRORS = ("https://mirror.org/ml-1m.zip", "https://archive.org/ml-1m.zip")


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
    monkeypatch.setitem(REGISTRY, "ml-1m", published("ml-1m", path, ORIGIN, mirrors=MIRRORS))
    return path


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """The wheel that the registry, in this test, has as the second file of ml-100k."""
    path = movielens_zip(tmp_path / "wheel.zip", "ml-100k.inter")
    file = remote_file(path, "r-1-py3-none-any.whl", "r==1", by_pip=True)
    entry = published("ml-100k", path, ORIGIN.replace("1m", "100k"), file)
    monkeypatch.setitem(REGISTRY, "ml-100k", entry)
    return path


AWAY = (
    "files.grouplens.org: its name cannot be resolved; mirror.org: no route; archive.org: no route"
)


def by_hand(cache):
    return f"By hand: download {ORIGIN} and put it, still zipped, under any name into {cache}"


@pytest.fixture
def world(monkeypatch):
    """What each place gives: a path, or the error of asking it. The list says who was asked."""

    class World:
        grouplens: Path | Exception = UnreachableError("its name cannot be resolved")
        mirrors: dict[str, Path | Exception]
        pip: Path | Exception = UnreachableError("no answer within 60 s")
        asked: list[str]

    world = World()
    world.mirrors, world.asked = {}, []

    def give(what, origin, target):
        world.asked.append(origin)
        if isinstance(what, Exception):
            raise what
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(what.read_bytes())

    def by_https(url, target, digest):
        assert digest in {file.digest for data in REGISTRY.values() for file in data.files}
        away = UnreachableError("no route")
        is_mirror = "grouplens" not in url.split("/")[2]
        give(world.mirrors.get(url, away) if is_mirror else world.grouplens, url, target)

    monkeypatch.setattr(download, "by_https", by_https)
    monkeypatch.setattr(download, "by_pip", lambda name, target, _: give(world.pip, name, target))
    return world


def test_the_registry_is_complete_and_pinned():
    sizes = ["latest-small", "100k", "1m", "10m", "20m", "25m", "32m"]
    *published, last = REGISTRY.items()
    assert [name for name, _ in published] == [f"ml-{size}" for size in sizes]
    for name, dataset in published:
        first, *others = dataset.files
        assert first.origin.endswith(f"movielens/{name}.zip")
        assert dataset.rating_range == (1.0 if name in ("ml-100k", "ml-1m") else 0.5, 5.0)
        assert (dataset.bundled, dataset.settings) == (None, None)
        assert [file.by_pip for file in others] == [True] * (name == "ml-100k")
        for file in dataset.files:
            assert re.fullmatch("[0-9a-f]{64}", file.digest)
            assert file.size
        hosts = [mirror.split("/")[2] for mirror in first.mirrors]
        assert hosts[-1] == "web.archive.org"
        assert len({*hosts, "files.grouplens.org"}) == len(hosts) + 1
        for mirror in first.mirrors:
            assert mirror.startswith("https://")
            assert mirror.endswith(f"/{name}.zip")
    assert last[0] == "movietweetings-10k"


def test_movietweetings_comes_with_cf_and_needs_nobody(cache, world):
    source = fetch("movietweetings-10k", [])
    dataset = REGISTRY["movietweetings-10k"]
    assert source.path == dataset.bundled / "ratings.dat"
    assert (source.dataset, source.requested, source.warning) == (*["movietweetings-10k"] * 2, None)
    assert source.rating_range == (0.0, 10.0)
    assert source.sha256 == dataset.files[0].digest
    assert datasets.obtain(dataset, {}) == (source.path, dataset.files[0])
    assert "Simon Dooms" in (dataset.bundled / "LICENSE").read_text()
    read = ratings_file.read([source.path], dataset.settings)
    assert len(read.ratings) == 10_000
    assert read.ratings["user_id"].nunique() == 3_794
    assert list(read.items["item_id"][:2]) == ["0120735", "2592910"]
    assert read.rating_range == (0.0, 10.0)
    films = (dataset.bundled / "movies.dat").read_text(encoding="utf-8").splitlines()
    assert {film.split("::")[0] for film in films} == {*read.items["item_id"]}
    assert not world.asked


@pytest.mark.parametrize("name", ["ratings.dat", "movies.dat"])
def test_a_file_of_cf_that_was_altered_is_refused(tmp_path, monkeypatch, name):
    dataset = REGISTRY["movietweetings-10k"]
    shutil.copytree(dataset.bundled, tmp_path / "data")
    moved = replace(dataset, bundled=tmp_path / "data")
    monkeypatch.setitem(REGISTRY, "movietweetings-10k", moved)
    assert fetch("movietweetings-10k", []).path == tmp_path / "data/ratings.dat"
    with (tmp_path / "data" / name).open("a") as file:
        file.write("1::1::1::1\n")
    with pytest.raises(InputError) as caught:
        fetch("movietweetings-10k", [])
    assert str(caught.value) == (
        f"{tmp_path / 'data' / name}: is missing or altered, though it comes with cf. Restore it "
        "with `git checkout`, or install cf again."
    )


def test_the_cache_folder_is_the_variable_or_the_platforms(cache, monkeypatch):
    assert datasets.cache_folder() == cache
    monkeypatch.delenv("CF_DATA_HOME")
    assert datasets.cache_folder() == cache.parent / "platform" / "cf"
    monkeypatch.setenv("CF_DATA_HOME", "here")
    monkeypatch.setenv("DVC_ROOT", "/project")
    assert datasets.cache_folder() == Path("/project/here")
    monkeypatch.setenv("CF_DATA_HOME", "~/here")
    monkeypatch.delenv("DVC_ROOT")
    assert datasets.cache_folder() == Path.home() / "here"


def test_a_file_in_the_cache_is_used_and_nobody_asked(cache, wanted, world):
    (cache / "ml-1m.zip").write_bytes(wanted.read_bytes())
    source = fetch("ml-1m", [])
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
    first = fetch("ml-1m", [])
    assert fetch("ml-1m", []) == first
    assert world.asked == [ORIGIN]


@pytest.mark.parametrize("change", [lambda c: c[:-9], lambda c: c[:-1] + b"x"])
def test_a_wrong_file_in_the_cache_is_an_error(cache, wanted, wheel, world, change):
    path, wrong = cache / "ml-1m.zip", change(wanted.read_bytes())
    path.write_bytes(wrong)
    with pytest.raises(InputError) as caught:
        fetch("ml-1m", ["ml-100k"])
    expected, got = (
        hashlib.sha256(content).hexdigest() for content in (wanted.read_bytes(), wrong)
    )
    assert str(caught.value) == (
        f"{path}: wrong sha256: expected {expected}, got {got}. It is damaged, or not what "
        f"{ORIGIN} is. Delete it and run the same command again: it is then downloaded anew."
    )
    assert not world.asked


def test_a_folder_that_nobody_may_write_to_is_left_alone(cache, wanted, world):
    world.grouplens = wanted
    cache.chmod(0o555)
    source = fetch("ml-1m", [])
    assert source.path == datasets.download_folder() / "ml-1m.zip"
    assert source.path.parent == cache.parent / "platform" / "cf"
    assert not list(cache.iterdir())
    assert fetch("ml-1m", []) == source
    assert len(world.asked) == 1


def test_a_fallback_is_real_data_with_a_warning_and_its_true_name(cache, wanted, wheel, world):
    world.pip = wheel
    source = fetch("ml-1m", ["ml-100k"])
    assert (source.dataset, source.requested) == ("ml-100k", "ml-1m")
    assert source.origin == "wheel of r==1"
    assert source.path == cache / "r-1-py3-none-any.whl"
    assert source.warning == (
        f"ml-1m cannot be reached: {AWAY}. ml-100k is used INSTEAD: all results are about ml-100k. "
        f"`dvc repro -f ingest` tries again. {by_hand(cache)}."
    )


def test_a_host_that_did_not_answer_is_not_asked_twice(cache, wanted, wheel, world):
    world.pip = wheel
    fetch("ml-1m", ["ml-100k"])
    assert world.asked == [ORIGIN, *MIRRORS, "r==1"]


def test_a_fallback_in_the_cache_needs_no_pip(cache, wanted, wheel, world):
    (cache / "r-1-py3-none-any.whl").write_bytes(wheel.read_bytes())
    source = fetch("ml-1m", ["ml-100k"])
    assert source.warning is not None
    assert world.asked == [ORIGIN, *MIRRORS]


def test_the_wheel_is_no_fallback_for_whom_asks_for_ml_100k(cache, wheel, world):
    world.pip = wheel
    source = fetch("ml-100k", ["ml-100k"])
    assert (source.warning, source.dataset, source.requested) == (None, "ml-100k", "ml-100k")
    assert world.asked == [ORIGIN.replace("1m", "100k"), "r==1"]


def test_no_fallback_says_how_to_get_the_file(cache, wanted, world):
    with pytest.raises(InputError) as caught:
        fetch("ml-1m", [])
    assert str(caught.value) == (
        f"ml-1m cannot be reached: {AWAY}. {by_hand(cache)}, or allow other data with "
        "ingest.fallback: [ml-100k, movietweetings-10k] in params.yaml."
    )
    assert not list(cache.iterdir())


def test_nothing_reachable_tells_why_of_each(cache, wanted, wheel, world):
    with pytest.raises(InputError) as caught:
        fetch("ml-1m", ["ml-100k"])
    assert str(caught.value) == (
        f"ml-1m cannot be reached: {AWAY}; pip: no answer within 60 s. {by_hand(cache)}."
    )


def bad(url):
    return BadFileError(f"{url}: wrong sha256: expected 1, got 2.", "it sends another file")


def test_a_wrong_file_of_its_publisher_is_no_reason_for_other_data(cache, wanted, wheel, world):
    world.grouplens, world.pip = bad(ORIGIN), wheel
    with pytest.raises(InputError) as caught:
        fetch("ml-1m", ["ml-100k"])
    assert str(caught.value) == (
        f"{ORIGIN}: wrong sha256: expected 1, got 2. Nothing else has it: {ORIGIN}: it sends "
        "another file; mirror.org: no route; archive.org: no route."
    )
    assert world.asked == [ORIGIN, *MIRRORS]


@pytest.mark.parametrize("error", [UnreachableError("no route"), bad(ORIGIN)])
def test_a_mirror_of_the_same_bytes_is_the_same_source(cache, wanted, wheel, world, error):
    world.grouplens, world.mirrors[MIRRORS[0]] = error, wanted
    source = fetch("ml-1m", ["ml-100k"])
    assert (source.dataset, source.origin, source.warning) == ("ml-1m", ORIGIN, None)
    assert source.path == cache / "ml-1m.zip"
    assert world.asked == [ORIGIN, MIRRORS[0]]
    assert fetch("ml-1m", []) == source
    assert len(world.asked) == 2


@pytest.mark.parametrize("error", [bad(MIRRORS[0]), RefusedError("it answers 404 Not Found")])
def test_a_mirror_of_other_bytes_does_not_end_the_search(cache, wanted, wheel, world, error):
    world.mirrors = dict(zip(MIRRORS, (error, wanted), strict=True))
    assert fetch("ml-1m", []).warning is None
    assert world.asked == [ORIGIN, *MIRRORS]
    (cache / "ml-1m.zip").unlink()
    del world.mirrors[MIRRORS[1]]
    world.pip = wheel
    source = fetch("ml-1m", ["ml-100k"])
    assert source.dataset == "ml-100k"
    reason = getattr(error, "reason", str(error))
    assert f"{MIRRORS[0]}: {reason}" in str(source.warning)


def test_a_host_that_refuses_one_file_is_asked_for_another(cache, wanted, wheel, world):
    world.grouplens = RefusedError("it answers 404 Not Found")
    with pytest.raises(InputError, match="404"):
        fetch("ml-1m", ["ml-100k"])
    assert world.asked == [ORIGIN, *MIRRORS, ORIGIN.replace("1m", "100k"), "r==1"]


def test_a_host_that_is_known_to_be_silent_is_passed_over(cache, wanted, world):
    world.mirrors[MIRRORS[1]] = wanted
    reasons = {"files.grouplens.org": "no answer", MIRRORS[0]: "it answers 404 Not Found"}
    path, file = datasets.obtain(REGISTRY["ml-1m"], reasons)
    assert (path, file.origin) == (cache / "ml-1m.zip", ORIGIN)
    assert world.asked == [MIRRORS[1]]
    assert len(reasons) == 2


def test_the_last_resort_needs_no_network(cache, wanted, wheel, world):
    source = fetch("ml-1m", ["ml-100k", "movietweetings-10k"])
    assert (source.dataset, source.requested) == ("movietweetings-10k", "ml-1m")
    for part in ("pip: no answer", "movietweetings-10k is used INSTEAD", ORIGIN):
        assert part in str(source.warning)
    assert world.asked == [ORIGIN, *MIRRORS, "r==1"]


def test_a_fallback_that_cannot_be_used_is_passed_over(cache, wanted, wheel, world):
    (cache / "ml-100k.zip").write_text("damaged")
    source = fetch("ml-1m", ["ml-100k", "movietweetings-10k"])
    assert source.dataset == "movietweetings-10k"
    assert "ml-100k.zip: wrong sha256" in str(source.warning)


@pytest.mark.parametrize("name", ["download (1).zip", "ML-1M.ZIP", "r.whl", "ml-1m.zip.1", "data"])
def test_a_file_under_any_name_is_recognized_by_its_digest(cache, wanted, world, name):
    (cache / name).write_bytes(wanted.read_bytes())
    source = fetch("ml-1m", [])
    assert (source.path, source.origin) == (cache / name, ORIGIN)
    assert not world.asked


def test_only_a_file_of_the_right_size_is_read(cache, wanted, world, monkeypatch):
    content = wanted.read_bytes()
    (cache / "sub").mkdir()
    (cache / "sub/below.zip").write_bytes(content)
    (cache / "longer.zip").write_bytes(content + b"x")
    (cache / "same-size.zip").write_bytes(content[:-1] + b"x")
    (cache / "folder.zip").mkdir()
    (cache / "gone.zip").symlink_to(cache / "nowhere")
    hashed = []
    digest = datasets.io.digest
    monkeypatch.setattr(
        datasets.io, "digest", lambda *args: hashed.append(args[0]) or digest(*args)
    )
    with pytest.raises(InputError, match="under any name into"):
        fetch("ml-1m", [])
    assert hashed == [cache / "same-size.zip"]
    (cache / "ml-1m.zip").write_bytes(content)
    fetch("ml-1m", [])
    assert {*hashed[1:]} == {cache / "ml-1m.zip"}


def test_an_own_file_is_a_source(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("u,i,r\n1,2,3\n")
    files, source = local_files(str(path))
    assert files == [path]
    assert (source.dataset, source.requested, source.origin) == ("mine.csv",) * 3
    assert source.path == path
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


NEITHER = "neither a data set nor an existing file."


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ("ml-latest-smal", f"{NEITHER} Did you mean ml-latest-small?"),
        ("no/such.csv", NEITHER),
        (".", "a folder without such files."),
    ],
)
def test_a_missing_file_is_refused_with_what_there_is(tmp_path, monkeypatch, given, got):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        local_files(given)
    assert str(caught.value) == (
        f"params.yaml: ingest.dataset: {given} is {got} Give one of ml-latest-small, ml-100k, "
        "ml-1m, ml-10m, ml-20m, ml-25m, ml-32m, movietweetings-10k, or the path of your own "
        "ratings: a file, a folder, or a pattern such as data/own/*.csv. `cf inspect FILE` says "
        "what is in a file."
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    path = tmp_path / ("x" * 120)
    path.write_text("u,i,r\n1,2,3\n")
    monkeypatch.setattr(datasets.io, "digest", refuse)
    with pytest.raises(InputError) as caught:
        local_files(str(path))
    assert str(caught.value) == (
        f"params.yaml: ingest.dataset: {str(path)[:80]}: [Errno 13] Permission denied: '{path}'."
    )


def test_a_cache_that_cannot_be_read_is_named(cache, wanted, world, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    (cache / "ml-1m.zip").write_bytes(wanted.read_bytes())
    monkeypatch.setattr(datasets.io, "digest", refuse)
    with pytest.raises(InputError) as caught:
        fetch("ml-1m", [])
    assert str(caught.value) == (
        f"{cache / 'ml-1m.zip'}: Permission denied. Check its permissions, or set CF_DATA_HOME to "
        "a folder that you may read."
    )


def test_the_entries_of_the_registry_are_what_was_published():
    url = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
    mirrors = (
        "https://huggingface.co/datasets/Recommenders/MovieLens/resolve/main/ml-100k.zip",
        f"https://web.archive.org/web/2025id_/{url}",
    )
    file = datasets.RemoteFile(
        "ml-100k.zip",
        url,
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        size=4_924_029,
        mirrors=mirrors,
    )
    entry = datasets.Dataset((1.0, 5.0), (file, datasets.WHEEL))
    assert datasets._movielens("ml-100k") == REGISTRY["ml-100k"] == entry
    small = datasets._movielens("ml-latest-small")
    assert small == REGISTRY["ml-latest-small"]
    assert small.rating_range == (0.5, 5.0)
    assert small.files[0].mirrors == (
        "https://raw.githubusercontent.com/neaorin/databricks-workshop/"
        "d8a32d05571bc0b6f223d554aa221303e1cea7f1/data/ml-latest-small.zip",
        f"https://web.archive.org/web/2025id_/{url.replace('ml-100k', 'ml-latest-small')}",
    )
    for name, n_mirrors in (("ml-1m", 2), ("ml-10m", 2), ("ml-20m", 2), ("ml-25m", 1)):
        entry = datasets._movielens(name)
        assert entry == REGISTRY[name]
        assert len(entry.files[0].mirrors) == n_mirrors
        assert entry.rating_range == (1.0 if name == "ml-1m" else 0.5, 5.0)
    assert datasets._movietweetings() == REGISTRY["movietweetings-10k"]


def test_a_folder_is_all_its_tables(tmp_path):
    with pytest.raises(InputError, match="is a folder without such files"):
        local_files(str(tmp_path))
    (tmp_path / "a.csv").write_text("a.csv")
    only, source = local_files(str(tmp_path))
    assert (only, source.dataset) == ([tmp_path / "a.csv"], "a.csv")
    assert source.sha256 == hashlib.sha256(b"a.csv").hexdigest()
    (tmp_path / "b.csv.gz").write_text("b.csv.gz")
    _, source = local_files(str(tmp_path))
    assert source.dataset == tmp_path.name
    both = [hashlib.sha256(name).hexdigest() for name in (b"a.csv", b"b.csv.gz")]
    assert source.sha256 == hashlib.sha256("".join(both).encode()).hexdigest()
    for name in ("sub/c.parquet", ".hidden.csv", "notes.md", "_temporary/0/a.csv", ".tmp/b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    files, source = local_files(str(tmp_path))
    assert [str(file.relative_to(tmp_path)) for file in files] == [
        "a.csv",
        "b.csv.gz",
        "sub/c.parquet",
    ]
    assert source.dataset == tmp_path.name
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert source.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()
    assert (source.path, source.origin, source.requested) == (files[0], *[tmp_path.name] * 2)
    assert source.rating_range == (0.0, 0.0)


def test_the_real_file_is_the_pinned_one(monkeypatch):
    path = real_zip("ml-latest-small")
    assert fetch("ml-latest-small", []).path == path
