"""Workers train on more ratings than they have room for, with tables that one of them cannot hold.

A limit of the system on what a worker may allocate enforces it: it refuses what is beyond.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from cf.core.io import write_json, write_parquet
from cf.core.ratings import Provenance, SplitInfo
from tests.project import Project, untrained

pytest.importorskip("ray", reason="no Ray here: make ray")
pytest.importorskip("torchrec", reason="no TorchRec here: make ray")
pytestmark = pytest.mark.xdist_group("ray")

ROOM = 64 * 2**20  # bytes that a worker may allocate once it has imported all it needs
WINDOW = 2**16  # ratings that are shuffled together, fewer than usual as the room is small
N_USERS, N_ITEMS, N_FACTORS = 3_450_000, 1_000, 4
N_GROUPS, N_ROWS = 1_140, 2**14
TABLES = 4 * N_USERS * (N_FACTORS + 1)  # a row has its mean square, too
LIMITED = f'''
"""dot, in a worker that is limited once it has trained a little, and so imported all."""

import resource
from pathlib import Path

import torch
import torch.distributed as dist

from cf.core.config import RowwiseAdagrad
from cf.distributed import stream, worker
from cf.distributed.tables import ShardedModel
from cf.models.dot import Dot


LIMITED = Path(__file__).with_name("limited")


class Limited(Dot):
    """As dot."""

    def __init__(self, *arguments):
        if dist.is_initialized():
            warm_up()
            stream.WINDOW = {WINDOW}
            status = open("/proc/self/status").read()
            limit = 1024 * int(status.partition("VmData:")[2].split()[0]) + {ROOM}
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            LIMITED.touch()
            worker.ShardedModel = Watched
        super().__init__(*arguments)


class Watched(ShardedModel):
    """Notes why its tables cannot be allocated."""

    def __init__(self, *arguments):
        try:
            super().__init__(*arguments)
        except (MemoryError, RuntimeError) as error:
            LIMITED.write_text(f"{{type(error).__name__}}: {{error}}")
            raise


def warm_up():
    config = Dot.Config(n_factors=4, init_range=[-0.05, 0.05])
    optimizer = RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.0, eps=1.0)
    sharded = ShardedModel(Dot(config, 64, 64, [1.0, 5.0]), optimizer, 0.0, 1)
    users = torch.arange(64)
    loss = sharded.module(users, users, torch.zeros(64))
    loss.backward(torch.ones_like(loss))
    sharded.step_dense()
'''
SECTION: dict[str, Any] = {
    "model": {"name": "limited", "n_factors": N_FACTORS, "init_range": [-0.05, 0.05]},
    "seed": 1,
    "device": "cpu",
    "n_threads": 1,
    "batch_size": 16384,
    "optimizer": {"name": "rowwise_adagrad", "weight_decay": 0.0002},
    "schedule": {"n_epochs": [1], "learning_rate": 0.1, "anneal": "none"},
}


def ratings(seed: int, n: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    users, items = draw.integers(0, N_USERS, n), draw.integers(0, N_ITEMS, n)
    columns = {"user": users, "item": items, "rating": draw.integers(1, 6, n).astype(np.float32)}
    return pd.DataFrame({**columns, "timestamp": draw.integers(0, 2**40, n), "row": np.arange(n)})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Made-up ratings, split, of more than ten times the room, and the model in dotbias's place."""
    project = untrained(tmp_path_factory.mktemp("limited") / "project", "dotbias")
    folder = project.folder
    (folder / "cf/models/limited.py").write_text(LIMITED)
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params |= {"launcher": "ray", "train_dotbias": SECTION}
    params["tracking"]["enabled"] = False
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    for name in ("data/split", "data/encoded", "data/ingested", "runs", "reports/history"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    schema = pa.Schema.from_pandas(ratings(0, 1), preserve_index=False)
    train = folder / "data/split/train.parquet"
    with parquet.ParquetWriter(train, schema, compression="none", use_dictionary=False) as writer:
        for group in range(N_GROUPS):
            table = pa.Table.from_pandas(ratings(group, N_ROWS), schema, preserve_index=False)
            writer.write_table(table)
    write_parquet(folder / "data/split/valid.parquet", ratings(N_GROUPS, 10_000))
    items = pd.DataFrame({"item_id": np.arange(N_ITEMS), "title": "", "genres": ""})
    items["year"] = pd.array([pd.NA] * N_ITEMS, "Int32")
    write_parquet(folder / "data/encoded/items.parquet", items)
    n = N_GROUPS * N_ROWS + 10_000
    provenance = Provenance("made-up", "made-up", "", "", n, N_USERS, N_ITEMS, (1.0, 5.0))
    write_json(folder / "data/split/provenance.json", provenance)
    write_json(folder / "data/split/split.json", SplitInfo(0.2, 1, ""))
    yield project
    train.unlink()


def train(project: Project, workers: int) -> Any:
    path = project.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["ray"] |= {"workers": workers, "max_failures": 0}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return project.run(
        "sh",
        "-c",
        f"ulimit -s 1024; MALLOC_ARENA_MAX=1 exec {sys.executable} -m stages.train dotbias",
        check=False,
    )


def test_two_workers_train_what_one_has_no_room_for(project: Project) -> None:
    size = (project.folder / "data/split/train.parquet").stat().st_size
    assert size > 10 * ROOM
    assert TABLES > ROOM
    done = train(project, workers=2)
    assert done.returncode == 0, done.stderr
    assert (project.folder / "cf/models/limited").read_text() == ""
    assert (project.folder / "models/dotbias/weights.safetensors").is_file()


def test_one_worker_has_no_room_for_the_tables(project: Project, tmp_path: Path) -> None:
    few = project.copy(tmp_path / "project", "train.parquet")  # tables alone are too much
    shutil.copy(few.folder / "data/split/valid.parquet", few.folder / "data/split/train.parquet")
    shutil.rmtree(few.folder / "models", ignore_errors=True)
    limited = few.folder / "cf/models/limited"
    limited.unlink(missing_ok=True)
    done = train(few, workers=1)
    assert done.returncode == 1
    assert re.search("allocate memory|bad_alloc|MemoryError", limited.read_text())
    assert "Ray's workers failed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (few.folder / "models/dotbias/weights.safetensors").exists()
