import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cf.core import io, paths
from cf.core.provenance import Provenance, SplitInfo
from cf.core.ratings import Ratings
from cf.tracking.record import RunRecord
from cf.training import checkpoint as checkpoints
from cf.training.checkpoint import ModelSpec
from stages import rank

ROOT = Path(__file__).parent.parent
N_USERS, N_ITEMS = 30, 40


def project(method: str) -> None:
    """A split of 600 made-up ratings and an untrained model, in the current folder."""
    text = (ROOT / "params.yaml").read_text()
    paths.PARAMS.write_text(text.replace("enabled: true", "enabled: false"))
    users, items = np.divmod(np.random.default_rng(0).permutation(N_USERS * N_ITEMS), N_ITEMS)
    values = (1 + (users + items) % 5).astype(np.float32)
    ratings = Ratings(users, items, values, None, np.arange(len(users)))
    io.write_parquet(paths.TRAIN, ratings.take(np.arange(500)).to_frame())
    io.write_parquet(paths.VALID, ratings.take(np.arange(500, 600)).to_frame())
    facts = SplitInfo(0.2, 1, 500, 100, 0, "ab", method=method)
    io.write_dataclass(paths.SPLIT_INFO, facts)
    source = Provenance("toy", "toy", "", "", 600, N_USERS, N_ITEMS, (1.0, 5.0))
    io.write_dataclass(paths.SPLIT_PROVENANCE, source)
    model = {"name": "dot", "n_factors": 2, "init_range": [0.0, 0.1]}
    spec = ModelSpec(model, N_USERS, N_ITEMS, (1.0, 5.0))
    checkpoints.save(paths.MODELS / "plain", spec.build("plain"), spec)
    tags = {"split_sha256": "ab"}
    record = RunRecord("id", "cf", "plain", {}, tags, {}, started=0, status="FINISHED")
    io.write_dataclass(paths.RUNS / "plain.json", record)


def test_ranks_all_models_and_baselines_where_the_last_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    project("leave_last")
    rank.main()
    table = io.read_csv(paths.RANKING)
    assert set(table["model"]) == {"popularity", "itemknn", "ease", "bias", "plain"}
    assert table["recall_at_10"].between(0, 1).all()
    valid = Ratings.from_frame(io.read_parquet(paths.VALID))
    n_users = len(np.unique(valid.users[valid.values >= 4]))
    assert set(table["n_users"]) == {n_users}
    assert set(table["part"]) == {"valid"}
    assert io.read_json(paths.RANKED_RUNS) == {"plain": "id"}
    assert f"toy, split by leave_last, valid: {n_users}" in capsys.readouterr().out

    text = paths.PARAMS.read_text()
    paths.PARAMS.write_text(text.replace("part: valid", "part: test"))
    with pytest.raises(SystemExit, match=r"evaluate.part: there is no test part"):
        rank.main()
    paths.PARAMS.write_text(text)
    paths.PARAMS.write_text(text.replace("relevant: 4.0", "relevant: 5.5"))
    rank.main()
    assert "No lists are evaluated. params.yaml: rank.relevant: no user" in capsys.readouterr().out
    assert io.read_csv(paths.RANKING).empty
    assert io.read_json(paths.RANKED_RUNS) == {}
    paths.PARAMS.write_text(text)
    shutil.rmtree(paths.MODELS / "plain")
    with pytest.raises(SystemExit, match=r"models/plain: not a whole checkpoint"):
        rank.main()


def test_other_splits_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    project("random")
    code = (
        "import sys; from stages import rank; rank.main(); "
        "print({'torch', 'mlflow', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said, imported = done.stdout.splitlines()
    assert said == "Not on a random split: `dvc exp run -S split.method=time` ranks."
    assert imported == "set()"
    assert io.read_csv(paths.RANKING).empty
    assert io.read_json(paths.RANKED_RUNS) == {}
