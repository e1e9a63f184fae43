"""Show all runs in MLflow's pages, of this machine or of the team's server."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from contextlib import suppress
from typing import IO, Any
from urllib.parse import urlencode

import requests

from cf.cli.ports import HOST, require_free
from cf.core import config, paths
from cf.core.errors import InputError
from cf.tracking import database, login, ui_view
from cf.tracking.redact import redact

NEEDLESS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def main(port: int = 5000) -> None:
    """Serve MLflow's pages until Ctrl-C; or print where the team's server has them."""
    name = config.load(paths.PARAMS, "tracking", config.Tracking).experiment
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    if uri.startswith(("http://", "https://")):
        try:
            show(without_user(uri), find_experiment(uri, name))
        except OSError as error:  # among them requests's
            raise InputError(
                redact(f"MLFLOW_TRACKING_URI is {uri}, which does not answer: ")
                + redact(f"{login.explain(str(error)).rstrip('.')}. ")
                + "Without that variable, `make ui` shows this machine's runs."
            ) from None
    elif uri:
        raise InputError(
            redact(f"MLFLOW_TRACKING_URI is {uri}: expected http://... or nothing, which is the ")
            + f"store in {paths.STORE}. For any other: "
            'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'
        )
    else:
        serve(name, port)


def serve(name: str, port: int) -> None:
    """Show the project's own store until Ctrl-C; raises `InputError` where it has no runs."""
    no_runs = InputError(
        f"no runs of the experiment {name} yet. `make repro` trains; after a pull, `make sync` "
        "makes the runs of what was trained elsewhere."
    )
    if not paths.STORE.exists():
        raise no_runs
    require_free(port, "Perhaps `make ui` runs already; else take another: make ui PORT={another}")
    try:
        with database.own_lock(paths.STORE.parent):
            database.prepare(paths.STORE, is_own=True)
    except OSError as error:
        raise InputError(f"{error}. MLflow has to write in {paths.STORE.parent}.") from None
    print("MLflow starts ...", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that MLflow ends with this
    artifacts = paths.STORE.resolve().with_name("artifacts").as_uri()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
        *("--backend-store-uri", database.uri(paths.STORE), "--workers", "1"),
        *("--default-artifact-root", artifacts),
        *("--uvicorn-opts", "--log-level warning --timeout-graceful-shutdown 1"),
    ]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, env={**os.environ, **NEEDLESS}, stdout=log, stderr=log)
        try:
            found = wait_for_experiment(server, f"http://{HOST}:{port}", name, log)
            if found is None:
                raise no_runs
            if not found["artifact_location"].startswith(artifacts):
                print(
                    "This project has moved: MLflow looks for the files of these runs where it "
                    "was. `make sync` starts a new experiment, with the runs of today's models."
                )
            show(f"http://{HOST}:{port}", found, "   (Ctrl-C ends it)")
            server.wait()
        except KeyboardInterrupt:
            print()
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):  # it tidies up its memory at leisure
                server.wait(timeout=1)
            server.kill()


def wait_for_experiment(
    server: "subprocess.Popen[bytes]", address: str, name: str, log: IO[str]
) -> dict[str, Any] | None:
    """The experiment as soon as the server answers.

    Raises:
        InputError: it ends instead, or answers with an error.
    """
    while server.poll() is None:
        try:
            return find_experiment(address, name, is_own=True)
        except requests.HTTPError as error:
            reason = login.explain(str(error))
            raise InputError(f"MLflow's server cannot read {paths.STORE}: {reason}") from None
        except requests.RequestException:
            time.sleep(0.1)
    log.seek(0)
    errors = [line.strip() for line in log if "Error" in line]
    raise InputError(
        f"MLflow's server ended at once: {errors[-1] if errors else 'no reason given'}. If "
        f"{paths.STORE} is damaged, move it away; `make sync` makes a new one from runs/."
    )


def find_experiment(server: str, name: str, is_own: bool = False) -> dict[str, Any] | None:
    """An experiment as the server describes it; None if there is none.

    Raises:
        InputError: the server does not let this user in, or the experiment was deleted.
        requests.RequestException: there is no answer, or none that says more.
    """
    user, password = login.credentials()
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    answer = requests.get(
        f"{server}/api/2.0/mlflow/experiments/get-by-name",
        {"experiment_name": name},
        headers={"Authorization": f"Bearer {token}"} if token else {},
        auth=(user, password) if user and password else None,
        verify=login.verify(),
        timeout=10,
    )
    if answer.status_code in (401, 403):
        refusal = f"answers {answer.status_code} {answer.reason} for the experiment {name}"
        raise InputError(login.explain(f"{without_user(server)} {refusal}"))
    if answer.status_code == 404:
        return None
    try:
        answer.raise_for_status()
    except requests.HTTPError as error:
        raise requests.HTTPError(f"{error}\n{answer.text}", response=answer) from None
    with suppress(requests.JSONDecodeError, KeyError):
        experiment = dict(answer.json()["experiment"])
        if experiment.get("lifecycle_stage") == "deleted":
            raise InputError(database.explain_deleted(name, experiment["experiment_id"], is_own))
        return experiment
    return None


def without_user(address: str) -> str:
    """An address without its user and password, which a browser asks for."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def show(server: str, experiment: dict[str, Any] | None, hint: str = "") -> None:
    """Print the address of an experiment's charts, and open it where there is somebody to see it.

    They are in cf's view if the experiment has it.
    """
    address = f"{server}/#/experiments"
    if experiment:
        query = {"compareRunsMode": "CHART", "workflowType": "machine_learning"}
        if ui_view.TAG in {tag["key"] for tag in experiment.get("tags", [])}:
            query["viewStateShareKey"] = ui_view.KEY
        address += f"/{experiment['experiment_id']}/runs?{urlencode(query)}"
    print(f"MLflow: {address}{hint}", flush=True)
    windows = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    if sys.stdout.isatty() and windows:
        webbrowser.open(address)
