import sys

import numpy as np
import pytest

from benchmarks.ladder import __main__ as ladder
from benchmarks.ladder import rows as ladder_rows
from benchmarks.ladder.published import FIGURES, best
from benchmarks.ladder.rows import (
    DATASETS,
    LADDER,
    choose,
    fold,
    locate,
    random_tenth,
    read,
    read_matrices,
)
from benchmarks.ladder.score import Chain, run, summarize
from cf.core.errors import InputError
from cf.data import download
from cf.data.download import UnreachableError
from tests.ingest_files import ITEMS, RATINGS, TAGS, USERS, movielens_zip, tuples

N_ML_1M = 1_000_209


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty cache, and no host that answers; the folder, and who was asked."""
    monkeypatch.setenv("CF_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    asked = []

    def unreachable(origin, *_):
        asked.append(origin)
        raise UnreachableError("no answer in time")

    monkeypatch.setattr(download, "by_https", unreachable)
    monkeypatch.setattr(download, "by_pip", unreachable)
    return tmp_path / "home", asked


@pytest.fixture
def monti_file(tmp_path):
    """A file as Monti et al.'s: 12 users by 10 items, in MATLAB's order of axes."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed: see requirements/bench.txt")
    rng = np.random.default_rng(0)
    matrix = rng.integers(1, 6, size=(12, 10)).astype(float)
    part = rng.choice(3, size=matrix.shape, p=[0.2, 0.6, 0.2])  # 0: in neither
    matrix[3], part[3] = 0, 0  # a user without ratings
    with h5py.File(tmp_path / "monti.mat", "w") as file:
        file["M"] = matrix.T
        file["Otraining"] = (part == 1).T.astype(float)
        file["Otest"] = (part == 2).T.astype(float)
    return tmp_path / "monti.mat", matrix, part


def test_folds_have_every_row_once_in_the_order_of_the_file():
    folds = [fold(k)(100_000) for k in range(1, 6)]
    np.testing.assert_array_equal(np.concatenate(folds), np.arange(100_000))
    assert [(rows[0], rows[-1]) for rows in folds[:2]] == [(0, 19_999), (20_000, 39_999)]


def test_a_fold_of_ml_100k_comes_with_features_of_users_and_items(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder_rows, "N_FOLD", 2)
    path = movielens_zip(tmp_path / "ml.zip", "u.data")
    train, held, data = read(LADDER["ml-100k-u1"], path)
    assert (held.rows.tolist(), train.rows.tolist()) == ([0, 1], [2, 3])
    assert held.values.tolist() == [rating for _, _, rating, _ in RATINGS[:2]]
    assert held.timestamps.tolist() == [time for _, _, _, time in RATINGS[:2]]
    users = data.users["user_id"].tolist()
    assert [users[user] for user in held.users] == [user for user, *_ in RATINGS[:2]]
    ages = {user: age for user, age, *_ in USERS}
    assert [ages.get(user) for user in users] == data.users["age"].replace(np.nan, None).tolist()
    genres = {item: names for item, _, names in ITEMS}
    assert [genres[item] for item in data.items["item_id"]] == data.items["genres"].tolist()
    assert data.rating_range == (1.0, 5.0)


def test_rows_of_ml_10m_come_with_tags_of_the_rated_items(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder_rows, "TENTH", 0.5)
    path = movielens_zip(tmp_path / "ml.zip", "ratings.dat", tags=TAGS)
    data = read(LADDER["ml-10m"], path).data
    given = data.tags.assign(item=data.items["item_id"].to_numpy()[data.tags["item"]])
    rated = {item for _, item, *_ in RATINGS}
    assert tuples(given) == [fields[1:] for fields in TAGS if fields[1] in rated]
    none = read(LADDER["ml-1m-42"], movielens_zip(tmp_path / "ml.zip", "ratings.dat"))
    assert none.data.tags.empty


