"""The registered champion, loaded and served by MLflow; requests and their answers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow import environment_variables
from safetensors.numpy import load_file

import cf
from cf.core.errors import InputError
from cf.core.ratings import ids_digest
from cf.inference.recommender import Recommender
from cf.serving import registry
from cf.serving.answers import answer
from cf.serving.pyfunc import SCRIPT
from tests.artifacts import make
from tests.project import ROOT, Project
from tests.servers import served
from tests.stores import client, environment

KEPT = sorted(path.parent for path in (ROOT / "tests/artifacts").glob("*/*/MLmodel"))
CHAMPION = "models:/cf@champion"
NO_PICKLE = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
SECONDS = 60


@pytest.fixture(scope="module")
def project(made: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return made.copy(tmp_path_factory.mktemp("serving") / "project")


@pytest.fixture(scope="module")
def own(project: Project) -> Recommender:
    """The champion, from the project's files."""
    version = client(project.folder).get_model_version_by_alias("cf", "champion")
    return cf.load(project.folder / "models" / version.tags["model"])


@pytest.fixture(scope="module")
def environ(project: Project) -> dict[str, str]:
    """Of processes that look for the champion in the project's store, from anywhere."""
    store = f"sqlite:///{project.folder}/mlruns/mlflow.db"
    return {
        **environment(),
        **NO_PICKLE,
        "MLFLOW_TRACKING_URI": store,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@pytest.fixture(scope="module")
def url(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(CHAMPION, tmp_path_factory.mktemp("elsewhere"), environ) as address:
        yield f"{address}/invocations"


def ask(url: str, **body: Any) -> list[dict[str, Any]]:
    """The answers, which are JSON that any client can read."""
    response = requests.post(url, json=body, timeout=SECONDS)
    assert response.status_code == 200, response.text

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found: list[dict[str, Any]] = json.loads(response.text, parse_constant=refuse)["predictions"]
    return found


def test_the_champion_is_loaded_by_its_name_in_mlflow(
    project: Project, own: Recommender, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(project.folder / "data")
    model = cf.load(CHAMPION)
    user, rated = own.catalog.user_ids[3], {own.catalog.items["item_id"][0]: 4.0}
    for options in ({"user": user}, {"ratings": rated}):
        pd.testing.assert_frame_equal(model.recommend(**options), own.recommend(**options))
    for uri, problem in (
        ("models:/cf@nobody", "cannot be fetched from MLflow"),
        ("models:/cf/99", "cannot be fetched from MLflow"),
        ("models:/cf", "expected models:/cf@champion"),
    ):
        with pytest.raises(InputError, match=problem):
            cf.load(uri)
    monkeypatch.setattr(registry, "find_project", lambda: tmp_path)
    with pytest.raises(InputError, match="is missing"):
        cf.load(CHAMPION)


def test_pairs_are_predicted_over_http(url: str, own: Recommender) -> None:
    users, items = [int(x) for x in own.catalog.user_ids[:5]], own.catalog.items["item_id"][:5]
    rows = [{"user_id": u, "item_id": int(v)} for u, v in zip(users, items, strict=True)]
    found = ask(url, dataframe_records=rows)
    expected = own.predict(users, items)
    assert [row["prediction"] for row in found] == pytest.approx(expected["prediction"].tolist())
    assert [row["row"] for row in found] == list(range(5))
    assert [row["item_id"] for row in found] == items.tolist()
    assert {row["title"] for row in found} == {None}, "the ratings came without titles"
    assert ("std" in found[0]) == ("std" in expected)
    data = [[str(users[0]), str(items[0])], ["nobody", "nothing"]]
    columns = ["user_id", "item_id"]
    first, second = ask(url, dataframe_split={"columns": columns, "data": data})
    assert first == found[0]
    assert second["note"] == "new user and item"
    assert own.facts["rating_range"][0] <= second["prediction"] <= own.facts["rating_range"][1]
    assert ask(url, inputs={"user_id": users[:1], "item_id": [int(items[0])]})[0] == found[0]


def test_a_batch_of_a_thousand_pairs_is_one_request(url: str, own: Recommender) -> None:
    draw = np.random.default_rng(0)
    users = draw.choice(own.catalog.user_ids.to_numpy(), 1000).tolist()
    items = draw.choice(own.catalog.items["item_id"].to_numpy(), 1000).tolist()
    rows = [{"user_id": u, "item_id": v} for u, v in zip(users, items, strict=True)]
    found = [row["prediction"] for row in ask(url, dataframe_records=rows)]
    assert found == pytest.approx(own.predict(users, items)["prediction"].tolist(), rel=1e-5)


def test_lists_are_recommended_over_http(url: str, own: Recommender) -> None:
    user = int(own.catalog.user_ids[2])
    found = ask(url, dataframe_records=[{"user_id": user}], params={"n": 4})
    assert [row["item_id"] for row in found] == own.recommend(user, 4)["item_id"].tolist()
    assert [row["rank"] for row in found] == [1, 2, 3, 4]
    assert len(ask(url, dataframe_records=[{"user_id": user}])) == 10
    by_stars = ask(url, dataframe_records=[{"user_id": user}], params={"n": 4, "by": "stars"})
    stars = [row["prediction"] for row in by_stars]
    assert stars == sorted(stars, reverse=True)


def test_somebody_new_is_answered_by_their_ratings_over_http(url: str, own: Recommender) -> None:
    liked = [int(item) for item in own.catalog.items["item_id"][:3]]
    ratings = {str(item): 5 for item in liked}
    rows = [{"ratings": ratings}, {"ratings": ratings, "item_id": 20}]
    found = ask(url, dataframe_records=rows, params={"n": 5})
    assert [row["row"] for row in found] == [0] * 5 + [1]
    assert not {row["item_id"] for row in found} & set(liked)
    expected = own.recommend(n=5, ratings=dict.fromkeys(liked, 5.0))
    assert [row["item_id"] for row in found[:5]] == expected["item_id"].tolist()
    (of_text,) = ask(url, dataframe_records=[{"ratings": json.dumps(ratings), "item_id": 20}])
    assert of_text["prediction"] == found[5]["prediction"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"dataframe_records": [{"ratings": {"7": 99}}]}, "expected a rating from 0.5 to 5"),
        ({"dataframe_records": [{"ratings": {"Forrest": 4}}]}, "no item is called 'Forrest'"),
        ({"dataframe_records": [{"item_id": 7}]}, "row 0: expected either a user_id, or"),
        ({"dataframe_records": [{"user": 100}]}, "there is no row with a user_id"),
        ({"dataframe_records": []}, "there is no row with a user_id"),
        ({"dataframe_records": [{"user_id": 100}], "params": {"n": "many"}}, "many"),
        ({"dataframe_records": [{"user_id": 100}], "params": {"n": 0}}, "from 1 to 1,000"),
        ({"dataframe_records": [{"user_id": 100}], "params": {"by": "luck"}}, "expected both"),
        ({"rows": []}, "The input must be a JSON dictionary with exactly one of the input fields"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(
    url: str, body: dict[str, Any], reason: str
) -> None:
    response = requests.post(url, json=body, timeout=SECONDS)
    assert response.status_code == 400
    assert reason in response.json()["message"]
    assert "Traceback" not in response.text


def test_a_fresh_process_elsewhere_loads_the_champion(
    environ: dict[str, str], own: Recommender, tmp_path: Path
) -> None:
    user, item = own.catalog.user_ids[0], own.catalog.items["item_id"][0]
    code = (
        "import mlflow, pandas, sys\n"
        f"model = mlflow.pyfunc.load_model({CHAMPION!r})\n"
        f"frame = pandas.DataFrame({{'user_id': [{user}], 'item_id': [{item}]}})\n"
        "print(model.predict(frame)['prediction'][0], 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    predicted, torch = done.stdout.split()
    assert float(predicted) == pytest.approx(own.predict(user, item)["prediction"][0])
    assert torch == "False"


def test_the_digest_of_ids_is_that_of_the_indices(own: Recommender) -> None:
    ids = own.catalog.user_ids, own.catalog.items["item_id"]
    assert own.facts["ids_sha256"] == ids_digest(*ids)


def champions_files(project: Project) -> Path:
    version = client(project.folder).get_model_version_by_alias("cf", "champion")
    assert version.tags["servable"] == "yes"
    return project.folder / "mlruns/artifacts" / version.run_id / "artifacts/mlflow_model"


def read_without_pickle(path: Path) -> None:
    """Read a file as what its name says, in a way that cannot unpickle."""
    if path.suffix == ".safetensors":
        load_file(path)
    elif path.suffix == ".parquet":
        pd.read_parquet(path)
    elif path.suffix == ".npy":
        np.load(path, allow_pickle=False)
    else:
        assert path.name == "MLmodel" or path.suffix in {".json", ".yaml", ".txt", ".py"}, path
        path.read_text(encoding="utf-8")


def test_nothing_that_is_saved_is_a_pickle_or_other_code(project: Project) -> None:
    for folder in (champions_files(project), *KEPT):
        files = [path for path in folder.rglob("*") if path.is_file()]
        files = [path for path in files if path.parent.name != "__pycache__"]  # by who imported it
        assert {"weights.safetensors", "weights.npy"} <= {path.name for path in files}
        for path in files:
            read_without_pickle(path)
    (script,) = champions_files(project).rglob("*.py")
    assert script.read_bytes() == SCRIPT.read_bytes()


def test_requirements_are_pinned_and_name_no_package_of_a_strangers(project: Project) -> None:
    lines = (champions_files(project) / "requirements.txt").read_text().splitlines()
    assert {line.partition("==")[0] for line in lines} >= {"mlflow", "numpy", "safetensors"}
    assert all("==" in line for line in lines)
    assert not [line for line in lines if line.startswith("cf")], "PyPI's cf would be another"


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_models_of_earlier_versions_answer_as_they_did(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NO_PICKLE.items():
        monkeypatch.setenv(name, value)
    kept = json.loads((folder / "answers.json").read_text())
    found = make.answers(folder)
    assert len(found) == len(kept)
    for now, then in zip(found, kept, strict=True):
        for name, value in then.items():
            close = pytest.approx(value, rel=1e-4) if isinstance(value, float) else value
            assert now[name] == close


def test_models_of_this_version_are_kept() -> None:
    assert {path.name for path in KEPT} >= set(make.MODELS)


@pytest.fixture(scope="module")
def kept() -> Recommender:
    """A model whose items have titles."""
    return cf.load(KEPT[0] / "artifacts/project/models/bayesmf")


def answers(model: Recommender, *rows: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer(model, pd.DataFrame(rows), params).to_dict("records")
    return found


def test_rows_of_all_kinds_are_answered_in_their_order(kept: Recommender) -> None:
    mine = {"heat (1995)": 4.5, "0104": 1}
    rows = (
        {"user_id": "nobody"},
        {"user_id": "u3", "item_id": "the matrix"},
        {"ratings": mine, "item_id": "0110"},
        {"ratings": json.dumps(mine)},
        {"ratings": [{"title": "Heat (1995)", "rating": 4.5}, {"item_id": "0104", "rating": 1}]},
    )
    found = answers(kept, *rows, n=2)
    assert [row["row"] for row in found] == [0, 0, 1, 2, 3, 3, 4, 4]
    assert [row["rank"] for row in found] == [1, 2, None, None, 1, 2, 1, 2]
    assert [row["note"] for row in found[:4]] == ["new user", "new user", "", ""]
    assert found[2]["title"] == "Matrix, The (1999)"
    assert found[2]["prediction"] == kept.predict("u3", "0100")["prediction"][0]
    assert found[3]["prediction"] == kept.predict(None, "0110", ratings=mine)["prediction"][0]
    assert [row["item_id"] for row in found[4:6]] == [row["item_id"] for row in found[6:]]
    assert answers(kept, {"ratings": {}}, n=2)[0]["item_id"] == found[0]["item_id"]
    years = answers(kept, {"user_id": "u3"}, first_year=1982, last_year=1984)
    assert {row["title"][-5:-1] for row in years} <= {"1982", "1983", "1984"}
    assert answers(kept, {"ratings": mine, "item_id": "nothing"})[0]["note"] == "new item"


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"user_id": "u1"}, {"ratings": {"0100": 7}}], r"row 1: expected a rating from 0.5 to 5"),
        ([{"ratings": {"0100": True}}], "row 0: expected a rating"),
        ([{"ratings": {"0100": float("nan")}}], "row 0: expected a rating"),
        ([{"ratings": {"0100": "5"}}], "row 0: expected a rating"),
        ([{"ratings": {"Matrx": 5}}], r"no item is called 'Matrx'. Did you mean Matrix, The"),
        ([{"ratings": {"Heat": 5}}], r"several items are called 'Heat': .*Give an id"),
        ([{"user_id": "u1", "item_id": "Heat"}], "several items are called 'Heat'"),
        ([{"ratings": {"0100": 5, "the matrix": 4}}], "is rated twice"),
        ([{"ratings": "{"}], "ratings: expected JSON"),
        ([{"ratings": "5"}], r"ratings: expected \{item: rating\}"),
        ([{"ratings": [5]}], r"ratings: expected \{item: rating\}"),
        ([{"user_id": "u1", "ratings": {"0100": 5}}], "expected either a user_id, or the ratings"),
        ([{"user_id": " ", "item_id": "0100"}], "expected either a user_id, or the ratings"),
        ([{"user_id": ["u1"]}], r"row 0: user_id: expected text or a number, got \['u1'\]"),
        ([{"user_id": "u1", "item_id": True}], "row 0: item_id: expected text or a number"),
    ],
)
def test_rows_that_cannot_be_answered_are_named(
    kept: Recommender, rows: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        answers(kept, *rows)


def test_whole_numbers_stay_ids_where_a_column_has_gaps(own: Recommender) -> None:
    user, item = int(own.catalog.user_ids[0]), int(own.catalog.items["item_id"][0])
    rows = pd.DataFrame({"user_id": [user, np.nan], "item_id": [item, item], "ratings": [None, {}]})
    found = answer(own, rows, {})
    assert found["note"].tolist() == ["", ""]
    assert found["prediction"][0] == own.predict(user, item)["prediction"][0]


def test_a_version_is_logged_once_and_says_if_it_cannot_be_served(
    project: Project, tmp_path: Path
) -> None:
    def versions(of: Project) -> list[Any]:
        return list(client(of.folder).search_model_versions("name = 'cf'"))

    again = project.copy(tmp_path / "again")
    files = champions_files(again)
    before = {path: path.stat().st_mtime_ns for path in files.rglob("*")}
    again.cf("sync")
    assert {path: path.stat().st_mtime_ns for path in files.rglob("*")} == before
    assert len(versions(again)) == 1
    for missing in ("blend", "encoded"):
        clone = project.copy(tmp_path / missing, "mlruns", missing)
        assert clone.cf("sync").returncode == 0
        (version,) = versions(clone)
        assert version.tags["servable"].startswith("no: ")
        assert missing in version.tags["servable"]
        assert version.source.endswith("/model")
        champion = client(clone.folder).get_model_version_by_alias("cf", "champion")
        assert champion.version == version.version


def test_mlflow_still_knows_the_switch_against_pickle() -> None:
    for name in NO_PICKLE:
        assert getattr(environment_variables, name).name == name
