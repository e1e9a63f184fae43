"""Tables whose rows are divided among the workers, with row-wise Adagrad, by TorchRec."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_training import WeightDecayMode
from torch import Tensor, nn
from torch.distributed.optim.apply_optimizer_in_backward import _apply_optimizer_in_backward
from torchrec import EmbeddingCollection, EmbeddingConfig, KeyedJaggedTensor
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
from torchrec.distributed.types import ShardingPlan
from torchrec.optim import RowWiseAdagrad

from cf.core.config import Range, RowwiseAdagrad
from cf.models.base import Model
from cf.training import optim

MULTIPLE = 4  # of which FBGEMM's rows are as wide
N_DRAWN = 2**16  # rows that start from one random generator, whoever has them


class ShardedTable(nn.Module):
    """A table of `n_rows` rows of `n_columns`, in `n_parts` parts that learn independently.

    Each part is a table of TorchRec's, with columns of zeros up to a multiple of `MULTIPLE`.
    """

    def __init__(self, n_rows: int, n_columns: int, init_range: Range, n_parts: int = 1) -> None:
        super().__init__()
        self.n_rows, self.init_range = n_rows, init_range
        self.n_used = n_columns // n_parts
        self.width = -(-self.n_used // MULTIPLE) * MULTIPLE
        self.parts = [str(part) for part in range(n_parts)]
        configs = [
            EmbeddingConfig(
                name=part, embedding_dim=self.width, num_embeddings=n_rows, feature_names=[part]
            )
            for part in self.parts
        ]
        self.tables = EmbeddingCollection(tables=configs, device=torch.device("meta"))

    def forward(self, rows: Tensor) -> Tensor:
        """The rows with these numbers, (B, n_columns)."""
        asked = KeyedJaggedTensor(
            keys=self.parts,
            values=rows.repeat(len(self.parts)),
            lengths=torch.ones(len(rows) * len(self.parts), dtype=torch.int32),
        )
        found = self.tables(asked)
        return torch.cat([found[part].values()[:, : self.n_used] for part in self.parts], dim=1)

    def set_optimizer(self, optimizer: RowwiseAdagrad, decay: float) -> None:
        """Let the tables be updated by row-wise Adagrad while gradients are computed.

        FBGEMM's mean square of a row's gradient includes the columns of zeros. So that steps are
        those of `cf.training.optim.RowwiseAdagrad`, `scale` goes into learning rate and eps.
        """
        options = {
            "lr": 0.0,
            "eps": optimizer.eps * self.scale,
            "weight_decay": decay,
            "weight_decay_mode": WeightDecayMode.L2,
        }
        _apply_optimizer_in_backward(RowWiseAdagrad, self.tables.parameters(), options)

    @property
    def scale(self) -> float:
        """Square root of the share of columns that are used."""
        return math.sqrt(self.n_used / self.width)


class Loss(nn.Module):
    """The loss of a model as a module, since modules that average gradients hook `forward`."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
        """As `Model.loss`."""
        return self.model.loss(users, items, ratings)


class ShardedModel:
    """A model whose tables are divided among the workers of a process group.

    Attributes:
        module: gives the loss of this worker's share of a batch.
        model: gives predictions, if all workers ask for as many batches.
    """

    def __init__(self, model: Model, optimizer: RowwiseAdagrad, decay: float, seed: int) -> None:
        """Divide the tables of a model that was built with `use_table_factory(ShardedTable)`."""
        self.model = model
        self.tables = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, ShardedTable)
        }
        sharder = EmbeddingCollectionSharder()
        plan = {}
        for name, table in self.tables.items():
            table.set_optimizer(optimizer, decay * model.decay_scales.get(f"{name}.weight", 1.0))
            sharding = {part: row_wise(compute_kernel="fused") for part in table.parts}
            plan[f"model.{name}.tables"] = construct_module_sharding_plan(
                table.tables, sharding, sharder, device_type="cpu"
            )
        self.module = DistributedModelParallel(
            Loss(model), device=torch.device("cpu"), plan=ShardingPlan(plan), sharders=[sharder]
        )
        of_module = self.module.named_parameters()
        dense = {name.removeprefix("model."): p for name, p in of_module if ".tables." not in name}
        decays = [decay * model.decay_scales.get(name, 1.0) for name in dense]
        self.dense = optim.RowwiseAdagrad(dense.values(), optimizer.eps, decays, tables=())
        for index, (name, table) in enumerate(self.tables.items()):
            for part, weight in self._weights(name):
                fill(weight, table, [seed, index, int(part)])

    def set_learning_rate(self, rate: float) -> None:
        """The learning rate of the next steps."""
        for key, optimizer in self.module.fused_optimizer._optims:
            name = key.removeprefix("model.").removesuffix(".tables")
            for group in optimizer.param_groups:
                group["lr"] = rate * self.tables[name].scale
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

    def _weights(self, name: str) -> Iterator[tuple[str, Any]]:
        """The sharded weights of a table by part."""
        prefix = f"model.{name}.tables.embeddings."
        for key, value in self.module.state_dict().items():
            if key.startswith(prefix):
                yield key.removeprefix(prefix).removesuffix(".weight"), value


def fill(weight: Any, table: ShardedTable, seeds: list[int]) -> None:
    """Draw this worker's rows: the same, whichever worker has them."""
    for shard in weight.local_shards():
        first, n_rows = shard.metadata.shard_offsets[0], shard.metadata.shard_sizes[0]
        shard.tensor.zero_()
        for block in range(first // N_DRAWN, -(-(first + n_rows) // N_DRAWN)):
            start = block * N_DRAWN
            drawn = torch.empty(min(N_DRAWN, table.n_rows - start), table.n_used)
            drawn.uniform_(*table.init_range, generator=_generator([*seeds, block]))
            low, high = max(start, first), min(start + len(drawn), first + n_rows)
            here = shard.tensor[low - first : high - first, : table.n_used]
            here.copy_(drawn[low - start : high - start])


def _generator(seeds: list[int]) -> torch.Generator:
    state = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))
