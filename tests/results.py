"""Made-up results of a pipeline, for the page that reports them."""

import html
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cf.core import io, paths
from cf.core.ratings import Provenance, Ratings, SplitInfo
from cf.evaluation.leaderboard import build
from cf.reporting.gallery import Results
from cf.tracking.record import RunRecord
from cf.training.checkpoint import ModelSpec, save

PROVENANCE = Provenance(
    dataset="ml-latest-small",
    requested="ml-latest-small",
    source="https://files.grouplens.org/datasets/movielens/ml-latest-small.zip",
    sha256="69" * 32,
    n_ratings=100_836,
    n_users=610,
    n_items=9_724,
    rating_range=(0.5, 5.0),
)
SPLIT = SplitInfo(
    fraction=0.2,
    seed=42,
    sha256="b9" * 32,
    method="random",
    settings={"fraction": 0.2, "seed": 42},
    parts={
        "train": {"n": 80_669, "n_users": 610, "n_items": 8_983},
        "valid": {
            **{"n": 20_167, "n_users": 610, "n_items": 5_142, "n_leaked": 0},
            **{"n_cold": 813, "n_cold_user_only": 0, "n_cold_item_only": 813, "n_cold_both": 0},
            **{"n_cold_users": 0, "n_cold_items": 741},
        },
    },
)
TRAINED = ["dot", "dotbias", "embnet"]


def score(rmse: float) -> dict[str, Any]:
    scores = {"rmse": rmse, "mse": rmse**2, "mae": 0.75 * rmse}
    cold = {"rmse_warm": rmse - 0.01, "rmse_cold": rmse + 0.1, "n": 20_167, "n_cold": 813}
    return {**scores, **cold}


def scores() -> dict[str, dict[str, Any]]:
    found = {"bias": 0.875, "dot": 1.0625, "dotbias": 0.85, "embnet": 0.8799}
    return {name: score(rmse) for name, rmse in found.items()}


def leaderboard(
    scores: dict[str, dict[str, Any]],
    spread: float = 0.01,
    notebook: bool = True,
    part: str = "valid",
    n_leaked: int = 0,
) -> pd.DataFrame:
    """The leaderboard of the scores; the standard deviation of their resamples is `spread`."""
    rng = np.random.default_rng(0)
    resampled = {name: rng.normal(values["rmse"], spread, 1000) for name, values in scores.items()}
    dataset = PROVENANCE.dataset
    return build(scores, pd.DataFrame(resampled), dataset, notebook, part, n_leaked)


def sections() -> dict[str, Any]:
    """params.yaml, read."""

    def training(weight_decay: float, **model: Any) -> dict[str, Any]:
        optimizer = {"name": "adam", "weight_decay": weight_decay}
        return {"model": {"n_factors": 50, **model}, "seed": 1, "optimizer": optimizer}

    return {
        "split": {"fraction": 0.2, "seed": 42},
        "train_dot": training(0.00001, name="dot"),
        "train_dotbias": training(0.0002, name="dotbias"),
        "train_embnet": training(0.00001, name="embnet", dropout=[0.05, 0.5]),
        "tracking": {"enabled": False, "experiment": "cf"},
    }


def svg(title: str) -> bytes:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="576pt" height="288pt" '
        f'viewBox="0 0 576 288"><title>{html.escape(title)}</title>'
        '<path d="M 0 0 L 576 288" stroke="#0072B2"/></svg>'
    ).encode()


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@x.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def toy_split(method: str) -> None:
    """A split of 600 made-up ratings and an untrained model, in the current folder."""
    n_users, n_items = 30, 40
    text = (Path(__file__).parent.parent / "params.yaml").read_text()
    paths.PARAMS.write_text(text.replace("enabled: true", "enabled: false"))
    users, items = np.divmod(np.random.default_rng(0).permutation(n_users * n_items), n_items)
    values = (1 + (users + items) % 5).astype(np.float32)
    ratings = Ratings(users, items, values, None, np.arange(len(users)))
    genres = ["Drama|Comedy" if item % 2 else "" for item in range(n_items)]
    ids = [f"i{item}" for item in range(n_items)]
    described = {"item_id": ids, "title": [f"Item {name}" for name in ids], "genres": genres}
    io.write_parquet(paths.ENCODED_ITEMS, pd.DataFrame(described))
    io.write_parquet(paths.ENCODED_USERS, pd.DataFrame({"user_id": range(100, 100 + n_users)}))
    io.write_parquet(paths.TRAIN, ratings.take(np.arange(500)).to_frame())
    io.write_parquet(paths.VALID, ratings.take(np.arange(500, 600)).to_frame())
    facts = SplitInfo(0.2, 1, "ab", method=method)
    io.write_json(paths.SPLIT_INFO, facts)
    source = Provenance("toy", "toy", "", "", 600, n_users, n_items, (1.0, 5.0))
    io.write_json(paths.SPLIT_PROVENANCE, source)
    model = {"name": "dot", "n_factors": 2, "init_range": [0.0, 0.1]}
    spec = ModelSpec(model, n_users, n_items, (1.0, 5.0))
    save(paths.MODELS / "plain", spec.build("plain"), spec)
    tags = {"split_sha256": "ab"}
    record = RunRecord("id", "cf", "plain", {}, tags, {}, started=0, status="FINISHED")
    io.write_json(paths.RUNS / "plain.json", record)


