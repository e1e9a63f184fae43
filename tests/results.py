"""Made-up results of a pipeline, for the page that reports them."""

import html
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation import leaderboard
from cf.evaluation.rows import Row

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
    n_train=80_669,
    n_valid=20_167,
    n_cold=813,
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


def score(rmse: float, dataset: str = "ml-latest-small") -> dict[str, Any]:
    scores = {"rmse": rmse, "mse": rmse**2, "mae": 0.75 * rmse}
    cold = {"rmse_warm": rmse - 0.01, "rmse_cold": rmse + 0.1, "n": 20_167, "n_cold": 813}
    return {**scores, **cold, "dataset": dataset}


def scores() -> dict[str, dict[str, Any]]:
    found = {"bias": 0.875, "dot": 1.0625, "dotbias": 0.85, "embnet": 0.8799}
    return {name: score(rmse) for name, rmse in found.items()}


def rows(
    scores: dict[str, dict[str, Any]],
    spread: float = 0.01,
    notebook: bool = True,
    part: str = "valid",
    n_leaked: int = 0,
) -> list[Row]:
    """The leaderboard of the scores, whose resamples lie around them by the like of `spread`."""
    draw = np.random.default_rng(0)
    drawn = {name: draw.normal(one["rmse"], spread, 1000) for name, one in scores.items()}
    return leaderboard.rank(scores, drawn, PROVENANCE.dataset, notebook, part, n_leaked)


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
