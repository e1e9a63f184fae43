import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from threadpoolctl import threadpool_info

from cf.core.errors import InputError
from cf.training import device
from cf.training.checkpoint import ModelSpec
from tests.project import printed_by

CPU = torch.device("cpu")
MODEL = {"name": "dotbias", "init_range": [-0.05, 0.05]}


def spec(n_factors: int = 3, n_users: int = 610) -> ModelSpec:
    model = MODEL | {"n_factors": n_factors}
    return ModelSpec(model, n_users, n_items=9724, rating_range=(0.5, 5.0))


def let_be_free(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    free = SimpleNamespace(available=n_bytes, total=2**50)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)


@pytest.mark.parametrize(
    ("n_factors", "n_users", "needed"),
    [(10**9, 610, "153988.6 GiB for 610 users"), (10**9, 10**10, "inf GiB for 10000000000 users")],
)
def test_too_many_factors_for_the_memory_are_refused_before_they_are_made(
    n_factors: int, n_users: int, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 numbers of 4 bytes for each parameter; more than 2⁶³ cannot be counted."""
    let_be_free(monkeypatch, 3 * 2**29)
    with pytest.raises(InputError) as caught:
        device.check_memory(spec(n_factors, n_users), "params.yaml: train_dotbias.model", CPU)
    assert str(caught.value) == (
        f"params.yaml: train_dotbias.model: training needs {needed} and 9724 items, 1.5 GiB are "
        "free. Make the model smaller: lower n_factors."
    )


@pytest.mark.parametrize(("numbers", "n_tensors"), [({}, 4), ({"n_tensors": 2}, 2)])
def test_what_just_fits_into_the_memory_is_trained(
    numbers: dict[str, int], n_tensors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = (610 + 9724) * (3 + 1) * 4 * n_tensors
    let_be_free(monkeypatch, needed)
    device.check_memory(spec(), "test", CPU, **numbers)
    let_be_free(monkeypatch, needed - 1)
    with pytest.raises(InputError, match="training needs"):
        device.check_memory(spec(), "test", CPU, **numbers)


def test_a_gpu_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    let_be_free(monkeypatch, 0)
    free = {torch.device("cuda", 1): (2**30, 2**31), torch.device("cuda", 0): (0, 2**31)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", free.__getitem__)
    device.check_memory(spec(), "test", torch.device("cuda", 1))
    with pytest.raises(InputError, match=r"0\.0 GiB are free"):
        device.check_memory(spec(), "test", torch.device("cuda", 0))


def test_a_model_that_there_is_not_is_named_with_its_place() -> None:
    unknown = ModelSpec({"name": "dott"}, 610, 9724, (0.5, 5.0))
    with pytest.raises(
        InputError, match=r"^params\.yaml: train_x\.model\.name: no model is called"
    ):
        device.check_memory(unknown, "params.yaml: train_x.model", CPU)


def test_nothing_is_drawn_to_tell_what_a_model_needs() -> None:
    state, zeros = torch.get_rng_state(), torch.zeros(4, 2)
    with device._Unfilled():
        assert zeros.normal_() is zeros
        assert torch.nn.init.normal_(zeros, std=0.1) is zeros
        rows = torch.randint(-127, 128, (5, 2), dtype=torch.int8)
        found = [rows, torch.randint(9, (3,)), torch.full((2, 1), 0.5, dtype=torch.float64)]
    assert not zeros.any()
    assert torch.equal(torch.get_rng_state(), state)
    assert [tuple(each.shape) for each in found] == [(5, 2), (3,), (2, 1)]
    assert [each.dtype for each in found] == [torch.int8, torch.int64, torch.float64]


def test_what_a_model_needs_is_told_without_the_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from cf.training.device import _Unfilled\n"
        "with torch.device('meta'), _Unfilled():\n"
        "    torch.nn.Embedding(3, 2)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert printed_by(code) == "False"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        device.choose(name, "params.yaml: train_dot.device")
    assert str(caught.value) == (
        f"params.yaml: train_dot.device: expected auto, cpu, cuda or cuda:N, got {name!r}. This "
        f"machine has {torch.cuda.device_count()} CUDA devices."
    )


@pytest.mark.parametrize("found", [True, False])
def test_auto_is_a_gpu_where_there_is_one(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    monkeypatch.setattr(torch, "zeros", lambda n, device: tried.append(device))
    expected = torch.device("cuda" if found else "cpu")
    assert device.choose("auto", "test") == expected
    assert device.choose("cpu", "test") == CPU
    assert device.choose("cuda:1", "test") == torch.device("cuda", 1)
    assert tried == [expected, CPU, torch.device("cuda", 1)]


def test_a_process_is_prepared_to_compute_the_same_numbers_quickly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    tiny = torch.tensor([2e-38])
    torch.set_flush_denormal(False)
    assert (tiny / 4 > 0).all()
    drawn = []
    for n_threads, seed in ((2, 5), (1, 5), (1, 6)):
        device.prepare(CPU, n_threads, seed)
        drawn.append(torch.rand(3).tolist())
        assert torch.get_num_threads() == n_threads
        of_numpy = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert set(of_numpy) == {n_threads}
    assert (tiny / 4 == 0).all()
    assert drawn[0] == drawn[1] != drawn[2]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("index", [1, None])
def test_a_gpu_is_prepared_too(index: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    place = torch.device("cuda") if index is None else torch.device("cuda", index)
    try:
        device.prepare(place, 1, seed=0)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert chosen == ([] if index is None else [place])
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode: None)
    device.prepare(place, 1, seed=0)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