def test_random_rows_of_ml_1m_are_a_fold_of_myfm_but_for_one():
    shuffled = np.arange(N_ML_1M)
    np.random.RandomState(42).shuffle(shuffled)
    np.testing.assert_array_equal(random_tenth(42)(N_ML_1M), shuffled[: N_ML_1M // 10])


def test_a_matlab_file_gives_each_rating_to_its_part(monti_file):
    path, matrix, part = monti_file
    frame, test = read_matrices(path)
    users, items, values = (frame[key].to_numpy() for key in ("user_id", "item_id", "rating"))
    np.testing.assert_array_equal(values, matrix[users, items])
    np.testing.assert_array_equal(part[users, items] == 2, np.isin(np.arange(len(frame)), test))
    assert len(frame) == np.count_nonzero(part)
    train, held, data = read(LADDER["douban"], path)
    assert (len(train), len(held)) == ((part == 1).sum(), (part == 2).sum())
    assert (train.timestamps, len(data.users), len(data.items)) == (None, 11, 10)


def test_chains_on_a_matlab_file_become_a_result(monti_file):
    path, _, part = monti_file
    few = {"n_sweeps": 4, "burn_in": 1, "n_samples": 2, "n_factors": 2}
    chains = [run("douban", path, few, seed) for seed in (1, 2, 3)]
    found = summarize(LADDER["douban"], path, chains, damping=5.0)
    assert (found.n_train, found.n_test) == ((part == 1).sum(), (part == 2).sum())
    assert found.no_times is None
    assert found.rmse == np.median(found.rmse_of_seeds)
    assert found.interval[0] < found.rmse < found.interval[1]
    table = ladder.results_table([found], "title")
    assert table.row_count == 1


def test_the_interval_is_that_of_the_chain_in_the_middle(tmp_path, monkeypatch):
    users = [(user, 20, float(user % 5 + 1), user) for user in range(1, 31)]
    monkeypatch.setattr(ladder_rows, "N_FOLD", 20)
    path = movielens_zip(tmp_path / "ml.zip", "ratings.dat", users)
    errors = {0.3: 3.0, 0.1: 1.0, 0.2: 2.0}  # of each chain: its RMSE, seconds
    held = np.array([rating for _, _, rating, _ in users[:20]], np.float32)
    chains = [Chain(e, e + 1, s, held + np.float32(e)) for e, s in errors.items()]
    found = summarize(LADDER["ml-100k-u1"], path, chains, damping=5.0)
    assert (found.rmse, found.no_times, found.seconds) == (0.2, 1.2, 2.0)
    assert found.interval == pytest.approx([0.2, 0.2], abs=1e-3)
    low, high = found.ahead
    assert low < found.bias - found.rmse < high


def test_data_that_cannot_be_had_is_left_out_with_a_sentence(nowhere, capsys, monkeypatch):
    home, asked = nowhere
    monkeypatch.setattr(ladder_rows, "find_spec", lambda _: True)
    monkeypatch.setattr(sys, "argv", ["ladder", "douban", "ml-1m", "ml-10m"])
    ladder.main()
    told = capsys.readouterr()
    assert told.out == ""
    douban, ml_1m, ml_10m = told.err.splitlines()
    assert douban.startswith("douban is left out: it cannot be reached: raw.githubusercontent.com")
    assert f"{DATASETS['douban'].files[0].origin} and put it as it is" in douban
    assert f"ml-1m.zip and put it as it is, under any name, into {home}." in ml_1m
    assert "github" not in ml_1m
    assert "files.grouplens.org: no answer in time" in ml_10m
    assert sum(origin.startswith("https://files.grouplens.org") for origin in asked) == 1


def test_a_damaged_file_is_told_by_its_path(nowhere):
    home, _ = nowhere
    home.mkdir()
    (home / "ml-1m.zip").write_bytes(b"not it")
    with pytest.raises(InputError, match=r"ml-1m\.zip: wrong sha256"):
        locate("ml-1m", {})


def test_without_h5py_the_package_is_named(monkeypatch):
    monkeypatch.setattr(ladder_rows, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="h5py: `make ladder`"):
        locate("douban", {})


def test_rows_are_chosen_by_their_name_or_their_data_set():
    assert [row.name for row in choose(["ml-100k-u2", "ml-1m"])] == [
        *("ml-100k-u2", "ml-1m-42", "ml-1m-7", "ml-1m-8")
    ]
    assert {row.dataset for row in choose([])}.isdisjoint({"ml-20m", "ml-25m", "ml-32m"})
    with pytest.raises(InputError, match="ml-100k-u6: no such row"):
        choose(["ml-100k-u6"])


def test_what_chose_by_the_test_rows_is_not_the_best():
    known = {*LADDER, *(row.dataset for row in LADDER.values())}
    assert set(FIGURES) <= known
    for figures in FIGURES.values():
        rmses = [float(figure.rmse) for figure in figures]
        assert rmses == sorted(rmses)
    assert best(FIGURES["douban"]).system == "IGMC"
    assert best(()) is None
