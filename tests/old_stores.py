"""MLflow stores as earlier versions of MLflow made them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base


def history() -> list[str]:
    """MLflow's migrations, the newest first."""
    script = ScriptDirectory.from_config(utils._get_alembic_config(""))  # type: ignore[no-untyped-call]
    return [each.revision for each in script.walk_revisions()]


def make(file: Path, n_behind: int) -> str:
    """Make a store as an MLflow so many migrations ago did, with a run of then: which migration."""
    file.parent.mkdir()
    revision = history()[n_behind]
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{file}")  # type: ignore[no-untyped-call]
    Base.metadata.create_all(engine)
    settings = utils._get_alembic_config(str(engine.url))  # type: ignore[no-untyped-call]
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
    engine.dispose()
    place = (file.parent / "artifacts").as_uri()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)"
            " VALUES (1, 'cf', ?, 'active')",
            [place],
        )
        database.execute(
            "INSERT INTO runs (run_uuid, name, experiment_id, status, start_time, end_time,"
            " lifecycle_stage, artifact_uri, source_type, user_id)"
            " VALUES ('0af', 'of then', 1, 'FINISHED', 1, 2, 'active', ?, 'LOCAL', 'me')",
            [f"{place}/0af/artifacts"],
        )
    return revision
