import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cf.core import io, paths
from cf.core.provenance import Provenance, SplitInfo
from cf.core.ratings import Ratings
from cf.evaluation import leaderboard, rankings, rows, strata
from cf.reporting import gallery
from cf.tracking.record import RunRecord
from cf.training import history
from stages import plot
from tests import results

ROOT = Path(__file__).parent.parent
NAMES = {
    "activity", "calibration", "crosstab", "loss_curves", "predicted_dot", "predicted_embnet",
    "strata_rmse", "strata_to_best",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of two models on 400 made-up ratings, 80 of them for validation."""
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text("tracking: {enabled: false, experiment: cf}\n")
    draw = np.random.default_rng(0)
    users, items = np.divmod(draw.permutation(30 * 40)[:400], 40)
    values = (draw.integers(1, 11, 400) / 2).astype(np.float32)
    ratings = {"user_id": users + 1, "item_id": 10 * items, "rating": values}
    io.write_parquet(paths.RATINGS, pd.DataFrame(ratings))
    titles = np.array([f"Title {item} (1999)" if item else None for item in range(40)])
    io.write_parquet(paths.ITEMS, pd.DataFrame({"item_id": 10 * np.arange(40), "title": titles}))
    facts = Provenance("toy-stars", "toy-stars", "", "", 400, 30, 40, (0.5, 5.0))
    io.write_dataclass(paths.PROVENANCE, facts)
    io.write_dataclass(paths.SPLIT_PROVENANCE, facts)
    scores = {"rmse": 1.0, "mse": 1.0, "mae": 0.8, "rmse_warm": 1.0, "rmse_cold": None}
    scores |= {"n": 80, "n_cold": 0}
    made = dict.fromkeys(("bias", "dot", "embnet"), scores)
    io.write_json(paths.METRICS, made)
    io.write_json(paths.DATA, {"dataset": "toy-stars", "part": "valid"})
    leaderboard.write(paths.LEADERBOARD, results.rows(made))
    io.write_dataclass(paths.SPLIT_INFO, SplitInfo(0.2, 1, 320, 80, 0, "ab"))
    for name in ("dot", "embnet"):
        tags = {"split_sha256": "ab"}
        record = RunRecord("id", "cf", name, {}, tags, {}, started=0, status="FINISHED")
        io.write_dataclass(paths.RUNS / f"{name}.json", record)
    places = np.arange(400)
    train = {"users": users, "items": items, "values": values, "rows": places}
    io.write_parquet(paths.TRAIN, pd.DataFrame({name: array[80:] for name, array in train.items()}))
    rankings.write(paths.RANKING, {}, 10, "valid", {})
    predictions = {
        "rows": places[:80],
        "users": users[:80],
        "items": items[:80],
        "observed": values[:80],
        "bias": np.full(80, 3.0, dtype=np.float32),
        "dot": values[:80] + draw.normal(0, 1, 80).astype(np.float32),
        "embnet": values[:80] + draw.normal(0, 0.3, 80).astype(np.float32),
        "dot_sd": np.linspace(0.8, 1.2, 80, dtype=np.float32),
    }
    io.write_parquet(paths.PREDICTIONS, pd.DataFrame(predictions))
    write_strata(np.arange(80) * 86400 * 3)
    paths.HISTORY.mkdir(parents=True)
    header = "epoch,train_loss,valid_loss,learning_rate\n"
    (paths.HISTORY / "dot.csv").write_text(header + "1,11.5,10.8,0.1\n2,1.2,1.4,0.01\n")
    (paths.HISTORY / "embnet.csv").write_text(header + "1,0.9,0.95,0.001\n")
    (paths.HISTORY / "gone.csv").write_text(header)
    return tmp_path


def write_strata(timestamps: np.ndarray) -> None:
    """The strata of the predictions, of items that have one of two genres or none."""
    predictions = io.read_parquet(paths.PREDICTIONS)
    users, items, observed = (predictions[key] for key in ("users", "items", "observed"))
    held_out = Ratings(users, items, observed, timestamps, predictions["rows"])
    genres = np.array([("", "Drama", "Comedy")[item % 3] for item in range(40)], dtype=object)
    groups = strata.stratify(Ratings.from_frame(io.read_parquet(paths.TRAIN)), held_out, genres)
    models = {name: predictions[name] for name in ("bias", "dot", "embnet")}
    rows.write(paths.STRATA, strata.COLUMNS, strata.score(groups, models, observed, users))


def contents() -> dict[str, bytes]:
    drawn = (*paths.FIGURES.glob("*"), *paths.VECTOR_FIGURES.glob("*.svg"))
    return {path.name: path.read_bytes() for path in drawn}


def test_writes_every_figure_twice_over_to_the_same_bytes(project: Path) -> None:
    plot.main()
    first = contents()
    assert first.keys() == {f"{name}{suffix}" for name in NAMES for suffix in (".png", ".svg")}
    for name, content in first.items():
        assert content.startswith(b"\x89PNG" if name.endswith(".png") else b"<?xml")
        assert len(content) < 300_000

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run(
        [sys.executable, "-W", "error", "-m", "stages.plot"], check=True, env=environment
    )
    assert contents() == first


def all_figures() -> list[tuple[str, Figure]]:
    facts = io.read_dataclass(paths.PROVENANCE, Provenance)
    ratings, items = io.read_parquet(paths.RATINGS), io.read_parquet(paths.ITEMS)
    predictions = io.read_parquet(paths.PREDICTIONS)
    groups = rows.read(paths.STRATA, strata.COLUMNS)
    histories = {n: history.read(paths.HISTORY / f"{n}.csv") for n in ("dot", "embnet")}
    return [
        *gallery.data_figures(facts, ratings, items),
        *gallery.model_figures(facts, predictions, groups, histories),
    ]


def test_titles_name_the_data_set_and_the_model(project: Path) -> None:
    drawn = all_figures()
    assert {name for name, _ in drawn} == NAMES
    for name, figure in drawn:
        title = figure.get_suptitle().replace("\n", " ")
        assert "toy-stars" in title
        if name.startswith("predicted_"):
            assert title.endswith(f", {name.removeprefix('predicted_')}")
        elif name in ("calibration", "loss_curves", "strata_rmse", "strata_to_best"):
            assert title.endswith(", all models")


def test_one_model_one_row_and_only_cold_items(project: Path) -> None:
    predictions = io.read_parquet(paths.PREDICTIONS)
    gone = ("dot", "dot_sd")
    one = {name: predictions[name][:1] for name in predictions if name not in gone}
    io.write_parquet(paths.PREDICTIONS, pd.DataFrame({**one, "items": np.array([39_000])}))
    kept = rows.read(paths.STRATA, strata.COLUMNS)
    kept = [row for row in kept if row["model"] != "dot" and row["stratum"] == "warm_cold"]
    rows.write(paths.STRATA, strata.COLUMNS, [{**row, "rmse_low": None} for row in kept])
    (paths.RUNS / "dot.json").unlink()
    plot.main()
    assert (paths.VECTOR_FIGURES / "predicted_embnet.svg").exists()
    assert not (paths.VECTOR_FIGURES / "predicted_dot.svg").exists()
    assert not (paths.VECTOR_FIGURES / "calibration.svg").exists(), "embnet has no error bars"


def test_a_history_that_is_damaged_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.HISTORY / "dot.csv").write_text("epoch,train_loss,valid_loss\n1,0.9,much\n")
    with pytest.raises(SystemExit) as stop:
        plot.main()
    assert "reports/history/dot.csv: expected numbers in the columns epoch" in str(stop.value)
    assert "'much'" in str(stop.value)


def figure(name: str) -> Figure:
    return next(drawn for found, drawn in all_figures() if found == name)


def test_strata_are_drawn_as_the_table_has_them(project: Path) -> None:
    groups = rows.read(paths.STRATA, strata.COLUMNS)
    panels = {axes.get_title(loc="left"): axes for axes in figure("strata_rmse").axes}
    assert list(panels) == [
        "training ratings of the item",
        "training ratings of the user",
        "observed rating (stars)",
        "seen in training",
        "genre of the item: a row counts in each",
        "month of the rating",
    ]
    labels = [text.get_text() for text in panels["month of the rating"].get_xticklabels()]
    months = dict.fromkeys((r["label"], r["n"]) for r in groups if r["stratum"] == "month")
    assert labels == [f"{label} ({n})" for label, n in months]
    best = figure("strata_to_best")
    assert (
        best.get_suptitle().replace("\n", " ")
        == "RMSE less that of embnet by group of validation ratings: toy-stars, all models"
    )
    assert [text.get_text() for text in best.legends[0].get_texts()] == ["dot", "bias"]


def test_many_months_are_drawn_as_years(project: Path) -> None:
    write_strata(np.arange(80) * 86400 * 31)
    titles = [axes.get_title(loc="left") for axes in figure("strata_rmse").axes]
    assert titles[-1] == "year of the rating"
    assert "month of the rating" not in titles


def test_where_lists_were_ranked_a_figure_and_a_table_tell(project: Path) -> None:
    plot.main()
    assert "Recall" not in paths.REPORT.read_text()
    row = dict.fromkeys(list(rankings.columns(5))[1:6], 0.125) | {"n_users": 9, "n_left_out": 2}
    row |= {"behind": 0.1, "behind_low": -0.1, "behind_high": 0.3}
    metrics = {"ease": row, "dot": {**row, "ndcg_at_5": 0.25}}
    rankings.write(paths.RANKING, metrics, 5, "valid", {"dot": "id"})
    plot.main()
    assert (paths.FIGURES / "ranking.png").exists()
    page = paths.REPORT.read_text()
    assert "Lists of 5 items for 9 users on the validation ratings" in page
    assert "<td>tied</td>" in page
    assert page.index(">0.2500</td>") < page.index('>ease <span class="tag">baseline</span>')
