"""The process that writes to MLflow, told what to do on standard input by `cf.tracking.record`.

MLflow takes longer to import than a small model takes to train. In a process of its own it is
imported while the stage works, and nothing that befalls it can harm the stage. A run whose stage
dies is ended as failed, since the recorder outlives it.

Each line is a JSON list: the name of a function below and its keyword arguments. Times are in ms
since 1970 UTC. An execution is a training that ran, as `cf.tracking.record.RunRecord` describes it.
"""

import json
import logging
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault(RETRIES := "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

sys.path.insert(0, str(Path(__file__).parents[2]))  # this is run as a script

import psutil
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from cf.core.io import sha256
from cf.tracking import local_store as store
from cf.tracking import ui_view as view

MODEL, ALIAS = "cf", "champion"

Json = dict[str, Any]


class Recorder:
    """Carries out what a stage asks for.

    Attributes:
        run_id: of the run that was started; empty before.
    """

    def __init__(self) -> None:
        self.root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
        self.folder = self.root / store.FOLDER
        self.folder.mkdir(exist_ok=True)
        self.lock = FileLock(self.folder / ".lock")
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or ""
        self.run_id = ""
        self.ended = False
        self.client = MlflowClient(self.uri) if self.uri else self._own_store()

    def start(self, execution: Json) -> None:
        """Start the run of an execution."""
        self._end_what_was_killed(execution["experiment"])
        self.run_id = self._create(execution, _owner())
        self.ended = False
        self._log_facts(self.run_id, execution)

    def log_epoch(self, step: int, time: int, values: dict[str, float]) -> None:
        """Add an epoch's metrics to the run that was started."""
        self._log_metrics(self.run_id, values, step, time)

    def log_files(self, files: list[str], folder: str) -> None:
        """Copy files into the artefacts of the run that was started."""
        self._log_files(self.run_id, files, folder)

    def end(self, status: str, time: int) -> None:
        """End the run that was started."""
        self.client.set_terminated(self.run_id, status, time)
        self.ended = True

    def add(self, execution: Json, values: dict[str, float], files: list[str], time: int) -> None:
        """Add metrics and figures to the run of an execution, whose start and end stay as they are.

        Where the store has no such run, because it is another one or was away, the run is made
        from the execution first; one that broke off, because the store went away, is completed.
        Metrics that the run already has with the same value are left out.
        """
        with self.lock:
            run = self._find(execution)
            if run is None:
                run = self._complete(self._create(execution, {"backfilled": "true"}), execution)
            elif run.info.status != "FINISHED":
                run = self._complete(run.info.run_id, execution)
        news = {
            name: value for name, value in values.items() if run.data.metrics.get(name) != value
        }
        self._log_metrics(run.info.run_id, news, 0, time)
        self._log_files(run.info.run_id, files, "figures")

    def log_trial(
        self, number: int, parameters: Json, losses: list[dict[str, float]], state: str, time: int
    ) -> None:
        """Add a trial as a child of the run that was started."""
        experiment = self.client.get_run(self.run_id).info.experiment_id
        tags = {"mlflow.parentRunId": self.run_id, **_owner()}
        with _asked_once():
            trial = self.client.create_run(experiment, time, tags, f"trial {number}").info.run_id
        self._log_parameters(trial, parameters)
        for step, values in enumerate(losses, start=1):
            self._log_metrics(trial, values, step, time)
        self.client.set_terminated(trial, state)

    def adopt(self, execution: Json) -> None:
        """Make the run of an execution a child of the run that was started."""
        run = self._find(execution)
        if run is not None:
            self.client.set_tag(run.info.run_id, "mlflow.parentRunId", self.run_id)

    def register(self, execution: Json, rmse: float) -> None:
        """Register the model of an execution, and make it the champion if it is better.

        Better is a lower RMSE on the same data set and split; against a champion of others, which
        says nothing of this one, it stays a mere version. The version's tag `decision` says why.
        """
        with self.lock:
            run = self._find(execution)
            if run is not None:
                self._register(execution, run, rmse)

    def _register(self, execution: Json, run: Run, rmse: float) -> None:
        if not self.client.search_registered_models(f"name = '{MODEL}'"):
            with _unless_another_did():
                self.client.create_registered_model(
                    MODEL, description="The best models, by version."
                )
        same = {key: execution["tags"][key] for key in ("dataset_sha256", "split_sha256")}
        version = self._version(run, {**same, "rmse": str(rmse), "model": run.data.tags["model"]})
        champion = self._champion()
        if champion is None:
            moves = len(self.client.search_model_versions(f"name = '{MODEL}'")) == 1
            decision = (
                "champion: the first version"
                if moves
                else "no champion: none was left to compare with. Set the alias by hand."
            )
        elif champion.version == version:
            return
        elif {key: champion.tags.get(key) for key in same} != same:
            decision, moves = (
                f"no champion: version {champion.version} is of another data set or split, with "
                "which it cannot be compared. Move the alias by hand if you mean to.",
                False,
            )
        else:
            moves = rmse < float(champion.tags["rmse"])
            word = "beats" if moves else "does not beat"
            decision = (
                f"{'champion' if moves else 'no champion'}: RMSE {rmse:.6f} {word} version "
                f"{champion.version}'s {float(champion.tags['rmse']):.6f} on the same data"
            )
        self.client.set_model_version_tag(MODEL, version, "decision", decision)
        if moves:
            self.client.set_registered_model_alias(MODEL, ALIAS, version)

    def _version(self, run: Run, tags: dict[str, str]) -> str:
        """The number of the version that holds a run's model, made if there is none."""
        mine = f"name = '{MODEL}' and run_id = '{run.info.run_id}'"
        known = self.client.search_model_versions(mine)
        if known:
            return str(known[0].version)
        with _asked_once():
            made = self.client.create_model_version(
                MODEL, f"runs:/{run.info.run_id}/model", run.info.run_id, tags=tags
            )
        return str(made.version)

    def _champion(self) -> ModelVersion | None:
        aliases = self.client.get_registered_model(MODEL).aliases
        if ALIAS not in aliases:
            return None
        return self.client.get_model_version(MODEL, aliases[ALIAS])

    def _find(self, execution: Json) -> Run | None:
        experiment = self._experiment(execution["experiment"])
        found = self.client.search_runs(
            [experiment], f"tags.execution = '{execution['id']}'", max_results=1
        )
        return found[0] if found else None

    def _complete(self, run_id: str, execution: Json) -> Run:
        """Log all that training logs and end the run; what is there already stays as it is."""
        self._log_facts(run_id, execution)
        for epoch in execution["epochs"]:
            self._log_metrics(run_id, **epoch)  # same value and time: MLflow keeps one of two
        files = [
            file
            for file, digest in execution["files"].items()
            if Path(file).exists() and sha256(Path(file)) == digest  # not another training's
        ]
        self._log_files(run_id, files, "model")
        self.client.set_terminated(run_id, "FINISHED", execution["ended"])
        return self.client.get_run(run_id)

    def _create(self, execution: Json, tags: dict[str, str]) -> str:
        experiment = self._experiment(execution["experiment"])
        with _asked_once():
            run = self.client.create_run(
                experiment,
                start_time=execution["started"],
                run_name=execution["name"],
                tags={**execution["tags"], "execution": execution["id"], **tags},
            )
        return str(run.info.run_id)

    def _log_facts(self, run_id: str, execution: Json) -> None:
        self._log_parameters(run_id, execution["parameters"])
        dataset = Dataset(**execution["dataset"])
        context = InputTag("mlflow.data.context", "training")
        inputs = [DatasetInput(dataset, [context])]
        with self.lock:  # two runs that are the first with their data set both add it
            try:
                self.client.log_inputs(run_id, inputs)
            except MlflowException as error:
                if error.error_code != "BAD_REQUEST":
                    raise
                self.client.log_inputs(run_id, inputs)  # a colleague's run, on a server

    def _end_what_was_killed(self, experiment: str) -> None:
        """End the runs that this machine's dead recorders left as running."""
        running = self.client.search_runs(
            [self._experiment(experiment)],
            f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'",
        )
        for run in running:
            pid, since = int(run.data.tags["pid"]), run.data.tags["pid_since"]
            if _since(pid) != since:
                self.client.set_terminated(run.info.run_id, "KILLED")

    def _log_parameters(self, run_id: str, parameters: Json) -> None:
        params = [Param(name, str(value)) for name, value in parameters.items()]
        self.client.log_batch(run_id, params=params)

    def _log_metrics(self, run_id: str, values: dict[str, float], step: int, time: int) -> None:
        metrics = [Metric(name, value, time, step) for name, value in values.items()]
        self.client.log_batch(run_id, metrics)

    def _log_files(self, run_id: str, files: list[str], folder: str) -> None:
        for file in files:
            self.client.log_artifact(run_id, file, folder)

    def _experiment(self, name: str) -> str:
        location = None if self.uri else store.artifacts(self.folder)
        with self.lock:
            known = self.client.get_experiment_by_name(name)
            if known is not None:
                for tag, value in view.EXPERIMENT_TAGS.items():
                    if known.tags.get(tag) != value:  # an older cf made it
                        self.client.set_experiment_tag(known.experiment_id, tag, value)
                return str(known.experiment_id)
            with _unless_another_did():
                return str(self.client.create_experiment(name, location, view.EXPERIMENT_TAGS))
        return self._experiment(name)

    def _own_store(self) -> MlflowClient:
        """A client of the project's own store, which is made if it is missing."""
        with self.lock:  # two processes that make the tables at once both fail
            client = MlflowClient(f"sqlite:///{self.folder / store.DATABASE}")
            client.search_experiments(max_results=1)
            with closing(sqlite3.connect(self.folder / store.DATABASE, timeout=20)) as database:
                database.execute("PRAGMA journal_mode=WAL")
            store.follow_a_move(self.folder)
        return client


def _owner() -> dict[str, str]:
    """Tags that tell whether the process that began a run is still there to end it."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": str(pid), "pid_since": _since(pid)}


def _since(pid: int) -> str:
    """When a process started: with its id, that tells it from all others of this machine."""
    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.NoSuchProcess:
        return "never"


@contextmanager
def _asked_once() -> Iterator[None]:
    """No retries: a server that is too slow to answer would make the same thing twice."""
    retries = os.environ[RETRIES]
    os.environ[RETRIES] = "0"  # MLflow looks at each request
    try:
        yield
    finally:
        os.environ[RETRIES] = retries


@contextmanager
def _unless_another_did() -> Iterator[None]:
    """Nothing, if what the block makes is there already: on a server, a colleague may be faster."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def main() -> None:
    """Do what standard input says; where MLflow fails, warn once and do no more."""
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it would warn of each retry
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put("")

    # at any time, so that a slow server does not slow down the stage, which writes into a pipe
    reader = Thread(target=read)
    reader.start()
    recorder = None
    try:
        recorder = Recorder()
        for line in iter(lines.get, ""):
            do, arguments = json.loads(line)
            getattr(recorder, do)(**arguments)
        if recorder.run_id and not recorder.ended:
            recorder.client.set_terminated(recorder.run_id, "FAILED")
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        print(
            f"warning: MLflow did not record all of this: {reason}\n"
            "         The results are not affected. `make sync` records them later.",
            file=sys.stderr,
        )
        reader.join()  # the stage shall not notice before it is done
        sys.exit(1)


if __name__ == "__main__":
    main()
