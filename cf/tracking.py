"""What stages tell MLflow: a run for each training that executed, to which later stages add."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cf.data.tables import Provenance, SplitFacts
from cf.params import Section, Tracking, Training

RECORDER = [sys.executable, "-P", str(Path(__file__).with_name("recorder.py"))]


class Recorder:
    """The recorder's end in this process; when tracking is off, nobody listens.

    Attributes:
        run_id: MLflow's id of the run that was started, once the block of `recorder` has ended;
            None where nothing was recorded.
    """

    def __init__(self, process: "subprocess.Popen[str] | None") -> None:
        self._process = process
        self.run_id: str | None = None

    def start(
        self,
        experiment: str,
        name: str,
        training: Training,
        provenance: Provenance,
        split: SplitFacts,
    ) -> None:
        """Start the run of a training."""
        parameters = {
            **flat(training),
            "dataset": provenance.dataset,
            "split_fraction": split.fraction,
            "split_seed": split.seed,
        }
        sizes = {key: getattr(provenance, key) for key in ("n_ratings", "n_users", "n_items")}
        dataset = {
            "name": provenance.dataset,
            "digest": provenance.sha256[:32],
            "source_type": "cf",
            "source": json.dumps({"source": provenance.source, "sha256": provenance.sha256}),
            "profile": json.dumps(sizes),
        }
        self._tell(
            "start",
            experiment=experiment,
            name=name,
            parameters=parameters,
            tags=_tags(name, provenance),
            dataset=dataset,
            time=_now(),
        )

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Add metrics to the run that was started."""
        self._tell("log_metrics", values=dict(values), step=step, time=_now())

    def log_files(self, files: list[Path], folder: str) -> None:
        """Copy files into the artefacts of the run that was started."""
        self._tell("log_files", files=[str(file) for file in files], folder=folder)

    def end(self, status: str) -> None:
        """End the run that was started, as FINISHED, FAILED or KILLED."""
        self._tell("end", status=status, time=_now())

    def add(
        self,
        run_id: str | None,
        values: Mapping[str, float | None],
        files: Sequence[Path] = (),
    ) -> None:
        """Add figures to the run of a training that has ended; the same ones again are no more.

        Args:
            run_id: of the training; None where it was not recorded.
            values: metrics; those that are None are left out.
            files: pictures.
        """
        if run_id:
            known = {name: float(value) for name, value in values.items() if value is not None}
            self._tell(
                "add", run_id=run_id, values=known, files=[str(f) for f in files], folder="figures"
            )

    def _tell(self, do: str, **arguments: Any) -> None:
        if self._process and self._process.stdin:
            with suppress(BrokenPipeError):  # it has said why it ended
                print(json.dumps([do, arguments]), file=self._process.stdin, flush=True)

    def _close(self) -> None:
        if self._process:
            answer, _ = self._process.communicate()
            self.run_id = json.loads(answer)["run_id"] if answer else None


@contextmanager
def recorder(tracking: Tracking) -> Iterator[Recorder]:
    """A recorder that imports MLflow while the block works, and is waited for at its end."""
    if not tracking.enabled:
        yield Recorder(None)
        return
    process = subprocess.Popen(
        RECORDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,  # an interrupt is for the stage alone: it tells what follows
    )
    teller = Recorder(process)
    try:
        yield teller
    except KeyboardInterrupt:
        teller.end("KILLED")
        raise
    finally:
        teller._close()


def flat(section: Section) -> dict[str, Any]:
    """The section's values under their own names, without those of the parts they are in.

    A part's `name` goes under the part's: `optimizer.name` becomes `optimizer`.
    """
    found: dict[str, Any] = {}
    for key, value in section.model_dump(mode="json", exclude_unset=True).items():
        if isinstance(value, dict):
            found |= {key if inner == "name" else inner: v for inner, v in value.items()}
        else:
            found[key] = value
    return found


def _now() -> int:
    return int(time.time() * 1000)


def _tags(name: str, provenance: Provenance) -> dict[str, str]:
    tags = {
        "model": name,
        "dataset": provenance.dataset,
        "dataset_sha256": provenance.sha256,
        "mlflow.note.content": f"{name} on {provenance.dataset}",
    }
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if git.returncode == 0:
        tags["mlflow.source.git.commit"] = git.stdout.strip()
    return tags
