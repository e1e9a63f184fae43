"""How long a served model takes to answer. Usage: python -m benchmarks.serving

The model is made up, as large as one of ml-32m's 87,585 items: bayesmf with 100 samples of 10
factors, and 5,000 items in who rates what. It is asked in this process, and over HTTP in a server's
process by one client, one request after another.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import requests
from safetensors.numpy import save_file

from benchmarks.servers import server
from cf.core import io, paths
from cf.core.ratings import Provenance
from cf.inference.lists import BLEND, Likely

N_ITEMS, N_USERS, N_RATINGS = 87_585, 5_000, 800_000
N_SAMPLES, N_FACTORS, N_COMPONENTS, N_LIKELY = 100, 10, 200, 5_000
N_REPEATS, N_WARM = 60, 5
SERVE = ["-m", "mlflow", "models", "serve", "--host", "127.0.0.1", "--env-manager", "local", "-m"]
LIMITS_MS = {"100 pairs": 10, "top 10": 20}


def main() -> None:
    """Print the medians, in this process and over HTTP."""
    os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    from mlflow.pyfunc import load_model

    from cf.serving import pyfunc

    with tempfile.TemporaryDirectory() as temporary:
        project, served = Path(temporary, "made"), Path(temporary, "served")
        make(project)
        pyfunc.save(project, "bayesmf", served)
        began = time.perf_counter()
        model = load_model(str(served))
        print(f"loaded in {time.perf_counter() - began:.1f} s; load of the machine: {load()}")

        def predict(body: dict[str, Any]) -> Any:
            return model.predict(pd.DataFrame(body["dataframe_records"]))

        own = {name: median_ms(predict, body) for name, body in bodies().items()}
        with server([*SERVE, str(served)], "/ping") as url, requests.Session() as session:

            def post(body: dict[str, Any]) -> None:
                session.post(f"{url}/invocations", json=body, timeout=60).raise_for_status()

            over_http = {name: median_ms(post, body) for name, body in bodies().items()}
    table = pd.DataFrame({"predict() ms": own, "HTTP ms": over_http})
    table["limit ms"] = pd.Series(LIMITS_MS)
    table["ratio"] = table["HTTP ms"] / table["limit ms"]
    print(table.round(2).to_string(na_rep=""))
    print(f"medians of {N_REPEATS}; load of the machine: {load()}")


def make(project: Path) -> None:
    """Write a project with one model, whose samples are alike, less so for items rarely rated."""
    draw = np.random.default_rng(0)
    counts = draw.zipf(1.5, N_ITEMS).clip(max=20_000).astype(float)
    items = draw.choice(N_ITEMS, N_RATINGS, p=counts / counts.sum())
    users = np.sort(draw.integers(0, N_USERS, N_RATINGS))
    ratings = pd.DataFrame({"user": users, "item": items}).drop_duplicates(ignore_index=True)
    ratings["rating"] = (draw.integers(1, 11, len(ratings)) / 2).astype(np.float32)

    def rows(n: int, n_ratings: Any) -> Any:
        """(N_SAMPLES, n, 1 + N_FACTORS): bias and factors, certain where ratings are many."""
        mean = draw.normal(0, 0.3, (n, 1 + N_FACTORS)).astype(np.float32)
        doubt = (0.3 / np.sqrt(1 + np.asarray(n_ratings) / 10)).astype(np.float32)
        found = np.empty((N_SAMPLES, n, 1 + N_FACTORS), np.float32)
        for sample in found:
            sample[:] = draw.standard_normal(sample.shape, dtype=np.float32) * doubt[:, None]
            sample += mean
        return found

    size = 1 + N_FACTORS
    weights = {
        "mean": np.array(3.5),
        **in_8_bits("user", rows(N_USERS, np.bincount(users, minlength=N_USERS))),
        **in_8_bits("item", rows(N_ITEMS, counts)),
        "timeless.noise": np.full(N_USERS, 0.7),
        "noise_shape": np.full(N_SAMPLES, 3.0),
        "noise_rate": np.full(N_SAMPLES, 2.0),
        "prior_mean": np.zeros((N_SAMPLES, size)),
        "prior_precision": np.tile(np.eye(size) * 10, (N_SAMPLES, 1, 1)),
        "prior_coefficients": draw.normal(0, 0.01, (N_SAMPLES, N_COMPONENTS, size)),
        "interaction_basis": draw.normal(0, 0.1, (N_ITEMS, N_COMPONENTS)),
        "interaction_center": np.zeros(N_COMPONENTS),
    }
    weights = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in weights.items()}
    folder = project / paths.MODELS / "bayesmf"
    folder.mkdir(parents=True)
    save_file(weights, folder / "weights.safetensors")
    sizes = {"n_users": N_USERS, "n_items": N_ITEMS, "rating_range": [0.5, 5.0]}
    io.write_json(folder / "model.json", {"model": {"name": "bayesmf"}, **sizes})
    titles = [f"Film number {item} ({1950 + item % 70})" for item in range(N_ITEMS)]
    table = pd.DataFrame({"item_id": np.arange(N_ITEMS) * 3 + 1, "title": titles, "year": 1950})
    io.write_parquet(project / paths.ENCODED_ITEMS, table.assign(genres="Drama"))
    ids = pd.DataFrame({"user_id": np.arange(N_USERS) + 1})
    io.write_parquet(project / paths.ENCODED_USERS, ids)
    io.write_parquet(project / paths.ENCODED_RATINGS, ratings)
    io.write_parquet(project / paths.TRAIN, pd.DataFrame({"row": np.arange(len(ratings))}))
    facts = Provenance("made up", "", "", "", len(ratings), N_USERS, N_ITEMS, (0.5, 5.0))
    io.write_json(project / paths.PROVENANCE, facts)
    likely = np.sort(np.argsort(-counts, kind="stable")[:N_LIKELY])
    weights_of_items = draw.normal(0, 0.01, (N_LIKELY, N_LIKELY)).astype(np.float32)
    Likely(likely, weights_of_items, N_ITEMS).save(project / paths.BLEND)
    io.write_json(project / paths.BLEND / BLEND, {"bayesmf": 4.0})


def in_8_bits(side: str, rows: Any) -> dict[str, Any]:
    """The weights of a side's rows, (s, n, d), as `Samples.put` in `cf.models.bayesmf` has them."""
    steps = np.abs(rows).max(1, keepdims=True) / 127
    whole = np.stack([np.rint(rows[s] / steps[s]).astype(np.int8) for s in range(len(rows))])
    return {f"timeless.{side}_rows": whole, f"timeless.{side}_steps": steps}


