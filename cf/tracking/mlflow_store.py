"""MLflow, brought to what run records say."""

import hashlib
import logging
import os
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from cf.tracking import login

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
# None within a request: a server too slow to answer would create twice. Whole upserts are repeated.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"  # all is there when `upsert` returns
if not os.environ.get(login.CERTIFICATE):  # MLflow would verify nothing if it is there and empty
    os.environ.pop(login.CERTIFICATE, None)

from filelock import BaseFileLock, FileLock, Timeout
from mlflow import Image, MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    Run,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path

from cf.core import io
from cf.core.errors import InputError, WriteError
from cf.evaluation import champion
from cf.tracking import database, ui_view
from cf.tracking.record import RunRecord
from cf.tracking.redact import redact

MODEL, ALIAS = "cf", "champion"
SERVABLE = "mlflow_model"  # the folder of a run's artifacts that `mlflow models serve` takes
UNFINISHED = ".artifact.uploading.*"  # MLflow's name for an artifact that is not whole
BATCH_SIZE = 1000  # metrics that MLflow takes at once
LOCK_FILE = "lock_file"  # the tag of a run that is not complete: host and path
SLOW_S = 5.0  # a server that fails only after this long is not asked for the rest
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it raises what it prints
REFUSALS = range(400, 500)  # statuses: the server has decided


