"""Answers with people's own ids and titles, from the files of a project."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pyarrow import parquet
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import cf
from cf.cli.main import app
from cf.core import io, paths
from cf.core.errors import InputError
from cf.core.ratings import Provenance, Ratings, SplitInfo
from cf.inference import own_ratings
from cf.inference.catalog import Catalog, plain_title
from cf.inference.lists import Likely
from cf.inference.recommender import NothingLeftError, Recommender
from cf.training.checkpoint import ModelSpec, save
from stages import blend

ROOT = Path(__file__).parents[1]
N_USERS, N_ITEMS = 30, 40
TITLES = [
    *("Matrix, The (1999)", "Heat (1995)", "Heat (1986)", "Amélie (2001)", "Ça commence (1999)"),
    *("<script>alert(1)</script>", "[bold]Toy[/] Story (1995)", "=1+1", None),
]
TITLES += [f"Film number {n} ({1980 + n})" for n in range(N_ITEMS - len(TITLES))]
IDS = [f"{n:04}" for n in range(100, 100 + N_ITEMS)]
USERS = [f"u{n}" for n in range(N_USERS)]
USERS[4], IDS[20] = "414", "356"  # those of the README
TITLES[20:22] = ["Forrest Gump (1994)", "Toy Story (1995)"]
TITLES[22:24] = ["Fight Club (1999)", "Annie Hall (1977)"]
README = (ROOT / "README.md").read_text().partition("## Use it")[2].partition("## Compare")[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with 900 made-up ratings and two models that fit them a little."""
    folder = tmp_path_factory.mktemp("project")
    draw = np.random.default_rng(0)
    pairs = draw.permutation(N_USERS * N_ITEMS)[:900]
    users, items = pairs // N_ITEMS, pairs % N_ITEMS
    values = np.clip(3 + (items % 5 - 2) * 0.7 + draw.normal(0, 0.5, 900), 0.5, 5).round(1)
    ratings = Ratings(users, items, values.astype("f4"), np.arange(900), np.arange(900))
    genres = ["Drama|War" if n % 2 else "Comedy" for n in range(N_ITEMS)]
    table = pd.DataFrame({"item_id": IDS, "title": TITLES, "genres": genres})
    years = table["title"].str.extract(r"\((\d{4})\)$", expand=False)
    table["year"] = years.astype("Float64").astype("Int32")
    facts = Provenance("toy", "toy", "", "", 900, N_USERS, N_ITEMS, (0.5, 5.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = (ROOT / "params.yaml").read_text()
        paths.PARAMS.write_text(text)
        Path("dvc.yaml").write_text("stages: {}\n")
        io.write_parquet(paths.ENCODED_ITEMS, table)
        io.write_parquet(paths.ENCODED_USERS, pd.DataFrame({"user_id": USERS}))
        io.write_parquet(paths.ENCODED_RATINGS, ratings.to_frame())
        io.write_parquet(paths.TRAIN, ratings.take(np.arange(800)).to_frame())
        for path in (paths.PROVENANCE, paths.SPLIT_PROVENANCE):
            io.write_json(path, facts)
        io.write_json(paths.SPLIT_INFO, SplitInfo(0.1, 0, "0"))
        torch.manual_seed(0)
        sections = yaml.safe_load(text)
        for name in ("dotbias", "bayesmf"):
            settings = sections[f"train_{name}"]["model"] | {"n_factors": 3}
            if name == "bayesmf":
                settings["n_samples"] = 5
            spec = ModelSpec(settings, N_USERS, N_ITEMS, (0.5, 5.0))
            save(paths.MODELS / name, spec.build(name), spec)
        io.write_json(paths.METRICS, {"dotbias": {"rmse": 0.9}, "bayesmf": {"rmse": 0.8}})
        blend.main()
    return folder


@pytest.fixture(params=["dotbias", "bayesmf"])
def model(project: Path, request: pytest.FixtureRequest) -> Recommender:
    return cf.load(project / "models" / request.param)


def test_the_best_model_is_loaded_from_any_folder_of_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "models")
    assert cf.load().name == "bayesmf"
    assert cf.load("dotbias").name == "dotbias"
    with pytest.raises(InputError, match=r"no trained model nope. There are: bayesmf, dotbias"):
        cf.load("nope")


def test_pairs_are_predicted_by_id_and_title(model: Recommender) -> None:
    found = model.predict(["u3", "u3", "u4"], ["0100", "the matrix", "0100"])
    assert found["item_id"].tolist() == ["0100"] * 3
    assert found["title"].tolist() == ["Matrix, The (1999)"] * 3
    assert found["prediction"][0] == found["prediction"][1] != found["prediction"][2]
    assert ("std" in found) == (model.name == "bayesmf")
    frame = pd.DataFrame({"user_id": ["u3", "u4"], "item_id": "0100", "timestamp": [5, 6]})
    of_frame = model.predict(frame)
    assert of_frame["prediction"].tolist() == found["prediction"].tolist()[1:]
    assert len(model.predict([], [])) == 0
    assert len(model.predict("u3", ["0100", "0101"])) == 2
    with pytest.raises(InputError, match="as many users as items, got 2 and 3"):
        model.predict(["u1", "u2"], ["0100", "0101", "0102"])


def test_what_is_not_in_the_data_gets_an_answer_with_a_note(model: Recommender) -> None:
    found = model.predict(["u3", "nobody", "nobody", "u3"], ["0100", "0100", "x", "x"])
    assert found["note"].tolist() == ["", "new user", "new user and item", "new item"]
    assert found["prediction"].between(0.5, 5).all()
    if "std" in found:
        assert found["std"].gt(0).all()
    assert found["item_id"].tolist() == ["0100", "0100", "x", "x"]


@pytest.mark.parametrize("by", ["both", "stars", "likely"])
def test_lists_leave_out_what_has_been_rated(model: Recommender, by: str) -> None:
    found = model.recommend("u3", 50, by=by)  # type: ignore[arg-type]
    ratings = model._ratings
    rated = {IDS[item] for item in ratings.loc[ratings["user"] == 3, "item"]}
    assert set(found["item_id"]) == set(IDS) - rated
    assert found["item_id"].is_unique
    if by == "stars":
        assert found["prediction"].is_monotonic_decreasing
    if "std" in found:
        assert (found["low"] <= found["prediction"]).all()
        assert (found["prediction"] <= found["high"]).all()


def test_lists_can_be_restricted(model: Recommender) -> None:
    found = model.recommend("u3", 50, genre="COMEDY", year=(1990, 2005), min_ratings=20)
    assert len(found)
    assert found["genres"].eq("Comedy").all()
    assert found["year"].between(1990, 2005).all()
    assert found["n_ratings"].ge(20).all()
    with pytest.raises(InputError, match=r"genre Western. There are: Comedy, Drama, War"):
        model.recommend("u3", genre="Western")
    with pytest.raises(InputError, match="no item is left"):
        model.recommend("u3", year=(1900, 1901))
    with pytest.raises(InputError, match="by: expected both, stars, likely, got 'fame'"):
        model.recommend("u3", by="fame")  # type: ignore[arg-type]


def test_somebody_new_is_recommended_by_their_ratings(model: Recommender) -> None:
    mine = {"matrix": 5, "Heat (1995)": 1.5, "0107": 4}
    found = model.recommend(ratings=mine, n=50)
    assert not {"0100", "0101", "0107"} & set(found["item_id"])
    frame = pd.DataFrame({"item_id": list(mine), "rating": list(mine.values())})
    pd.testing.assert_frame_equal(model.recommend(ratings=frame, n=50), found)
    other = model.recommend(ratings={"0104": 5.0, "0109": 5.0}, n=50, by="stars")
    both = found.merge(other, on="item_id")
    assert not np.allclose(both["prediction_x"], both["prediction_y"])
    nobody = model.recommend("nobody", n=40)
    assert len(nobody) == N_ITEMS


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ({"0100": 9}, "expected a rating from 0.5 to 5 of '0100', got 9"),
        ({"0100": float("nan")}, "got nan"),
        ({"0100": "4"}, "got '4'"),
        ({"0100": True}, "got True"),
        ({"matrx": 4}, r"no item is called 'matrx'. Did you mean Matrix, The \(1999\) \(id 0100\)"),
        ({"heat": 4}, r"several items are called 'heat': Heat \(1995\) \(id 0101\), Heat \(1986\)"),
        ({"0100": 4, "The Matrix": 3}, "is rated twice"),
    ],
)
def test_ratings_that_cannot_be_used_are_refused(
    model: Recommender, ratings: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model.recommend(ratings=ratings)


def test_one_of_user_and_ratings_is_needed(model: Recommender) -> None:
    for arguments in ({}, {"user": "u1", "ratings": {"0100": 4}}):
        with pytest.raises(InputError, match="give a user of the data, or the ratings of somebody"):
            model.recommend(**arguments)  # type: ignore[arg-type]


def test_similar_items_do_not_include_the_item(model: Recommender) -> None:
    found = model.similar("0100", n=50)
    assert "0100" not in found["item_id"].tolist()
    assert found["similarity"].is_monotonic_decreasing
    assert found["similarity"].between(-1, 1).all()
    with pytest.raises(InputError, match="no other item has 1000 ratings"):
        model.similar("0100", min_ratings=1000)
    with pytest.raises(InputError, match="no item is called 'zzz'"):
        model.similar("zzz")


def test_reasons_add_the_ratings_of_the_person(model: Recommender) -> None:
    mine = {"matrix": 5, "Heat (1995)": 1.5, "0107": 4}
    found = model.explain(None, "0110", ratings=mine)
    assert set(found["item_id"]) == {"0100", "0101", "0107"}
    assert found["effect"].abs().is_monotonic_decreasing
    without = {name: value for name, value in mine.items() if name != "matrix"}
    before = model.explain(None, "0110", ratings=mine).attrs["prediction"]
    after = model.explain(None, "0110", ratings=without).attrs["prediction"]
    said = found.set_index("item_id")["effect"]["0100"]
    assert said == pytest.approx(before - after, abs=0.02)
    of_user = model.explain("u3", "0110", n=100)
    train = model._ratings.iloc[:800]
    assert len(of_user) == (train["user"] == 3).sum()
    with pytest.raises(InputError, match="there is no user 'nobody'"):
        model.explain("nobody", "0110")


def test_a_model_of_other_data_is_refused(project: Path, tmp_path: Path) -> None:
    spec = ModelSpec({"name": "dot", "n_factors": 1, "init_range": [0, 1]}, 3, 4, (0.5, 5.0))
    save(project / "models" / "other", spec.build("x"), spec)
    try:
        with pytest.raises(
            InputError, match=r"is of 3 users and 4 items, but the data in .* 30 and"
        ):
            cf.load(project / "models/other")
    finally:
        for file in (project / "models/other").iterdir():
            file.unlink()
        (project / "models/other").rmdir()


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("Matrix, The (1999)", "matrix"),
        ("The Matrix", "matrix"),
        ("Amélie (2001)", "amelie"),
        ("A Beautiful Mind", "beautiful mind"),
        ("Beautiful Mind, A (2001)", "beautiful mind"),
        ("THEM!", "them!"),
        ("", ""),
    ],
)
def test_titles_are_found_as_people_type_them(title: str, plain: str) -> None:
    assert plain_title(title) == plain


