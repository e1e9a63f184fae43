"""MLflow stores that tests look into."""

import os
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run


def environment() -> dict[str, str]:
    """This process's environment, without what would lead a child to another store."""
    foreign = ("DVC_ROOT", "MLFLOW_TRACKING_URI")
    return {key: value for key, value in os.environ.items() if key not in foreign}


def client(root: Path) -> MlflowClient:
    """A client of the store of the project at `root`."""
    return MlflowClient(f"sqlite:///{root.resolve()}/mlruns/mlflow.db")  # kept by its address


def runs(root: Path) -> list[Run]:
    """All runs in the store of the project at `root`."""
    known = client(root)
    experiments = [experiment.experiment_id for experiment in known.search_experiments()]
    return list(known.search_runs(experiments))