def open_own(folder: Path) -> MlflowClient:
    """A client of a project's own store in `folder`: made if missing, migrated if MLflow is newer.

    Raises:
        InputError: as `cf.tracking.database.prepare`.
    """
    file = folder / "mlflow.db"
    with database.own_lock(folder):  # two processes that make the tables at once both fail
        client = _open(file, is_own=True)
        with closing(sqlite3.connect(file, timeout=database.PATIENCE_S)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    return client


def _open(file: Path, is_own: bool) -> MlflowClient:
    database.prepare(file, is_own)
    client = MlflowClient(database.uri(file))
    client.search_experiments(max_results=1)
    return client


class MlflowStore:
    """MLflow's store: that of the project, in mlruns/; a file of SQLite that others use as well; or
    a server.

    Where an experiment of DVC runs, the project is the folder that `DVC_ROOT` names. A record's
    lock file is held by the process that writes the record, and as long as the record runs: so
    others see whether a run that is marked as running still has a process to end it. Runs of
    records that had ended before `started`, in ms since 1970 UTC, are backfilled.
    """

    def __init__(self, started: int) -> None:
        self.started = started
        address = os.environ.get("MLFLOW_TRACKING_URI") or ""
        self.is_own = not address
        self.folder = Path(os.environ.get("DVC_ROOT", "."), "mlruns").resolve()
        (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        self.lock: BaseFileLock = database.own_lock(self.folder)
        self.artifacts: str | None = (self.folder / "artifacts").as_uri()
        if self.is_own:
            self.client = open_own(self.folder)
        elif file := database.shared(address):
            self.lock = database.shared_lock(file)
            self.artifacts = file.with_name("artifacts").as_uri()
            with self.lock:
                self.client = _open(file, is_own=False)
        else:
            self.artifacts = None  # the server decides
            self.client = MlflowClient(address)
        self._locks: dict[str, FileLock] = {}
        self._experiments: dict[str, str] = {}
        self._run_ids: dict[str, str] = {}
        self._n_epochs: dict[str, int] = {}  # that the run has, by the record's id
        self._attempted: set[str] = set()
        self._servable: dict[str, str] = {}  # what `_log_servable` returned, by the run's id

    def upsert(self, record: RunRecord) -> None:
        """Make MLflow say what the record says; the same again changes nothing.

        What is refused stops nothing else of the record.

        Raises:
            InputError: something was refused, or only the store's owner can mend it.
        """
        lock_file = self.folder / "locks" / record.id
        lock = self._locks.setdefault(record.id, FileLock(lock_file))
        if not lock.is_locked:
            with self.lock, suppress(Timeout):  # under which nobody removes the file meanwhile
                lock.acquire(timeout=0)
        if not lock.is_locked:
            lock.acquire()
        try:
            if record.status == "RUNNING" and record.id in self._run_ids:
                self._log_epochs(self._run_ids[record.id], record)
                return
            run = self._find(record.experiment, record.id) or self._create(record, lock_file)
            self._run_ids[record.id] = run.info.run_id
            has_ended = run.info.status == record.status != "RUNNING"
            is_complete = has_ended and LOCK_FILE not in run.data.tags
            attempt(
                partial(self._remove_unfinished, run),
                *(() if is_complete else (partial(self._log_execution, run, record),)),
                partial(self._log_metrics, run, record),
                partial(self._log_pictures, run, record.pictures),
                partial(self._log_reports, run, record),
                partial(self._set_parent, run, record),
                partial(self._register, run, record),
            )
        finally:
            if record.status != "RUNNING":
                lock_file.unlink(missing_ok=True)
                lock.release()

    def _find(self, experiment: str, record_id: str) -> Run | None:
        query = f"tags.execution = '{record_id}'"
        found = self.client.search_runs([self._experiment(experiment)], query, max_results=1)
        return next(iter(found), None)

    def _create(self, record: RunRecord, lock_file: Path) -> Run:
        place = f"{socket.gethostname()}:{lock_file}"
        tags = {**record.tags, "execution": record.id, LOCK_FILE: place}
        if 0 < record.ended < self.started:
            tags["backfilled"] = "true"
        experiment = self._experiment(record.experiment)
        with self._once(record.id):
            return self.client.create_run(experiment, record.started, tags, record.name)

    @contextmanager
    def _once(self, what: str) -> Iterator[None]:
        """Raise `TimeoutError` if this was tried before: its answer may be lost on the way.

        Another process will find what was made, if it was.
        """
        if what in self._attempted:
            raise TimeoutError("the server was too slow to answer")
        self._attempted.add(what)
        try:
            yield
        except MlflowException as error:
            if is_refusal(error):
                self._attempted.remove(what)
            raise

    def _log_execution(self, run: Run, record: RunRecord) -> None:
        """Log what belongs to the execution itself, its end, and last that it is complete."""
        run_id = run.info.run_id
        params = [Param(name, str(value)) for name, value in record.parameters.items()]
        self.client.log_batch(run_id, params=params)
        if not (run.inputs and run.inputs.dataset_inputs):
            context = InputTag("mlflow.data.context", "training")
            dataset = DatasetInput(Dataset(**record.dataset), [context])
            with self.lock:  # two runs that are the first with their data set both add it
                self.client.log_inputs(run_id, [dataset])
        self._log_epochs(run_id, record)
        attempt(partial(self._log_files, run_id, record), partial(self._end, run, record))
        if record.status != "RUNNING" and LOCK_FILE in run.data.tags:
            self.client.delete_tag(run_id, LOCK_FILE)

    def _log_files(self, run_id: str, record: RunRecord) -> None:
        for file, digest in record.files.items():
            if Path(file).exists() and io.digest(Path(file)) == digest:  # not another training's
                self.client.log_artifact(run_id, file, "model")

    def _end(self, run: Run, record: RunRecord) -> None:
        if run.info.status != record.status != "RUNNING":
            self.client.set_terminated(run.info.run_id, record.status, record.ended)

    def _log_epochs(self, run_id: str, record: RunRecord) -> None:
        """Log the epochs that this process has not logged; of two alike, MLflow keeps one."""
        metrics = [
            Metric(name, value, epoch["time"], epoch["step"])
            for epoch in record.epochs[self._n_epochs.get(record.id, 0) :]
            for name, value in epoch["metrics"].items()
        ]
        for start in range(0, len(metrics), BATCH_SIZE):
            self.client.log_batch(run_id, metrics[start : start + BATCH_SIZE])
        self._n_epochs[record.id] = len(record.epochs)

    def _log_metrics(self, run: Run, record: RunRecord) -> None:
        """Log the metrics that the run has otherwise or not at all."""
        run_id, now = run.info.run_id, int(time.time() * 1000)
        if changed := record.metrics.items() - run.data.metrics.items():
            self.client.log_batch(run_id, [Metric(*metric, now, 0) for metric in changed])

    def _log_reports(self, run: Run, record: RunRecord) -> None:
        run_id, content = run.info.run_id, "".join(io.digest(Path(path)) for path in record.reports)
        digest = hashlib.sha256(content.encode()).hexdigest()
        if record.reports and run.data.tags.get("report_sha256") != digest:
            for path in record.reports:
                self.client.log_artifact(run_id, path, "report")
            self.client.set_tag(run_id, "report_sha256", digest)

    def _set_parent(self, run: Run, record: RunRecord) -> None:
        if record.parent:
            above = self._find(record.experiment, record.parent)
            if above is None:
                raise LookupError(f"{record.name}: the run that it is a part of is missing")
            self.client.set_tag(run.info.run_id, "mlflow.parentRunId", above.info.run_id)

    def _remove_unfinished(self, run: Run) -> None:
        """Remove what MLflow had copied in part when a process was killed."""
        if (run.info.artifact_uri or "").startswith("file:"):
            folder = local_file_uri_to_path(run.info.artifact_uri)  # type: ignore[no-untyped-call]
            for path in Path(folder).rglob(UNFINISHED):
                path.unlink()

    def _log_pictures(self, run: Run, pictures: dict[str, str]) -> None:
        """Log each picture so that MLflow shows those of several runs side by side.

        Its page of a comparison does so for files at the root that have the same name, its page of
        charts for images. An image is a new file at each call.
        """
        for name, path in pictures.items():
            digest, run_id = io.digest(Path(path)), run.info.run_id
            if run.data.tags.get(f"{name}_sha256") != digest:
                self.client.log_image(run_id, Image(path), artifact_file=f"{name}.png")
                self.client.log_image(run_id, Image(path), key=name, step=0)
                self.client.set_tag(run_id, f"{name}_sha256", digest)

    def _register(self, run: Run, record: RunRecord) -> None:
        """Register a candidate's model once, and the decision whether it is the champion."""
        if record.candidate:
            with self.lock:
                self._register_locked(run.info.run_id, record)

    def _register_locked(self, run_id: str, record: RunRecord) -> None:
        if not self.client.search_registered_models(f"name = '{MODEL}'"):
            self.client.create_registered_model(MODEL, description="The best models, by version.")
        mine = f"name = '{MODEL}' and run_id = '{run_id}'"
        found = list(self.client.search_model_versions(mine))
        if not found:
            problem = self._log_servable(run_id, record)
            source = f"runs:/{run_id}/{'model' if problem else SERVABLE}"
            servable = {"servable": f"no: {problem}" if problem else "yes"}
            with self._once(f"version {record.id}"):
                found = [self.client.create_model_version(MODEL, source, run_id, servable)]
        tags = {key: record.tags[key] for key in ("dataset_sha256", "split_sha256", "model")}
        self._tag_version(found[0].version, rmse=str(record.metrics["rmse"]), **tags)
        new = self._version(found[0].version)
        number = self.client.get_registered_model(MODEL).aliases.get(ALIAS)
        before = self._version(number) if number else None
        only = len(self.client.search_model_versions(f"name = '{MODEL}'")) == 1
        decision = champion.decide(new, before, only)
        self._tag_version(new.version, decision=decision.reason)
        if decision.promote and (before is None or before.version != new.version):
            self.client.set_registered_model_alias(MODEL, ALIAS, str(new.version))
            if before:
                reason = champion.decide(before, new, is_only_version=False).reason
                self._tag_version(before.version, decision=reason)

    def _log_servable(self, run_id: str, record: RunRecord) -> str:
        """Log the record's model as MLflow serves it; the reason, if that can never be done."""
        if run_id in self._servable:
            return self._servable[run_id]
        from cf.serving import pyfunc  # late: most processes register nothing

        try:
            for file, digest in record.files.items():
                if not Path(file).is_file() or io.digest(Path(file)) != digest:
                    raise InputError(f"{file} is not what this training made.")
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary, SERVABLE)
                pyfunc.save(Path(), record.tags["model"], folder)
                self.client.log_artifacts(run_id, str(folder), SERVABLE)
            self._servable[run_id] = ""
        except WriteError:
            raise
        except InputError as error:
            self._servable[run_id] = redact(str(error))
        return self._servable[run_id]

    def _version(self, number: int | str) -> champion.ModelVersion:
        tags = self.client.get_model_version(MODEL, str(number)).tags
        texts = {key: tags.get(key, "") for key in ("dataset_sha256", "split_sha256", "decision")}
        rmse, is_servable = float(tags.get("rmse", "inf")), tags.get("servable") == "yes"
        return champion.ModelVersion(int(number), rmse, **texts, is_servable=is_servable)

    def _tag_version(self, number: int | str, **tags: str) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(MODEL, str(number), key, value)

    def _experiment(self, name: str) -> str:
        """The id of an experiment that has cf's view, made where it is missing."""
        if name not in self._experiments:
            with self.lock:
                self._experiments[name] = self._open_experiment(name)
            self._close_orphaned_runs(self._experiments[name])
        return self._experiments[name]

    def _open_experiment(self, name: str) -> str:
        location = self.artifacts
        known = self._find_experiment(name)
        if self.is_own and known and not known.artifact_location.startswith(str(location)):
            old = f"{name} (in {known.artifact_location})"
            self.client.rename_experiment(known.experiment_id, old)
            print(
                "MLflow: this project has moved, and MLflow looks for the files of earlier runs "
                f"where it was. Their experiment is now called {old!r}; new runs go to {name!r}.",
                file=sys.stderr,
            )
            known = self._find_experiment(f"{name} (in {location})")
            if known:  # it has moved back
                self.client.rename_experiment(known.experiment_id, name)
        if known is None:
            return self.client.create_experiment(name, location, ui_view.EXPERIMENT_TAGS)
        for tag, value in ui_view.EXPERIMENT_TAGS.items():
            if known.tags.get(tag) != value:  # an older cf made it
                self.client.set_experiment_tag(known.experiment_id, tag, value)
        return str(known.experiment_id)

    def _find_experiment(self, name: str) -> Experiment | None:
        """An experiment by its name; raises `InputError` if it was deleted."""
        found = self.client.get_experiment_by_name(name)
        if found and found.lifecycle_stage == LifecycleStage.DELETED:
            raise InputError(database.explain_deleted(name, found.experiment_id, self.is_own))
        return found

    def _close_orphaned_runs(self, experiment: str) -> None:
        """End the runs of this machine that are marked as running and have no process.

        And remove the lock files of those that were killed before they had a run.
        """
        host = socket.gethostname()
        query = f"attributes.status = 'RUNNING' and tags.{LOCK_FILE} LIKE '{host}:%'"
        for run in self.client.search_runs([experiment], query):
            run_id = run.info.run_id
            lock_file = Path(run.data.tags[LOCK_FILE].removeprefix(f"{host}:"))
            if not lock_file.parent.is_dir():
                lock_file = self.folder / "locks" / lock_file.name  # the project was moved
            with suppress(Timeout), FileLock(lock_file, timeout=0):
                if self.client.get_run(run_id).info.status == "RUNNING":
                    self.client.set_terminated(run_id, "KILLED")
                    self.client.delete_tag(run_id, LOCK_FILE)
                lock_file.unlink()
        with self.lock:  # under which runs make theirs
            for lock_file in (self.folder / "locks").iterdir():
                with suppress(Timeout, OSError), FileLock(lock_file, timeout=0):
                    lock_file.unlink()

    def close(self) -> None:
        """Leave the project's own store in one file, or where that fails, in two, as it was."""
        if self.is_own:
            file = self.folder / "mlflow.db"
            with (
                suppress(sqlite3.Error),
                closing(sqlite3.connect(file, timeout=database.PATIENCE_S)) as connection,
            ):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def attempt(*steps: Callable[[], None]) -> None:
    """Take all steps, and raise the first error in the end; or at once if nobody answers.

    Raises:
        InputError: the first error was a refusal.
    """
    errors: list[Exception] = []
    for step in steps:
        began = time.monotonic()
        try:
            step()
        except Exception as error:  # of any kind: each way to store artifacts has its own
            if not is_refusal(error) and time.monotonic() - began > SLOW_S:
                raise
            errors.append(error)
    if errors and is_refusal(errors[0]):
        raise InputError(str(errors[0])) from None
    if errors:
        raise errors[0]


def is_refusal(error: Exception) -> bool:
    """Whether the store has answered that it will not."""
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()  # type: ignore[no-untyped-call]
        return status in REFUSALS
    return isinstance(error, InputError)
