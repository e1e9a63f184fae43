"""What lists are blended from, where there are lists."""

from pathlib import Path

import pytest

from cf.core import io, paths
from stages import blend
from tests.results import toy_split


def test_a_fold_of_a_cross_validation_is_not_blended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_split("time")
    blend.main()
    assert io.read_json(paths.BLEND / "blend.json").keys() == {"plain"}
    capsys.readouterr()
    toy_split("k_fold")
    blend.main()
    assert "Nothing to blend" in capsys.readouterr().out
    assert not list(paths.BLEND.iterdir())
