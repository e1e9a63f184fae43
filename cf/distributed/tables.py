"""Tables whose rows are divided among the workers, with row-wise Adagrad, by TorchRec."""

import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from fbgemm_gpu.split_table_batched_embeddings_ops_common import PoolingMode
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    SplitTableBatchedEmbeddingBagsCodegen,
)
from torch import Tensor, nn
from torch.distributed.optim.apply_optimizer_in_backward import _apply_optimizer_in_backward
from torchrec import EmbeddingCollection, EmbeddingConfig
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embedding_sharding import USE_ONE_TBE_PER_TABLE
from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
from torchrec.distributed.types import ShardingPlan
from torchrec.optim import RowWiseAdagrad

from cf.core.config import Range, RowwiseAdagrad
from cf.core.errors import InputError
from cf.distributed.blocks import n_rows_held, n_rows_of_worker, rows_of
from cf.distributed.collect import part_name, part_of
from cf.distributed.exchange import Request
from cf.models.base import Model
from cf.training import optim

MULTIPLE = 4  # of which FBGEMM's rows are as wide
N_DRAWN = 2**16  # rows that start from one random generator, whoever has them


class ShardedTable(nn.Module):
    """A table of `n_rows` rows of `n_columns`, in `n_parts` parts that learn independently.

    Each part is a table of TorchRec's, with columns of zeros up to a multiple of `MULTIPLE`. A
    `Lookup` fetches the rows of a batch before the model asks for them.

    Attributes:
        n_held: rows of TorchRec's tables.
        name: the module's, in the model.
        side: "users" or "items", whose rows these are.
        parts: their names.
        decay_scale: what the optimizer's weight decay is multiplied with.
        wanted: (B,) the batch's users or items.
        fetched: (B, n_columns) their rows.
    """

    name: str
    side: str = ""
    parts: list[str]
    decay_scale: float
    wanted: Tensor
    fetched: Tensor

    def __init__(self, n_rows: int, n_columns: int, init_range: Range, n_parts: int = 1) -> None:
        super().__init__()
        self.n_rows, self.n_columns, self.init_range = n_rows, n_columns, init_range
        self.n_held = n_rows_held(n_rows)
        self.n_parts, self.n_used = n_parts, n_columns // n_parts
        self.width = -(-self.n_used // MULTIPLE) * MULTIPLE

    def forward(self, rows: Tensor) -> Tensor:
        """The rows with these numbers, (B, n_columns), which are a batch's users or items."""
        if rows is not self.wanted:
            raise InputError(
                f"launcher: ray: expected the model to ask {self.name} for the rows of `users` or "
                "`items` as they are, got others. Set launcher to local."
            )
        return self.fetched

    @property
    def scale(self) -> float:
        """Square root of the share of columns that are used."""
        return math.sqrt(self.n_used / self.width)


class Lookup(nn.Module):
    """A model, and the lookup of all rows that a batch needs from its tables.

    The loss is the result of `forward`, since modules that average gradients hook that.

    Attributes:
        named: the tables, by name.
        sides: those that are asked for users, and those that are asked for items.
        parts: the table that each part is of.
        next: users and items of the batch after this one, (B,) each, if they are known: their rows
            are asked for while those of this one are on their way.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.named = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, ShardedTable)
        }
        for name, table in self.named.items():
            table.name = name
            table.parts = [part_name(name, number) for number in range(table.n_parts)]
            table.decay_scale = model.decay_scales.get(f"{name}.weight", 1.0)
        self._see_what_is_wanted()
        by_side = {
            side: [table for table in self.named.values() if table.side == side]
            for side in ("users", "items")
        }
        self.sides = {side: tables for side, tables in by_side.items() if tables}
        for tables in self.sides.values():  # divided at the same rows
            n_held = max(table.n_held for table in tables)
            for table in tables:
                table.n_held = n_held
        self.parts = {part: table for table in self.named.values() for part in table.parts}
        if len(self.parts) < sum(table.n_parts for table in self.named.values()):
            raise InputError(
                f"launcher: ray: two of the tables {', '.join(self.named)} share a name."
            )
        self.collections: Any = nn.ModuleDict()  # a collection has one width
        for width in sorted({table.width for table in self.named.values()}):
            configs = [
                EmbeddingConfig(
                    name=part,
                    embedding_dim=width,
                    num_embeddings=table.n_held,
                    feature_names=[part],
                )
                for part, table in self.parts.items()
                if table.width == width
            ]
            self.collections[str(width)] = EmbeddingCollection(
                tables=configs, device=torch.device("meta")
            )
        self._ahead: tuple[list[Tensor], Request] | None = None
        self.next: Sequence[Tensor] | None = None

    def forward(self, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
        """As `Model.loss`."""
        with self.fetched(users, items):
            return self.model.loss(users, items, ratings)

    def predict(self, users: Tensor, items: Tensor) -> Tensor:
        """As `Model.forward`."""
        with self.fetched(users, items):
            predicted: Tensor = self.model(users, items)
            return predicted

    @contextmanager
    def fetched(self, users: Tensor, items: Tensor) -> Iterator[None]:
        """In the block, each table has the rows of these users or items, (B,)."""
        if not self.sides:
            yield
            return
        wanted = self._of_sides(users, items)
        if self._ahead and all(map(operator.is_, self._ahead[0], wanted)):
            request = self._ahead[1]
        else:
            request = self._request(wanted)
            request.send()
        self._ahead = None
        look_ups = [partial(self._look_up, tables) for tables in self.sides.values()]
        fetched = request.fetch(look_ups, while_waiting=self._ask_ahead)
        if self._ahead:
            self._ahead[1].send()
        for tables, indices, rows in zip(self.sides.values(), wanted, fetched, strict=True):
            columns = torch.split(rows, [table.n_columns for table in tables], dim=1)
            for table, of_table in zip(tables, columns, strict=True):
                table.wanted, table.fetched = indices, of_table
        yield
        for table in self.named.values():
            del table.wanted, table.fetched

    def _of_sides(self, users: Tensor, items: Tensor) -> list[Tensor]:
        given = {"users": users, "items": items}
        return [given[side] for side in self.sides]

    def _request(self, wanted: Sequence[Tensor]) -> Request:
        n_held = [tables[0].n_held for tables in self.sides.values()]
        n_workers = dist.get_world_size()
        return Request(
            [rows_of(indices, n) for indices, n in zip(wanted, n_held, strict=True)],
            [n_rows_of_worker(n, n_workers) for n in n_held],
        )

    def _ask_ahead(self) -> None:
        if self.next:
            wanted = self._of_sides(*self.next)
            self._ahead, self.next = (wanted, self._request(wanted)), None

    def _look_up(self, tables: list[ShardedTable], rows: Tensor) -> Tensor:
        """The columns of these tables, of rows that this worker has."""
        kernels, offsets = dict(self.kernels()), torch.arange(len(rows) + 1)  # bags of one row
        found = [
            kernels[part](indices=rows, offsets=offsets)[:, : table.n_used]
            for table in tables
            for part in table.parts
        ]
        return torch.cat(found, dim=1)

    def kernels(self) -> Iterator[tuple[str, SplitTableBatchedEmbeddingBagsCodegen]]:
        """What looks up and updates this worker's rows of a part, once the tables are divided."""
        groups = (group for each in self.collections.values() for group in each._lookups)
        for kernel in (kernel for group in groups for kernel in group._emb_modules):
            (part,) = kernel._config.embedding_tables
            yield part.name, kernel.emb_module

    def _see_what_is_wanted(self) -> None:
        """Find out which tables the model asks for rows of users, and which of items."""
        users, items = torch.zeros(2, 1, dtype=torch.int64)

        def note(table: ShardedTable, given: tuple[Tensor]) -> None:
            table.side = "items" if given[0] is items else "users"
            table.wanted = items if given[0] is items else users
            table.fetched = torch.zeros(1, table.n_columns)

        was_training = self.model.training
        self.model.eval()  # which draws nothing, and changes no statistics
        hooks = [table.register_forward_pre_hook(note) for table in self.named.values()]
        with torch.no_grad():
            self.model(users, items)
            self.model.loss(users, items, torch.zeros(1))
        for hook in hooks:
            hook.remove()
        self.model.train(was_training)
        for name, table in self.named.items():
            if not table.side:
                raise InputError(f"launcher: ray: the model asks {name} for no rows. Remove it.")


class ShardedModel:
    """A model whose tables are divided among the workers of a process group.

    Attributes:
        module: gives the loss of this worker's share of a batch.
        lookup: gives predictions, if all workers ask for as many batches.
    """

    def __init__(self, model: Model, optimizer: RowwiseAdagrad, decay: float, seed: int) -> None:
        """Divide the tables of a model that was built with `use_table_factory(ShardedTable)`."""
        self.model = model
        self.lookup = Lookup(model)
        sharder = EmbeddingCollectionSharder(fused_params={USE_ONE_TBE_PER_TABLE: True})
        plan = {}
        for width, collection in self.lookup.collections.items():
            sharding = {}
            for part, embedding in collection.embeddings.items():
                set_optimizer(embedding, self.lookup.parts[part], optimizer)
                sharding[part] = row_wise(compute_kernel="fused")
            plan[f"collections.{width}"] = construct_module_sharding_plan(
                collection, sharding, sharder, device_type="cpu"
            )
        self.module = DistributedModelParallel(
            self.lookup,
            device=torch.device("cpu"),
            plan=ShardingPlan(plan),
            sharders=[sharder],
        )
        for part, kernel in self.lookup.kernels():
            sum_bags(kernel, decay * self.lookup.parts[part].decay_scale)
        dense = dict(model.named_parameters())
        decays = [decay * model.decay_scales.get(name, 1.0) for name in dense]
        self.dense = optim.RowwiseAdagrad(dense.values(), optimizer.eps, decays, tables=())
        weights = {part_of(key): weight for key, weight in self.module.state_dict().items()}
        for index, table in enumerate(self.lookup.named.values()):
            for number, part in enumerate(table.parts):
                fill(weights[part], table, [seed, index, number])

    def set_learning_rate(self, rate: float) -> None:
        """The learning rate of the next steps."""
        optimizer = self.module.fused_optimizer
        for key, group in zip(optimizer.params, optimizer.param_groups, strict=True):
            group["lr"] = rate * self.lookup.parts[part_of(key)].scale
        optimizer.zero_grad()  # which is what hands the rate on; gradients there are none
        self.dense.param_groups[0]["lr"] = rate

    def step_dense(self) -> None:
        """Update what is no table; the tables have been, while gradients were computed."""
        self.dense.step()
        self.dense.zero_grad()

    def state(self) -> dict[str, Any]:
        """All that a checkpoint keeps: of tables, each worker its rows."""
        return {
            "model": self.module.state_dict(),
            "tables": self.module.fused_optimizer.state_dict()["state"],
            "dense": dict(enumerate(self.dense.state[0])),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, whose tensors are those of this one, or copies."""
        self.module.load_state_dict(state["model"])
        optimizer = self.module.fused_optimizer.state_dict()
        self.module.fused_optimizer.load_state_dict(optimizer | {"state": state["tables"]})
        for index, squares in enumerate(self.dense.state[0]):
            squares.copy_(state["dense"][index])


def set_optimizer(weight: nn.Module, table: ShardedTable, optimizer: RowwiseAdagrad) -> None:
    """Let a part of a table be updated by row-wise Adagrad while gradients are computed.

    FBGEMM's mean square of a row's gradient includes the columns of zeros. So that steps are those
    of `cf.training.optim.RowwiseAdagrad`, `scale` goes into learning rate and eps.
    """
    options = {"lr": 0.0, "eps": optimizer.eps * table.scale}
    _apply_optimizer_in_backward(RowWiseAdagrad, weight.parameters(), options)


def sum_bags(kernel: SplitTableBatchedEmbeddingBagsCodegen, decay: float) -> None:
    """Let a kernel of one table sum bags of one row each: the same values, and faster updates.

    For rows without bags, FBGEMM adds up gradients in hash tables on a CPU, which takes several
    times as long. For bags it knows no weight decay, so `decay` times a row joins its gradient
    here.
    """
    kernel.pooling_mode = PoolingMode.SUM

    def add_decay(_: nn.Module, args: tuple[()], given: dict[str, Any], found: Tensor) -> None:
        if found.requires_grad:
            rows = given["indices"]  # of several workers, so perhaps repeatedly
            _, places, counts = torch.unique(rows, return_inverse=True, return_counts=True)
            decayed = found.detach() * (decay / counts[places])[:, None]  # no cycle with `found`
            found.register_hook(lambda gradient: gradient + decayed)  # type: ignore[no-untyped-call]

    if decay:
        kernel.register_forward_hook(add_decay, with_kwargs=True)


def fill(weight: Any, table: ShardedTable, seeds: list[int]) -> None:
    """Draw this worker's rows: the same, whichever worker has them."""
    for shard in weight.local_shards():
        first, n_rows = shard.metadata.shard_offsets[0], shard.metadata.shard_sizes[0]
        end = min(first + n_rows, table.n_rows)
        shard.tensor.zero_()
        for block in range(first // N_DRAWN, -(-end // N_DRAWN) if first < end else 0):
            start = block * N_DRAWN
            drawn = torch.empty(min(N_DRAWN, table.n_rows - start), table.n_used)
            drawn.uniform_(*table.init_range, generator=_generator([*seeds, block]))
            low, high = max(start, first), min(start + len(drawn), end)
            here = shard.tensor[low - first : high - first, : table.n_used]
            here.copy_(drawn[low - start : high - start])


def _generator(seeds: list[int]) -> torch.Generator:
    state = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))
