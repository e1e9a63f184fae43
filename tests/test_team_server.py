"""A team's tracking server: MLflow on PostgreSQL, with artifacts that pass through it."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cf.tracking.record import recording
from tests.project import Project
from tests.records import LOSSES, ON, begin, finished, new
from tests.servers import BIN, NEEDS_POSTGRESQL, START_S, free_port, postgresql_server
from tests.stores import environment
from tests.test_mlflow_store import picture, upsert

MODEL = "dot"
REPORTS = {"activity", "crosstab", "loss_curves", "strata_rmse", "strata_to_best", "index"}
IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
WARNING = "warning: MLflow did not record all of this"

pytestmark = NEEDS_POSTGRESQL


class Server:
    """An MLflow server that can be stopped and started; its address stays the same."""

    def __init__(self, store: str, root: Path, *options: str, **environ: str) -> None:
        self.address = self.direct = f"http://127.0.0.1:{(port := free_port())}"
        self.command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "1", "--backend-store-uri", store),
            *("--serve-artifacts", "--artifacts-destination", str(root / "artifacts")),
            *options,
        ]
        self.environ = environ
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {**environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **self.environ}
        log = self.root / "server.log"
        with log.open("w") as file:
            self.process = subprocess.Popen(self.command, env=environ, cwd=self.root, stderr=file)
        retry = Retry(total=None, connect=5, backoff_factor=0.1, backoff_max=0.5)
        end = time.monotonic() + START_S
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retry))
            while self.process.poll() is None and time.monotonic() < end:
                with suppress(requests.ConnectionError):
                    session.get(f"{self.direct}/health", timeout=60).raise_for_status()
                    return
        raise AssertionError(log.read_text())

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    @contextmanager
    def away(self) -> Iterator[None]:
        self.stop()
        yield
        self.start()

    def client(self) -> MlflowClient:
        return MlflowClient(self.address)

    def runs(self, experiment: str) -> list[Run]:
        known = self.client().get_experiment_by_name(experiment)
        return list(self.client().search_runs([known.experiment_id])) if known else []

    def files(self, run: Run, folder: str | None = None) -> set[str]:
        found = self.client().list_artifacts(run.info.run_id, folder)
        return {Path(file.path).stem for file in found}

    def history(self, run: Run, name: str) -> list[tuple[int, float]]:
        found = self.client().get_metric_history(run.info.run_id, name)
        return sorted((metric.step, metric.value) for metric in found)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The address of an empty database."""
    with postgresql_server() as port:
        psql = [BIN / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "cf", "-d", "postgres"]
        subprocess.run([*psql, "-qc", "CREATE DATABASE mlflow"], check=True)
        yield f"postgresql+psycopg2://cf@127.0.0.1:{port}/mlflow"


