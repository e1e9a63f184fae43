from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from cf.core import config, io, paths
from cf.core.model_files import SETTINGS, WEIGHTS
from cf.core.names import IDS, KEYS
from cf.distributed import stream
from cf.evaluation.leaderboard import DTYPES
from cf.tracking.record import RunRecord
from stages import evaluate
from tests.results import toy_split

TRACKED = (paths.METRICS, paths.DATA, paths.LEADERBOARD, paths.STRATA)


class FakeRecorder:
    def __init__(self) -> None:
        self.records: list[RunRecord] = []

    def upsert(self, record: RunRecord) -> None:
        self.records.append(record)


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRecorder:
    """What the evaluation of a toy split hands to MLflow."""
    monkeypatch.chdir(tmp_path)
    toy_split("random")
    recorder = FakeRecorder()

    @contextmanager
    def recording(settings: Any) -> Iterator[FakeRecorder]:
        yield recorder

    monkeypatch.setattr(evaluate, "recording", recording)
    evaluate.main()
    return recorder


def test_every_table_and_which_trainings_they_are_of(recorder: FakeRecorder) -> None:
    models = ["global_mean", "bias", "plain"]
    assert list(io.read_parquet(paths.PREDICTIONS)) == [*KEYS, *IDS, *models]
    assert list(io.read_json(paths.METRICS)) == models
    board = io.read_csv(paths.LEADERBOARD, DTYPES)
    assert sorted(board["model"]) == sorted(models)
    assert board["n"].unique().tolist() == [100]
    assert "genre" in io.read_csv(paths.STRATA)["stratum"].unique()
    assert io.read_csv(paths.COVERAGE).empty, "no model predicts standard deviations"
    assert io.read_csv(paths.DECILES).empty
    assert io.read_json(paths.EVALUATED_RUNS) == {"plain": "id"}


def test_mlflow_has_the_numbers_that_git_has(recorder: FakeRecorder) -> None:
    (record,) = recorder.records
    assert record.candidate
    scores = io.read_json(paths.METRICS)
    assert io.round_floats(scores) == scores
    board = io.read_csv(paths.LEADERBOARD, DTYPES).set_index("model")
    expected = {**scores["plain"], **board.loc["plain", ["rmse_low", "rmse_high"]]}
    assert record.metrics == {name: value for name, value in expected.items() if value is not None}


def test_a_model_that_nothing_trained_is_named(
    recorder: FakeRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    with paths.PARAMS.open("a") as params:
        params.write("train_forgotten: {}\n")
    evaluate.main()
    assert "WARNING: forgotten is not scored: params.yaml has it" in capsys.readouterr().out


def test_the_same_results_are_the_same_files(recorder: FakeRecorder) -> None:
    before = [path.read_bytes() for path in TRACKED]
    path = paths.RUNS / "plain.json"
    io.write_json(path, {**io.read_json(path), "id": "other"})
    evaluate.main()
    assert [path.read_bytes() for path in TRACKED] == before
    assert io.read_json(paths.EVALUATED_RUNS) == {"plain": "other"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_model_of_nonsense_is_named_before_anything_is_written(
    recorder: FakeRecorder, value: float
) -> None:
    folder = paths.MODELS / "plain"
    weights = load_file(folder / WEIGHTS)
    save_file({name: tensor.fill_(value) for name, tensor in weights.items()}, folder / WEIGHTS)
    settings = io.read_json(folder / SETTINGS)
    io.write_json(folder / SETTINGS, settings | {"weights_sha256": io.digest(folder / WEIGHTS)})
    record = paths.RUNS / "plain.json"
    io.write_json(record, {**io.read_json(record), "files": {}})
    before = [path.read_bytes() for path in (*TRACKED, paths.PREDICTIONS)]
    with pytest.raises(SystemExit, match=r"models/plain: predicts what is no rating"):
        evaluate.main()
    assert [path.read_bytes() for path in (*TRACKED, paths.PREDICTIONS)] == before


@pytest.fixture
def on_ray(recorder: FakeRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same split, evaluated without Ray, for the other launcher and in many row groups."""
    text = paths.PARAMS.read_text()
    paths.PARAMS.write_text(text.replace("launcher: local", "launcher: ray"))
    monkeypatch.setattr(config, "RAY_PACKAGES", ())  # streaming needs none of them
    monkeypatch.setattr(io, "ROW_GROUP", 70)
    io.write_parquet(paths.TRAIN, io.read_parquet(paths.TRAIN))
    assert config.ray(paths.PARAMS)


@pytest.mark.usefixtures("on_ray")
def test_train_is_streamed_on_ray_and_the_results_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [path.read_bytes() for path in TRACKED]
    predicted = io.read_parquet(paths.PREDICTIONS)
    for path in (*TRACKED, paths.PREDICTIONS):
        path.unlink()
    monkeypatch.setattr(stream, "RatingsInMemory", None)
    evaluate.main()
    assert [path.read_bytes() for path in TRACKED] == before
    pd.testing.assert_frame_equal(io.read_parquet(paths.PREDICTIONS), predicted, check_exact=True)


@pytest.mark.usefixtures("on_ray")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda train: train[:0], "expected ratings, got none"),
        (lambda train: train.assign(user=train["user"] + 1), "expected 30 users"),
        (lambda train: train.assign(item=train["item"] - 1), "expected 40 items"),
        (lambda train: train.assign(rating=np.float32(np.inf)), "expected finite ratings"),
        (lambda train: train.drop(columns="item"), "cannot be read"),
    ],
)
def test_streamed_ratings_that_are_none_are_refused(change: Any, message: str) -> None:
    io.write_parquet(paths.TRAIN, change(io.read_parquet(paths.TRAIN)))
    with pytest.raises(SystemExit, match=rf"train\.parquet: {message}") as caught:
        evaluate.main()
    assert "\n" not in str(caught.value)
