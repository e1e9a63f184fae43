"""The stages from the user's own file to its parts, as DVC runs them."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cf.core import io, paths
from cf.core.ratings import Ratings, SplitInfo
from stages import encode, evaluate, ingest, split

HERE = Path(__file__).parent.parent
RATINGS = """who,what,stars,when
1,10,4,100
1,20,3,500
2,10,5,200
1,30,2,300
2,40,1,600
3,10,4,400
2,30,2.5,550
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with seven ratings, ingested and encoded."""
    sections = yaml.safe_load((HERE / "params.yaml").read_text())
    names = {"user_id": "who", "item_id": "what", "rating": "stars", "timestamp": "when"}
    sections["ingest"].update(dataset="own.csv", columns=names)
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text(yaml.safe_dump(sections))
    Path("own.csv").write_text(RATINGS)
    ingest.main()
    encode.main()
    return tmp_path


def change(section: str, **settings: Any) -> None:
    sections = yaml.safe_load(paths.PARAMS.read_text())
    sections[section].update(settings)
    paths.PARAMS.write_text(yaml.safe_dump(sections))


def splits(**settings: Any) -> SplitInfo:
    change("split", **settings)
    split.main()
    return io.read_dataclass(paths.SPLIT_INFO, SplitInfo)


def rows(part: Path) -> list[int]:
    return Ratings.from_frame(io.read_parquet(part)).rows.tolist()


def test_a_cut_in_time(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = splits(method="time", fraction=0.3, test=True)
    assert [rows(path) for path in paths.SPLIT_FILES.values()] == [[0, 2, 3], [1, 5], [4, 6]]
    assert facts.method == "time"
    assert facts.settings == {"fraction": 0.3, "test": True}
    assert facts.parts == {
        "train": {"n": 3, "n_users": 2, "n_items": 2, "earliest": 100, "latest": 300},
        "valid": {
            **{"n": 2, "n_users": 2, "n_items": 2, "earliest": 400, "latest": 500},
            **{"n_cold_users": 1, "n_cold_items": 1, "n_cold": 2, "n_leaked": 0},
            **{"n_cold_user_only": 1, "n_cold_item_only": 1, "n_cold_both": 0},
        },
        "test": {
            **{"n": 2, "n_users": 1, "n_items": 2, "earliest": 550, "latest": 600},
            **{"n_cold_users": 0, "n_cold_items": 1, "n_cold": 1, "n_leaked": 0},
            **{"n_cold_user_only": 0, "n_cold_item_only": 1, "n_cold_both": 0},
        },
    }
    words = [word.strip() for word in capsys.readouterr().out.splitlines()[-2].split("│")[1:-1]]
    assert words == ["test", "2", "1", "2", "0", "1", "1"]


def test_each_users_last(project: Path) -> None:
    splits(method="leave_last", n_last=1, test=True)
    assert [rows(path) for path in paths.SPLIT_FILES.values()] == [[0, 2, 5], [3, 6], [1, 4]]
    splits(method="leave_last", n_last=1, test=False)
    assert [rows(path) for path in (paths.TRAIN, paths.VALID)] == [[0, 2, 3, 5, 6], [1, 4]]
    assert not paths.TEST.exists()


def test_rows_of_a_file(project: Path) -> None:
    Path("parts.csv").write_text("row,part\n6,valid\n2,valid\n")
    facts = splits(method="file", file="parts.csv")
    assert [rows(path) for path in (paths.TRAIN, paths.VALID)] == [[0, 1, 3, 4, 5], [2, 6]]
    assert facts.settings == {"file": "parts.csv"}


def test_the_identity_is_of_all_that_is_held_out(project: Path) -> None:
    numbers = np.array([1, 4], "<i8").tobytes()
    assert splits(method="leave_last").sha256 == sha256(numbers).hexdigest()
    with_test = splits(method="leave_last", test=True).sha256
    assert with_test == sha256(np.array([3, 6], "<i8").tobytes() + b"test" + numbers).hexdigest()


@pytest.mark.parametrize("method", ["random", "per_user", "k_fold"])
def test_the_other_methods_hold_out_two_parts(project: Path, method: str) -> None:
    facts = splits(method=method, test=True)
    found = [row for path in paths.SPLIT_FILES.values() for row in rows(path)]
    assert sorted(found) == list(range(7))
    assert facts.n_leaked == 0


def test_values_that_the_method_does_not_use_change_nothing(project: Path) -> None:
    before = splits(method="random")
    assert splits(n_last=3, n_folds=9, fold=2, file="x.csv") == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "time", "fraction": 0.5, "test": True}, "split: fraction: 0.5 for valid and"),
        ({"method": "k_fold", "n_folds": 2, "test": True}, "split: n_folds: 2 folds are valid"),
        ({"method": "k_fold", "n_folds": 5, "fold": 5}, "split: fold: 5 is none of the 5 folds"),
        ({"method": "file"}, "split: file: the method file needs the path of one"),
        ({"method": "leave_one"}, "split.method: input should be 'random', 'per_user'"),
        ({"method": "leave_last", "n_last": 0}, "split.n_last: input should be greater than 0"),
        ({"method": "leave_last", "n_last": 3}, "split.n_last: 3 a user leaves 7 for training"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    project: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SystemExit, match=f"params.yaml: {message}"):
        splits(**settings)


def test_training_rows_among_the_held_out_raise_a_warning(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings = Ratings.from_frame(io.read_parquet(paths.ENCODED_RATINGS))
    again = ratings.take(np.array([0, 1, 2, 3, 4, 5, 6, 0, 2]))
    duplicated = Ratings(again.users, again.items, again.values, again.timestamps, np.arange(9))
    io.write_parquet(paths.ENCODED_RATINGS, duplicated.to_frame())
    Path("parts.csv").write_text("row,part\n6,valid\n7,valid\n8,valid\n")
    facts = splits(method="file", file="parts.csv")
    assert facts.n_leaked == facts.parts["valid"]["n_leaked"] == 2
    assert "WARNING: LEAKAGE: 2 held-out ratings" in capsys.readouterr().out
    change("tracking", enabled=False)
    evaluate.main()
    assert "LEAKAGE: 2 held-out ratings" in capsys.readouterr().out


def test_the_part_that_is_asked_for_is_scored(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change("tracking", enabled=False)
    splits(method="time", fraction=0.3, test=True)
    for part, held_out in (("valid", [1, 5]), ("test", [4, 6])):
        change("evaluate", part=part)
        evaluate.main()
        assert io.read_parquet(paths.PREDICTIONS, ["row"])["row"].tolist() == held_out
        assert io.read_json(paths.DATA)["part"] == part
        title = "validation" if part == "valid" else "test"
        assert f"own.csv: 2 {title} ratings" in capsys.readouterr().out


def test_without_a_test_part_there_is_none_to_score(project: Path) -> None:
    change("tracking", enabled=False)
    splits(method="time", fraction=0.3, test=False)
    change("evaluate", part="test")
    with pytest.raises(SystemExit, match=r"evaluate.part: there is no test part. Set split.test"):
        evaluate.main()
