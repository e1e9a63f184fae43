"""MLflow's store in the project's own folder: a database, and the artefacts it points to."""

import sqlite3
from contextlib import closing
from pathlib import Path

FOLDER = "mlruns"
DATABASE = "mlflow.db"
LOCATIONS = (  # the columns of MLflow's tables that hold paths of artefacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def artifacts(folder: Path) -> str:
    """Where the artefacts of the store in `folder` are, as MLflow writes it."""
    return (folder / "artifacts").resolve().as_uri()


def follow_a_move(folder: Path) -> None:
    """Point the store's artefacts to where `folder` is now: MLflow keeps absolute paths."""
    here = artifacts(folder)
    with closing(sqlite3.connect(folder / DATABASE, timeout=20)) as database, database:
        known = database.execute(
            "SELECT DISTINCT artifact_location FROM experiments "
            "WHERE artifact_location LIKE ? AND artifact_location != ?",
            [f"file://%/{FOLDER}/artifacts", here],
        )
        for (there,) in known.fetchall():
            for table, column in LOCATIONS:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    [here, len(there) + 1, len(there), there],
                )
