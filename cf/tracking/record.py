"""What stages tell MLflow: a run for each training that executed, to which later stages add."""

import getpass
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from cf.core.config import Sampling, Tracking, Training, flatten_params
from cf.core.io import sha256
from cf.core.provenance import Provenance, SplitInfo

RECORDER = [sys.executable, "-P", str(Path(__file__).with_name("mlflow_store.py"))]
PATIENCE = 60.0  # seconds that a stage waits for its recorder
MADE_BY_DVC = ("dvc.lock", "reports", "runs")


@dataclass
class RunRecord:
    """A training that executed, with all that MLflow is to know: its run can be made from this.

    Attributes:
        id: of this execution and no other; the run bears it as a tag.
        experiment: MLflow's, in which the run is.
        name: of the run.
        parameters: hyperparameters under flat names.
        dataset: the fields of MLflow's data set.
        started: in ms since 1970 UTC.
        ended: in ms since 1970 UTC; 0 while it goes on.
        epochs: step, time and values of each.
        files: the model's, relative to the project, and the SHA-256 of each.
    """

    id: str
    experiment: str
    name: str
    parameters: dict[str, Any]
    tags: dict[str, str]
    dataset: dict[str, str]
    started: int
    ended: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


def execution(
    experiment: str,
    model: str,
    training: Training | Sampling,
    provenance: Provenance,
    split: SplitInfo,
    changed: Mapping[str, Any] | None = None,
) -> RunRecord:
    """A training that starts now.

    Args:
        changed: parameters that are not the last commit's: the run's name tells them.
    """
    parameters = flatten_params(training.model_dump(mode="json"))
    started = study(experiment, model, parameters, provenance, split)
    dvc_name = started.tags.get("dvc_experiment")
    note = _description(training, dvc_name)
    script = "train" if isinstance(training, Training) else "sample"
    source = {
        "mlflow.source.name": f"stages/{script}.py",
        "mlflow.note.content": note,
        "model": model,
    }
    named = [f"{key}={value}" for key, value in (changed or {}).items()]
    name = " ".join([model, *named[:2], *(["..."] if len(named) > 2 else [])])
    name += f" ({dvc_name})" if dvc_name else ""
    return replace(started, name=name, tags={**started.tags, **source})


def study(
    experiment: str,
    name: str,
    parameters: dict[str, Any],
    provenance: Provenance,
    split: SplitInfo,
) -> RunRecord:
    """Work on a data set that starts now and is no training of one model."""
    parameters = {
        **parameters,
        "dataset": provenance.dataset,
        "split_method": split.method,
        **{f"split_{key}": value for key, value in split.settings.items()},
    }
    sizes = {key: getattr(provenance, key) for key in ("n_ratings", "n_users", "n_items")}
    dataset = {
        "name": provenance.dataset,
        "digest": provenance.sha256[:8],  # shown beside the name; the source has it all
        "source_type": "cf",
        "source": json.dumps({"source": provenance.source, "sha256": provenance.sha256}),
        "profile": json.dumps(sizes),
    }
    dvc_name = os.environ.get("DVC_EXP_NAME")
    tags = {
        "dataset": provenance.dataset,
        "dataset_requested": provenance.requested,
        "dataset_sha256": provenance.sha256,
        "split_sha256": split.sha256,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        **_commit(),
        **({"dvc_experiment": dvc_name} if dvc_name else {}),
    }
    return RunRecord(uuid4().hex, experiment, name, parameters, tags, dataset, _now())


