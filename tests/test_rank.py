import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cf.core import io, paths, ratings
from cf.core.ratings import Provenance, Ratings
from stages import blend, rank
from tests.results import toy_split

ROOT = Path(__file__).parent.parent


def test_ranks_all_models_and_baselines_where_the_last_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_split("leave_last")
    blend.main()
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
    paths.PARAMS.write_text(text.replace("relevant: auto", "relevant: 5.5"))
    rank.main()
    assert "No lists are evaluated. params.yaml: rank.relevant: no user" in capsys.readouterr().out
    assert io.read_csv(paths.RANKING).empty
    assert io.read_json(paths.RANKED_RUNS) == {}
    paths.PARAMS.write_text(text)
    shutil.rmtree(paths.MODELS / "plain")
    with pytest.raises(SystemExit, match=r"models/plain: not a whole checkpoint"):
        rank.main()


def test_of_too_many_ratings_lists_of_users_drawn_at_random_are_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_split("leave_last")
    blend.main()
    monkeypatch.setattr(ratings, "MOST_RATINGS", 300)
    drawn = ratings.sample_users(io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance))
    rank.main()
    valid = Ratings.from_frame(io.read_parquet(paths.VALID))
    relevant = valid.users[(valid.values >= 4) & drawn[valid.users]]
    table = io.read_csv(paths.RANKING)
    assert set(table["n_users"]) == {len(np.unique(relevant))}
    assert f"Lists are of {drawn.sum()} users, drawn at random." in capsys.readouterr().out


def test_other_splits_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toy_split("random")
    code = (
        "import sys; from stages import rank; rank.main(); "
        "print({'torch', 'mlflow', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said, imported = done.stdout.splitlines()
    assert said.startswith(
        "Nothing to rank: the split is random, and lists are evaluated where the "
    )
    assert imported == "set()"
    assert io.read_csv(paths.RANKING).empty
    assert io.read_json(paths.RANKED_RUNS) == {}
