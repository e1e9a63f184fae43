"""Models that are registered in MLflow, fetched to answer here."""

import os
import re
from pathlib import Path

from cf.core import paths
from cf.core.errors import InputError
from cf.inference.load import find_project, load
from cf.inference.recommender import Recommender
from cf.tracking import database, login
from cf.tracking.mlflow_store import SERVABLE, open_own  # first: it says what MLflow waits for
from cf.tracking.redact import redact

from mlflow import MlflowClient  # isort: skip

URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def load_registered(uri: str) -> Recommender:
    """A registered model: of the server that MLFLOW_TRACKING_URI names, or the project's own store.

    Args:
        uri: models:/cf@champion, or models:/cf/3 for version 3.

    Raises:
        InputError: there is no such model, or it is not one that answers.
    """
    found = URI.fullmatch(uri)
    if not found:
        raise InputError(f"{uri}: expected models:/cf@champion, or models:/cf/3 for version 3.")
    try:
        client = _client()
        if found["alias"]:
            version = client.get_model_version_by_alias(found["name"], found["alias"])
        else:
            version = client.get_model_version(found["name"], found["version"])
        if version.tags.get("servable") != "yes":
            raise InputError(
                f"{uri}: cannot answer ({version.tags.get('servable', 'an earlier cf made it')}). "
                "Name another version, or a model of models/."
            )
        folder = Path(client.download_artifacts(str(version.run_id), SERVABLE))
    except InputError:
        raise
    except Exception as error:  # of any kind: each kind of store has its own
        reason = redact(login.explain(str(error)))
        raise InputError(f"{uri}: cannot be fetched from MLflow ({reason}).") from None
    (model,) = (folder / "artifacts" / "project" / paths.MODELS).iterdir()
    return load(model)


def _client() -> MlflowClient:
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if address:
        file = database.shared(address)
        return MlflowClient(database.uri(file) if file else address)
    own = find_project() / paths.STORE
    if not own.is_file():
        raise InputError(f"{own}: is missing. Run `dvc repro`, or set MLFLOW_TRACKING_URI.")
    return open_own(own.parent)
