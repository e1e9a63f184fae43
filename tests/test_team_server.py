"""A team's tracking server: MLflow on PostgreSQL, with artefacts that pass through it."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cf.tracking import record as tracking
from tests.stores import environment
from tests.test_end_to_end import Project, copied, write_ratings
from tests.test_tracking import ON, begin, execution, train

DEBIANS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # not on PATH
BIN = DEBIANS[-1] if DEBIANS else Path(shutil.which("initdb") or "/nowhere/initdb").resolve().parent
OWNER = "postgres" if hasattr(os, "geteuid") and os.geteuid() == 0 else None  # it refuses root
MODEL = "dot"
FIGURES = {
    *("activity", "crosstab", "loss_curves", "predicted_dot"),
    *("strata_rmse", "strata_to_best", "index"),
}
IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
WARNING = "warning: MLflow did not record all of this"

pytestmark = pytest.mark.skipif(
    not (BIN / "initdb").exists(), reason="no PostgreSQL here: apt install postgresql"
)


class Server:
    """An MLflow server that can be stopped and started; its address stays the same."""

    def __init__(self, store: str, root: Path) -> None:
        self.address = f"http://127.0.0.1:{(port := free_port())}"
        self.command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "1", "--backend-store-uri", store),
            *("--serve-artifacts", "--artifacts-destination", str(root / "artifacts")),
        ]
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {**environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            self.command, env=environ, cwd=self.root, stderr=subprocess.DEVNULL
        )
        retry = Retry(total=None, connect=240, backoff_factor=0.1, backoff_max=0.5)
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retry))
            session.get(f"{self.address}/health", timeout=60).raise_for_status()

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

    def files(self, run: Run, folder: str) -> set[str]:
        found = self.client().list_artifacts(run.info.run_id, folder)
        return {Path(file.path).stem for file in found}

    def history(self, run: Run, name: str) -> list[tuple[int, float]]:
        found = self.client().get_metric_history(run.info.run_id, name)
        return sorted((metric.step, metric.value) for metric in found)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The address of an empty database."""
    pytest.importorskip("psycopg2", reason="no psycopg2 here: pip install psycopg2-binary")
    port = free_port()
    # not below pytest's folder, which is the user's own: the owner could not enter it
    folder = Path(subprocess.check_output(["mktemp", "-d"], user=OWNER, cwd="/", text=True).strip())
    try:
        subprocess.run(
            [BIN / "initdb", "-D", folder / "db", "-A", "trust", "-U", "cf", "-E", "UTF8", "-N"],
            user=OWNER, cwd=folder, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        settings = [f"-c{name}" for name in ("fsync=off", "listen_addresses=127.0.0.1")]
        process = subprocess.Popen(
            [BIN / "postgres", "-D", folder / "db", "-p", str(port), "-k", folder, *settings],
            user=OWNER, cwd=folder, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            ask = [BIN / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
            psql = [BIN / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "cf", "-d", "postgres"]
            assert any(subprocess.run(ask, check=False).returncode == 0 for _ in range(3000)), (
                "PostgreSQL does not answer"
            )
            subprocess.run([*psql, "-qc", "CREATE DATABASE mlflow"], check=True)
            yield f"postgresql+psycopg2://cf@127.0.0.1:{port}/mlflow"
        finally:
            process.send_signal(2)  # SIGINT: end at once, whoever is connected
            process.wait()
    finally:
        shutil.rmtree(folder)


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

    def stage(self, name: str, *arguments: str) -> str:
        """Run a stage, which must end well; returns what it said on standard error."""
        command = [sys.executable, "-m", f"stages.{name}", *arguments]
        environ = {**environment(), **self.environ}
        done = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Project:
    """A project with ratings to train on."""
    project = copied(pytestconfig.rootpath, tmp_path_factory.mktemp("team"))
    (project.folder / "data/own").mkdir(parents=True)
    write_ratings(project.folder / "data/own/stars.csv")
    names = {"user_id": "who", "item_id": "what", "rating": "stars", "timestamp": None}
    project.change("ingest", lambda s: s.update(dataset="data/own/stars.csv", columns=names))
    project.change(f"train_{MODEL}", lambda s: s["schedule"].update(n_epochs=[1, 1]))
    for stage in ("ingest", "encode", "split", "rank"):  # no lists on this split
        project.run(sys.executable, "-m", f"stages.{stage}")
    return project


@pytest.fixture
def project(split: Project, server: Server, tmp_path: Path) -> Callable[[str], TeamProject]:
    """Makes a project that has its own experiment on the server."""

    def make(experiment: str) -> TeamProject:
        made = TeamProject(shutil.copytree(split.folder, tmp_path / "copy"))
        made.environ = {"MLFLOW_TRACKING_URI": server.address}
        made.change("tracking", lambda section: section.update(experiment=experiment))
        return made

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
    assert len(run.inputs.dataset_inputs) == 1
    epochs = {epoch["step"]: epoch["values"] for epoch in training["epochs"]}
    for name in epochs[1]:
        assert server.history(run, name) == [(step, epochs[step][name]) for step in (1, 2)]
    for name, value in scores.items():
        if value is not None:
            assert server.history(run, name) == [(0, value)]
    assert server.files(run, "model") == {"model", "weights"}
    assert server.files(run, "figures") >= FIGURES
    (version,) = server.client().search_model_versions(f"run_id = '{run.info.run_id}'")
    assert float(version.tags["rmse"]) == scores["rmse"]
    assert not (project.folder / "mlruns/mlflow.db").exists()
    assert not (project.folder / "mlruns/artifacts").exists()
    return run


def test_a_training_lands_complete(server: Server, here: Path) -> None:
    Path("weights.bin").write_text("w")
    Path("picture.png").write_text("p")
    training = train(files=[Path("weights.bin")])
    with tracking.recorder(ON) as recorder:
        recorder.add(training, {"rmse": 0.9}, [Path("picture.png")])
        recorder.register(training, 0.9)
    assert not recorder.failed
    (run,) = server.runs("cf")
    assert run.info.status == "FINISHED"
    assert run.data.params["weight_decay"] == "0.0"
    assert server.history(run, "loss/valid") == [(1, 0.75), (2, 0.5)]
    assert run.data.metrics["rmse"] == 0.9
    assert server.files(run, "model") == {"weights"}
    assert server.files(run, "figures") == {"picture"}
    champion = server.client().get_model_version_by_alias("cf", "champion")
    assert champion.run_id == run.info.run_id
    local = server.client().download_artifacts(run.info.run_id, "model/weights.bin", str(here))
    assert Path(local).read_text() == "w"


def test_four_colleagues_at_once(
    server: Server, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trainings = [execution(name) for name in ("one", "two", "three", "four")]
    with ExitStack() as stack:
        for training in trainings:
            training.experiment = "at once"
            (here / training.name).mkdir()
            monkeypatch.setenv("DVC_ROOT", str(here / training.name))  # each has a clone
            recorder = stack.enter_context(tracking.recorder(ON))
            begin(recorder, training)
            recorder.finish(training, [])
            recorder.add(training, {"rmse": 0.9})
            recorder.register(training, 0.9)
    assert capfd.readouterr().err == ""
    found = {run.data.tags["execution"]: run for run in server.runs("at once")}
    assert sorted(found) == sorted(training.id for training in trainings)
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert server.history(run, "loss/valid") == [(1, 0.75), (2, 0.5)]
        assert run.data.metrics["rmse"] == 0.9
        assert len(server.client().search_model_versions(f"run_id = '{run.info.run_id}'")) == 1


def test_a_training_that_broke_off_is_completed_later(server: Server, here: Path) -> None:
    Path("weights.bin").write_text("w")
    training = execution()
    training.experiment = "broken off"
    with tracking.recorder(ON) as recorder:
        recorder.start(training)
        recorder.log_epoch(training, 1, {"loss/valid": 0.75})
        assert any(
            run.data.metrics for _ in range(3000) for run in server.runs(training.experiment)
        )
        assert recorder._process
        recorder._process.kill()  # as a stage does that has waited for too long
        recorder.log_epoch(training, 2, {"loss/valid": 0.5})
        recorder.finish(training, [Path("weights.bin")])
    assert recorder.failed
    (run,) = server.runs(training.experiment)
    assert run.info.status == "RUNNING"
    for _ in range(2):
        with tracking.recorder(ON) as again:
            again.add(training, {"rmse": 0.9})
        assert not again.failed
        (run,) = server.runs(training.experiment)
        assert (run.info.status, run.info.end_time) == ("FINISHED", training.ended)
        assert server.history(run, "loss/valid") == [(1, 0.75), (2, 0.5)]
        assert server.files(run, "model") == {"weights"}
        assert len(run.inputs.dataset_inputs) == 1


def test_the_stages_record_on_the_server(
    server: Server, project: Callable[[str], TeamProject]
) -> None:
    ours = project("stages")
    said = [ours.stage("train", MODEL), ours.stage("evaluate"), ours.stage("plot")]
    assert "warning" not in "".join(said)
    run = check_all_is_there(server, ours, "stages")
    assert "backfilled" not in run.data.tags


def test_a_server_that_goes_away_between_stages_gets_the_rest_later(
    server: Server, project: Callable[[str], TeamProject]
) -> None:
    ours = project("away")
    assert "warning" not in ours.stage("train", MODEL)
    ours.environ |= IMPATIENT
    with server.away():
        for stage in ("evaluate", "plot"):
            assert ours.stage(stage).count("arning") == 1
    ours.stage("sync")
    check_all_is_there(server, ours, "away")


def test_a_server_that_never_answers_gets_it_all_later(
    server: Server, project: Callable[[str], TeamProject]
) -> None:
    ours = project("black hole")
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(64)
        ours.environ = {
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{hole.getsockname()[1]}",
            **IMPATIENT,
        }
        for stage in (["train", MODEL], ["evaluate"], ["plot"]):
            said = ours.stage(*stage)
            assert said.count(WARNING) == said.count("arning") == 1
            assert "make sync" in said
    ours.environ = {"MLFLOW_TRACKING_URI": server.address}
    for _ in range(2):
        ours.stage("sync")
        run = check_all_is_there(server, ours, "black hole")
    assert run.data.tags["backfilled"] == "true"
