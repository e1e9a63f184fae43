"""What a release writes, to be kept: see README.md. Usage: python -m tests.artifacts.make v2"""

import json
import lzma
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
import yaml

from cf.core import io, paths
from cf.core.ratings import Provenance, Ratings, ids_digest
from cf.inference import lists
from cf.serving import pyfunc
from cf.tracking.record import recording
from cf.training.checkpoint import ModelSpec, save
from tests import records, stores

ROOT = Path(__file__).parents[2]
N_USERS, N_ITEMS, N_RATINGS = 12, 16, 100
USERS = [f"u{n}" for n in range(N_USERS)]
ITEMS = [f"{n:04}" for n in range(100, 100 + N_ITEMS)]  # with a zero in front: they are text
TITLES = ["Matrix, The (1999)", "Heat (1995)", "Heat (1986)", "Amélie (2001)", None]
TITLES += [f"Film number {n} ({1980 + n})" for n in range(N_ITEMS - len(TITLES))]
MODELS = ("bayesmf", "dot", "dotbias", "dotbias_ensemble", "embnet")
KEPT_AT = Path("/srv/cf")  # the project of a kept store, by the addresses in it
REQUESTS: list[dict[str, Any]] = [
    {"user_id": "u3", "item_id": "0100"},
    {"user_id": "u3"},
    {"user_id": "nobody", "item_id": "nothing"},
    {"ratings": {"heat (1995)": 4.5, "0104": 1}},
]


def make_project(folder: Path) -> None:
    """Write a project with made-up ratings and models that are not trained."""
    draw = np.random.default_rng(0)
    pairs = draw.permutation(N_USERS * N_ITEMS)[:N_RATINGS]
    stars = (draw.integers(1, 11, N_RATINGS) / 2).astype("f4")
    ratings = Ratings(*np.divmod(pairs, N_ITEMS), stars, None, np.arange(N_RATINGS))
    years = pd.Series(TITLES).str.extract(r"\((\d{4})\)$", expand=False).astype("Float64")
    genres = ["Drama|War" if n % 2 else "Comedy" for n in range(N_ITEMS)]
    items = {"item_id": ITEMS, "title": TITLES, "year": years.astype("Int32"), "genres": genres}
    digest = ids_digest(USERS, ITEMS)
    facts = Provenance(
        *("toy", "toy", "here", "0", N_RATINGS, N_USERS, N_ITEMS, (0.5, 5.0)), ids_sha256=digest
    )
    io.write_parquet(folder / paths.ENCODED_ITEMS, pd.DataFrame(items))
    io.write_parquet(folder / paths.ENCODED_USERS, pd.DataFrame({"user_id": USERS}))
    io.write_parquet(folder / paths.ENCODED_RATINGS, ratings.to_frame())
    io.write_parquet(folder / paths.TRAIN, ratings.take(np.arange(80)).to_frame())
    io.write_json(folder / paths.PROVENANCE, facts)
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name in MODELS:
        torch.manual_seed(0)
        sizes = {"n_factors": 2} | ({"n_samples": 3} if name == "bayesmf" else {})
        settings = sections[f"train_{name}"]["model"] | sizes
        spec = ModelSpec(settings, N_USERS, N_ITEMS, (0.5, 5.0), ids_sha256=digest)
        save(folder / paths.MODELS / name, spec.build(name), spec)
    chosen = np.arange(0, N_ITEMS, 2)
    weights = draw.normal(0, 0.1, (len(chosen), len(chosen))).astype("f4")
    lists.Likely(chosen, weights, N_ITEMS).save(folder / paths.BLEND)
    io.write_json(folder / paths.BLEND / lists.BLEND, dict.fromkeys(MODELS, 2.0))


def answers(model: Path) -> list[dict[str, Any]]:
    """What a saved model answers to `REQUESTS`."""
    loaded = mlflow.pyfunc.load_model(str(model))
    found: list[dict[str, Any]] = loaded.predict(pd.DataFrame(REQUESTS)).to_dict("records")
    return found


def make_store(record: Path, store: Path) -> None:
    """Write the record of a training, and the store of MLflow that has it, compressed."""
    with tempfile.TemporaryDirectory() as temporary:
        project, home = Path(temporary), Path.cwd()
        make_project(project)
        shutil.copy(ROOT / "params.yaml", project)
        os.chdir(project)
        try:
            training = records.finished("dotbias", sorted(Path("models/dotbias").iterdir()))
            training.metrics = {"rmse": 0.875}
            with recording(records.ON) as recorder:
                recorder.upsert(training, record)
        finally:
            os.chdir(home)
        assert not recorder.failed
        stores.relocate(project, KEPT_AT, project)
        with closing(sqlite3.connect(project / "mlruns/mlflow.db")) as database:
            names = "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)"
            database.execute(names, [str(project), str(KEPT_AT)])  # also MLflow's own, a plain path
            database.commit()
            database.execute("VACUUM")
            database.execute("PRAGMA journal_mode=DELETE")
        store.write_bytes(lzma.compress((project / "mlruns/mlflow.db").read_bytes()))


def main(version: str) -> None:
    """Write what is missing in a version's folder, without paths of this machine."""
    kept = Path(__file__).resolve().parent / version
    with tempfile.TemporaryDirectory() as temporary:
        make_project(Path(temporary))
        for folder in (kept / name for name in MODELS):
            if folder.exists():
                continue
            pyfunc.save(Path(temporary), folder.name, folder)
            path = folder / "MLmodel"
            path.write_text(re.sub(r": (file://)?/\S+/", ": ", path.read_text()))
            (folder / "answers.json").write_text(json.dumps(answers(folder), indent=1) + "\n")
    if not (kept / "run.json").exists():
        make_store(kept / "run.json", kept / "mlflow.db.xz")


if __name__ == "__main__":
    main(sys.argv[1])
