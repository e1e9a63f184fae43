"""Compiled steps of RowwiseAdagrad against PyTorch's, in the same order."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cf.core import config
from cf.core.ratings import Ratings
from cf.models import base
from cf.training import compiled, device, optim
from cf.training.checkpoint import ModelSpec
from cf.training.fit import EpochResult, fit
from cf.training.rating_blocks import RatingBlocks

Pair = tuple[Ratings, Ratings]
MODELS = {
    "dot": {"n_factors": 5},
    "dotbias": {"n_factors": 50},
    "dotbias_ensemble": {
        "n_members": 3,
        "n_factors": 4,
        "offset_damping": 5.0,
        "user_bias_decay": 0.25,
    },
}
SETTINGS = {"name": "dotbias", "n_factors": 3, "init_range": [-0.3, 0.3]}


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_kernel(monkeypatch)
    monkeypatch.setitem(sys.modules, "numba", None)


def forget_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cf.training.rowwise_kernel", "cf.training.batch_kernel", "cf.core.jit"):
        package, module = name.rsplit(".", 1)
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delattr(importlib.import_module(package), module, raising=False)


def small(planted: Pair) -> Pair:
    return planted[0].take(np.arange(600)), planted[1].take(np.arange(100))


def train(
    name: str,
    pair: Pair,
    n_threads: int = 1,
    batch_size: int = 1,
    learning_rate: float = 0.05,
    eps: float = 1e-8,
    weight_decay: float = 0.1,
    n_epochs: int = 3,
    **settings: Any,
) -> tuple[base.Model, optim.RowwiseAdagrad, list[EpochResult]]:
    device.prepare(torch.device("cpu"), n_threads, seed=0)
    given = {"name": name, "init_range": [-0.3, 0.3], **MODELS[name], **settings}
    model = build(given)
    chosen = config.RowwiseAdagrad(name="rowwise_adagrad", eps=eps, weight_decay=weight_decay)
    optimizer = optim.build(chosen, model, len(pair[0]))
    assert isinstance(optimizer, optim.RowwiseAdagrad)
    schedule = config.Schedule(
        n_epochs=[1, n_epochs - 1], learning_rate=learning_rate, anneal="cosine", warm_up=0.1
    )
    return model, optimizer, list(fit(model, *pair, optimizer, schedule, batch_size))


def build(settings: dict[str, Any]) -> base.Model:
    return ModelSpec(settings, n_users=60, n_items=80, rating_range=(0.5, 5.0)).build("test")


def weights(model: base.Model) -> dict[str, torch.Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_compiled_steps_equal_pytorchs(
    name: str, planted: Pair, request: pytest.FixtureRequest
) -> None:
    model, optimizer, epochs = train(name, small(planted))
    assert "cf.training.rowwise_kernel" in sys.modules  # so those steps were compiled
    request.getfixturevalue("without_numba")
    other, others_optimizer, expected = train(name, small(planted))
    torch.testing.assert_close(weights(model), weights(other), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(optimizer.state, others_optimizer.state, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(epochs, expected, strict=True):
        assert ours.learning_rate == theirs.learning_rate
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_number_of_threads_does_not_change_a_bit(name: str, planted: Pair) -> None:
    (one, _, epochs), (two, _, others), (many, _, _) = (
        train(name, planted, n_threads=n) for n in (1, 2, 5)
    )
    assert all(torch.equal(weights(one)[key], weights(two)[key]) for key in weights(one))
    assert all(torch.equal(weights(one)[key], weights(many)[key]) for key in weights(one))
    assert [each.train_loss for each in epochs] == [each.train_loss for each in others]


@pytest.mark.parametrize("name", MODELS)
def test_planted_ratings_are_recovered(name: str, planted: Pair) -> None:
    options: dict[str, Any] = {
        "learning_rate": 0.2,
        "weight_decay": 0.0,
        "eps": 0.1,
        "n_factors": 4,
    }
    *_, epochs = train(name, planted, n_epochs=30, **options)
    worst = 0.3 if name == "dot" else 0.01  # the mean rating's error is above 0.9
    assert epochs[-1].valid_loss < worst


def test_every_setting_matters(planted: Pair) -> None:
    plain, _, _ = train("dotbias_ensemble", planted)
    for change in (
        {"learning_rate": 0.06},
        {"eps": 0.01},
        {"weight_decay": 0.2},
        {"offset_damping": 6.0},
        {"user_bias_decay": 0.5},
        {"batch_size": 2},
    ):
        changed, _, _ = train("dotbias_ensemble", planted, **change)  # type: ignore[arg-type]
        name = "user_bias.weight"
        assert not torch.equal(weights(plain)[name], weights(changed)[name]), change


@pytest.mark.parametrize("compile_", [True, False])
def test_two_steps_worked_by_hand(compile_: bool, request: pytest.FixtureRequest) -> None:
    """Factors (1, 0) and (2, 0), rating 1, learning rate 0.5.

    Step 1: error 1, g = 2; gradients (4, 0) and (2, 0), mean squares 8 and 2, so that both first
    factors fall by 0.5 · 4 / √8 = 0.5 · 2 / √2 = 0.707107. By the sum it would be 0.5.
    """
    if not compile_:
        request.getfixturevalue("without_numba")
    model = build({"name": "dot", "n_factors": 2, "init_range": [7.0, 7.1]})
    for param, start in zip(model.parameters(), (1.0, 2.0), strict=True):
        param.data[0] = torch.tensor([start, 0.0])
    unmet = [param[1:].detach().clone() for param in model.parameters()]
    index = np.zeros(1, np.int64)
    rating = Ratings(index, index, np.ones(1, np.float32), None, index)
    chosen = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.0)
    optimizer = optim.build(chosen, model, 1)
    schedule = config.Schedule(n_epochs=[2], learning_rate=0.5, anneal="none")
    seen: list[list[float]] = []
    for epoch in fit(model, rating, rating, optimizer, schedule, batch_size=1):
        seen.append([epoch.train_loss, *(p[0, 0].item() for p in model.parameters())])
    assert seen[0] == pytest.approx([1.0, 1 - 0.7071068, 2 - 0.7071068], rel=1e-6)
    assert seen[1] == pytest.approx([0.3860390, 0.5564394, 1.4194936], rel=1e-5)
    for param, others in zip(model.parameters(), unmet, strict=True):
        assert param[0, 1].item() == 0
        assert torch.equal(param[1:].detach(), others)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_members_of_an_ensemble_learn_as_if_alone(batch_size: int, planted: Pair) -> None:
    size = {"n_factors": 4, "init_range": [-0.3, 0.3]}
    both = build({"name": "dotbias_ensemble", "n_members": 2, **size})
    alone = [build({"name": "dotbias", **size}) for _ in range(2)]
    for member, model in enumerate(alone):
        for own, shared in zip(model.parameters(), both.parameters(), strict=True):
            own.data.copy_(shared.data.chunk(2, dim=1)[member])
    for model in (both, *alone):
        chosen = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.1)
        optimizer = optim.build(chosen, model, len(planted[0]))
        schedule = config.Schedule(n_epochs=[2], learning_rate=0.1, anneal="none")
        torch.manual_seed(1)
        list(fit(model, *planted, optimizer, schedule, batch_size))
    for member, model in enumerate(alone):
        for own, shared in zip(model.parameters(), both.parameters(), strict=True):
            expected = shared.detach().chunk(2, dim=1)[member]
            torch.testing.assert_close(own.detach(), expected, rtol=1e-4, atol=1e-5)


def test_progress_covers_all_ratings(planted: Pair) -> None:
    device.prepare(torch.device("cpu"), 2, seed=0)
    model = build({"name": "dot", "n_factors": 2, "init_range": [0.0, 0.1]})
    chosen = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.0)
    optimizer = optim.build(chosen, model, 1)
    schedule = config.Schedule(n_epochs=[2], learning_rate=0.01, anneal="none")
    seen: list[int] = []
    list(fit(model, *planted, optimizer, schedule, 1, on_batch=seen.append))
    assert sum(seen) == 2 * len(planted[0])
    assert 100 < len(seen) < len(planted[0])  # by block: one of them is no rating, nor all


class AtOnce:
    """A pool of threads that does at once what it is given, and tells what it was asked for."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads, self.n_submitted = n_threads, 0
        self.cancel_futures: bool | None = None

    def submit(self, function: Callable[..., float], *given: Any) -> Future[float]:
        self.n_submitted += 1
        future: Future[float] = Future()
        future.set_result(function(*given))
        return future

    def shutdown(self, cancel_futures: bool) -> None:
        self.cancel_futures = cancel_futures


