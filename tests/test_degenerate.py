"""Data and settings at the edge of what makes sense, as docs/data.md has them in a table."""

import copy
import functools
import importlib
import operator
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cf.core import io, paths
from tests.project import ROOT

Params = dict[str, Any]
Outcome = str | None  # what a stage ends with; None where all stages work
GRADIENT = ("dot", "dotbias_sgd", "dotbias", "dotbias_ensemble", "embnet")
STAGES = (
    *("ingest", "encode", "split", *(f"train {name}" for name in GRADIENT)),
    *("sample bayesmf", "evaluate", "blend", "rank", "plot"),
)
STARS = np.random.default_rng(1).integers(1, 11, 5000) / 2


def ratings(n_users: int, n_items: int, n: int, values: Any = STARS) -> pd.DataFrame:
    cells = np.random.default_rng(0).permutation(n_users * n_items)[:n]
    users, items = np.divmod(cells, n_items)
    times = 10**9 + 1000 * np.arange(n)
    columns = {"userId": users, "movieId": items, "rating": np.resize(values, n)}
    return pd.DataFrame({**columns, "timestamp": times})


def few() -> pd.DataFrame:
    return ratings(20, 30, 300)


def a_heavy_user() -> pd.DataFrame:
    others = ratings(20, 30, 300)
    return pd.concat([ratings(1, 100_000, 100_000), others.assign(userId=others["userId"] + 1)])


def apart(n_users: int, n_items: int) -> pd.DataFrame:
    rows = np.arange(100)
    frame = pd.DataFrame({"userId": rows % n_users, "movieId": rows % n_items})
    return frame.assign(rating=STARS[:100], timestamp=10**9)


def each_model(edit: Callable[[Params], object]) -> Callable[[Params], None]:
    """An edit of the sections of all models that are trained by gradients."""

    def of_all(params: Params) -> None:
        for name in GRADIENT:
            edit(params[f"train_{name}"])

    return of_all


def of_bayesmf(group: str, **values: Any) -> Callable[[Params], None]:
    """An edit of what bayesmf is, or how it samples."""
    return lambda params: params["train_bayesmf"][group].update(values)


def rates(rate: float) -> Callable[[Params], None]:
    return each_model(lambda section: section["schedule"].update(learning_rate=rate))


DATA: dict[str, tuple[pd.DataFrame, Outcome]] = {
    "all ratings are equal": (few().assign(rating=4.0), "ingest: .* nothing to predict"),
    "one rating": (ratings(1, 1, 1), "ingest: .* nothing to predict"),
    "two ratings": (ratings(2, 2, 2, [3.0, 4.0]), "split: .* leaves 2 for training, 0 for valid"),
    "one user": (ratings(1, 60, 60), None),
    "one item": (ratings(60, 1, 60), None),
    "one user with most of the ratings": (a_heavy_user(), None),
    "nobody rates twice": (apart(100, 10), None),
    "nothing is rated twice": (apart(10, 100), None),
    "neither": (apart(100, 100), None),
    "two values": (ratings(20, 30, 300, [0, 1]), None),
    "negative ratings": (ratings(20, 30, 300, STARS - 7), None),
    "ratings of 10⁸": (ratings(20, 30, 300, STARS * 1e8), None),
    "ratings of 10⁻⁸": (ratings(20, 30, 300, STARS * 1e-8), "ingest: .* Multiply all ratings"),
    "ratings below the smallest float": (
        *(ratings(20, 30, 300, STARS * 1e-310), "ingest: .* all ratings are 0"),
    ),
    "one rating far from all others": (ratings(20, 30, 300, [1e6, *STARS]), None),
    "all ratings at the same time": (few().assign(timestamp=10**9), None),
}
PLOTTED = {"one user", "one item", "one rating far from all others"}  # drawing takes longest
SATURATED = {"a learning rate of 10³⁰": set(), "factors that start at 10²⁰": {"embnet"}}
"""Models whose units are as far as they go, so that all numbers are finite."""
NOT_LEARNED = {"a learning rate of 10⁻³⁰": "worse than the"}  # and a word of it is printed
DIVERGED = "diverged: in epoch 1 .* Lower the learning_rate, or the weight_decay or init_range"
SETTINGS: dict[str, tuple[Callable[[Params], None], Outcome]] = {
    "a learning rate of 10⁻³⁰": (rates(1e-30), None),
    "a learning rate of 1": (rates(1.0), None),
    "a learning rate of 10³⁰": (rates(1e30), DIVERGED),
    "factors that start below the smallest float": (
        each_model(lambda section: section["model"].update(init_range=[-1e-40, 1e-40])),
        None,
    ),
    "factors that start at 10²⁰": (
        each_model(lambda section: section["model"].update(init_range=[-1e20, 1e20])),
        DIVERGED,
    ),
    "more factors than ratings": (
        each_model(lambda section: section["model"].update(n_factors=500)),
        None,
    ),
    "a batch larger than the data": (
        each_model(lambda section: section.update(batch_size=10**9)),
        None,
    ),
}
SAMPLING: dict[str, tuple[Callable[[Params], None], Outcome]] = {
    "bayesmf: more factors than ratings": (of_bayesmf("model", n_factors=500), None),
    "bayesmf: more samples than sweeps": (of_bayesmf("model", n_samples=1000), None),
    "bayesmf: no sweep after burn_in": (
        of_bayesmf("gibbs", burn_in=12),
        r"sample: params\.yaml: train_bayesmf\.gibbs: burn_in: 12 of 12 sweeps leaves none",
    ),
    "bayesmf: moods of 10⁻³⁰ s": (of_bayesmf("gibbs", time_scales=[1e-30]), None),
    "bayesmf: moods of 10³⁰ s": (
        of_bayesmf("gibbs", time_scales=[600, 1e30]),
        r"sample: params\.yaml: train_bayesmf\.gibbs\.time_scales\.1: .* or equal to 10000000000",
    ),
}
STAGE_OF = {
    **{name: name for name in ("split", "evaluate", "rank")},
    **{f"train_{name}": f"train {name}" for name in GRADIENT},
    "train_bayesmf": "sample bayesmf",
}
WHOLE, REAL = (0, -1, 10**30), (0.0, 1e-300, 1e30, -1e30, 1e300, -1e300)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project that records nothing, with short trainings."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["ingest"]["dataset"] = "data/own/ratings.csv"
    params["tracking"]["enabled"] = False
    for name in GRADIENT:
        section = params[f"train_{name}"]
        section["schedule"] = {"n_epochs": [1], "learning_rate": 0.01, "anneal": "none"}
        section["model"]["n_factors"] = 4
    params["train_bayesmf"]["gibbs"].update(n_sweeps=12, burn_in=2)
    params["train_bayesmf"]["model"].update(n_samples=2, n_factors=4)
    paths.PARAMS.write_text(yaml.safe_dump(params))
    return tmp_path


