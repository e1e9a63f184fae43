"""Every loader of cf that reads what others may have damaged, or sent."""

import asyncio
import csv
import io as text_io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

import cf
from cf.cli import inspect, score, show, sync
from cf.cli import ratings_file as own_ratings
from cf.core import config, git, io, paths
from cf.core.config import Ingest, ItemTable, UserTable
from cf.core.errors import InputError
from cf.core.ratings import Provenance, SplitInfo
from cf.data import own_files, ratings_file, recognition, side_tables, split
from cf.evaluation import leaderboard, ranking
from cf.inference.recommender import Recommender
from cf.serving.answers import answer
from cf.serving.demo import create_app
from cf.tracking import login, record
from cf.training import checkpoint
from stages import blend, encode, evaluate, plot, rank
from stages import split as split_stage
from tests import forms, results, test_cases
from tests.fuzz.run import Target

ROOT = Path(__file__).parents[2]
KEPT_MODELS = ROOT / "tests/artifacts/v1"
N_SPLIT = 60  # ratings
SEEDS = {
    **{f"{name}/ratings.csv": content for name, content in test_cases.READ.items()},
    **{f"{name}/ratings.csv": content for name, content in test_cases.INTERACTIONS.items()},
    **{f"packed/ratings{end}": pack(test_cases.text()) for end, pack in forms.PACKERS.items()},
    "list/ratings.json": test_cases.DATA.to_json(orient="records").encode(),
    "table/ratings.parquet": test_cases.parquet(test_cases.DATA),
}
for _name in ("parquet", "hours", "gz", "zipped"):
    del SEEDS[f"{_name}/ratings.csv"]
TO_STATE = {f"{name}/ratings.csv": content for name, content in test_cases.STATED.items()}
SECTIONS: dict[str, type[config.BaseConfig]] = {
    **{"ingest": Ingest, "split": config.Split, "evaluate": config.Evaluate, "rank": config.Rank},
    **{"tracking": config.Tracking, "cv": config.Cv, "tune": config.Tune},
    "train_bayesmf": config.Sampling,
    **dict.fromkeys(["train_dot", "train_dotbias", "train_embnet"], config.Training),
}


def write(files: dict[str, bytes]) -> Callable[[], None]:
    """What writes these files into the current folder."""

    def prepare() -> None:
        for name, content in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)

    return prepare


def quietly(call: Callable[[], Any]) -> Any:
    """What a call returns, without what it prints."""
    with redirect_stdout(text_io.StringIO()), redirect_stderr(text_io.StringIO()):
        return call()


def under(*folders: str) -> Callable[[], list[str]]:
    """All files in these folders, or these files, by name."""

    def files() -> list[str]:
        found = (f for folder in folders for f in [Path(folder), *Path(folder).rglob("*")])
        return sorted(path.as_posix() for path in found if path.is_file())

    return files


def read_ratings(path: Path) -> None:
    found = ratings_file.read([path], Ingest(dataset=str(path), fallback=None))
    check_ratings(found)
    if path.suffix == ".csv":
        check_against_csv(found, path.read_bytes(), SEEDS[path.as_posix()])


def check_ratings(found: ratings_file.RatingsFile) -> None:
    ratings = found.ratings
    assert len(ratings)
    assert ratings["rating"].dtype == "float32"
    assert np.isfinite(ratings["rating"]).all()
    assert ratings["rating"].between(*map(np.float32, found.rating_range)).all()
    for key in ("user_id", "item_id"):
        assert ratings[key].notna().all()
        assert str(ratings[key].dtype) in ("int64", "category")
    if "timestamp" in ratings:
        assert ratings["timestamp"].dtype == "int64"
    assert not ratings[["user_id", "item_id"]].duplicated().any()
    assert len(found.users) == ratings["user_id"].nunique()
    assert len(found.items) == ratings["item_id"].nunique()