@pytest.mark.parametrize("stop", [None, 5])
def test_blocks_wait_two_rounds_ahead_for_as_many_threads_as_torch_has(
    stop: int | None, planted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 8 blocks a round, the 18th is the first one for which one has to be done before."""
    pools: list[AtOnce] = []
    waiting: list[int] = []

    def make(n_threads: int) -> AtOnce:
        pools.append(AtOnce(n_threads))
        return pools[-1]

    def on_batch(n_ratings: int) -> None:
        waiting.append(pools[-1].n_submitted - len(waiting))
        if len(waiting) == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(compiled, "ThreadPoolExecutor", make)
    device.prepare(torch.device("cpu"), 3, seed=0)
    model = build(SETTINGS)
    chosen = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.0)
    optimizer = optim.build(chosen, model, 1)
    schedule = config.Schedule(n_epochs=[1], learning_rate=0.01, anneal="none")
    with suppress(KeyboardInterrupt):
        list(fit(model, *planted, optimizer, schedule, 1, on_batch))
    ahead = [18] * (64 - 18) + list(range(18, 0, -1))
    assert waiting == ahead[:stop]
    assert [(pool.n_threads, pool.cancel_futures) for pool in pools] == [(3, True)]


def test_where_steps_are_not_compiled_a_sentence_says_so(
    planted: Pair, request: pytest.FixtureRequest
) -> None:
    model, optimizer, _ = train("dotbias", small(planted), batch_size=600)
    adam = optim.Adam(model.parameters(), (0.9, 0.99), 0.0)
    assert compiled.advise_numba(model, optimizer, 1) == ""
    assert compiled.advise_numba(build(SETTINGS).to("meta"), optimizer, 1) == (
        "batch_size 1 is compiled for the CPU only; a GPU takes a step for each rating, which is "
        "some thousand times slower. Set device to cpu, or batch_size to 1000 or more."
    )
    request.getfixturevalue("without_numba")
    assert compiled.advise_numba(model, optimizer, 1) == (
        "numba is not installed, so PyTorch takes a step for each rating, which is some thousand "
        "times slower. Run `pip install numba`, or set batch_size to 1000 or more."
    )
    assert compiled.advise_numba(model, optimizer, 2) == ""
    assert compiled.advise_numba(model, adam, 1) == ""


def test_epochs_are_compiled_for_a_whole_model_in_32_bits_on_the_cpu(
    planted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(model: base.Model, adam: bool = False) -> compiled.CompiledEpochs | None:
        chosen = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.0)
        optimizer = optim.build(chosen, model, 1)
        if adam:
            optimizer = optim.Adam(model.parameters(), (0.9, 0.99), 0.0)
        blocks = RatingBlocks.of(model, planted[0])
        return compiled.CompiledEpochs.of(model, optimizer, blocks, planted[0], planted[0].values)

    fixed = build(SETTINGS)
    fixed.get_parameter("item_bias.weight").requires_grad_(False)
    assert found(build(SETTINGS))
    assert not found(build(SETTINGS), adam=True)
    assert not found(fixed)
    assert not found(build(SETTINGS).double())
    assert not found(build(SETTINGS).to("meta"))
    monkeypatch.setattr(compiled, "_kernel", lambda: None)
    assert not found(build(SETTINGS))


def test_training_imports_numba_only_to_use_it(pytestconfig: pytest.Config) -> None:
    code = "import sys, cf.training.fit, stages.train; print('numba' in sys.modules)"
    done = run_python(code, pytestconfig.rootpath, {})
    assert done == "False"


def test_the_kernel_is_kept_on_disk_or_compiled_each_time(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """Where neither the folder of the code nor the home takes files, there is no cache."""
    code = (
        "import numba.core.caching as caching\n"
        "from cf.core import jit\n"
        "USE\n"
        "from cf.training import rowwise_kernel as kernel\n"
        "cache = kernel.steps._cache\n"
        "print(type(cache).__name__, getattr(cache, 'cache_path', ''))"
    )
    root = pytestconfig.rootpath
    chosen = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(code.replace("USE", ""), root, chosen).startswith(f"FunctionCache {tmp_path}")
    none = "jit.LOCATORS = ''; caching.CacheImpl._locator_classes.clear()"
    assert run_python(code.replace("USE", none), root, {}).startswith("NullCache")


def test_what_cannot_be_kept_is_used_all_the_same(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    code = (
        "import errno, sys\n"
        "from numba.core.caching import IndexDataCacheFile\n"
        "def refuse(*_): raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "IndexDataCacheFile.save = refuse\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import others\n"
        "print(others.f(2))"
    )
    text = "from cf.core.jit import compiled\n\n@compiled\ndef f(x):\n    return x + 1\n"
    (tmp_path / "others.py").write_text(text)
    chosen = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(code, pytestconfig.rootpath, chosen) == "3"


def test_other_functions_are_kept_where_numba_keeps_them(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    code = (
        "import sys, numba\n"
        "from cf.training import batch_kernel\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import others\n"
        "print(others.f._cache.cache_path, repr(numba.config.CACHE_LOCATOR_CLASSES))"
    )
    text = "from numba import njit\n\n@njit(cache=True)\ndef f(x):\n    return x\n"
    (tmp_path / "others.py").write_text(text)
    assert run_python(code, pytestconfig.rootpath, {}) == f"{tmp_path}/__pycache__ ''"


HITS = """
import numpy as np
from cf.training import batch_kernel
def ones(*shape): return np.ones(shape, np.float32)
index, tables = np.zeros(1, np.int64), [ones(2, 3), ones(2, 3), ones(2, 1), ones(2, 1)]
rest = ones(0, 1), np.float32(1), np.float32(1), ones(1, 1), ones(1)
batch_kernel.forward(index, index, ones(1), *tables, *rest)
print(sum(batch_kernel.forward.stats.cache_hits.values()))
"""


def test_what_is_compiled_is_shared_by_copies_of_the_code_and_by_no_other_code(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("one", "two"):
        shutil.copytree(pytestconfig.rootpath / "cf", tmp_path / name / "cf", ignore=ignored)

    def hits(name: str) -> str:
        home = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(tmp_path / name)}
        return run_python(HITS, tmp_path / name, home)

    assert hits("one") == "0"
    assert hits("two") == "1"
    os.utime(tmp_path / "two/cf/training/batch_kernel.py", (1, 1))
    assert hits("two") == "1"
    other = tmp_path / "two/cf/training/rowwise_kernel.py"  # whose functions it might call
    other.write_text(other.read_text() + "\n# changed\n")
    assert hits("two") == "0"


def run_python(code: str, folder: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
