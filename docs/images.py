"""Make docs/images from the results of `make repro`: python docs/images.py [MLFLOW_PAGE]

Copies figures, takes a picture of the report's leaderboard with Chromium, and, given the address
that `make ui` prints, one of MLflow's charts.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path("docs/images")
FIGURES = ("calibration", "loss_curves", "predicted_bayesmf", "strata_to_best")
MAX_SIZE = (1600, 1600)  # pixels
N_COLORS = 128


def main() -> None:
    """Write the pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name in FIGURES:
        shutil.copy(f"reports/figures/{name}.png", IMAGES)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(Path("reports/index.html").resolve().as_uri())
        page.locator("table").first.screenshot(path=IMAGES / "leaderboard.png")
        if len(sys.argv) > 1:
            page.set_viewport_size({"width": 1500, "height": 1000})
            page.goto(sys.argv[1])
            page.get_by_label("Close").first.click()  # the assistant's panel
            page.wait_for_timeout(10_000)  # charts draw late
            page.screenshot(path=IMAGES / "mlflow.png")
        browser.close()
    for path in IMAGES.glob("*.png"):
        shrink(path)


def shrink(path: Path) -> None:
    """Reduce a picture's size and its number of colors, in place."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail(MAX_SIZE)
    small.quantize(N_COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
