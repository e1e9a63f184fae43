"""The documents: every link leads somewhere, and figures are the measured ones."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_steps_on_several_workers_are_as_measured() -> None:
    found = json.loads((ROOT / "benchmarks/distributed.json").read_text())["figures"]
    measured = {
        (each["tables"], each["system"], each["workers"]): each
        for each in found
        if each["batch"] == 65536
    }
    rows = []
    for tables, system, workers in measured:
        if workers == 1:
            one, two = (measured[tables, system, n] for n in (1, 2))
            ratio = one["ms"] / two["ms"]
            assert ratio >= 1.4 or not system.startswith("TorchRec")
            numbers = f"{one['ms']:.0f} | {two['ms']:.0f} | {two['megabytes']:.0f} | {ratio:.2f}"
            rows.append(f"{system} | {numbers} |")
    lines = (ROOT / "docs/scaling.md").read_text().splitlines()
    shown = [line.split(" | ", 1)[1] for line in lines if re.search(r"\| (TorchRec|DDP), ", line)]
    assert shown == rows
