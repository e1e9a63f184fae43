import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cf.core import config, io, paths
from cf.core.ratings import SplitInfo
from cf.distributed import stream
from cf.tracking.record import RunRecord
from stages import plot
from tests.results import git, score, toy_results, toy_scores

ROOT = Path(__file__).parent.parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy results as files, in a folder below that of what may become a git repository."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    paths.PARAMS.write_text("train_dot: {seed: 1}\ntracking: {enabled: false, experiment: cf}\n")
    toy = toy_results()
    io.write_json(paths.SPLIT_PROVENANCE, toy.provenance)
    io.write_parquet(paths.ENCODED_RATINGS, toy.ratings.to_frame())
    io.write_parquet(paths.ENCODED_USERS, toy.users)
    io.write_parquet(paths.ENCODED_ITEMS, toy.items)
    io.write_parquet(paths.PREDICTIONS, toy.predictions)
    io.write_json(paths.SPLIT_INFO, SplitInfo(0.2, 1, "ab", parts={"train": {"n": 320}}))
    for path, frame in (
        (paths.STRATA, toy.strata),
        (paths.RANKING, toy.ranking),
        (paths.COVERAGE, toy.coverage),
        (paths.DECILES, toy.deciles),
        (paths.LEADERBOARD, toy.leaderboard),
        *((paths.HISTORY / f"{name}.csv", frame) for name, frame in toy.histories.items()),
    ):
        io.write_csv(path, frame)
    for name in toy.histories:
        tags = {"split_sha256": "ab"}
        record = RunRecord("id", "cf", name, {}, tags, {}, started=0, status="FINISHED")
        io.write_json(paths.RUNS / f"{name}.json", record)
    io.write_json(paths.METRICS, toy_scores())
    io.write_json(paths.DATA, {"dataset": "toy-stars", "part": "valid"})
    return folder


def contents() -> dict[str, bytes]:
    drawn = (*paths.FIGURES.glob("*"), *paths.VECTOR_FIGURES.glob("*"), paths.REPORT)
    return {path.name: path.read_bytes() for path in drawn}


def page() -> str:
    return paths.REPORT.read_text(encoding="utf-8")


def test_the_same_results_give_the_same_bytes(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "reports/metrics.json", "reports/data.json", "params.yaml")
    git(project, "commit", "-q", "-m", "Sömething <b>")
    plot.main()
    first = contents()
    assert {"runs.json", "index.html", "predicted_dot.png", "strata_rmse.svg"} <= set(first)
    assert len(first) == 2 * 9 + 2
    for name, content in first.items():
        starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".json": b"{", ".html": b"<!doctype"}
        assert content.startswith(starts[Path(name).suffix])
        assert len(content) < 300_000 or name == "index.html"
    assert io.read_json(paths.DRAWN_RUNS) == {"dot": "id", "embnet": "id"}
    assert "Nothing changed" in page()
    assert "(“Sömething &lt;b&gt;”)" in page()

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run(
        [sys.executable, "-W", "error", "-m", "stages.plot"], check=True, env=environment
    )
    assert contents() == first


def test_with_launcher_ray_the_streamed_ratings_give_the_same_bytes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = "ray: {address: null, workers: 2, storage: x, max_failures: 3}\n"
    paths.PARAMS.write_text(paths.PARAMS.read_text() + f"launcher: local\n{ray}")
    plot.main()
    before = contents()
    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("local", "ray"))
    monkeypatch.setattr(config, "RAY_PACKAGES", ())  # streaming needs none of them
    monkeypatch.setattr(io, "ROW_GROUP", 70)
    monkeypatch.setattr(stream, "BLOCK", 30)
    monkeypatch.setattr(stream, "RatingsInMemory", None)
    io.write_parquet(paths.ENCODED_RATINGS, io.read_parquet(paths.ENCODED_RATINGS))
    plot.main()
    assert contents() == before


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ratings", lambda frame: frame[:0], "expected ratings, got none"),
        ("ratings", lambda frame: frame.assign(user=frame["user"] + 1), "expected 30 users, got"),
        ("ratings", lambda frame: frame.assign(item=frame["item"] - 1), "expected 40 items, got"),
        ("ratings", lambda frame: frame.assign(rating=np.float32(np.inf)), "expected finite"),
        ("ratings", lambda frame: frame.drop(columns="rating"), "cannot be read"),
        ("users", lambda frame: frame[1:], "cannot be read .expected 30 rows, got 29"),
        ("users", lambda frame: frame / 2, "cannot be read .column user_id: expected ids"),
        ("items", lambda frame: frame[1:], "cannot be read .expected 40 rows, got 39"),
        ("items", lambda frame: frame.drop(columns="title"), "cannot be read .no column title"),
    ],
)
def test_ratings_and_ids_that_are_none_are_refused(
    undrawn: Path, name: str, change: Any, message: str
) -> None:
    path = paths.ENCODED / f"{name}.parquet"
    io.write_parquet(path, change(io.read_parquet(path)))
    with pytest.raises(SystemExit, match=rf"{name}\.parquet: {message}") as caught:
        plot.main()
    assert "\n" not in str(caught.value)


@pytest.fixture
def undrawn(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, whose figures are not drawn: only the page is written."""
    monkeypatch.setattr(plot.gallery, "draw", lambda _: [])
    return project


def test_the_page_compares_with_the_last_commit(undrawn: Path) -> None:
    plot.main()
    assert "this is no git repository" in page()
    git(undrawn.parent, "init", "-q")
    plot.main()
    assert "it has no commit yet" in page()
    git(undrawn.parent, "commit", "-q", "--allow-empty", "-m", "Nothing")
    plot.main()
    assert "has no reports/metrics.json that can be read" in page()
    git(undrawn, "add", "reports/metrics.json", "reports/data.json", "params.yaml")
    git(undrawn, "commit", "-q", "-m", "Something")
    io.write_json(paths.METRICS, {**toy_scores(), "dot": score(0.9375)})
    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("seed: 1", "seed: 7"))
    plot.main()
    assert ">\N{MINUS SIGN}0.0625</td>" in page()
    assert "<code>train_<wbr>dot.<wbr>seed</code></th><td>1</td><td>7</td>" in page()


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"dot": 1}', "", "\xff"])
def test_metrics_that_were_committed_broken_are_named(undrawn: Path, content: str) -> None:
    paths.METRICS.write_bytes(content.encode("latin-1"))
    git(undrawn, "init", "-q")
    git(undrawn, "add", "reports/metrics.json")
    git(undrawn, "commit", "-q", "-m", "Broken")
    io.write_json(paths.METRICS, toy_scores())
    plot.main()
    assert "has no reports/metrics.json that can be read" in page()


def test_without_git(undrawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(undrawn))
    plot.main()
    assert "git cannot be run here" in page()


def test_missing_metrics_are_named(undrawn: Path) -> None:
    paths.METRICS.unlink()
    with pytest.raises(SystemExit, match=r"reports/metrics\.json: cannot be read"):
        plot.main()
