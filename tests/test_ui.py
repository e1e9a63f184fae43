"""`cf ui` in a browser: MLflow's own pages show what was recorded, as one wants to see it."""

import json
import shutil
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from matplotlib.figure import Figure

from cf.cli import ui as command
from cf.core import config
from cf.core.config import Training
from cf.core.errors import InputError
from cf.tracking import ui_view
from cf.tracking.mlflow_store import MlflowStore
from cf.tracking.record import RunRecord, new_training_record
from tests.results import PROVENANCE, SPLIT
from tests.servers import free_port, serving
from tests.stores import client, runs

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: make test installs it"
)
ROOT = Path(__file__).parent.parent
RMSE = {"dotbias": 0.812534, "embnet": 0.875012, "dotbias_sgd": 0.937561, "dot": 1.062589}
PICTURE = "predicted_vs_observed"
PATIENCE = 60_000  # ms; a machine may be busy
N_EPOCHS = {"dotbias": 200, "embnet": 6, "dotbias_sgd": 5, "dot": 3}
COLUMNS = ("params.`model`", "metrics.`rmse`", "attributes.`Description`", "attributes.`Dataset`")
ASSISTANT = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
WINDOW = {"width": 1600, "height": 1000}
TALL = {"width": 1600, "height": 2600}  # MLflow draws charts when they are in sight

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

    def comparison(self, run_ids: list[str]) -> str:
        """The address of MLflow's page that compares runs."""
        experiment = self.address.partition("/experiments/")[2].partition("/")[0]
        query = {"runs": json.dumps(run_ids), "experiments": json.dumps([experiment])}
        return f"{self.server}/#/compare-runs?{urlencode(query)}&workflowType=machine_learning"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, ready_made_store: Path) -> Path:
    """A project in whose store some of params.yaml's models have a run with all that one has."""
    folder = tmp_path_factory.mktemp("ui") / "a project"
    shutil.copytree(ready_made_store, folder)
    shutil.copy(ROOT / "params.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store = MlflowStore(0)
        for model in reversed(RMSE):
            store.upsert(finished(model))
    return folder


def finished(model: str) -> RunRecord:
    """The record of a training that has been evaluated and drawn."""
    rmse = RMSE[model]
    section = config.load(Path("params.yaml"), f"train_{model}", Training)
    record = new_training_record("cf", model, section, PROVENANCE, SPLIT)
    for epoch in range(1, N_EPOCHS[model] + 1):
        losses = {"loss/train": rmse / epoch**0.1, "loss/valid": rmse**2 + 0.5 / epoch}
        speed = {"learning_rate": 0.1 / epoch, "seconds_per_epoch": 1 + rmse}
        record.log_epoch(epoch, losses | speed)
    record.finish()
    record.metrics = {
        **{"rmse": rmse, "mse": rmse**2, "mae": 0.8 * rmse, "n": 100, "n_cold": 5},
        **{"rmse_warm": 0.98 * rmse, "rmse_cold": 1.1 * rmse, "a_new_metric": 0.5},
    }
    picture, page = Path(f"predicted_{model}.png"), Path("index.html")
    figure = Figure(figsize=(5, 4), layout="tight")
    axes = figure.subplots()
    axes.plot([1, 5], [1.5, 3 + rmse])
    axes.set(title=f"Predicted by {model}", xlabel="observed", ylabel="predicted")
    figure.savefig(picture)
    page.write_text("<h1>All models</h1>")
    record.pictures, record.reports = {PICTURE: str(picture)}, [str(page)]
    return record


@pytest.fixture(scope="module")
def ui(project: Path) -> Iterator[Ui]:
    with serving(project) as (address, _, printed):
        assert len(printed) == 2
        yield Ui(address, [run.info.run_id for run in runs(project)])


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A browser's tab, in which no page may complain."""
    complaints: list[str] = []

    def on_console(message: Any) -> None:
        where = message.location["url"]
        known = any(text in message.text and end in where for text, end in HARMLESS)
        if message.type == "error" and not known:
            complaints.append(f"{message.text} ({where})")

    with browser.new_context(viewport=WINDOW) as context:
        context.set_default_timeout(PATIENCE)
        # as if the panel of MLflow's assistant, a third of the page, had been closed once
        context.add_init_script(f"localStorage.setItem('{ASSISTANT}', 'true')")
        tab = context.new_page()
        tab.on("console", on_console)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        yield tab
    assert complaints == []


sync_api.expect.set_options(timeout=PATIENCE)
expect = sync_api.expect


def check_side_by_side(pictures: Any) -> None:
    """Nothing, if the pictures have loaded, and the first two stand in one row."""
    for picture in pictures.all():
        expect(picture).to_be_visible()
        picture.evaluate("image => image.decode()")
    first, second, *_ = (picture.bounding_box() for picture in pictures.all())
    assert first["y"] == second["y"]
    assert first["x"] != second["x"]


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
        expect(name.get_by_role("link")).to_have_text(model)
        expect(kind).to_have_text(model.removesuffix("_sgd"))
        expect(score).to_have_text(str(rmse))
        assert score.evaluate("cell => cell.scrollWidth <= cell.clientWidth"), "it is cut off"
        expect(description).to_contain_text("n_factors 50, ")
        expect(dataset).to_contain_text(f"{PROVENANCE.dataset} ({PROVENANCE.sha256[:8]})")
    tab.screenshot(path=screenshots / "mlflow-table.png")


def test_the_charts_draw_the_losses_of_every_model(ui: Ui, tab: Any, screenshots: Path) -> None:
    tab.goto(ui.address)
    cards = tab.get_by_test_id("experiment-view-compare-runs-card")
    for place, metric in enumerate(["loss/valid", "loss/train"]):
        card = cards.nth(place)
        expect(card.get_by_role("heading")).to_have_text(metric)
        expect(card.locator(".scatterlayer .trace .js-line").first).to_be_visible()
        plot = card.locator(".js-plotly-plot")
        assert plot.evaluate("plot => plot._fullLayout.xaxis.type") == "log"
        points = plot.evaluate("plot => plot.data.map(run => [run.name, run.x.length])")
        assert dict(points) == N_EPOCHS
        legend = card.get_by_text(f"({metric})", exact=False)
        expect(legend).to_have_text([f"{model} ({metric})" for model in RMSE])
    tab.screenshot(path=screenshots / "mlflow-charts.png")
    section = tab.get_by_test_id("experiment-view-compare-runs-section-header")
    # seven charts of the view, and of a metric that it does not know
    expect(section.filter(has_text="Model metrics")).to_contain_text("(8)")


def test_the_charts_show_predictions_side_by_side(ui: Ui, tab: Any, screenshots: Path) -> None:
    tab.set_viewport_size(TALL)
    tab.goto(ui.address)
    pictures = tab.get_by_test_id("experiment-view-compare-runs-card").nth(2)
    expect(pictures.get_by_role("heading", name=PICTURE)).to_be_visible()
    images = pictures.locator("img")
    expect(images).to_have_count(len(RMSE))
    check_side_by_side(images)
    tab.screenshot(path=screenshots / "mlflow-charts-pictures.png")


def test_the_charts_draw_a_bar_a_model(ui: Ui, tab: Any, screenshots: Path) -> None:
    tab.set_viewport_size(TALL)
    tab.goto(ui.address)
    cards = tab.get_by_test_id("experiment-view-compare-runs-card")
    for metric in ("rmse", "a_new_metric"):
        bars = cards.filter(has=tab.get_by_role("heading", name=metric, exact=True))
        expect(bars.locator(".barlayer .point")).to_have_count(len(RMSE))
    tab.screenshot(path=screenshots / "mlflow-charts-metrics.png")


def test_the_comparison_draws_a_line_a_run(ui: Ui, tab: Any, screenshots: Path) -> None:
    tab.goto(ui.comparison(ui.run_ids))
    plot = tab.locator(".js-plotly-plot").first
    expect(plot.locator(".parcoords .y-axis")).to_have_count(4)
    expect(plot.locator("canvas").first).to_be_visible()
    drawn = plot.evaluate("plot => plot.data[0].dimensions.map(axis => axis.values.length)")
    assert drawn == 4 * [len(RMSE)]
    for model in RMSE:
        expect(tab.get_by_role("cell", name=model, exact=True).first).to_be_visible()
    tab.screenshot(path=screenshots / "mlflow-comparison.png")


def test_the_comparison_of_two_shows_their_predictions(ui: Ui, tab: Any, screenshots: Path) -> None:
    tab.goto(ui.comparison(ui.run_ids[:2]))  # more leave MLflow no room for the list of files
    tab.get_by_text(f"{PICTURE}.png", exact=True).click()
    pictures = tab.get_by_role("img", name=f"{PICTURE}.png")
    expect(pictures).to_have_count(2)
    check_side_by_side(pictures)
    tab.screenshot(path=screenshots / "mlflow-comparison-pictures.png")


def test_pictures_and_registry_are_served(ui: Ui) -> None:
    picture = {"run_uuid": ui.run_ids[0], "path": f"{PICTURE}.png"}
    answer = requests.get(f"{ui.server}/get-artifact", picture, timeout=60)
    assert answer.content.startswith(b"\x89PNG")
    models = f"{ui.server}/ajax-api/2.0/mlflow/registered-models/search"
    assert requests.get(models, timeout=60).status_code == 200


def test_an_experiment_that_an_older_cf_made_gets_the_view(
    here: Path, ready_made_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copytree(ready_made_store, here, dirs_exist_ok=True)
    location = (here / "mlruns/artifacts").as_uri()
    client(here).create_experiment("cf", location)
    MlflowStore(0).upsert(finished("dot"))
    experiment = client(here).get_experiment_by_name("cf")
    assert experiment
    assert experiment.artifact_location == location
    assert {ui_view.TAG, "mlflow.experimentKind"} <= experiment.tags.keys()


def test_a_project_that_has_moved_is_told_and_an_interrupt_ends_the_server(
    project: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(project, tmp_path / "moved")
    with serving(moved) as (address, process, printed):
        assert printed[1].startswith("This project has moved: ")
        process.send_signal(signal.SIGINT)
        output, complaints = process.communicate(timeout=60)
        assert (process.returncode, output.strip(), complaints) == (0, "", "")
    with socket.socket() as free:  # so MLflow has ended as well
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", urlsplit(address).port))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project as the current folder, in which `cf ui` is called."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_a_servers_page_is_shown_instead(
    ui: Ui, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{ui.server}/")
    command.main()
    assert capsys.readouterr().out == f"MLflow: {ui.address}\n"
    text = Path("params.yaml").read_text().replace("experiment: cf", "experiment: another")
    Path("params.yaml").write_text(text)
    command.main()
    assert capsys.readouterr().out == f"MLflow: {ui.server}/#/experiments\n"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:///elsewhere.db"])
def test_a_store_that_cannot_be_shown_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match=f"^MLFLOW_TRACKING_URI is {uri}"):
        command.main()


def test_where_there_are_no_runs_it_says_how_to_get_some(
    here: Path, ready_made_store: Path
) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match=r"^no runs .* cf yet. `make repro` .*make sync"):
            command.main(free_port())
        shutil.copytree(ready_made_store, here, dirs_exist_ok=True)
    Path("mlruns/mlflow.db").write_text("damaged")
    with pytest.raises(InputError, match=r"mlflow.db: file is not a database.*make sync"):
        command.main(free_port())


def test_a_port_that_is_taken_is_named_with_another(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} .* make ui PORT={port + 1}"):
            command.main(port)