class Recorder:
    """The recorder's end in this process; when tracking is off, nobody listens.

    Attributes:
        failed: whether something was not recorded; known once the block has ended.
    """

    def __init__(self, process: "subprocess.Popen[str] | None", patience: float | None) -> None:
        self._process = process
        self._patience = patience
        self.failed = False

    def start(self, training: RunRecord) -> None:
        """Start the run of a training."""
        self._tell("start", execution=asdict(training))

    def log_epoch(self, training: RunRecord, step: int, values: Mapping[str, float]) -> None:
        """Add an epoch to the training and to its run."""
        epoch = {"step": step, "time": _now(), "values": dict(values)}
        training.epochs.append(epoch)
        self._tell("log_epoch", **epoch)

    def finish(self, training: RunRecord, files: Sequence[Path], folder: str = "model") -> None:
        """End the training and its run, with the files it made."""
        training.ended = _now()
        training.files = {file.as_posix(): sha256(file) for file in files}
        self._tell("log_files", files=list(training.files), folder=folder)
        self._tell("end", status="FINISHED", time=training.ended)

    def add(
        self,
        training: RunRecord,
        values: Mapping[str, float | None],
        files: Sequence[Path] = (),
    ) -> None:
        """Add figures to the run of a training that has ended; the same ones again are no more.

        Args:
            values: metrics; those that are None are left out.
            files: pictures.
        """
        self._tell(
            "add",
            execution=asdict(training),
            values={name: float(value) for name, value in values.items() if value is not None},
            files=[str(file) for file in files],
            time=_now(),
        )

    def register(self, training: RunRecord, rmse: float) -> None:
        """Register a training's model, as the champion if none is better on the same rows."""
        self._tell("register", execution=asdict(training), rmse=rmse)

    def group(
        self,
        name: str,
        trainings: Sequence[RunRecord],
        values: Mapping[str, float | None],
        files: Sequence[Path] = (),
    ) -> None:
        """Put the runs of trainings under a run of their own, which has what they share.

        Args:
            name: of that run.
            values: metrics of all the trainings together.
        """
        over = _over(name, trainings)
        self.start(over)
        self.finish(over, files, "figures")
        self.add(over, values)
        for training in trainings:
            self.add(training, {})
            self._tell("adopt", execution=asdict(training))

    def log_trial(
        self, number: int, parameters: dict[str, Any], losses: list[dict[str, float]], state: str
    ) -> None:
        """Add a trial, by its values and the losses of its epochs, to the run that was started.

        Args:
            state: FINISHED, KILLED for one given up early, or FAILED.
        """
        self._tell(
            "log_trial",
            number=number,
            parameters=parameters,
            losses=losses,
            state=state,
            time=_now(),
        )

    def _tell(self, do: str, **arguments: Any) -> None:
        if self._process and self._process.stdin:
            with suppress(BrokenPipeError):  # it has said why it ended
                print(json.dumps([do, arguments]), file=self._process.stdin, flush=True)

    def _close(self) -> None:
        if self._process:
            try:
                self._process.communicate(timeout=self._patience)
                self.failed = self._process.returncode != 0
            except subprocess.TimeoutExpired:
                self._process.kill()
                self.failed = True
                print(
                    f"warning: MLflow was not done within {self._patience:.0f} s. The results are "
                    "not affected. `make sync` records them later.",
                    file=sys.stderr,
                )


def _over(name: str, trainings: Sequence[RunRecord]) -> RunRecord:
    """Several trainings as one execution, with the parameters and tags that all of them have."""
    first = trainings[0]

    def shared(kind: str) -> dict[str, Any]:
        rest = [getattr(training, kind) for training in trainings[1:]]
        values = getattr(first, kind).items()
        return {key: value for key, value in values if all(r.get(key) == value for r in rest)}

    return RunRecord(
        uuid4().hex,
        first.experiment,
        name,
        shared("parameters"),
        shared("tags"),
        first.dataset,
        started=min(training.started for training in trainings),
    )


@contextmanager
def recorder(tracking: Tracking, patience: float | None = PATIENCE) -> Iterator[Recorder]:
    """A recorder that imports MLflow while the block works, and is waited for at its end.

    A run that was started and not finished in the block is ended as failed, or as killed after
    an interrupt.

    Args:
        patience: seconds to wait at most; None: until it is done.
    """
    if not tracking.enabled:
        yield Recorder(None, patience)
        return
    process = subprocess.Popen(
        RECORDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        encoding="utf-8",
        start_new_session=True,  # an interrupt is for the stage alone: it tells what follows
    )
    teller = Recorder(process, patience)
    try:
        yield teller
    except KeyboardInterrupt:
        teller._tell("end", status="KILLED", time=_now())
        raise
    finally:
        teller._close()


def _now() -> int:
    return int(time.time() * 1000)


def _description(training: Training | Sampling, dvc_name: str | None) -> str:
    """What sets this training apart, first what MLflow's table has room for: 50 characters."""
    model = [f"{key} {value}" for key, value in training.model.items() if key != "name"]
    if isinstance(training, Training):
        optimizer, schedule = training.optimizer, training.schedule
        how = [
            f"{optimizer.name} {schedule.learning_rate}",
            f"decay {optimizer.weight_decay}",
            f"{sum(schedule.n_epochs)} epochs",
        ]
    else:
        gibbs = training.gibbs
        off = [f"no {name}" for name, value in gibbs if value is False]
        how = [f"{gibbs.n_sweeps} sweeps", *off]
    ending = [f"experiment {dvc_name}"] if dvc_name else []
    return ", ".join([*model[:1], *how, *model[1:], *ending])


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _commit() -> dict[str, str]:
    """Tags for the commit, where this folder is the root of a git repository."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, encoding="utf-8", check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        if not commit or Path(git("rev-parse", "--show-toplevel")).resolve() != Path.cwd():
            return {}
        changed = git("status", "--porcelain", "--", ".", *(f":!{path}" for path in MADE_BY_DVC))
    except OSError:  # no git on this machine
        return {}
    return {"mlflow.source.git.commit": commit, "git_dirty": str(bool(changed)).lower()}
