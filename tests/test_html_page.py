"""The report in a browser: nothing but the file is read, and it fits every screen and paper."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from cf.reporting import gallery, html
from cf.reporting.html import Commit
from cf.reporting.style import save
from tests.results import (
    PROVENANCE,
    SPLIT,
    TRAINED,
    leaderboard,
    score,
    scores,
    sections,
    toy_results,
)

matplotlib.use("agg")

LOW_CONTRAST = """() => {
  const parse = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = rgb => rgb.slice(0, 3)
    .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => {
    const color = parse(getComputedStyle(e).backgroundColor);
    return color[3] === 0 ? ground(e.parentElement) : color;
  };
  return [...document.body.querySelectorAll('*')]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(e => {
      const [a, b] = [parse(getComputedStyle(e).color), ground(e)].map(luminance);
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 80)];
    }).filter(([ratio]) => ratio < 4.5);
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all that it may have, and names that are long."""
    folder = tmp_path_factory.mktemp("page")
    name = "a_model_whose_name_is_rather_long"
    models = [*TRAINED, name, *(f"dotbias_{number}" for number in range(4))]
    for stem, figure in gallery.draw(toy_results()):
        save(figure, folder / f"{stem}.svg")
    now = {**scores(), **{model: score(1 + len(model) / 100) for model in models[3:]}}
    now[name] = score(0.8) | {
        "nll": 1.25,
        "coverage_50": 0.5,
        "coverage_80": 0.8,
        "coverage_95": 0.95,
    }
    before = {**now, "dot": score(1.0), "dotbias": score(0.9), "removed": score(2.0)}
    params = {f"train_{model}": sections()["train_embnet"] for model in models} | sections()
    committed = {**params, "train_dot": {**params["train_dot"], "seed": 2}}
    data = {"dataset": "ml-latest-small", "part": "valid"}
    results = replace(
        toy_results(),
        leaderboard=leaderboard(now, spread=0.1),
        histories=dict.fromkeys(models),
        provenance=PROVENANCE,
    )
    text = html.render(
        results,
        metrics=now,
        data=data,
        params=params,
        split=SPLIT,
        figures={path.stem: path.read_bytes() for path in folder.glob("*.svg")},
        commit=Commit("0123456789" * 4, "A subject of " + 60 * "x", before, data, committed),
    )
    path = folder / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


def is_whole(tab: Any) -> bool:
    """Whether nothing is wider than the window, and every figure was drawn."""
    width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    drawn = "[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.width > 200)"
    return bool(tab.evaluate(f"{width} && {drawn}"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_on_screen(page: Path, browser: Any, screenshots: Path, width: int, scheme: str) -> None:
    messages: list[str] = []
    requests: list[str] = []
    viewport = {"width": width, "height": 900}
    with browser.new_context(viewport=viewport, color_scheme=scheme) as context:
        tab = context.new_page()
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page.as_uri())
        assert is_whole(tab)
        assert tab.evaluate(LOW_CONTRAST) == []
        tab.screenshot(path=screenshots / f"report-{width}-{scheme}.png", full_page=True)
        for link in tab.query_selector_all("nav a"):
            link.click()
        if width == 360:
            figure = tab.query_selector("figure")
            figure.query_selector("label").click()
            assert figure.query_selector("img").bounding_box()["width"] > width
            assert is_whole(tab)
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == {page.as_uri()}


def test_the_leaderboard_fits_every_width(page: Path, browser: Any, screenshots: Path) -> None:
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(page.as_uri())
        box = tab.query_selector("#leaderboard .box")
        n_columns = len(box.query_selector_all("thead th"))
        assert n_columns == 8
        for width in (360, 768, 1024, 1280, 1920):
            tab.set_viewport_size({"width": width, "height": 900})
            assert box.evaluate("e => e.scrollWidth <= e.clientWidth"), width
            cells = box.query_selector("tbody tr").query_selector_all("th, td")
            assert [cell.is_visible() for cell in cells] == [True] * n_columns
            box.screenshot(path=screenshots / f"leaderboard-{width}.png")


def test_on_paper(page: Path, browser: Any, screenshots: Path) -> None:
    paper = {"width": 688, "height": 1009}  # of an A4 sheet within its margins, in CSS pixels
    with browser.new_context(viewport=paper, color_scheme="dark") as context:
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.emulate_media(media="print")
        assert is_whole(tab)
        heights = tab.evaluate("[...document.images].map(image => image.height)")
        assert max(heights) < paper["height"]
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)", "even where the screen is dark"
        assert tab.evaluate(LOW_CONTRAST) == []
        tab.screenshot(path=screenshots / "report-print.png", full_page=True)
        tab.pdf(path=screenshots / "report.pdf", prefer_css_page_size=True)