def check_against_csv(found: ratings_file.RatingsFile, content: bytes, seed: bytes) -> None:
    """Rows of a file between commas are what Python's csv reads, and none is lost."""
    try:
        rows = list(csv.reader(text_io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        return
    rows = [row for row in rows if row]
    if b"," not in seed.splitlines()[-1] or b'"' in content:
        return
    if {len(row) for row in rows[2:]} != {4}:
        return
    there = {frozenset(map(plain, row)) for row in rows}
    for row in found.ratings[["user_id", "item_id"]].astype(str).itertuples(index=False):
        assert any({plain(row[0]), plain(row[1])} <= fields for fields in there), row
    n_lines = len([row for row in rows if any(field.strip() for field in row)])
    assert n_lines - 3 <= len(found.ratings) <= n_lines, "rows are lost"


def plain(field: str) -> str:
    return field.strip().removesuffix(".0")


def inspect_ratings(path: Path) -> None:
    quietly(lambda: inspect.main(str(path), write=False))
    settings = recognition.recognize(str(path)).settings
    check_ratings(ratings_file.read([path], settings))


TITLED = pd.DataFrame(
    {
        "movieId": range(101, 110),
        "title": [f"Film {n} ({1990 + n})" for n in range(9)],
        "genres": ["Drama|Comedy", "", "War"] * 3,
        "budget": np.arange(9) * 1.5,
        "color": ["red", "blue", "red"] * 3,
    }
)
TABLES = {
    "items.csv": test_cases.text(TITLED),
    "users.csv": test_cases.text(TITLED.rename(columns={"movieId": "userId"})),
    "items.parquet": test_cases.parquet(TITLED),
    "items.json": TITLED.to_json(orient="records").encode(),
}


def read_side_table(path: Path) -> None:
    ids = pd.Series(range(101, 110))
    if path.name.startswith("users"):
        table, _ = side_tables.read_users(UserTable(file=str(path)), ids)
    else:
        table, _ = side_tables.read_items(ItemTable(file=str(path)), ids)
        assert table["genres"].notna().all()
        assert str(table["year"].dtype) == "Int32"
        assert str(table["title"].dtype) == str(table["genres"].dtype) == "str"
    assert table.iloc[:, 0].tolist() == ids.tolist()
    assert table.columns.is_unique
    assert all(str(kind) in ("int64", "float64", "Int32", "str") for kind in table.dtypes)


PARTS = pd.DataFrame(
    {"row": range(N_SPLIT), "part": np.resize(["train", "valid", "train", "test"], N_SPLIT)}
)
PART_FILES = {"parts.csv": test_cases.text(PARTS), "parts.parquet": test_cases.parquet(PARTS)}


def read_split_file(path: Path) -> None:
    subsets = split.from_file(path, N_SPLIT, test=True)
    assert set(subsets) == {"train", "valid", "test"}
    assert sorted(np.concatenate(list(subsets.values()))) == list(range(N_SPLIT))
    assert all(len(rows) for rows in subsets.values())


def read_params(path: Path) -> None:
    found = config.sections(path)
    config.trained_models(path)
    own_files.named(found)
    for name, schema in SECTIONS.items():
        section = config.load(path, name, schema)
        assert schema.model_validate(section.model_dump(exclude_unset=True)) == section
        config.is_sampled(path, name)
        config.flatten_params(section.model_dump())
        if isinstance(section, config.Training | config.Sampling):
            cls = checkpoint.find_class(section.model, f"{path}: {name}.model")
            settings = {key: value for key, value in section.model.items() if key != "name"}
            config.validate(settings, f"{path}: {name}.model", cls.Config)
    git.untracked_code()


def prepare_toy(method: str, *before: Callable[[], None]) -> Callable[[], None]:
    """A toy split and a model, and what these stages make of it."""

    def prepare() -> None:
        results.toy_split(method)
        text = paths.PARAMS.read_text().replace("n_resamples: 10000", "n_resamples: 100")
        paths.PARAMS.write_text(text)
        for stage in before:
            quietly(stage)

    return prepare


def run_evaluate(path: Path) -> None:
    paths.METRICS.unlink(missing_ok=True)
    quietly(evaluate.main)
    metrics = io.read_json(paths.METRICS, dict[str, dict[str, float | None]])
    assert all(np.isfinite(scores["rmse"] or 0) for scores in metrics.values())
    predictions = pd.read_parquet(paths.PREDICTIONS)
    assert len(predictions) == len(pd.read_parquet(paths.VALID))
    if path != paths.VALID:
        assert predictions["row"].tolist() == list(range(500, 600))


def run_rank(path: Path) -> None:
    quietly(rank.main)
    table = io.read_csv(paths.RANKING)
    assert table.filter(like="recall").stack().between(0, 1).all()


def run_blend(path: Path) -> None:
    quietly(blend.main)
    assert all(np.isfinite(list(io.read_json(paths.BLEND / "blend.json").values())))


def prepare_ingested() -> None:
    paths.PARAMS.write_text((ROOT / "params.yaml").read_text())
    Path("ratings.csv").write_bytes(test_cases.text())
    settings = Ingest(dataset="ratings.csv", fallback=None)
    found = ratings_file.read([Path("ratings.csv")], settings)
    io.write_parquet(paths.RATINGS, found.ratings)
    io.write_parquet(paths.ITEMS, found.items)
    io.write_parquet(paths.USERS, found.users)
    tags = pd.DataFrame({"item_id": [101, 102], "tag": ["dark", ""], "timestamp": [1, 2]})
    io.write_parquet(paths.TAGS, tags.astype({"tag": "str"}))
    io.write_json(paths.PROVENANCE, Provenance("toy", "toy", "", "", 60, 12, 9, (0.5, 5.0)))
    quietly(encode.main)


def run_encode(path: Path) -> None:
    quietly(encode.main)
    ratings, users = pd.read_parquet(paths.ENCODED_RATINGS), pd.read_parquet(paths.ENCODED_USERS)
    assert ratings["user"].between(0, len(users) - 1).all()
    assert ratings["item"].between(0, len(pd.read_parquet(paths.ENCODED_ITEMS)) - 1).all()
    assert len(ratings) == len(pd.read_parquet(paths.RATINGS))


def run_split(path: Path) -> None:
    quietly(split_stage.main)
    rows = [pd.read_parquet(paths.SPLIT_FILES[name])["row"] for name in ("train", "valid")]
    assert len(pd.concat(rows)) == len(pd.read_parquet(paths.ENCODED_RATINGS))


def prepare_results() -> None:
    matplotlib.use("agg")
    toy = results.toy_results()
    params = "train_dot: {seed: 1}\ntracking: {enabled: false, experiment: cf}\n"
    paths.PARAMS.write_text(params)
    io.write_json(paths.SPLIT_PROVENANCE, toy.provenance)
    io.write_parquet(paths.ENCODED_RATINGS, toy.ratings.to_frame())
    io.write_parquet(paths.ENCODED_USERS, toy.users)
    io.write_parquet(paths.ENCODED_ITEMS, toy.items)
    io.write_parquet(paths.PREDICTIONS, toy.predictions)
    io.write_json(paths.SPLIT_INFO, SplitInfo(0.2, 1, "ab", parts={"train": {"n": 320}}))
    tables = {paths.STRATA: toy.strata, paths.RANKING: toy.ranking, paths.COVERAGE: toy.coverage}
    tables |= {paths.DECILES: toy.deciles, paths.LEADERBOARD: toy.leaderboard}
    tables |= {paths.HISTORY / f"{name}.csv": frame for name, frame in toy.histories.items()}
    for path, frame in tables.items():
        io.write_csv(path, frame)
    for name in toy.histories:
        tags = {"split_sha256": "ab"}
        made = record.RunRecord("id", "cf", name, {}, tags, {}, started=0, status="FINISHED")
        io.write_json(paths.RUNS / f"{name}.json", made)
    io.write_json(paths.METRICS, results.toy_scores())
    io.write_json(paths.DATA, {"dataset": "toy-stars", "part": "valid"})
    io.write_json(paths.EVALUATED_RUNS, dict.fromkeys(toy.histories, "id"))


def read_results(path: Path) -> None:
    """What `cf show`, `cf sync` and the report read."""
    quietly(show.main)
    records = record.read_all(io.read_dataclass(paths.SPLIT_INFO, SplitInfo))
    evaluated = sync.with_results(records, paths.EVALUATED_RUNS, paths.METRICS)
    scores = sync.read_scores(evaluated)
    board = io.read_csv(paths.LEADERBOARD, leaderboard.DTYPES)
    with io.reading(paths.LEADERBOARD):
        leaderboard.run_metrics(scores, board)
    ranking.run_metrics(io.read_csv(paths.RANKING, ranking.DTYPES))
    found = plot.read_results(records)
    assert set(found.histories) == set(records)


def run_plot(path: Path) -> None:
    quietly(plot.main)
    assert paths.REPORT.read_text(encoding="utf-8").startswith("<!doctype html>")


def prepare_model(name: str) -> Callable[[], None]:
    def prepare() -> None:
        project = KEPT_MODELS / name / "artifacts/project"
        shutil.copytree(project, Path(), dirs_exist_ok=True, copy_function=shutil.copyfile)
        Path("models/now").symlink_to(name)

    return prepare


def load_model(path: Path) -> None:
    model = cf.load("models/now")
    users, items = model.catalog.user_ids, model.catalog.items["item_id"]
    low, high = model.facts["rating_range"]
    margin = io.read_json(Path("models/now/model.json"))["model"].get("range_margin", 0)
    low, high = low - margin, high + margin  # an edited margin is taken
    predicted = model.predict(users[:3], items[:3])["prediction"]
    assert predicted.between(low, high).all()
    table = model.recommend(users[0], n=3, by="both" if model.likely else "stars")
    assert table["prediction"].between(low, high).all()
    table = model.recommend(ratings={items[0]: high - margin}, n=3, by="stars")
    assert table["prediction"].between(low, high).all()


def prepare_own() -> None:
    prepare_model("bayesmf")()
    model = cf.load("models/now")
    ids = model.catalog.items["item_id"][:4].tolist()
    mine = pd.DataFrame({"item_id": ids, "rating": [1.0, 2.5, 4.0, 5.0]})
    mine.to_csv("mine.csv", index=False)
    mine.to_parquet("mine.parquet", index=False)
    Path("mine.json").write_text(json.dumps(dict(zip(map(str, ids), [1, 2.5, 4, 5], strict=True))))
    users = model.catalog.user_ids[:4].tolist()
    pairs = pd.DataFrame({"user_id": users, "item_id": ids, "timestamp": [10**9] * 4})
    pairs.to_csv("pairs.csv", index=False)
    pairs.to_parquet("pairs.parquet", index=False)
    request = {"ratings": {str(ids[0]): 4.5, str(ids[1]): 1.0}, "n": 3, "skip": [str(ids[2])]}
    Path("request.json").write_text(json.dumps(request))
    rows = [
        {"user_id": users[0], "item_id": ids[0]},
        {"user_id": users[1]},
        {"ratings": {str(ids[0]): 4.5}, "item_id": str(ids[1])},
        {"ratings": [{"item_id": ids[0], "rating": 2.0}]},
        {"ratings": json.dumps({str(ids[0]): 4.5})},
    ]
    params = {"n": 3, "by": "both", "first_year": None, "last_year": 2010, "min_ratings": 0}
    Path("rows.json").write_text(json.dumps({"rows": rows, "params": params}))


def model_here() -> Recommender:
    return cf.load("models/now")


def read_own_ratings(path: Path) -> None:
    model = model_here()
    frame = own_ratings.read(path, model)
    assert len(frame)
    assert frame["rating"].between(0.5, 5).all()
    items, values = model.given(frame)
    assert len(items) == len(values) == len(frame)
    assert model.recommend(ratings=frame, n=3, by="stars")["prediction"].between(0.5, 5).all()


def score_pairs(path: Path) -> None:
    for out in ("out.parquet", "out.csv"):
        quietly(lambda out=out: score.main(str(path), out, True, "models/now"))
    found = pd.read_parquet("out.parquet")
    assert found["prediction"].between(0.5, 5).all()
    assert len(found) == len(pd.read_csv("out.csv"))


def ask_page(path: Path) -> None:
    """A body of the demo's requests: it is answered, or refused with a status of the client."""
    body = path.read_bytes()
    for address in ("/api/recommend", "/api/ask"):
        status, said = post(create_app(model_here()), address, body)
        content = json.loads(said)
        assert status in (200, 400, 413, 422), (status, said)
        if status != 200:
            raise InputError(f"{path.name}: {content['detail']}")


def post(app: Any, address: str, body: bytes) -> tuple[int, bytes]:
    """What an application of ASGI answers: the status, and a body."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = {"host": "localhost", "content-type": "application/json"}
    headers["content-length"] = str(len(body))
    scope = {"type": "http", "method": "POST", "path": address, "raw_path": address.encode()}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": ""}
    scope |= {"headers": [(key.encode(), value.encode()) for key, value in headers.items()]}
    asyncio.run(
        app({**scope, "server": ("localhost", 80), "client": ("localhost", 1)}, receive, send)
    )
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def ask_served_model(path: Path) -> None:
    try:
        request = json.loads(path.read_bytes())
        rows, params = pd.DataFrame(request["rows"], dtype=object), dict(request["params"])
        expected = {"n": int, "min_ratings": int, "first_year": int, "last_year": int, "by": str}
        fits = (isinstance(v, expected.get(k, str) | None) for k, v in params.items())
        if not all(fits) or not all(isinstance(name, str) for name in rows):
            raise ValueError("MLflow refuses it")
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
        raise InputError(f"{path.name}: {error}, not a request") from None
    found = answer(model_here(), rows, params)
    assert found["prediction"].between(0.5, 5).all()
    assert set(found["row"]) == set(range(len(rows)))
    json.loads(json.dumps(found.to_dict("records"), allow_nan=False))


def read_credentials(path: Path) -> None:
    home = os.environ.get("HOME")
    os.environ["HOME"] = str(Path.cwd())
    try:
        user, password = login.credentials()
    finally:
        os.environ.pop("HOME") if home is None else os.environ.update(HOME=home)
    assert isinstance(user, str)
    assert isinstance(password, str)
    if not password:
        raise InputError(f"{path}: no password, so none is used")


LOGIN = b"[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = se%%cret\n"
LOGIN_FILE = ".mlflow/credentials"
PARAMS = {"params.yaml": (ROOT / "params.yaml").read_bytes()}
OF_TOY = ("data", "models", "runs", "params.yaml")

TARGETS = {
    target.name: target
    for target in (
        Target("ratings", write(SEEDS), lambda: list(SEEDS), read_ratings, 1000),
        Target("inspect", write(SEEDS | TO_STATE), lambda: list(SEEDS | TO_STATE), inspect_ratings,
               500, False),
        Target("side_tables", write(TABLES), lambda: list(TABLES), read_side_table, 500),
        Target("split_file", write(PART_FILES), lambda: list(PART_FILES), read_split_file, 400),
        Target("params", write(PARAMS), lambda: list(PARAMS), read_params, 100),
        Target("own_ratings", prepare_own, under("mine.csv", "mine.json", "mine.parquet"),
               read_own_ratings, 200),
        Target("pairs", prepare_own, under("pairs.csv", "pairs.parquet"), score_pairs, 150),
        Target("page", prepare_own, under("request.json"), ask_page, 150),
        Target("served_model", prepare_own, under("rows.json"), ask_served_model, 250, False),
        Target("bayesmf", prepare_model("bayesmf"), under("models/bayesmf", "data", "blend"),
               load_model, 300, False),
        Target("embnet", prepare_model("embnet"), under("models/embnet", "blend"),
               load_model, 200, False),
        Target("encode", prepare_ingested, under("data/ingested"), run_encode, 150, False),
        Target("split", prepare_ingested, under("data/encoded/ratings.parquet",
               "data/ingested/provenance.json", "params.yaml"), run_split, 150, False),
        Target("evaluate", prepare_toy("random"), under(*OF_TOY), run_evaluate, 120, False),
        Target("rank", prepare_toy("leave_last", blend.main), under(*OF_TOY, "blend"), run_rank,
               100, False),
        Target("blend", prepare_toy("time"), under(*OF_TOY), run_blend, 100, False),
        Target("results", prepare_results, under("reports", "runs", "data"), read_results, 300,
               False),
        Target("plot", prepare_results, under("reports", "data", "params.yaml"), run_plot, 8,
               False),
        Target("credentials", write({LOGIN_FILE: LOGIN}), lambda: [LOGIN_FILE], read_credentials,
               150),
    )
}  # fmt: skip
