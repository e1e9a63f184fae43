import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings

import tests.project
from cf.core.ratings import Ratings
from tests.project import Project
from tests.stores import environment

settings.register_profile("cf", deadline=None)  # machines differ in speed
settings.load_profile("cf")

ROOT = Path(__file__).parent.parent

# A shell ignores Ctrl-C in what it runs in the background, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    at_hand = real_zip() is not None
    return "MovieLens ml-latest-small: " + (
        "at hand" if at_hand else "not at hand; set CF_DATA_HOME to the folder of its zip"
    )


def real_zip() -> Path | None:
    path = Path(os.environ.get("CF_DATA_HOME", "/nowhere")) / "ml-latest-small.zip"
    return path if path.is_file() else None


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def ready_made_store(shared_folder: Path) -> Path:
    """A project folder whose store has its tables, made once: making them takes seconds."""
    folder, ready = shared_folder / "store", shared_folder / "store.ready"
    with FileLock(shared_folder / "store.lock"):
        if not ready.exists():
            folder.mkdir(exist_ok=True)
            code = "from cf.tracking.mlflow_store import MlflowStore; MlflowStore(0)"
            environ = {**environment(), "PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env=environ)
            ready.touch()
    return folder


@pytest.fixture(scope="session")
def made(shared_folder: Path, ready_made_store: Path) -> Project:
    """A project, in no git repository, that ran once on a ratings file of its own.

    All workers share it: tests copy it before they change anything.
    """
    folder, ready = shared_folder / "project", shared_folder / "project.ready"
    with FileLock(shared_folder / "project.lock"):
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            tests.project.make(folder, ready_made_store)
            ready.touch()
    return Project(folder)


@pytest.fixture
def planted() -> tuple[Ratings, Ratings]:
    """Train and validation ratings that follow a rank-two model with biases, and little noise."""
    draw = np.random.default_rng(0)
    n_users, n_items, n = 60, 80, 3000
    users, items = np.divmod(draw.permutation(n_users * n_items)[:n], n_items)
    p, q = draw.normal(0, 0.7, (n_users, 2)), draw.normal(0, 0.7, (n_items, 2))
    scores = (p[users] * q[items]).sum(1) + draw.normal(0, 0.5, n_users)[users]
    values = (0.5 + 4.5 / (1 + np.exp(-scores)) + draw.normal(0, 0.05, n)).astype(np.float32)
    ratings = Ratings(users, items, values, None, np.arange(n))
    return ratings.take(np.arange(500, n)), ratings.take(np.arange(500))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="no playwright here: make test installs it"
    )
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: apt install chromium (or google-chrome)")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """The folder that CF_SCREENSHOTS names, to look at; else one that goes with the test."""
    folder = Path(os.environ.get("CF_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """A training in this process flushes them to zero; the tests after it are to have them."""
    yield
    torch.set_flush_denormal(False)