@pytest.fixture(scope="module")
def server(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(postgresql, tmp_path_factory.mktemp("server"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def here(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder as the current one, which knows of the server and nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    return tmp_path


class TeamProject(Project):
    """A project whose stages are told of a server."""

    environ: dict[str, str]

    def python(self, module: str, *arguments: str) -> str:
        """Run a module, which must end well; returns what it printed on standard error."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env={**environment(), **self.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    def train(self) -> str:
        return self.python("stages.train", MODEL)

    def evaluate(self) -> str:
        return self.python("stages.evaluate")

    def plot(self) -> str:
        return self.python("stages.plot")

    def sync(self) -> str:
        return self.python("cf.cli", "sync")


@pytest.fixture
def project(made: Project, server: Server, tmp_path: Path) -> Callable[[str], TeamProject]:
    """Makes a project of one model that has its own experiment on the server."""

    def make(experiment: str) -> TeamProject:
        copy = TeamProject(made.copy(tmp_path / "copy", "mlruns").folder)
        copy.keep_only(MODEL)
        copy.environ = {"MLFLOW_TRACKING_URI": server.address}
        copy.change("tracking", lambda section: section.update(experiment=experiment))
        return copy

    return make


def check_all_is_there(server: Server, project: Project, experiment: str) -> Run:
    """The one run of the project's one model, with all that its stages found."""
    (run,) = server.runs(experiment)
    training = project.read(f"runs/{MODEL}.json")
    scores = project.read("reports/metrics.json")[MODEL]
    assert run.data.tags["execution"] == training["id"]
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (training["started"], training["ended"])
    assert run.data.params["n_factors"] == "50"
    assert run.inputs
    assert len(run.inputs.dataset_inputs) == 1
    epochs = {epoch["step"]: epoch["metrics"] for epoch in training["epochs"]}
    for name in epochs[1]:
        assert server.history(run, name) == [(step, epochs[step][name]) for step in (1, 2)]
    for name, value in scores.items():
        if value is not None:
            assert server.history(run, name) == [(0, value)]
    for name in run.data.metrics.keys() - epochs[1].keys():
        assert len(server.history(run, name)) == 1
    assert server.files(run, "model") == {"model", "weights"}
    files = {"images", "mlflow_model", "model", "predicted_vs_observed", "report"}
    assert server.files(run) == files
    assert len(server.files(run, "images")) == 2, "as it is, and a small one"
    assert server.files(run, "report") >= REPORTS
    (version,) = server.client().search_model_versions(f"run_id = '{run.info.run_id}'")
    assert float(version.tags["rmse"]) == scores["rmse"]
    assert not (project.folder / "mlruns/mlflow.db").exists()
    assert not (project.folder / "mlruns/artifacts").exists()
    return run


def test_a_training_lands_complete(server: Server, here: Path) -> None:
    Path("weights.bin").write_text("w")
    record = finished(files=[Path("weights.bin")])
    record.metrics, record.candidate = {"rmse": 0.9}, True
    record.pictures, record.reports = {"predicted": picture("dot.png", "red")}, ["weights.bin"]
    for _ in range(2):
        upsert(record)
    (run,) = server.runs("cf")
    assert run.info.status == "FINISHED"
    assert run.data.params["weight_decay"] == "0.0"
    assert server.history(run, "loss/valid") == LOSSES
    assert server.history(run, "rmse") == [(0, 0.9)]
    assert server.files(run) == {"images", "model", "predicted", "report"}
    champion = server.client().get_model_version_by_alias("cf", "champion")
    assert champion.run_id == run.info.run_id
    local = server.client().download_artifacts(run.info.run_id, "model/weights.bin", str(here))
    assert Path(local).read_text() == "w"


def test_four_colleagues_at_once(
    server: Server, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    records = [new(name) for name in ("one", "two", "three", "four")]
    with ExitStack() as stack:
        for record in records:
            record.experiment = "at once"
            (here / record.name).mkdir()
            monkeypatch.setenv("DVC_ROOT", str(here / record.name))  # each has a clone
            recorder = stack.enter_context(recording(ON))
            begin(recorder, record)
            record.finish()
            record.metrics, record.candidate = {"rmse": 0.9}, True
            recorder.upsert(record)
    assert capfd.readouterr().err == ""
    found = {run.data.tags["execution"]: run for run in server.runs("at once")}
    assert sorted(found) == sorted(record.id for record in records)
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert server.history(run, "loss/valid") == LOSSES
        assert run.data.metrics["rmse"] == 0.9
        assert len(server.client().search_model_versions(f"run_id = '{run.info.run_id}'")) == 1


def test_a_server_that_comes_back_during_a_training_misses_nothing(
    server: Server, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with recording(ON) as recorder:
        record = new()
        record.experiment = "back again"
        with server.away():
            begin(recorder, record)
        record.finish()
        recorder.upsert(record)
    assert not recorder.failed
    assert capfd.readouterr().err == ""
    (run,) = server.runs("back again")
    assert run.info.status == "FINISHED"
    assert server.history(run, "loss/valid") == LOSSES


def test_the_stages_record_on_the_server(
    server: Server, project: Callable[[str], TeamProject]
) -> None:
    ours = project("stages")
    assert "warning" not in ours.train() + ours.evaluate() + ours.plot()
    run = check_all_is_there(server, ours, "stages")
    assert "backfilled" not in run.data.tags


def test_a_server_that_goes_away_between_stages_gets_the_rest_later(
    server: Server, project: Callable[[str], TeamProject]
) -> None:
    ours = project("away")
    assert "warning" not in ours.train()
    ours.environ |= IMPATIENT
    with server.away():
        for complaints in (ours.evaluate(), ours.plot()):
            assert complaints.count("arning") == 1
    ours.sync()
    check_all_is_there(server, ours, "away")


def test_a_server_that_never_answers_gets_it_all_later(
    server: Server, project: Callable[[str], TeamProject]
) -> None:
    ours = project("black hole")
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(64)
        address = f"http://127.0.0.1:{hole.getsockname()[1]}"
        ours.environ = {"MLFLOW_TRACKING_URI": address, **IMPATIENT}
        for complaints in (ours.train(), ours.evaluate(), ours.plot()):
            assert complaints.count(WARNING) == complaints.count("arning") == 1
            assert "make sync" in complaints
    ours.environ = {"MLFLOW_TRACKING_URI": server.address}
    for _ in range(2):
        ours.sync()
        run = check_all_is_there(server, ours, "black hole")
    assert run.data.tags["backfilled"] == "true"
