"""The script that measures a GPU, tried out on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.adagrad import made_up
from tests.devices import GPU, SimulatedGpu


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", *arguments]
    root = Path(__file__).parent.parent
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_it_measures_a_cpu_and_says_that_no_gpu_was_there(tmp_path: Path) -> None:
    done = run("--device", "cpu", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    assert f"PyTorch {torch.__version__}" in done.stdout
    assert "No GPU was measured." in done.stdout
    kept = json.loads((tmp_path / "figures.json").read_text())
    assert kept["small"]
    by_name = {each["what"]: each for each in kept["results"]}
    assert len(by_name) == 5
    first, again = (by_name[f"notebook's epoch, batches of 64{x}"] for x in ("", ", not captured"))
    assert first["loss"] == again["loss"], "neither is captured on a CPU"
    for each in kept["results"]:
        assert each["device"] == "cpu"
        assert each["ratings_per_second"] == pytest.approx(each["n_ratings"] / each["seconds"])


def test_a_gpu_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    done = run("--device", "cuda")
    assert done.returncode
    assert "--device: expected auto, cpu, cuda or cuda:N, got 'cuda'" in done.stderr


def test_a_gpu_is_given_large_batches_and_nothing_on_the_cpu() -> None:
    both = 2 * [(made_up(2000, 60, 50), gpu.Size(60, 50, 2000))]
    with SimulatedGpu():
        given = list(gpu.lines(GPU, *both, n_threads=1, every=False))
        names = [what for what, _, _ in given]
        assert names[2:] == ["epoch, batches of 65,536", "sweep"]
        losses = {what: next(rounds).loss for what, _, rounds in given}
    on_cpu = gpu.lines(torch.device("cpu"), *both, n_threads=1, every=True)
    for what, _, rounds in on_cpu:
        if what in losses:
            assert next(rounds).loss == pytest.approx(losses[what], rel=1e-3), what
