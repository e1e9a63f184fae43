"""Tables divided by TorchRec take the steps of cf's own row-wise Adagrad."""

import gc
import multiprocessing
import os
import weakref
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from cf.core import config
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.models.base import embedding, use_table_factory
from cf.models.dot import Dot
from cf.training import optim
from cf.training.checkpoint import ModelSpec

pytest.importorskip("torchrec", reason="no TorchRec here: make ray")

from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from cf.distributed.collect import collect, reading_checkpoint
from cf.distributed.tables import N_DRAWN, Lookup, ShardedModel, ShardedTable, fill

pytestmark = pytest.mark.xdist_group("ray")

N_USERS, N_ITEMS, N = 40, 30, 256
OPTIMIZER = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.01, eps=1e-3)
START = {"init_range": [-0.05, 0.05]}
MODELS: dict[str, dict[str, Any]] = {
    "dot": {"n_factors": 8, **START},
    "dotbias": {"n_factors": 6, **START},
    "dotbias_ensemble": {"n_members": 3, "n_factors": 5, "offset_damping": 3.0,
                         "user_bias_decay": 0.25, **START},
    "embnet": {"n_factors": 6, "n_hidden": 4, "dropout": [0.0, 0.0], "range_margin": 0.5, **START},
}  # fmt: skip
SHARED = [*((name, N_ITEMS) for name in MODELS), ("dotbias", 1)]  # for one of the workers no item


@pytest.fixture
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group of this process."""
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def made_up_ratings() -> Ratings:
    """Of all users but the last one."""
    draw = np.random.default_rng(0)
    users, items = draw.integers(N_USERS - 1, size=N), draw.integers(N_ITEMS, size=N)
    return Ratings(users, items, draw.uniform(0.5, 5, N).astype(np.float32), None, np.arange(N))


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("name", MODELS)
def test_steps_are_those_of_a_model_in_memory(name: str, tmp_path: Path) -> None:
    train = made_up_ratings()
    spec = ModelSpec({"name": name, **MODELS[name]}, N_USERS, N_ITEMS, (0.5, 5.0))
    torch.manual_seed(1)
    with use_table_factory(ShardedTable):
        model = spec.build("")
    model.before_training(train)
    sharded = ShardedModel(model, OPTIMIZER, 0.01, seed=7)

    def saved(folder: str) -> Any:
        """The weights as the driver collects them from a checkpoint."""
        save(sharded.state(), storage_writer=FileSystemWriter(tmp_path / folder))
        local = spec.build("")
        local.before_training(train)
        collect(local, tmp_path / folder)
        return local

    local = saved("start")
    optimizer = optim.build(OPTIMIZER, local, N)
    batch = [torch.tensor(each) for each in (train.users, train.items, train.values)]
    optimizer.rows_looked_up = lambda table: batch[len(table) == N_ITEMS]
    for step in range(5):
        rate = 0.1 / (1 + step)
        sharded.set_learning_rate(rate)
        loss = sharded.module(*batch)
        loss.backward(torch.ones_like(loss))
        sharded.step_dense()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = local.loss(*batch)
        loss.backward(torch.ones_like(loss))
        optimizer.step()
    found, started = saved("end").state_dict(), saved("start again").state_dict()
    for key, expected in local.state_dict().items():
        assert torch.allclose(found[key], expected, atol=1e-6), key
        assert torch.equal(found[key], started[key])


def spec_of(name: str, n_items: int) -> ModelSpec:
    return ModelSpec({"name": name, **MODELS[name]}, N_USERS, n_items, (0.5, 5.0))


def sharded_model(name: str = "dotbias", n_items: int = N_ITEMS) -> ShardedModel:
    torch.manual_seed(7)  # of layers, which all processes have
    with use_table_factory(ShardedTable):
        model = spec_of(name, n_items).build("")
    model.before_training(made_up_ratings())
    return ShardedModel(model, OPTIMIZER, 0.05, seed=7)


def train_shares(rank: int, n_workers: int, folder: Path) -> None:
    """Train the models of `SHARED` together with other processes, one after the other."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    os.environ |= dict(zip(names, map(str, (rank, rank, n_workers, n_workers)), strict=True))
    group = f"file://{folder}/group"
    dist.init_process_group("gloo", init_method=group, rank=rank, world_size=n_workers)
    for name, n_items in SHARED:
        train_share(rank, n_workers, name, n_items, folder / f"{name}_{n_items}")
    dist.destroy_process_group()


def train_share(rank: int, n_workers: int, name: str, n_items: int, checkpoint: Path) -> None:
    """Take three steps of batches in which users are of all processes."""
    train = made_up_ratings()
    sharded = sharded_model(name, n_items)
    arrays = train.users, train.items % n_items, train.values
    batches = [  # of other users, and others' items, each time
        [torch.tensor(each[step::2][rank::n_workers]) for each in arrays] for step in (0, 1, 0)
    ]
    for batch, following in zip_longest(batches, batches[1:]):
        sharded.set_learning_rate(0.1)
        sharded.lookup.next = following[:2] if following else None
        loss = sharded.module(*batch) * (len(batch[0]) * n_workers / (N / 2))
        loss.backward(torch.ones_like(loss))
        sharded.step_dense()
    save(sharded.state(), storage_writer=FileSystemWriter(checkpoint))


