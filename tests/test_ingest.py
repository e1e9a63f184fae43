import hashlib
import json
import os
import socket
import subprocess
import sys
from errno import ENOSPC
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import parquet

from cf.core import io, paths
from cf.core.ratings import ids_digest
from cf.data import datasets, download
from stages import ingest
from tests.ingest_files import (
    ITEM_DTYPES,
    RATING_DTYPES,
    RATINGS,
    ROOT,
    TAG_DTYPES,
    TAGS,
    dtypes,
    movielens_zip,
    published,
    real_zip,
    remote_file,
    tuples,
    write_params,
)

MINE = "u,i,r,t\n7,20,4,1000\n7,10,3.5,1001\n3,20,5,1002\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The working directory of a stage, with an empty cache and no network in reach."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CF_DATA_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("DVC_STAGE", "ingest")
    monkeypatch.setattr(download, "RETRY_DELAY", 0)
    (tmp_path / "cache").mkdir()
    with socket.socket() as nobody:  # a proxy where nobody listens: no network
        nobody.bind(("127.0.0.1", 0))
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        yield folder


@pytest.fixture
def cached(project, tmp_path, monkeypatch):
    """The registry's ml-1m is a made-up file, and lies in the cache."""
    path = movielens_zip(tmp_path / "cache" / "ml-1m.zip", tags=TAGS)
    monkeypatch.setitem(datasets.REGISTRY, "ml-1m", published("ml-1m", path))
    return path


def outputs(project):
    return sorted(path.name for path in project.rglob("*") if path.is_file())


def ids_sha256():
    ratings = io.read_parquet(paths.RATINGS)
    return ids_digest(ratings["user_id"].unique(), ratings["item_id"].unique())


def provenance():
    return json.loads(Path("data/ingested/provenance.json").read_text())


def message_of_failure():
    with pytest.raises(SystemExit) as caught:
        ingest.main()
    return str(caught.value)


def test_a_published_data_set(project, cached, capsys):
    write_params(project, "ml-1m")
    ingest.main()
    assert outputs(project) == [
        "items.parquet",
        "params.yaml",
        "provenance.json",
        "ratings.parquet",
        "tags.parquet",
        "users.parquet",
    ]
    ratings = pd.read_parquet("data/ingested/ratings.parquet")
    assert dtypes(ratings) == RATING_DTYPES
    assert tuples(ratings) == RATINGS
    assert dtypes(pd.read_parquet("data/ingested/items.parquet")) == ITEM_DTYPES
    tags = pd.read_parquet("data/ingested/tags.parquet")
    assert dtypes(tags) == TAG_DTYPES
    assert tuples(tags) == [fields[1:] for fields in TAGS]
    assert provenance() == {
        "dataset": "ml-1m",
        "requested": "ml-1m",
        "source": "https://files.grouplens.org/x.zip",
        "sha256": hashlib.sha256(cached.read_bytes()).hexdigest(),
        "n_ratings": 4,
        "n_users": 3,
        "n_items": 3,
        "rating_range": [0.5, 5.0],
        "unit": "stars",
        "feedback": "explicit",
        "ids_sha256": ids_sha256(),
    }
    printed = capsys.readouterr()
    assert printed.out == "ml-1m: 4 ratings of 3 items by 3 users\n"
    assert printed.err == ""


