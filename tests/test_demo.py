"""The page to try a model: its answers, its limits, and itself in a browser."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

import cf
from cf.serving.demo import HEADERS, MAX_BODY, RateLimit, create_app
from tests.test_recommender import IDS, TITLES, project  # noqa: F401

TIMEOUT = 20  # seconds, after which a server is taken to hang


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[str]:  # noqa: F811
    """The address of a page about the made-up project."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    app = create_app(cf.load(project / "models/bayesmf"))
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + TIMEOUT
    while not running.started and time.monotonic() < deadline:
        thread.join(0.01)
    yield url
    running.should_exit = True
    thread.join(TIMEOUT)


def post(server: str, path: str, body: Any, **headers: str) -> requests.Response:
    return requests.post(f"{server}/api/{path}", json=body, headers=headers, timeout=TIMEOUT)


def test_somebody_rates_and_is_recommended_something_else(server: str) -> None:
    mine = {"0100": 5, "0105": 1}
    items = post(server, "recommend", {"ratings": mine, "n": 40}).json()["items"]
    assert len(items) == 38
    assert not {item["item_id"] for item in items} & set(mine)
    for item in items:
        assert 0.5 <= item["low"] <= item["prediction"] <= item["high"] <= 5
        assert {reason["title"] for reason in item["reasons"]} <= {TITLES[0], TITLES[5]}
    assert len(post(server, "recommend", {"ratings": {}}).json()["items"]) == 10
    asked = post(server, "ask", {"ratings": mine, "skip": ["0101"]}).json()
    assert asked["item_id"] in set(IDS) - {*mine, "0101"}


def test_titles_are_found_from_their_beginning(server: str) -> None:
    found = requests.get(f"{server}/api/search", {"q": "the mat"}, timeout=TIMEOUT).json()["items"]
    assert found == [{"item_id": "0100", "title": "Matrix, The (1999)"}]
    found = requests.get(f"{server}/api/search", {"q": "  "}, timeout=TIMEOUT).json()["items"]
    assert found == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"ratings": {"0100": 11}}, 400, "expected a rating from 0.5 to 5 of '0100', got 11"),
        ({"ratings": {"nope": 3}}, 400, "no item is called 'nope'"),
        ({"ratings": {"0100": "much"}}, 422, "valid number"),
        ({"ratings": [], "n": 3}, 422, "valid dictionary"),
        ({"n": 51}, 422, "less than or equal to 50"),
        ({"colour": 1}, 422, "Extra inputs"),
        ({"skip": ["x" * MAX_BODY]}, 413, "more than 65536 bytes"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    server: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = post(server, "recommend", body)
    assert answer.status_code == status
    assert said in answer.text
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


def test_only_this_machine_is_answered(server: str) -> None:
    assert post(server, "recommend", {}, Host="evil.example").status_code == 400
    response = requests.get(server, timeout=TIMEOUT)
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    body = iter([b'{"ratings": {}}'])  # of no length that is said
    answer = requests.post(f"{server}/api/recommend", data=body, timeout=TIMEOUT)
    assert answer.status_code == 411


def test_too_many_requests_are_refused() -> None:
    limit = RateLimit(rate=0.0, burst=3)
    assert [limit.take() for _ in range(5)] == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (360, "dark"), (360, "light"), (1280, "dark")]
)
def test_the_page_in_a_browser(
    server: str, browser: Any, screenshots: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
    page.goto(server)
    page.locator("#list > li").first.wait_for()
    rated = []
    for text, title in (
        ("matr", TITLES[0]),
        ("script", TITLES[5]),
        ("[bold", TITLES[6]),
        ("film number 3", "Film number 3 (1983)"),
        ("heat (1986)", TITLES[1]),
    ):
        with page.expect_response("**/api/search*"):
            page.get_by_role("combobox").fill(text)
        page.locator("#found li").first.wait_for()
        page.keyboard.press("ArrowDown")
        with page.expect_response("**/api/recommend"):
            page.keyboard.press("Enter")
        page.get_by_role("slider", name=f"Your rating of {title}").wait_for()
        rated.append(title)
    with page.expect_response("**/api/recommend"):
        page.get_by_role("slider").first.focus()
        page.keyboard.press("Home")
    assert page.locator("#rated output").first.text_content() == "0.5"
    page.locator(".reasons").first.wait_for()
    titles = page.locator("#list .title").all_text_contents()
    assert len(titles) == 10
    assert not set(titles) & set(rated)
    assert page.locator(".expected svg").count() == 10
    with page.expect_response("**/api/ask"):
        page.get_by_role("button", name="Ask me").click()
    page.get_by_role("button", name="I know it").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.run(page).response["violations"]
    assert not [each["help"] for each in found if each["impact"] in ("serious", "critical")]
    page.screenshot(path=screenshots / f"demo-{width}-{scheme}.png", full_page=width < 500)
    page.close()
    assert problems == []