def run(stage: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Run a stage here: the line that it ends with, None if it works. Nothing may warn."""
    name = stage.split()[0]
    monkeypatch.setattr("sys.argv", stage.split())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            importlib.import_module(f"stages.{name}").main()
        except SystemExit as ending:
            return str(ending.code)
    return None


def ending(stages: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The first line that one of these stages ends with."""
    return next(filter(None, (run(stage, monkeypatch) for stage in stages)), None)


def write(table: pd.DataFrame) -> None:
    path = Path("data/own/ratings.csv")
    path.parent.mkdir(parents=True)
    table.to_csv(path, index=False)


def change(edit: Callable[[Params], object]) -> None:
    """Edit params.yaml here."""
    params = yaml.safe_load(paths.PARAMS.read_text())
    edit(params)
    paths.PARAMS.write_text(yaml.safe_dump(params))


@pytest.mark.parametrize("name", DATA)
def test_odd_data(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, expected = DATA[name]
    write(table)
    found = ending(STAGES if name in PLOTTED else STAGES[:-1], monkeypatch)
    if expected is not None:
        assert found is not None
        assert re.match(expected, found), found
        return
    assert found is None
    for model, scores in io.read_json(paths.METRICS).items():
        assert np.isfinite(scores["rmse"]), model
        width = table["rating"].max() - table["rating"].min()
        assert 0 <= scores["rmse"] <= width, model


@pytest.mark.parametrize("name", SETTINGS)
def test_odd_settings(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, expected = SETTINGS[name]
    write(few())
    change(edit)
    assert ending(STAGES[:3], monkeypatch) is None
    endings = {model: run(f"train {model}", monkeypatch) for model in GRADIENT}
    if expected is None:
        assert set(endings.values()) == {None}
        assert NOT_LEARNED.get(name, "") in capsys.readouterr().out
        assert ending(("evaluate",), monkeypatch) is None
    else:
        assert all(re.search(expected, found) for found in endings.values() if found)
        finished = {model for model, found in endings.items() if found is None}
        assert finished == SATURATED[name]
        assert not any((paths.MODELS / model).exists() for model in set(GRADIENT) - finished)


@pytest.mark.parametrize("name", SAMPLING)
def test_odd_settings_of_bayesmf(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit, expected = SAMPLING[name]
    write(few())
    change(edit)
    assert ending(STAGES[:3], monkeypatch) is None
    found = run("sample bayesmf", monkeypatch)
    if expected is None:
        assert found is None
        assert ending(("evaluate",), monkeypatch) is None
        assert np.isfinite(io.read_json(paths.METRICS)["bayesmf"]["rmse"])
    else:
        assert found is not None
        assert re.match(expected, found), found
        assert not (paths.MODELS / "bayesmf").exists()


def numbers(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The numbers of a section of params.yaml, and the keys that lead to each."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from numbers(value, (*at, key))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield at, node


@pytest.mark.parametrize("section", STAGE_OF)
def test_every_number_as_far_as_it_goes(
    section: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(few())
    change(lambda params: params["split"].update(method="leave_last"))
    assert ending(STAGES[:3], monkeypatch) is None
    good = yaml.safe_load(paths.PARAMS.read_text())
    for keys, number in numbers(good[section]):
        (*_, name) = (key for key in keys if isinstance(key, str))
        for extreme in WHOLE if isinstance(number, int) else REAL:
            params = copy.deepcopy(good)
            *outer, last = keys
            functools.reduce(operator.getitem, outer, params[section])[last] = extreme
            paths.PARAMS.write_text(yaml.safe_dump(params))
            found = run(STAGE_OF[section], monkeypatch)
            is_named = found and re.search(rf"\.{name}\b|{name}: |diverged", found)
            assert found is None or is_named, (keys, extreme, found)
            for report in (paths.LEADERBOARD, paths.RANKING):
                table = pd.read_csv(report) if report.exists() else pd.DataFrame()
                scores = table[[c for c in table if c == "rmse" or c.startswith("ndcg")]]
                assert np.isfinite(scores).all(axis=None), (keys, extreme, table)


def test_the_docs_have_every_row() -> None:
    text = (ROOT / "docs/data.md").read_text()
    section = text.split("## Odd data and settings")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \|", section, re.M)[1:]
    assert [row for row in rows if row != "---"] == [*DATA, *SETTINGS, *SAMPLING]