def toy_scores() -> dict[str, dict[str, Any]]:
    found = {"global_mean": 1.5, "bias": 1.25, "dot": 1.0, "embnet": 0.375}
    return {name: score(rmse) for name, rmse in found.items()}


def toy_results() -> Results:
    """What figures of three baselines' and two models' made-up results are drawn from."""
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(30 * 40)[:400], 40)
    stars = (rng.integers(1, 11, 400) / 2).astype(np.float32)
    observed = stars[:80]
    errors = {name: values["rmse"] for name, values in toy_scores().items()}
    predicted = {name: observed + rng.normal(0, error, 80) for name, error in errors.items()}
    keys = {"row": np.arange(80), "user": users[:80], "item": items[:80], "observed": observed}
    groups = {
        "item_popularity": ["0", "1 to 3"], "warm_cold": ["warm", "cold item"],
        "month": ["2000-01", "2000-02"], "year": ["2000", "2001"],
    }  # fmt: skip
    strata = [
        (stratum, label, model, n, rmse, rmse - 0.1, rmse + 0.1, rmse - 0.3, rmse - 0.4, rmse - 0.2)
        for stratum, labels in groups.items()
        for model, rmse in errors.items()
        for label, n in zip(labels, (30, 50), strict=True)
    ]
    bounds = [f"{metric}{end}" for metric in ("rmse", "to_best") for end in ("", "_low", "_high")]
    losses = {"epoch": [1, 2], "train_loss": [11.5, 1.2], "valid_loss": [10.8, 1.4]}
    history = pd.DataFrame(losses)
    ranking = {
        "model": ["ease", "dot"], "ndcg_at_5": [0.25, 0.125], "recall_at_5": 0.125,
        "map_at_5": 0.125, "coverage_at_5": 0.5, "novelty_at_5": 8.0, "behind": [0.0, 0.1],
        "behind_low": [0.0, -0.1], "behind_high": [0.0, 0.3], "n_users": 9, "n_left_out": 2,
        "part": "valid",
    }  # fmt: skip
    deciles = {"predicted_sd": [0.9, 1.1], "rmse": [0.8, 1.2]}
    deciles |= {"rmse_low": [0.7, 1.1], "rmse_high": [0.9, 1.3]}
    levels = np.arange(1, 100)
    titles = [None, *(f"Title {number} (1999)" for number in range(39))]
    return Results(
        provenance=Provenance("toy-stars", "toy-stars", "", "", 400, 30, 40, (0.5, 5.0)),
        ratings=Ratings(users, items, stars, None, np.arange(400)),
        users=pd.DataFrame({"user_id": np.arange(30) + 1}),
        items=pd.DataFrame({"item_id": 10 * np.arange(40), "title": titles}),
        part="valid",
        predictions=pd.DataFrame({**keys, **predicted}).astype(dict.fromkeys(errors, "float32")),
        histories={
            "dot": history.assign(learning_rate=0.1),
            "embnet": history.assign(noise_precision=1.5),
        },
        leaderboard=leaderboard(toy_scores()),
        strata=pd.DataFrame(strata, columns=["stratum", "label", "model", "n", *bounds]),
        ranking=pd.DataFrame(ranking),
        coverage=pd.DataFrame({"model": "embnet", "level": levels, "coverage": levels / 100}),
        deciles=pd.DataFrame({"model": "embnet", "decile": [1, 2], **deciles}),
        burn_in={"embnet": 1},
    )
