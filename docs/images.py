"""Make docs/images from the results of `make repro`: python docs/images.py

Copies figures with fewer colors, which makes them small, and takes a picture of the report page
with Chromium.
"""

import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path("docs/images")
FIGURES = (
    "activity",
    "calibration",
    "crosstab",
    "loss_curves",
    "predicted_bayesmf",
    "strata_to_best",
)
WIDTH, HEIGHT = 1280, 900  # pixels of the report page


def main() -> None:
    """Write the pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name in FIGURES:
        reduce(Path(f"reports/figures/{name}.png"), IMAGES / f"{name}.png")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(Path("reports/index.html").resolve().as_uri())
        page.screenshot(path=IMAGES / "report.png")
        browser.close()
    reduce(IMAGES / "report.png", IMAGES / "report.png")


def reduce(source: Path, target: Path) -> None:
    """Write the picture with 128 colors and at most 1,600 pixels wide."""
    with Image.open(source) as image:
        image.load()
        small = image.convert("RGB")
    small.thumbnail((1600, 1600))
    small.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()
