"""The preset for large data sets, and the benchmark that measures it."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import large
from cf.core import config
from cf.models import base

PARAMS = yaml.safe_load((large.ROOT / "params.yaml").read_text())
PRESET = yaml.safe_load(large.PRESET.read_text())


def keys(content: Any) -> Any:
    return {key: keys(value) for key, value in content.items()} if isinstance(content, dict) else 0


def sections_but_training(content: dict[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in content if not name.startswith("train_")}


def test_the_preset_can_stand_for_params_yaml() -> None:
    """It has the same sections in the same order, and values that the stages accept."""
    assert list(PRESET) == list(PARAMS)
    for name, section in sections_but_training(PARAMS).items():
        assert keys(PRESET[name]) == keys(section), name
    for name in PRESET:
        if name.startswith("train_"):
            kind = config.Sampling if config.is_sampled(large.PRESET, name) else config.Training
            training: config.Training | config.Sampling = config.load(large.PRESET, name, kind)
            settings = dict(training.model)
            assert settings["name"] == PARAMS[name]["model"]["name"]
            config.validate(settings, "model", base.find(settings.pop("name")).Config)


def test_the_preset_changes_training_and_what_grows_with_it_alone() -> None:
    ours, theirs = map(sections_but_training, (PRESET, PARAMS))
    ours["ingest"] |= {key: theirs["ingest"][key] for key in ("dataset", "fallback")}
    ours["evaluate"]["n_resamples"] = theirs["evaluate"]["n_resamples"]
    assert ours == theirs


def test_a_stage_is_measured_as_it_says(tmp_path: Path) -> None:
    code = "x = bytearray(300_000_000); sum(range(3_000_000)); print('done')"
    figures = large.measure([sys.executable, "-c", code], tmp_path)
    of_this = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # which a child begins with
    assert 0.3 < figures["peak_gb"] < 0.4 + of_this
    assert figures["cpu_s"] > 0
    assert 0 < figures["silent_s"] <= figures["seconds"] + 0.1


def test_a_stage_that_fails_ends_the_benchmark_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; print('before'); sys.exit('no such ratings')"
    with pytest.raises(SystemExit, match=r"before\s+no such ratings\s+failed: "):
        large.measure([sys.executable, "-c", code], tmp_path)


@pytest.mark.parametrize(("outputs", "shown"), [("here", True), ("elsewhere", False)])
def test_a_spinner_turns_on_a_terminal_alone(tmp_path: Path, outputs: str, shown: bool) -> None:
    """On one, work in silence is no silence; a pipe gets what is printed, and nothing else."""
    code = (
        "from cf.core.progress import working\n"
        "@working('deep thought')\n"
        "def think():\n"
        "    print('the answer:', sum(range(2 * 10**7)))\n"
        "think()"
    )
    command = [sys.executable, "-c", code]
    environ = {**large.environment(), "PYTHONPATH": str(large.ROOT), "TERM": "xterm"}
    if outputs == "here":
        terminal, inner = os.openpty()
        process = subprocess.Popen(command, stdout=inner, stderr=inner, cwd=tmp_path, env=environ)
        os.close(inner)
        text = b"".join(iter(lambda: large.read(terminal), b"")).decode()
        assert process.wait() == 0
    else:
        text = subprocess.check_output(command, cwd=tmp_path, env=environ, text=True)
    assert ("deep thought" in text) == shown
    assert "the answer: 199999990000000" in text


def test_stages_are_those_of_dvc_yaml_and_the_trainings_asked_for() -> None:
    names = list(large.stages(["bayesmf"]))
    assert names[:4] == ["ingest", "encode", "split", "train_bayesmf"]
    assert names[-1] == "plot"
    assert large.stages(["bayesmf"])["train_bayesmf"][1:] == ["-m", "stages.sample", "bayesmf"]
    with pytest.raises(SystemExit, match="no stage train_bayes in"):
        large.stages(["bayes"])


def test_what_changed_since_the_last_run_is_in_the_table() -> None:
    def result(*seconds: float) -> dict[str, Any]:
        rest = {"cpu_s": 1.0, "peak_gb": 2.0, "silent_s": 0.0}
        stages = {f"stage{k}": {"seconds": value, **rest} for k, value in enumerate(seconds)}
        return {"machine": "a machine", "n_ratings": 5, "stages": stages}

    def column(now: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
        return [str(cell) for cell in large.table("ml-1m", now, before).columns[1].cells]

    assert column(result(3, 1), None) == ["3.0", "1.0", "4.0"]
    assert column(result(3, 1), result(2, 2)) == ["3.0 (1.50)", "1.0 (0.50)", "4.0 (1.00)"]
    assert column(result(3, 1), result(2)) == ["3.0 (1.50)", "1.0", "4.0"]


def test_the_copy_has_the_code_and_none_of_the_results(tmp_path: Path) -> None:
    if not (large.ROOT / ".git").exists():
        pytest.skip("no git repository here")
    with large.project(None) as folder:
        assert (folder / "stages/train.py").read_bytes() == (
            large.ROOT / "stages/train.py"
        ).read_bytes()
        assert not (folder / "runs").exists()
        assert not (folder / "reports").exists()
    assert not folder.exists()