def test_an_own_file_leaves_no_machine_path(project, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(MINE)
    write_params(project, path, rating_range=[1.0, 5.0])
    ingest.main()
    assert provenance() == {
        "dataset": "mine.csv",
        "requested": "mine.csv",
        "source": "mine.csv",
        "sha256": hashlib.sha256(MINE.encode()).hexdigest(),
        "n_ratings": 3,
        "n_users": 2,
        "n_items": 2,
        "rating_range": [1.0, 5.0],
        "unit": "stars",
        "feedback": "explicit",
        "ids_sha256": ids_sha256(),
    }


def test_an_own_file_without_timestamps(project):
    (project / "mine.csv").write_text("u,i,r\n1,2,3\n")
    columns = {"user_id": "u", "item_id": "i", "rating": "r", "timestamp": None}
    write_params(project, "mine.csv", columns=columns)
    ingest.main()
    ratings = pd.read_parquet("data/ingested/ratings.parquet")
    assert list(ratings) == ["user_id", "item_id", "rating"]
    tags = pd.read_parquet("data/ingested/tags.parquet")
    assert (dtypes(tags), len(tags)) == (TAG_DTYPES, 0)


def test_the_unit_is_stated_or_by_the_range(project):
    (project / "mine.csv").write_text(MINE)
    for stated, unit in (({}, "points"), ({"unit": "laughs"}, "laughs")):
        write_params(project, "mine.csv", rating_range=[0.0, 10.0], **stated)
        ingest.main()
        assert provenance()["unit"] == unit


def test_the_same_input_gives_the_same_bytes(project, cached):
    write_params(project, "ml-1m")
    seen = set()
    for _ in range(2):
        ingest.main()
        files = sorted((project / "data" / "ingested").iterdir())
        seen.add(tuple(file.read_bytes() for file in files))
    assert len(seen) == 1


def test_a_fallback_warns_and_tells_its_true_name(project, tmp_path, monkeypatch, capsys):
    wheel = movielens_zip(tmp_path / "cache" / "r-1.whl", "ml-100k.inter")
    file = remote_file(wheel, "r-1.whl", "r==1", by_pip=True)
    entry = datasets.Dataset((1.0, 5.0), (file,))
    monkeypatch.setitem(datasets.REGISTRY, "ml-100k", entry)
    write_params(project, "ml-25m")
    ingest.main()
    warning = capsys.readouterr().err
    for part in (
        "WARNING: ml-25m cannot be reached",
        "the proxy cannot be reached",
        "ml-100k is used INSTEAD",
        "`dvc repro -f ingest` tries again",
    ):
        assert part in warning
    facts = provenance()
    assert (facts["dataset"], facts["requested"]) == ("ml-100k", "ml-25m")
    assert facts["source"] == "wheel of r==1"
    assert facts["rating_range"] == [1.0, 5.0]


def test_the_last_resort_is_told_and_read(project, capsys):
    write_params(project, "ml-25m", fallback=["ml-100k", "movietweetings-10k"])
    ingest.main()
    printed = capsys.readouterr()
    for part in (
        "WARNING: ml-25m cannot be reached: files.grouplens.org: the proxy cannot be reached",
        "pip: No matching distribution found for recbole==1.2.1",
        "movietweetings-10k is used INSTEAD",
    ):
        assert part in printed.err
    assert printed.out.endswith(
        "movietweetings-10k: 10,000 ratings of 3,096 items by 3,794 users\n"
    )
    facts = provenance()
    assert (facts["dataset"], facts["requested"]) == ("movietweetings-10k", "ml-25m")
    assert facts["source"] == "https://github.com/sidooms/MovieTweetings"
    assert facts["rating_range"] == [0.0, 10.0]
    items = pd.read_parquet("data/ingested/items.parquet")
    assert list(items["item_id"][:2]) == ["0120735", "2592910"]


def test_no_network_and_nothing_to_fall_back_on(project):
    write_params(project, "ml-25m")
    message = message_of_failure()
    for part in (
        "ml-25m cannot be reached: files.grouplens.org: the proxy cannot be reached",
        "pip: No matching distribution found for recbole==1.2.1",
        "https://files.grouplens.org/datasets/movielens/ml-25m.zip",
        os.environ["CF_DATA_HOME"],
    ):
        assert part in message
    assert outputs(project) == ["params.yaml"]


def test_no_network_and_no_fallback_allowed(project, tmp_path):
    write_params(project, "ml-25m", fallback=None)
    message = message_of_failure()
    assert "By hand: download https://files.grouplens.org" in message
    assert f"into {tmp_path / 'cache'}" in message
    assert outputs(project) == ["params.yaml"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["is empty", "Expected a first line"]),
        ("u,i,r,t\n", ["holds no ratings", "at least one"]),
        ("u,i,t\n1,2,3\n", ["no column 'r'", "params.yaml: ingest.columns.rating"]),
        ("u,i,r,t\n1,2,3,4\n,2,3,4\n", ["line 3, column u", "a value", "Correct or remove"]),
        ("u,i,r,t\n1,2,3,4\n1,3,good,4\n", ["line 3, column r", "'good'", "Correct or remove"]),
        ("u,i,r,t\n1,2,nan,4\n", ["line 2", "not a finite", "Correct or remove"]),
        ("u,i,r,t\n1,2,inf,4\n", ["line 2", "not a finite", "Correct or remove"]),
        ("u,i,r,t\n1,2,6,4\n", ["line 2", "out of range", "ingest.rating_range"]),
        ("u,i,r,t\n1,2,3,4\n1,2,4,4\n", ["line 3", "line 2", "Keep one row"]),
    ],
)
def test_a_bad_own_file_leaves_nothing_half_written(project, content, parts):
    (project / "mine.csv").write_text(content)
    write_params(project, "mine.csv")
    message = message_of_failure()
    for part in ["ingest: mine.csv", *parts]:
        assert part in message
    assert outputs(project) == ["mine.csv", "params.yaml"]


def test_a_missing_file(project):
    write_params(project, "mine.csv")
    assert "mine.csv is neither a data set nor an existing file" in message_of_failure()


def test_the_stage_ends_without_a_traceback(project):
    (project / "mine.csv").write_text("u,i,r,t\n1,2,3,4\n1,5,x,4\n")
    write_params(project, "mine.csv")
    command = [sys.executable, "-m", "stages.ingest"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith("ingest: mine.csv, line 3, column r: expected a number")
    assert "Traceback" not in result.stderr
    assert outputs(project) == ["mine.csv", "params.yaml"]


def test_a_wrong_digest_leaves_nothing_half_written(project, tmp_path):
    path = movielens_zip(tmp_path / "cache" / "ml-1m.zip")
    write_params(project, "ml-1m")
    message = message_of_failure()
    assert message.startswith(f"ingest: {path}: wrong sha256: expected a6898adb")
    assert "Delete it and run the same command again" in message
    assert outputs(project) == ["params.yaml"]


def test_a_full_disk_leaves_nothing_half_written(project, cached, monkeypatch):
    def full(writer, *_, **__):
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", full)
    write_params(project, "ml-1m")
    message = message_of_failure()
    for part in ("cannot write data/ingested/ratings.parquet", "No space left", "Free some space"):
        assert part in message
    assert outputs(project) == ["params.yaml"]


def test_the_stage_imports_nothing_heavy(project, cached):
    code = (
        "import sys, stages.ingest; "
        "print(sorted({'torch', 'mlflow', 'dvc', 'requests'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "[]\n"


def test_the_real_ml_latest_small(project, monkeypatch):
    monkeypatch.undo()
    home = str(real_zip("ml-latest-small").parent)
    monkeypatch.chdir(project)
    monkeypatch.setenv("CF_DATA_HOME", home)
    write_params(project, "ml-latest-small")
    ingest.main()
    assert provenance() == {
        "dataset": "ml-latest-small",
        "requested": "ml-latest-small",
        "source": "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip",
        "sha256": "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        "n_ratings": 100_836,
        "n_users": 610,
        "n_items": 9_724,
        "rating_range": [0.5, 5.0],
        "unit": "stars",
        "feedback": "explicit",
        "ids_sha256": ids_sha256(),
    }
