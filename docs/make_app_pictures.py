"""Take the pictures of docs/app.md anew: a real app, a real Chromium, the bundled model's images alone."""

import re
import sys
import tempfile
from pathlib import Path

import cv2
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.app.conftest import CHROMIUM, FLAGS, App

from synthcxr.images import read_grey, resize, write_png

PICTURES = Path(__file__).parent / "pictures"
PATIENCE_MS = 300_000


def main() -> None:
    """Walk the road once, and take a picture of every page that is worth one."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        app = App(Path(place) / "workspace")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        try:
            walk(page, app, Path(place))
        finally:
            browser.close()
            app.close()


def walk(page: Page, app: App, place: Path) -> None:
    """Draw, clean and judge, as a visitor does."""
    page.goto(app.address + "/generate")
    page.select_option("#b-view", "PA")
    page.fill("#b-age", "60")
    page.select_option("#b-sex", "F")
    page.get_by_label("Effusion").check()
    page.wait_for_function("() => document.querySelector('#f-prompt').value.includes('effusion')")
    page.select_option("[name=preset]", "fast")
    page.fill("[name=count]", "8")
    take(page, "generate-form")
    start(page)
    take(page, "generate")
    page.goto(app.address + "/item/sets/set-1")
    page.locator(".thumb").first.click()
    page.wait_for_function("() => document.querySelector('dialog .log').textContent.length > 100")
    page.locator("dialog summary").click()
    take(page, "image")

    drawn = next((app.workspace / "sets" / "set-1" / "train").glob("*.png"))
    image = resize(read_grey(drawn), 512, 512).copy()
    cv2.putText(image, "PORTABLE 12-03-2019", (30, 50), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2, cv2.LINE_AA)
    write_png(place / "chest.png", image)
    page.goto(app.address + "/clean")
    page.set_input_files("#files", place / "chest.png")
    page.wait_for_url(re.compile("source_path=uploads"))
    start(page)
    page.goto(app.address + "/item/cleaned/cleaned-1")
    page.locator(".thumb").first.click()
    page.wait_for_selector(".boxes span")
    take(page, "clean")

    page.goto(app.address + "/evaluate?synthetic=sets/set-1")
    page.select_option("[name=real]", "reference:nih-adults")
    start(page)
    page.goto(app.address + "/item/reports/report-1")
    page.frame_locator("iframe.report").locator("h1").wait_for()
    take(page, "report")
    page.goto(app.address)
    page.wait_for_selector("dl")
    take(page, "home")


def start(page: Page) -> None:
    """Press the form's button and wait until the job is done."""
    page.locator("form[data-verb] button.main").click()
    page.wait_for_selector("[data-job] >> nth=0 >> css=[data-shown-state]:has-text('done')")
    page.wait_for_load_state("networkidle")


def take(page: Page, name: str) -> None:
    """A picture of what the window shows."""
    page.screenshot(path=PICTURES / f"app-{name}.png")


if __name__ == "__main__":
    main()
