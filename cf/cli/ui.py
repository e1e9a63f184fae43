"""Show all runs in MLflow's pages, on this machine. Usage: python -m cf.cli.ui [PORT]

MLflow's application runs right in this process: `mlflow ui` would import all of MLflow in one
process to check its arguments, and again in the process that serves, which takes twice as long.
"""

import os
import socket
import sqlite3
import sys
import warnings
import webbrowser
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import requests
import uvicorn

from cf.core import config, paths
from cf.core.errors import InputError, exit_on_input_error
from cf.tracking import ui_view as view

HOST = "127.0.0.1"
PORT = 5000
APPLICATION = "mlflow.server.fastapi_app:app"
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # for evaluations of language models
}
NO_RUNS = (
    "no runs of the experiment {} yet. `make repro` trains; after a pull, `make sync` makes the "
    "runs of what was trained elsewhere."
)


class Server(uvicorn.Server):
    """Serves, and shows a page once it can be opened."""

    def __init__(self, settings: uvicorn.Config, page: str) -> None:
        super().__init__(settings)
        self.page = page

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        show(self.page, "   (Ctrl-C ends it)")


@exit_on_input_error
def main(port: int | None = None) -> None:
    """Serve until interrupted, or show where the team's server is."""
    experiment = config.load(paths.PARAMS, "tracking", config.Tracking).experiment
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        show(page_of_server(uri.rstrip("/"), experiment))
        return
    if uri:
        raise InputError(
            f"MLFLOW_TRACKING_URI is {uri}: expected http://... or nothing, which is the store in "
            f"{paths.STORE}. For any other: mlflow ui --backend-store-uri {uri}"
        )
    port = port or the_port()
    number, tags = in_store(paths.STORE, experiment)
    here = claim(port)
    own = f"sqlite:///{paths.STORE.resolve()}"
    os.environ |= {**SETTINGS, "MLFLOW_TRACKING_URI": own, "MLFLOW_REGISTRY_URI": own}
    warnings.simplefilter("ignore")  # of MLflow to its own developers
    print("MLflow starts ...", flush=True)
    server = uvicorn.Config(APPLICATION, log_level="warning", timeout_graceful_shutdown=1)
    try:
        Server(server, page(f"http://{HOST}:{port}", number, tags)).run([here])
    except KeyboardInterrupt:
        print()


def page(server: str, experiment: str, tags: set[str]) -> str:
    """The address of an experiment's comparison charts, in cf's view if the experiment has it."""
    shared = {"viewStateShareKey": view.KEY} if view.TAG in tags else {}
    query = {"compareRunsMode": "CHART", "workflowType": "machine_learning", **shared}
    return f"{server}/#/experiments/{experiment}/runs?{urlencode(query)}"


def page_of_server(server: str, experiment: str) -> str:
    """The address of the experiment's charts on a server; of all experiments if it is not told.

    Raises:
        InputError: no answer.
    """
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{key}") for key in ("USERNAME", "PASSWORD"))
    try:
        answer = requests.get(
            f"{server}/api/2.0/mlflow/experiments/get-by-name",
            {"experiment_name": experiment},
            auth=(user, password) if user and password else None,
            timeout=10,
        )
        found = answer.json()["experiment"]
    except (requests.JSONDecodeError, KeyError):  # no such experiment, or not for everyone
        return f"{server}/#/experiments"
    except requests.RequestException as error:
        raise InputError(
            f"MLFLOW_TRACKING_URI is {server}, which does not answer: {error}. Without that "
            "variable, `make ui` shows this machine's runs."
        ) from None
    tags = {tag["key"] for tag in found.get("tags", [])}
    return page(server, found["experiment_id"], tags)


def the_port() -> int:
    """The port, from the command line.

    Raises:
        InputError: it is none.
    """
    given = sys.argv[1] if len(sys.argv) > 1 else str(PORT)
    if not given.isdecimal() or not 0 < int(given) < 2**16:
        raise InputError(f"expected a port from 1 to 65535, got {given}. E.g. make ui PORT=5001")
    return int(given)


def in_store(path: Path, experiment: str) -> tuple[str, set[str]]:
    """An experiment's id in MLflow's database, and the names of its tags.

    Raises:
        InputError: it has no runs, or this is no such database.
    """
    if not path.exists():
        raise InputError(NO_RUNS.format(experiment))
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute(
                "SELECT experiment_id FROM experiments JOIN runs USING (experiment_id) "
                "WHERE experiments.name = ? LIMIT 1",
                [experiment],
            ).fetchone()
            tags = database.execute(
                "SELECT key FROM experiment_tags WHERE experiment_id = ?", found or [None]
            ).fetchall()
    except sqlite3.Error as error:
        raise InputError(
            f"{path}: expected MLflow's database, got {error}. Move it away; `make sync` makes "
            "another from runs/."
        ) from None
    if found is None:
        raise InputError(NO_RUNS.format(experiment))
    return str(found[0]), {key for (key,) in tags}


def claim(port: int) -> socket.socket:
    """A socket that has the port.

    Raises:
        InputError: somebody else has it.
    """
    here = socket.socket()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        here.bind((HOST, port))
    except OSError as error:
        here.close()
        raise InputError(
            f"port {port} of {HOST} cannot be had: {error.strerror}. Perhaps `make ui` runs "
            f"already; else take another: make ui PORT={port % 65535 + 1}"
        ) from None
    return here


def show(address: str, hint: str = "") -> None:
    """Print where the page is, and open it where there is somebody to see it."""
    print(f"MLflow: {address}{hint}", flush=True)
    windows = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    if sys.stdout.isatty() and windows:
        webbrowser.open(address)


if __name__ == "__main__":
    main()
