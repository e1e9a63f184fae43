"""`make ui` in a browser: MLflow's own pages show what was recorded, as one wants to see it."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
import requests

from cf.cli import ui as stage
from cf.core import config
from cf.core.config import Training
from cf.reporting import figures
from cf.reporting.save import save
from cf.reporting.style import model_styles
from cf.tracking import record as tracking
from cf.tracking import ui_view as view
from tests.results import PROVENANCE, SPLIT
from tests.stores import client, environment, runs

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: make test installs it"
)
ROOT = Path(__file__).parent.parent
RMSE = {"dotbias": 0.8125, "embnet": 0.875, "dotbias_sgd": 0.9375, "dot": 1.0625}  # best first
ON = config.Tracking(enabled=True, experiment="cf")
PATIENCE = 30_000  # ms; a machine may be busy
N_EPOCHS = 5
COLUMNS = ("params.`model`", "metrics.`rmse`", "attributes.`Description`", "attributes.`Dataset`")
WINDOW = {"width": 1600, "height": 1000}

# What MLflow 3.17's pages complain of by themselves, by text and by the address it is about.
HARMLESS = (
    # who is logged in, asked of every server, answered only by those with logins
    ("404 (Not Found)", "/ajax-api/2.0/mlflow/users/current"),
    # a table that changes its size twice within a frame: Chromium tells, and draws it in the next
    ("ResizeObserver loop completed with undelivered notifications.", ""),
)


@dataclass
class Ui:
    """MLflow's pages: the address that was printed, and what is in the store."""

    address: str
    run_ids: list[str]

    @property
    def server(self) -> str:
        return self.address.partition("/#/")[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, ready_made_store: Path) -> Path:
    """A project in whose store each of params.yaml's models has a run with scores and a figure."""
    folder = tmp_path_factory.mktemp("ui") / "a project"
    shutil.copytree(ready_made_store, folder)
    shutil.copy(ROOT / "params.yaml", folder)
    epochs = np.arange(1, 1 + N_EPOCHS)
    histories = {
        model: pd.DataFrame(
            {"epoch": epochs, "train_loss": rmse / epochs, "valid_loss": rmse**2 + 0.5 / epochs}
        )
        for model, rmse in RMSE.items()
    }
    picture = folder / "loss_curves.png"
    save(figures.loss_curves(histories, model_styles([*RMSE]), "Loss by epoch"), picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with tracking.recorder(ON) as recorder:
            for model, rmse in reversed(RMSE.items()):
                training = config.load(Path("params.yaml"), f"train_{model}", Training)
                execution = tracking.execution("cf", model, training, PROVENANCE, SPLIT)
                recorder.start(execution)
                for row in range(N_EPOCHS):
                    losses = {
                        f"loss/{part}": float(histories[model][f"{part}_loss"][row])
                        for part in ("train", "valid")
                    }
                    others = {"learning_rate": 0.1 / (row + 1), "seconds_per_epoch": 1.5}
                    recorder.log_epoch(execution, row + 1, losses | others)
                recorder.finish(execution, [])
                scores = {"rmse": rmse, "mse": rmse**2, "mae": 0.8 * rmse, "n": 100, "n_cold": 5}
                scores |= {"rmse_warm": 0.98 * rmse, "rmse_cold": 1.1 * rmse}
                scores["a_new_metric"] = 0.5
                recorder.add(execution, scores, [picture])
        assert not recorder.failed
    return folder


@contextmanager
def serving(project: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address that `make ui` prints once it can be opened, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "cf.cli", "ui", "--port", port],
        cwd=project,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            said = iter(process.stdout.readline, "")
            address = next((line.split()[1] for line in said if line.startswith("MLflow: ")), "")
            assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/")
            yield address, process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def ui(project: Path) -> Iterator[Ui]:
    with serving(project) as (address, _):
        yield Ui(address, [run.info.run_id for run in runs(project)])


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A browser's tab, in which no page may complain."""
    said: list[str] = []

    def on_console(message: Any) -> None:
        where = message.location["url"]
        known = any(text in message.text and end in where for text, end in HARMLESS)
        if message.type == "error" and not known:
            said.append(f"{message.text} ({where})")

    with browser.new_context(viewport=WINDOW) as context:
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.on("console", on_console)
        tab.on("pageerror", lambda error: said.append(str(error)))
        yield tab
    assert said == []


def expect(locator: Any) -> Any:
    return sync_api.expect(locator)


def test_the_table_has_every_model_with_its_rmse_best_first(
    ui: Ui, tab: Any, screenshots: Path
) -> None:
    tab.goto(ui.address.replace("CHART", "TABLE"))
    for row, (model, rmse) in enumerate(RMSE.items()):
        cells = {
            column: tab.locator(f'[row-index="{row}"] [role="gridcell"][col-id="{column}"]')
            for column in ("attributes.`Run Name`", *COLUMNS)
        }
        name, kind, score, description, dataset = cells.values()
        expect(name.get_by_role("link")).to_have_text(model, timeout=PATIENCE)
        expect(kind).to_have_text(model.removesuffix("_sgd"))
        expect(score).to_have_text(str(rmse))
        expect(description).to_contain_text("n_factors 50, ")
        expect(dataset).to_contain_text(f"{PROVENANCE.dataset} ({PROVENANCE.sha256[:8]})")
    tab.screenshot(path=screenshots / "mlflow-table.png")


def test_the_charts_draw_the_losses_of_every_model(ui: Ui, tab: Any, screenshots: Path) -> None:
    tab.goto(ui.address)
    cards = tab.get_by_test_id("experiment-view-compare-runs-card")
    for place, metric in enumerate(["loss/valid", "loss/train"]):
        card = cards.nth(place)
        expect(card.get_by_role("heading")).to_have_text(metric, timeout=PATIENCE)
        lines = card.locator(".scatterlayer .trace:has(.point) .js-line")  # and not their shadows
        expect(lines).to_have_count(len(RMSE), timeout=PATIENCE)
        expect(card.locator(".scatterlayer .point")).to_have_count(N_EPOCHS * len(RMSE))
        legend = card.get_by_text(f"({metric})")
        expect(legend).to_have_text([f"{model} ({metric})" for model in RMSE])
    tab.screenshot(path=screenshots / "mlflow-charts.png")
    bars = cards.nth(2)
    bars.scroll_into_view_if_needed()
    expect(bars.get_by_role("heading")).to_have_text("rmse")
    expect(bars.locator(".barlayer .point")).to_have_count(len(RMSE))
    tab.screenshot(path=screenshots / "mlflow-charts-scores.png")
    section = tab.get_by_test_id("experiment-view-compare-runs-section-header")
    # seven charts of the view, and of a metric that it does not know
    expect(section.filter(has_text="Model metrics")).to_contain_text("(8)")


def test_the_comparison_draws_a_line_a_run(ui: Ui, tab: Any, screenshots: Path) -> None:
    experiment = ui.address.partition("/experiments/")[2].partition("/")[0]
    query = urlencode(
        {"runs": json.dumps(ui.run_ids), "experiments": json.dumps([experiment])}
        | {"workflowType": "machine_learning"}
    )
    tab.goto(f"{ui.server}/#/compare-runs?{query}")
    plot = tab.locator(".js-plotly-plot").first
    expect(plot.locator(".parcoords .y-axis")).to_have_count(4, timeout=PATIENCE)
    expect(plot.locator("canvas").first).to_be_visible()
    drawn = plot.evaluate("plot => plot.data[0].dimensions.map(axis => axis.values.length)")
    assert drawn == 4 * [len(RMSE)]
    for model in RMSE:
        expect(tab.get_by_role("cell", name=model, exact=True).first).to_be_visible()
    tab.screenshot(path=screenshots / "mlflow-comparison.png")


def test_figures_and_registry_are_served(ui: Ui) -> None:
    figure = {"run_uuid": ui.run_ids[0], "path": "figures/loss_curves.png"}
    answer = requests.get(f"{ui.server}/get-artifact", figure, timeout=60)
    assert answer.content.startswith(b"\x89PNG")
    models = f"{ui.server}/ajax-api/2.0/mlflow/registered-models/search"
    assert requests.get(models, timeout=60).status_code == 200


def test_figures_are_served_where_a_project_was_moved_to(project: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(project, tmp_path / "elsewhere")
    run_id = runs(moved)[0].info.run_id
    (figure,) = (moved / f"mlruns/artifacts/{run_id}/artifacts/figures").iterdir()
    figure.write_bytes(b"the copy's own")
    with serving(moved) as (address, _):
        server = address.partition("/#/")[0]
        asked = {"run_uuid": run_id, "path": f"figures/{figure.name}"}
        assert (
            requests.get(f"{server}/get-artifact", asked, timeout=60).content == b"the copy's own"
        )


def test_an_experiment_that_an_older_cf_made_gets_the_view(
    here: Path, ready_made_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copytree(ready_made_store, here, dirs_exist_ok=True)
    client(here).create_experiment("cf")
    training = config.load(Path("params.yaml"), "train_dot", Training)
    execution = tracking.execution("cf", "dot", training, PROVENANCE, SPLIT)
    with tracking.recorder(ON) as recorder:
        recorder.start(execution)
        recorder.finish(execution, [])
    _, tags = stage.in_store(Path("mlruns/mlflow.db"), "cf")
    assert {view.TAG, "mlflow.experimentKind"} <= tags


def test_an_interrupt_ends_it_without_a_word(project: Path) -> None:
    with serving(project) as (_, process):
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate()
        assert (process.returncode, said.strip(), complaints) == (0, "", "")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project as the current folder, in which `make ui` is called."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["ui.py"])
    return tmp_path


def test_a_servers_page_is_shown_instead(
    ui: Ui, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{ui.server}/")
    stage.main()
    assert capsys.readouterr().out == f"MLflow: {ui.address}\n"
    text = Path("params.yaml").read_text().replace("experiment: cf", "experiment: another")
    Path("params.yaml").write_text(text)
    stage.main()
    assert capsys.readouterr().out == f"MLflow: {ui.server}/#/experiments\n"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:///elsewhere.db"])
def test_a_store_that_cannot_be_shown_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(SystemExit, match=f"^ui: MLFLOW_TRACKING_URI is {uri}"):
        stage.main()


def test_where_there_are_no_runs_it_says_how_to_get_some(
    here: Path, ready_made_store: Path
) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"^ui: no runs .* cf yet. `make repro` .*make sync"):
            stage.main()
        shutil.copytree(ready_made_store, here, dirs_exist_ok=True)
    Path("mlruns/mlflow.db").write_text("not a database")
    with pytest.raises(SystemExit, match=r"expected MLflow's database, got file is not"):
        stage.main()


def test_a_port_that_is_taken_is_named_with_another(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["ui.py", str(port)])
        with pytest.raises(SystemExit, match=rf"port {port} .* make ui PORT={port + 1}"):
            stage.main()
    monkeypatch.setattr(sys, "argv", ["ui.py", "many"])
    with pytest.raises(SystemExit, match="from 1 to 65535, got many"):
        stage.main()
