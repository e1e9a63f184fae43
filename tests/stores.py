"""MLflow stores that tests look into."""

import os
import sqlite3
from contextlib import closing
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


def relocate(there: Path, here: Path, folder: Path | None = None) -> None:
    """Let the artifacts of the store in `folder` be those of `here`: MLflow keeps absolute paths.

    The store is in `here` itself if no folder is given.
    """
    columns = {
        "experiments": ("artifact_location",),
        "runs": ("artifact_uri",),
        "model_versions": ("source", "storage_location"),
    }
    file = (folder or here) / "mlruns/mlflow.db"
    with closing(sqlite3.connect(file)) as database, database:
        for table, names in columns.items():
            for name in names:
                database.execute(
                    f"UPDATE {table} SET {name} = replace({name}, ?, ?)",
                    [f"{there.resolve().as_uri()}/", f"{here.resolve().as_uri()}/"],
                )