def bodies() -> dict[str, Callable[[int], dict[str, Any]]]:
    """What is asked, by name: the request number i, each of others."""

    def pairs(n: int) -> Callable[[int], dict[str, Any]]:
        def body(i: int) -> dict[str, Any]:
            draw = np.random.default_rng(i)
            users, items = draw.integers(0, N_USERS, n) + 1, draw.integers(0, N_ITEMS, n) * 3 + 1
            rows = zip(users.tolist(), items.tolist(), strict=True)
            return {"dataframe_records": [{"user_id": u, "item_id": v} for u, v in rows]}

        return body

    def new(i: int) -> dict[str, Any]:
        draw = np.random.default_rng(i)
        items = draw.integers(0, 999, 15)
        rated = {str(item * 3 + 1): float(draw.integers(1, 6)) for item in items}
        return {"dataframe_records": [{"ratings": rated}]}

    return {
        "1 pair": pairs(1),
        "100 pairs": pairs(100),
        "1,000 pairs": pairs(1000),
        "top 10": lambda i: {"dataframe_records": [{"user_id": 1 + i * 37 % N_USERS}]},
        "top 10, new person": new,
    }


def median_ms(ask: Callable[[dict[str, Any]], Any], body: Callable[[int], dict[str, Any]]) -> float:
    """The median time of an answer, in ms, after a few that do not count."""
    seconds = []
    for i in range(N_WARM + N_REPEATS):
        asked = body(i)
        began = time.perf_counter()
        ask(asked)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[N_WARM:])) * 1000


def load() -> str:
    """The load averages of this machine, and its cores."""
    return f"{json.dumps(os.getloadavg())[1:-1]} on {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
