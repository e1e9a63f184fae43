"""Run records: what executed, with all that MLflow is to show of it, and how they get there.

The record is the protocol. Whoever knows more about a run, be it the training, a later stage or
`cf sync`, completes its record and calls `Recorder.upsert`, which makes MLflow say the same.
"""

import getpass
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from cf.core import git, io, paths, shared_process
from cf.core.config import Sampling, Tracking, Training, flatten_params
from cf.core.errors import InputError
from cf.core.ratings import Provenance, SplitInfo

WRITER = "cf.tracking"  # the module of the process that writes to MLflow
DONE, FAILED = "done", "failed"  # its answers
LATER = "`make sync` records the trainings; to record cv, grid or tune, run that again."
INTERVAL_S = 0.25  # between two states of a running record: enough for a live chart

MADE_BY_DVC = ("dvc.lock", "reports", "runs")
NOTE = (  # the description of a run: what it has parameters for
    *("n_factors {n_factors}", "{optimizer} {learning_rate}", "decay {weight_decay}"),
    "total decay {total_weight_decay}",
    *("{n_epochs} epochs", "{n_sweeps} sweeps", "dropout {dropout}", "init_range {init_range}"),
)


@dataclass
class RunRecord:
    """One execution, as MLflow shows it: a training, a search and its trials, a cross-validation.

    Times are in ms since 1970 UTC; paths are relative to the project.
    """

    id: str  # of this execution and no other; a tag of its run in MLflow
    experiment: str  # MLflow's, in which the run is
    name: str
    parameters: dict[str, Any] = field(default_factory=dict)  # hyperparameters under flat names
    tags: dict[str, str] = field(default_factory=dict)
    dataset: dict[str, str] = field(default_factory=dict)  # the fields of MLflow's data set
    started: int = 0
    ended: int = 0  # while it runs
    status: str = "RUNNING"  # or FINISHED, FAILED, KILLED
    epochs: list[dict[str, Any]] = field(default_factory=list)  # step, time and metrics of each
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of each model file, by path
    metrics: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)  # paths, by a name that models share
    reports: list[str] = field(default_factory=list)  # paths of what is about several models
    parent: str = ""  # id of the record that this is a part of
    candidate: bool = False  # whether its model is registered, perhaps as the champion

    def log_epoch(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of an epoch that has just ended."""
        self.epochs.append({"step": step, "time": _now(), "metrics": dict(metrics)})

    def finish(self, files: Sequence[Path] = (), status: str = "FINISHED") -> None:
        """Set end, status and the digests of the model's files."""
        self.ended, self.status = _now(), status
        self.files = {file.as_posix(): io.digest(file) for file in files}


def new_training_record(
    experiment: str,
    model: str,
    section: Training | Sampling,
    provenance: Provenance,
    split: SplitInfo,
    changed: Mapping[str, Any] | None = None,
) -> RunRecord:
    """The record of a training, or of a search for its parameters, that starts now.

    `changed`, the parameters that differ from the last commit's, are part of the run's name.
    """
    words = [model, *(f"{key}={value}" for key, value in (changed or {}).items())]
    words[3:] = ["..."] if len(words) > 3 else []
    parameters = {
        **flatten_params(section.model_dump(mode="json", exclude_none=True)),
        "dataset": provenance.dataset,
        "split_method": split.method,
        **{f"split_{key}": value for key, value in split.settings.items()},
    }
    tags = {
        "model": model,
        "dataset": provenance.dataset,
        "dataset_requested": provenance.requested,
        "dataset_sha256": provenance.sha256,
        "split_sha256": split.sha256,
        "mlflow.note.content": _note(parameters),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name,
        **_user_and_commit(),
    }
    if dvc_name := os.environ.get("DVC_EXP_NAME"):
        words.append(f"({dvc_name})")
        tags["dvc_experiment"] = dvc_name
    sizes = {key: getattr(provenance, key) for key in ("n_ratings", "n_users", "n_items")}
    dataset = {
        "name": provenance.dataset,
        "digest": provenance.sha256[:8],  # shown beside the name; the source has all of it
        "source_type": "cf",
        "source": json.dumps({"source": provenance.source, "sha256": provenance.sha256}),
        "profile": json.dumps(sizes),
    }
    return RunRecord(uuid4().hex, experiment, " ".join(words), parameters, tags, dataset, _now())


def group(
    name: str, records: Sequence[RunRecord], report: Path, metrics: Mapping[str, float]
) -> list[RunRecord]:
    """The record of a finished execution, then its parts, `records`, which become its children.

    It has the parameters and tags that all of them share, the report and the metrics.
    """

    def shared(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {k: v for k, v in values[0].items() if all(each.get(k) == v for each in values)}

    first = records[0]
    above = RunRecord(
        id=uuid4().hex,
        experiment=first.experiment,
        name=name,
        parameters=shared([record.parameters for record in records]),
        tags=shared([record.tags for record in records]),
        dataset=first.dataset,
        started=min(record.started for record in records),
        metrics=dict(metrics),
        reports=[report.as_posix()],
    )
    above.finish()
    for record in records:
        record.parent = above.id
    return [above, *records]


def read_all(split: SplitInfo) -> dict[str, RunRecord]:
    """The record of each model's training in runs/, by the model's name, as far as it finished.

    Raises `InputError` if a file is damaged, or if a model was trained on another split: its
    training rows may be held out now.
    """
    found = {path: io.read_dataclass(path, RunRecord) for path in sorted(paths.RUNS.glob("*.json"))}
    for path, record in found.items():
        if record.tags.get("split_sha256") != split.sha256:
            raise InputError(
                f"{path}: {path.stem} was trained on other rows, and no stage of dvc.yaml trains "
                f"it on these. Bring its stage back, or delete {path} and "
                f"{paths.MODELS / path.stem}."
            )
    return {path.stem: record for path, record in found.items() if record.status == "FINISHED"}


def set_figures(records: Mapping[str, RunRecord]) -> None:
    """Give each model's record the figures drawn of it, those about several, and the page."""
    pictures = {path.stem: path for path in sorted(paths.FIGURES.glob("*.png"))}
    shared = [path for name, path in pictures.items() if not name.startswith("predicted_")]
    for name, record in records.items():
        if own := pictures.get(f"predicted_{name}"):
            record.pictures = {"predicted_vs_observed": own.as_posix()}
        record.reports = [path.as_posix() for path in (*shared, paths.REPORT)]


class Recorder:
    """Hands records to the process that writes to MLflow."""

    def __init__(self, connection: shared_process.Connection | None) -> None:
        self.failed = False  # at the end: whether MLflow lacks something of the records
        self._connection = connection
        self._open: dict[str, tuple[RunRecord, Path | None]] = {}  # running or not handed over
        self._sent: dict[str, float] = {}

    def upsert(self, record: RunRecord, path: Path | None = None) -> None:
        """Make MLflow, and the file at `path`, say what the record says now.

        The same again changes nothing. It takes no time: a running record is handed over a few
        times a second at most, and the process writes only the last of the states it was given.
        """
        self._open[record.id] = record, path
        now, is_running = time.monotonic(), record.status == "RUNNING"
        if is_running and now - self._sent.get(record.id, -INTERVAL_S) < INTERVAL_S:
            return
        self._sent[record.id] = now
        fields = {name: value for name, value in asdict(record).items() if value}
        if path:
            io.write_json(path, fields)
        if not is_running:
            del self._open[record.id]
        if self._connection:
            self._connection.send(json.dumps(fields))


@contextmanager
def recording(settings: Tracking, timeout_s: float | None = 60) -> Iterator[Recorder]:
    """A recorder whose process imports MLflow while the block works, and is awaited at its end.

    A record that still runs when the block fails is FAILED, or KILLED after an interrupt. The
    process, which serves all stages of a `dvc repro`, is given up after `timeout_s` seconds; with
    None, never. It is not awaited where the block fails before it has a record.
    """
    started = str(_now())
    connection = shared_process.connect(WRITER, started) if settings.enabled else None
    recorder = Recorder(connection)
    try:
        yield recorder
    except BaseException as error:
        for record, path in list(recorder._open.values()):
            record.finish(status="FAILED" if isinstance(error, Exception) else "KILLED")
            recorder.upsert(record, path)
        if connection and not recorder._sent:
            connection.send("")
            connection = None
        raise
    finally:
        if connection:
            problem = ""
            try:
                answer = connection.close(timeout_s)
                if not answer:
                    problem = "the process that writes to MLflow has ended early"
            except TimeoutError:
                answer, problem = "", f"MLflow was not done within {timeout_s:.0f} s"
            recorder.failed = answer != DONE
            if problem:
                print(
                    f"warning: {problem}. The results are not affected. {LATER}",
                    file=sys.stderr,
                )


def _now() -> int:
    return int(time.time() * 1000)


def _note(parameters: Mapping[str, Any]) -> str:
    """What sets a training apart, first what MLflow's table has room for: 50 characters."""
    words = []
    for template in NOTE:
        with suppress(KeyError):
            words.append(template.format_map(parameters))
    off = [key for key, value in parameters.items() if value is False or value == []]
    return ", ".join(words + [f"no {key}" for key in off])


def _user_and_commit() -> dict[str, str]:
    """Tags for who runs this and, where git tracks this project, from what."""
    tags = {}
    with suppress(OSError, KeyError):  # a container may know of no user
        tags["mlflow.user"] = getpass.getuser()
    head = git.head_commit()
    if head and git.output("ls-files", "--", paths.PIPELINE.as_posix()):
        tags["mlflow.source.git.commit"], _ = head
        others = (f":!{path}" for path in MADE_BY_DVC)
        changed = git.output("status", "--porcelain", "--", ".", *others)
        tags["git_dirty"] = str(bool(changed)).lower()
    return tags
