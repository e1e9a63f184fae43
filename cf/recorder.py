"""The process that writes to MLflow, told what to do on standard input by `cf.tracking`.

MLflow takes longer to import than a small model takes to train. In a process of its own it is
imported while the stage works, and nothing that befalls it can harm the stage. A run whose stage
dies is ended as failed, since the recorder outlives it.

Each line is a JSON list: the name of a function below and its keyword arguments. When the input
ends, the state goes to standard output as JSON.
"""

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

FOLDER = "mlruns"
DATABASE = "mlflow.db"


class Recorder:
    """Carries out what a stage asks for.

    Attributes:
        run_id: of the run that was started; empty before.
    """

    def __init__(self) -> None:
        self.root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
        self.lock = FileLock(self.root / FOLDER / ".lock")
        self.run_id = ""
        self.ended = False
        self.client = self._client()

    def start(
        self,
        experiment: str,
        name: str,
        parameters: dict[str, Any],
        tags: dict[str, str],
        dataset: dict[str, Any],
        time: int,
    ) -> None:
        """Start a run with its hyperparameters and its data set."""
        run = self.client.create_run(
            self._experiment(experiment), start_time=time, run_name=name, tags=tags
        )
        self.run_id = run.info.run_id
        self.client.log_batch(
            self.run_id, params=[Param(key, str(value)) for key, value in parameters.items()]
        )
        context = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(self.run_id, [DatasetInput(Dataset(**dataset), [context])])

    def log_metrics(self, values: dict[str, float], step: int, time: int) -> None:
        """Add metrics to the run that was started."""
        self._log_metrics(self.run_id, values, step, time)

    def log_files(self, files: list[str], folder: str) -> None:
        """Copy files into the artefacts of the run that was started."""
        for file in files:
            self.client.log_artifact(self.run_id, file, folder)

    def end(self, status: str, time: int | None = None) -> None:
        """End the run that was started."""
        self.client.set_terminated(self.run_id, status, time)
        self.ended = True

    def add(self, run_id: str, values: dict[str, float], files: list[str], folder: str) -> None:
        """Add metrics and files to a run that has ended, whose start and end stay as they are.

        The metrics carry the time of the run's end, so that the same ones added again are the
        same records.
        """
        ended = self.client.get_run(run_id).info.end_time
        self._log_metrics(run_id, values, step=0, time=ended)
        for file in files:
            self.client.log_artifact(run_id, file, folder)

    def _log_metrics(self, run_id: str, values: dict[str, float], step: int, time: int) -> None:
        metrics = [Metric(name, value, time, step) for name, value in values.items()]
        self.client.log_batch(run_id, metrics)

    def _client(self) -> MlflowClient:
        if uri := os.environ.get("MLFLOW_TRACKING_URI"):
            return MlflowClient(uri)
        folder = self.root / FOLDER
        folder.mkdir(exist_ok=True)
        with self.lock:  # two processes that make the tables at once both fail
            client = MlflowClient(f"sqlite:///{folder / DATABASE}")
            client.search_experiments(max_results=1)
            with closing(sqlite3.connect(folder / DATABASE)) as database:
                database.execute("PRAGMA journal_mode=WAL")
        return client

    def _experiment(self, name: str) -> str:
        own = "MLFLOW_TRACKING_URI" not in os.environ
        location = (self.root / FOLDER / "artifacts").as_uri() if own else None
        (self.root / FOLDER).mkdir(exist_ok=True)
        with self.lock:
            known = self.client.get_experiment_by_name(name)
            if known is not None:
                return str(known.experiment_id)
            return str(self.client.create_experiment(name, artifact_location=location))


def main() -> None:
    """Do what standard input says, then print the run's id; warn where MLflow fails."""
    recorder = None
    try:
        recorder = Recorder()
    except Exception as error:
        warn(error)
    for line in sys.stdin:
        do, arguments = json.loads(line)
        if recorder and (recorder.run_id or do in ("start", "add")):
            try:
                getattr(recorder, do)(**arguments)
            except Exception as error:
                warn(error)
    if recorder and recorder.run_id and not recorder.ended:
        recorder.end("FAILED")
    print(json.dumps({"run_id": (recorder and recorder.run_id) or None}))


def warn(error: Exception) -> None:
    """Say what was not recorded; the stage goes on."""
    print(f"warning: MLflow did not record this: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