@pytest.fixture(scope="module")
def by_one_and_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoints of one process and of two."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload([__name__])  # imports TorchRec once for all processes
    for n_workers, folder in enumerate(folders, start=1):
        with ProcessPoolExecutor(n_workers, forkserver) as pool:
            given = partial(train_shares, n_workers=n_workers, folder=folder)
            list(pool.map(given, range(n_workers), timeout=120))
    return folders


@pytest.mark.parametrize(("name", "n_items"), SHARED)
def test_workers_that_share_rows_train_as_one_does(
    name: str, n_items: int, by_one_and_two: tuple[Path, Path]
) -> None:
    spec = spec_of(name, n_items)
    one, two = spec.build(""), spec.build("")
    for model, folder in zip((one, two), by_one_and_two, strict=True):
        collect(model, folder / f"{name}_{n_items}")
    for key, expected in one.state_dict().items():
        assert torch.allclose(two.state_dict()[key], expected, atol=1e-6), key


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("damaged", ["__0_0.distcp", ".metadata", "epochs.json"])
@pytest.mark.parametrize("keep", [0.0, 0.5, None])
def test_a_damaged_checkpoint_is_named(
    damaged: str, keep: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = pytest.importorskip("ray.train", reason="no Ray here: make ray")
    from cf.distributed import worker

    sharded = sharded_model()
    save(sharded.state(), storage_writer=FileSystemWriter(tmp_path))
    (tmp_path / worker.DONE).write_text("[[1, 0.9, 0.8, 0.1, 2.0]]")
    monkeypatch.setattr(train, "get_checkpoint", lambda: train.Checkpoint(str(tmp_path)))
    assert [each.epoch for each in worker.restore(sharded)] == [1]
    path = tmp_path / damaged
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[: int(keep * len(content))])
    message = f"{tmp_path}: this checkpoint cannot be read"
    with pytest.raises(InputError, match=message):
        worker.restore(sharded)
    if damaged != worker.DONE:
        checkpoint = train.get_checkpoint()
        with pytest.raises(InputError, match=message), reading_checkpoint(checkpoint) as folder:
            collect(spec_of("dotbias", N_ITEMS).build(""), folder)


@pytest.mark.usefixtures("_alone")
def test_a_step_keeps_nothing_of_the_batch() -> None:
    sharded = sharded_model()
    rows = []
    for _, kernel in sharded.lookup.kernels():
        kernel.register_forward_hook(lambda *given: rows.append(weakref.ref(given[-1])))
    train = made_up_ratings()
    batch = [torch.tensor(each) for each in (train.users, train.items, train.values)]
    loss = sharded.module(*batch)
    assert len(rows) == 4
    loss.backward(torch.ones_like(loss))
    del loss
    gc.collect()
    assert all(each() is None for each in rows)


@pytest.mark.usefixtures("_alone")
def test_a_model_without_tables_trains() -> None:
    class Constant(Dot):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            del self.user_factors, self.item_factors
            self.value = torch.nn.Parameter(torch.zeros(()))

        def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
            return self.value.expand(len(users))

    model = Constant(Dot.Config(n_factors=8, **START), N_USERS, N_ITEMS, (0.5, 5.0))
    sharded = ShardedModel(model, OPTIMIZER, 0.0, seed=7)
    sharded.set_learning_rate(0.1)
    loss = sharded.module(torch.tensor([1, 2]), torch.tensor([1, 2]), torch.tensor([1.0, 1.0]))
    loss.backward(torch.ones_like(loss))
    sharded.step_dense()
    assert model.value > 0


def test_a_table_that_is_never_asked_is_refused() -> None:
    class Idle(Dot):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.spare = embedding(N_USERS, 3, [-0.1, 0.1])

    with use_table_factory(ShardedTable):
        model = Idle(Dot.Config(n_factors=8, **START), N_USERS, N_ITEMS, (0.5, 5.0))
    with pytest.raises(InputError, match="the model asks spare for no rows"):
        Lookup(model)
    assert model.training


def test_a_table_that_is_asked_for_other_rows_is_refused() -> None:
    class Neighbors(Dot):
        def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
            return super().forward((users + 1) % N_USERS, items)

    with use_table_factory(ShardedTable):
        model = Neighbors(Dot.Config(n_factors=8, **START), N_USERS, N_ITEMS, (0.5, 5.0))
    with pytest.raises(InputError, match="expected the model to ask user_factors for the rows of"):
        Lookup(model)


@pytest.mark.usefixtures("_alone")
def test_a_row_starts_in_the_same_way_whoever_has_it() -> None:
    table = ShardedTable(N_DRAWN + 100, 3, [-1.0, 1.0])

    class Shard:
        def __init__(self, first: int, n_rows: int) -> None:
            self.tensor = torch.empty(n_rows, table.width)
            self.metadata = type("", (), {"shard_offsets": [first, 0], "shard_sizes": [n_rows, 4]})

    class Weight:
        def __init__(self, *shards: Shard) -> None:
            self.shards = shards

        def local_shards(self) -> tuple[Shard, ...]:
            return self.shards

    whole, second = Shard(0, N_DRAWN + 100), Shard(N_DRAWN - 50, 150)
    fill(Weight(whole), table, [1, 0, 0])
    fill(Weight(second), table, [1, 0, 0])
    assert torch.equal(whole.tensor[N_DRAWN - 50 :], second.tensor)
    assert whole.tensor[:, 3:].eq(0).all()
    used = whole.tensor[:, :3]
    assert used.abs().max() <= 1
    assert used.std() == pytest.approx(1 / 3**0.5, abs=0.01)
    assert len(used.unique(dim=0)) == len(used)