def test_an_id_comes_before_a_title() -> None:
    items = pd.DataFrame({"item_id": [1984, 7], "title": ["Brazil", "1984"]})
    catalog = Catalog(items, [1])
    assert catalog.find_items(["1984", 7, 7.5]).tolist() == [0, 1, -1]
    assert catalog.suggest("qqqqqqqq") == ""


def test_what_is_asked_is_neither_rated_nor_skipped_and_then_nothing_is_left(
    model: Recommender,
) -> None:
    rated: dict[str, float] = {}
    skipped: list[str] = []
    for n in range(N_ITEMS):
        item = model.ask(rated, skipped)
        assert item not in {*rated, *skipped}
        if n % 2:
            rated[item] = 3.0
        else:
            skipped.append(item)
    with pytest.raises(InputError, match="no item is left to ask for"):
        model.ask(rated, skipped)


def test_the_first_question_is_about_what_many_people_know(project: Path) -> None:
    model = cf.load(project / "models/bayesmf")
    asked = model.ask({})
    counts = model.n_ratings
    assert counts[IDS.index(asked)] > np.median(counts)


def run(project: Path, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        done = CliRunner().invoke(app, arguments, typed, env={"COLUMNS": "100"})
    return done.exit_code, done.stdout, done.stderr


def test_commands_print_tables_json_and_csv(project: Path) -> None:
    for command in (
        ["predict", "--user", "u3", "--item", "matrix"],
        ["recommend", "--user", "u3", "-n", "30"],
        ["similar", "--item", "0100", "-n", "40"],
        ["explain", "--user", "u3", "--item", "0100"],
        ["models"],
    ):
        status, table, errors = run(project, *command)
        assert (status, errors) == (0, "")
        assert "bayesmf" in table or command[0] == "explain"
        objects = json.loads(run(project, *command, "--json")[1])
        rows = pd.read_csv(pd.io.common.StringIO(run(project, *command, "--csv")[1]), dtype=str)
        assert len(objects) == len(rows)
        assert list(objects[0]) == list(rows)
    shown = run(project, "recommend", "--user", "nobody", "-n", "40")[1]
    assert "<script>alert(1)</script>" in shown
    assert "[bold]Toy[/]" in shown


def test_commands_end_in_one_line_where_something_is_wrong(project: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("title,rating\nHeat (1995),11\n")
    for command, message in (
        (["recommend"], "give one of --user ID, --ratings FILE and --all FILE"),
        (["recommend", "--user", "u3", "--year", "199x"], "year: expected 1995, 1990-1999"),
        (["recommend", "--ratings", f"{tmp_path}/mine.csv"], "expected a rating from 0.5 to 5"),
        (["similar", "--item", "Matrx"], "Did you mean Matrix, The (1999)"),
        (["score", f"{tmp_path}/none.csv", f"{tmp_path}/o.parquet"], "there is no such file"),
        (["score", f"{tmp_path}/mine.csv", f"{tmp_path}/o.txt"], "ends in .parquet or .csv"),
        (["predict", "--user", "u3", "--item", "x", "--model", "nope"], "no trained model nope"),
    ):
        status, printed, errors = run(project, *command)
        assert (status, printed) == (1, "")
        assert errors.startswith(f"cf {command[0]}: ")
        assert message in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_of_pairs_is_scored(project: Path, tmp_path: Path, suffix: str) -> None:
    pairs = pd.DataFrame({"user": ["u3", "nobody", "u4"], "movie": ["0100", "0101", "x"]})
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    out = tmp_path / f"out.{suffix}"
    status, printed, _ = run(project, "score", f"{tmp_path}/pairs.csv", str(out))
    assert status == 0
    assert "3 predictions by bayesmf, 2 of them of a new user or item" in printed
    found = pd.read_csv(out, dtype={"item_id": str}) if suffix == "csv" else pd.read_parquet(out)
    expected = cf.load(project / "models/bayesmf").predict(pairs["user"], pairs["movie"])
    assert found["item_id"].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(found["prediction"], expected["prediction"], rtol=1e-5)
    status, _, errors = run(project, "score", f"{tmp_path}/pairs.csv", str(out))
    assert status == 1
    assert "exists. Give another name, or --force to overwrite it." in errors
    assert run(project, "score", f"{tmp_path}/pairs.csv", str(out), "--force")[0] == 0


def test_pairs_are_scored_at_their_times(project: Path, tmp_path: Path) -> None:
    model = cf.load(project / "models/bayesmf")
    pairs = pd.DataFrame({"user_id": ["u3", "u4"], "item_id": ["0100", "0101"]})
    times = [0, 86400 * 12000]
    pairs.assign(timestamp=times).to_csv(tmp_path / "pairs.csv", index=False)
    status, printed, _ = run(project, "score", f"{tmp_path}/pairs.csv", f"{tmp_path}/out.csv")
    assert status == 0
    assert "at the times in timestamp" in printed
    found = pd.read_csv(tmp_path / "out.csv")
    expected = model.predict(pairs.assign(timestamp=times))
    np.testing.assert_allclose(found["prediction"], expected["prediction"], atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("u3,0100\n,0101\n", "row 2: user or item is missing"),
        ("u3,0100\nu4,\n", "row 2: user or item is missing"),
        ("u3,0100\nu4,Twin\n", "row 2: several items are called 'Twin'"),
    ],
)
def test_a_pair_that_cannot_be_scored_is_named(
    project: Path, tmp_path: Path, rows: str, problem: str
) -> None:
    copy = shutil.copytree(project, tmp_path / "project")
    items = io.read_parquet(copy / paths.ENCODED_ITEMS)
    items.loc[[30, 31], "title"] = "Twin"
    io.write_parquet(copy / paths.ENCODED_ITEMS, items)
    (tmp_path / "pairs.csv").write_text("user_id,item_id\n" + rows)
    status, printed, errors = run(copy, "score", f"{tmp_path}/pairs.csv", f"{tmp_path}/out.csv")
    assert (status, printed) == (1, "")
    assert f"pairs.csv, {problem}" in errors
    assert not (tmp_path / "out.csv").exists()


def test_users_without_anything_left_have_no_list(project: Path, tmp_path: Path) -> None:
    model = cf.load(project / "models/bayesmf")
    least = int(np.sort(model.n_ratings)[-2])
    options = "-n", "3", "--min-ratings", str(least)
    status, printed, _ = run(project, "recommend", "--all", f"{tmp_path}/lists.csv", *options)
    assert status == 0
    lists = pd.read_csv(tmp_path / "lists.csv")
    assert 0 < lists["user_id"].nunique() < N_USERS
    assert f"{lists['user_id'].nunique()} lists" in printed
    assert f"left to recommend to {N_USERS - lists['user_id'].nunique()} users" in printed
    status, _, errors = run(
        project, "recommend", "--all", f"{tmp_path}/none.csv", "--min-ratings", "9999"
    )
    assert status == 1
    assert "to anybody" in errors


def test_programs_learn_that_a_user_is_new(project: Path) -> None:
    status, printed, errors = run(project, "recommend", "--user", "nobody", "--json")
    assert status == 0
    assert len(json.loads(printed)) == 10
    assert errors == "There is no user nobody in the data: these are for anybody.\n"


def test_lists_for_everybody_are_those_of_each(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "lists.parquet"
    status, printed, _ = run(project, "recommend", "--all", str(out), "-n", "3")
    assert status == 0
    assert "30 lists by bayesmf" in printed
    found = pd.read_parquet(out)
    assert found.groupby("user_id").size().eq(3).all()
    expected = cf.load(project / "models/bayesmf").recommend("u3", 3)
    assert found.loc[found["user_id"] == "u3", "item_id"].tolist() == expected["item_id"].tolist()


@pytest.mark.parametrize("by", ["both", "stars", "likely"])
@pytest.mark.parametrize("options", [{}, {"n": 30}, {"year": (1999, 2005)}])
def test_lists_made_for_many_at_a_time_are_those_of_each(
    model: Recommender, by: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties included: every second item is as the one before it, for the model and for EASE."""
    answers: Any = model.answers
    answers.item_rows = answers.item_rows.copy()
    answers.item_rows[:, 1::2] = answers.item_rows[:, ::2]
    assert model.likely
    weights = model.likely.weights.copy()
    weights[:, 1::2] = weights[:, ::2]
    model.likely = Likely(model.likely.items, weights, N_ITEMS)
    each = []
    for user in USERS:
        try:
            frame = model.recommend(user, by=by, **options)
        except NothingLeftError:
            continue
        frame.insert(0, "user_id", user)
        frame.insert(1, "rank", range(1, len(frame) + 1))
        each.append(frame)
    monkeypatch.setattr("cf.baselines.base.MEMORY", 7 * 32 * N_ITEMS)
    sizes, frames = zip(*model.recommend_all(by=by, **options), strict=True)
    assert sizes == (7, 7, 7, 7, 2)
    assert 0 < len(each) <= N_USERS
    expected = pd.concat(each, ignore_index=True)
    pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), expected, rtol=1e-6)
    ties = expected["prediction"].diff() == 0
    assert ties.any()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_lists_are_written_as_they_are_made(
    project: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf.baselines.base.MEMORY", 7 * 32 * N_ITEMS)
    monkeypatch.setattr("cf.cli.recommend.N_ROWS", 50)
    out = tmp_path / f"lists.{suffix}"
    assert run(project, "recommend", "--all", str(out), "-n", "4")[0] == 0
    frames = (frame for _, frame in cf.load(project / "models/bayesmf").recommend_all(4))
    expected = pd.concat(frames, ignore_index=True)
    if suffix == "csv":
        assert out.read_text() == io.without_formulas(expected).to_csv(index=False)
    else:
        pd.testing.assert_frame_equal(pd.read_parquet(out), expected)
        assert parquet.ParquetFile(out).num_row_groups == 3


def test_the_commands_of_the_readme_run(project: Path) -> None:
    commands = [
        shlex.split(line, comments=True) for line in re.findall(r"^    (cf .*)$", README, re.M)
    ]
    assert len(commands) == 6
    for command in commands:
        status, printed, errors = run(project, *command[1:], typed="4\n3\nq\n")
        assert (status, errors) == (0, ""), command
        assert len(printed.splitlines()) > 4
    (project / "mine.csv").unlink()


def test_the_python_of_the_readme_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        exec(code, {})
    printed = capsys.readouterr().out
    assert "prediction" in printed
    assert "effect" in printed


def test_a_title_with_another_year_is_another_item(model: Recommender) -> None:
    assert model.predict("u3", "Toy Story (1990)")["note"].tolist() == ["new item"]
    with pytest.raises(InputError, match=r"no item is called 'Toy Story \(1990\)'"):
        model.recommend(ratings={"Toy Story (1990)": 4})
    years = pd.Series([1954, 1995], dtype="Int32")
    items = pd.DataFrame({"item_id": [1, 2], "title": ["Sabrina"] * 2, "year": years})
    assert Catalog(items, [1]).find_items(["Sabrina (1995)", "Sabrina (1960)"]).tolist() == [1, -1]


def test_whole_numbers_are_ids_though_a_column_made_them_floats() -> None:
    catalog = Catalog(pd.DataFrame({"item_id": [7, 8], "title": ["a", "b"]}), [414, 1])
    assert catalog.find_users([414.0, np.float32(1), 2.5]).tolist() == [0, 1, -1]
    assert catalog.find_items(pd.Series([7.0, 8.0])).tolist() == [0, 1]
    with pytest.raises(InputError, match="an id is missing"):
        catalog.find_users([None])
    with pytest.raises(InputError, match="an id is missing"):
        catalog.find_items([float("nan")])


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda m: m.recommend("u3", n=-1), "n: expected a whole number from 1"),
        (lambda m: m.recommend("u3", n=2.5), "n: expected a whole number from 1"),
        (lambda m: m.recommend("u3", min_ratings=None), "min_ratings: expected a whole number"),
        (lambda m: m.similar("0100", n=0), "n: expected a whole number from 1"),
        (lambda m: m.predict(None, "0100"), "give items, and a user"),
        (lambda m: m.predict("u3"), "give items, and a user"),
        (lambda m: m.predict(pd.DataFrame({"item_id": ["0100"]})), "no user_id"),
        (lambda m: m.predict("u3", "0100", times=float("nan")), "times: expected seconds"),
        (lambda m: m.predict("u3", "0100", times=10**20), "times: expected seconds"),
        (lambda m: m.predict("u3", "0100", times="soon"), "times: expected seconds"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(
    model: Recommender, call: Any, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        call(model)


def test_dates_are_times(model: Recommender) -> None:
    when = pd.Timestamp("2001-09-09 01:46:40")
    by_date = model.predict("u3", "0100", times=pd.Series([when]))
    zoned = model.predict("u3", "0100", times=pd.Series([when.tz_localize("UTC")]))
    pd.testing.assert_frame_equal(by_date, model.predict("u3", "0100", times=10**9))
    pd.testing.assert_frame_equal(by_date, zoned)


def test_lists_without_who_rates_what_are_by_stars_or_none(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "project")
    weights = io.read_json(copy / paths.BLEND / "blend.json")
    odd = ({**weights, "bayesmf": "x"}, {**weights, "bayesmf": 1e30}, {"dotbias": 1.0}, [1], None)
    for content in odd:
        (copy / paths.BLEND / "blend.json").unlink()
        if content is not None:
            io.write_json(copy / paths.BLEND / "blend.json", content)
        model = cf.load(copy / "models/bayesmf")
        assert len(model.recommend("u3", by="stars"))
        for by in ("both", "likely"):
            with pytest.raises(InputError, match="Run `dvc repro blend`"):
                model.recommend("u3", by=by)
        io.write_json(copy / paths.BLEND / "blend.json", weights)


def test_a_model_of_ratings_on_another_scale_is_refused(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "project")
    facts = io.read_json(copy / paths.PROVENANCE)
    io.write_json(copy / paths.PROVENANCE, {**facts, "rating_range": [1, 10]})
    with pytest.raises(InputError, match=r"from 0.5 to 5, but those in .* from 1 to 10\."):
        cf.load(copy / "models/bayesmf")


@pytest.mark.parametrize("content", ["[1]", '{"bayesmf": 1}', "{"])
def test_damaged_metrics_are_named(project: Path, tmp_path: Path, content: str) -> None:
    copy = shutil.copytree(project, tmp_path / "project")
    (copy / paths.METRICS).write_text(content)
    for command in (["models"], ["recommend", "--user", "u3"]):
        status, printed, errors = run(copy, *command)
        assert (status, printed) == (1, "")
        assert "metrics.json" in errors
        assert errors.count("\n") == 1


def test_a_model_of_nonsense_is_named(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "project")
    path = copy / "models/dotbias/weights.safetensors"
    weights = load_file(path)
    name = next(key for key in weights if weights[key].ndim > 1)
    (copy / "runs/dotbias.json").unlink(missing_ok=True)
    settings = json.loads((path.parent / "model.json").read_text())
    for change, reason in (
        (lambda array: np.full_like(array, np.nan), "no number"),
        (lambda array: array[:7], "expected|index|shape"),
    ):
        save_file(weights | {name: change(weights[name])}, path)
        settings["weights_sha256"] = io.digest(path)
        (path.parent / "model.json").write_text(json.dumps(settings))
        with pytest.raises(
            InputError, match=rf"models/dotbias: not a whole checkpoint \(.*({reason})"
        ):
            cf.load(copy / "models/dotbias")


def test_what_training_had_no_ratings_of_is_noted(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "project")
    train = io.read_parquet(copy / paths.TRAIN)
    io.write_parquet(copy / paths.TRAIN, train[(train["item"] != 2) & (train["user"] != 5)])
    notes = cf.load(copy / "models/bayesmf").predict(
        ["u3", "u5", "u5", "u3"], ["0102", "0101", "0102", "0101"]
    )["note"]
    assert notes.tolist() == [
        "item without training ratings",
        "user without training ratings",
        "user without training ratings",
        "",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("titles.csv", 'title,rating\n"Matrix, The (1999)",5\nAmelie,1.5\n'),
        ("ids.csv", "movieId,rating,timestamp\n0100,5,12\n0103,1.5,13\n"),
        ("stars.csv", "name;stars\nMatrix, The;5\nAmélie;1,5\n"),
        ("one_user.csv", "userId,movieId,rating\n7,0100,5\n7,0103,1.5\n"),
        ("object.json", '{"the matrix": 5, "0103": 1.5}'),
        ("list.json", '[{"title": "Matrix", "rating": 5}, {"title": "Amelie", "rating": 1.5}]'),
    ],
)
def test_somebodys_ratings_are_read_as_people_have_them(
    project: Path, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    model = cf.load(project / "models/bayesmf")
    expected = model.recommend(ratings={"0100": 5, "0103": 1.5}, n=5)
    status, printed, errors = run(
        project, "recommend", "--ratings", str(tmp_path / name), "-n", "5", "--csv"
    )
    assert (status, errors) == (0, "")
    found = pd.read_csv(pd.io.common.StringIO(printed), dtype={"item_id": str})
    assert found["item_id"].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(found["prediction"], expected["prediction"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("users.csv", "userId,movieId,rating\n1,0100,4\n2,0101,5\n", "got 2 users in userId"),
        ("other.csv", "foo,bar,rating\n1,0100,4\n", "expected the columns item_id (or title)"),
        ("tmdb.csv", "tmdbId,rating\n100,4\n", "expected the columns item_id (or title)"),
        (
            "twice.csv",
            "title,rating\nMatrix,4\nThe Matrix,5\n",
            "Matrix, The (1999) is rated twice",
        ),
        ("high.csv", "title,rating\nMatrix,6\n", "expected a rating from 0.5 to 5"),
        ("text.csv", "title,rating\nMatrix,good\n", "rating 1: expected a number, got 'good'"),
        ("near.csv", "title,rating\nMatrx,4\n", "Did you mean Matrix, The (1999)"),
        ("empty.csv", "", "empty.csv"),
        ("text.json", '{"Matrix": "good"}', "text.json"),
        ("number.json", "5", "number.json"),
        ("page.html", "<html>\n<body>\n<p>a, b</p>\n</body></html>", "page.html"),
        ("nothing.csv", None, "there is no such file"),
    ],
)
def test_files_of_ratings_that_cannot_be_used_are_named(
    project: Path, tmp_path: Path, name: str, text: str | None, problem: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    for command in (["recommend"], ["explain", "--item", "0110"], ["predict", "--item", "0110"]):
        status, printed, errors = run(project, *command, "--ratings", str(tmp_path / name))
        assert (status, printed) == (1, "")
        assert errors.startswith(f"cf {command[0]}: {tmp_path / name}")
        assert errors.count("\n") == 1
        assert problem in errors


def test_a_column_of_titles_is_not_taken_for_ids() -> None:
    items = pd.DataFrame({"item_id": [300, 7], "title": ["Quiz Show (1994)", "300 (2007)"]})
    catalog = Catalog(items, [1])
    assert catalog.find_items(["300"]).tolist() == [0]
    assert catalog.find_items(["300"], by_title=True).tolist() == [1]
    frame = pd.DataFrame({"title": ["300"], "rating": [4.0]})
    assert own_ratings.parse(frame).by_title
    assert not own_ratings.parse(frame.rename(columns={"title": "movieId"})).by_title


@pytest.mark.parametrize("ratings", ["mine.csv", [("Matrix", 5)], 5, {"Matrix"}])
def test_other_forms_of_ratings_are_refused(model: Recommender, ratings: object) -> None:
    with pytest.raises(InputError, match=r"ratings: expected \{item: rating\}, or a frame"):
        model.recommend(ratings=ratings)


def test_a_series_is_as_good_as_a_dictionary(model: Recommender) -> None:
    mine = {"Matrix": 5.0, "Amelie": 2.0}
    pd.testing.assert_frame_equal(
        model.recommend(ratings=pd.Series(mine)), model.recommend(ratings=mine)
    )


def test_titles_within_titles_are_found() -> None:
    titles = [
        "Seven (a.k.a. Se7en) (1995)",
        "Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)",
        "Heat (1995)",
        "Wolf of Wall Street, The (2013)",
        "Toy Story (1995)",
        "Troy (2004)",
        "Star Wars: Episode IV - A New Hope (1977)",
    ]
    catalog = Catalog(pd.DataFrame({"item_id": range(7), "title": titles}), [1])
    names = ["Se7en", "seven", "amélie", "Le fabuleux destin d'Amelie Poulain", "Seven (1995)"]
    assert catalog.find_items([*names[:3], names[4]]).tolist() == [0, 0, 1, 0]
    for typed, meant in (("Heet (1995)", "Heat (1995)"), ("Toy Stroy", "Toy Story (1995)")):
        assert catalog.suggest(typed).startswith(f" Did you mean {meant} ")
    assert "Star Wars: Episode IV" in catalog.suggest("Star Wars")
    assert catalog.suggest("888888") == ""
    assert catalog.find_items(["Heat (1986)", "Heat (1995)", "Heat"]).tolist() == [-1, 2, 2]


def test_lists_for_everybody_are_csv_where_the_name_says_so(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    assert run(project, "recommend", "--all", str(path), "-n", "3")[0] == 0
    assert len(pd.read_csv(path)) == 3 * N_USERS
    status, _, errors = run(project, "recommend", "--all", str(tmp_path / "lists.txt"))
    assert status == 1
    assert "expected a name that ends in .parquet or .csv" in errors


@pytest.mark.parametrize("year", [1985, "1985", (1985, 1985), "1985-1985"])
def test_years_are_said_in_the_usual_ways(model: Recommender, year: Any) -> None:
    assert model.recommend("nobody", year=year)["year"].tolist() == [1985]
    for wrong in ("1990-1980", (1990, 1980), "x", (1990,)):
        with pytest.raises(InputError, match="year: "):
            model.recommend("nobody", year=wrong)


def test_several_genres_hold_all(model: Recommender) -> None:
    assert set(model.recommend("u3", 40, genre=["drama", "War"])["genres"]) == {"Drama|War"}
    with pytest.raises(InputError, match="no item is left"):
        model.recommend("u3", genre=["Drama", "Comedy"])


def test_ratings_are_added_to_a_file(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("item_id,rating\n0100,4\n")
    assert run(project, "rate", str(path), typed="3\nq\n")[0] == 1
    assert path.read_text() == "item_id,rating\n0100,4\n"
    status, printed, _ = run(project, "rate", str(path), "--add", typed="3\n2.5\nq\n")
    assert status == 0
    assert "3 ratings" in printed
    kept = pd.read_csv(path, dtype={"item_id": str})
    assert kept["item_id"].iloc[0] == "0100"
    assert kept["rating"].tolist() == [4, 3, 2.5]
    assert "--add: give the name" in run(project, "rate", "--add")[2]


def test_ctrl_c_keeps_what_was_rated(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(["4"])

    def answer() -> str:
        for text in said:
            return text
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", answer)
    status, printed, _ = run(project, "rate", str(tmp_path / "mine.csv"))
    assert status == 0
    assert "1 rating." in printed
    assert len(pd.read_csv(tmp_path / "mine.csv")) == 1


def test_a_new_person_is_predicted(project: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("title,rating\nMatrix,5\n")
    given = "--ratings", str(tmp_path / "mine.csv")
    status, printed, errors = run(project, "predict", *given, "--item", "0110", "--json")
    assert (status, errors) == (0, "")
    expected = cf.load(project / "models/bayesmf").predict(items=["0110"], ratings={"Matrix": 5})
    (found,) = json.loads(printed)
    assert found["prediction"] == pytest.approx(expected["prediction"].iat[0], abs=1e-5)
    status, printed, errors = run(project, "predict", *given, "--item", "Matrx", "--json")
    assert status == 0
    assert json.loads(printed)[0]["note"] == "new item"
    assert "Did you mean Matrix, The (1999)" in errors


def test_ratings_are_asked_for_and_kept(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.csv"
    status, printed, _ = run(project, "rate", str(out), typed="4,5\n\nnine\n9\n1\nq\n")
    assert status == 0
    assert "Expected a number from 0.5 to 5, got nine." in printed
    assert "After 2" in printed
    mine = pd.read_csv(out, dtype={"item_id": str})
    assert mine["rating"].tolist() == [4.5, 1]
    assert run(project, "recommend", "--ratings", str(out))[0] == 0
    assert "exists" in run(project, "rate", str(out))[2]
    for typed in ("", "q\n"):
        status, _, errors = run(project, "rate", typed=typed)
        assert status == 1
        assert "no rating was given" in errors
