"""The whole road in a real Chromium with the bundled model, by somebody who types no commands."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from synthcxr import prepare
from synthcxr.app.workspace import Workspace
from synthcxr.images import resize, write_png
from synthcxr.store import read_jsonl, read_manifest, verify
from tests.app.conftest import CHROMIUM, PATIENCE_SECONDS, App
from tests.conftest import SHARED, made_up_xray, plain_config, write_source

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
    pytest.mark.slow,
]
PATIENCE_MS = 1000 * PATIENCE_SECONDS
UPLOADED = re.compile("source_path=uploads")
PICTURES = os.environ.get("SYNTHCXR_SCREENSHOTS")
"""Folder to keep pictures of the pages in, to look at."""


@pytest.fixture
def page(app: App, browser: "Browser") -> Iterator["Page"]:
    """A page whose every request must stay on this machine, and whose scripts must not fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    strays, faults = list[str](), list[str]()
    page.on("request", lambda request: None if stays(request.url, app) else strays.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("dialog", lambda dialog: dialog.accept())
    yield page
    context.close()
    assert strays == [] and faults == []


def stays(url: str, app: App) -> bool:
    return url.startswith((app.address, "data:", "blob:", "about:"))


def keep(page: "Page", name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def run(page: "Page", app: App, place: str, values: dict[str, Any], *, state: str = "done") -> str:
    """Fill in a page's form, start the job, and wait until it is over; the folder that it wrote."""
    if place:
        page.goto(app.address + place)
    for name, value in values.items():
        field = page.locator(f"[name={name}]")
        if not field.is_visible():
            page.locator("form[data-verb] details > summary").click()
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(str(value))
    with page.expect_navigation():  # the page comes anew, with the job on top
        page.locator("form[data-verb] button.main").click()
    page.wait_for_selector("[data-job]")
    over = page.wait_for_function(
        "ends => { const shown = document.querySelector('[data-job] [data-shown-state]').textContent;"
        " return ends.some(end => shown.includes(end)) && shown; }",
        arg=["done", "failed", "cancelled"],
    )
    assert state in over.json_value(), page.locator("[data-job]").first.inner_text()
    return page.locator("[data-out-name]").first.text_content() or ""


def test_draw_look_vary_and_judge(app: App, page: "Page") -> None:
    page.goto(app.address)
    assert "Nothing is here yet" in page.content()
    keep(page, "home-empty")
    page.goto(app.address + "/generate")
    page.locator("#b-view").select_option("PA")
    page.locator("#b-age").fill("60")
    page.locator("#b-sex").select_option("F")
    page.get_by_label("Effusion").check()
    whole = "60-year-old woman with effusion"
    page.wait_for_function("words => document.querySelector('#f-prompt').value.includes(words)", arg=whole)
    folder = run(page, app, "", {"preset": "preview", "count": 3, "seed": 5})
    page.wait_for_selector(".strip.synthetic img")
    keep(page, "generate")
    made = app.workspace / folder
    assert read_manifest(made)["counts"]["images"] == 3 and verify(made) == []

    page.locator("[data-out]").first.click()
    assert "Synthetic — not for diagnosis" in page.content()
    page.locator(".thumb").first.click()
    page.wait_for_function("() => document.querySelector('dialog .log').textContent.includes('model_sha256')")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('dialog .log').textContent.includes('\"index\": 1,')")
    keep(page, "image")
    page.locator("[data-vary-now]").click()
    page.wait_for_url("**/edit")
    page.wait_for_selector("[data-job] >> nth=0 >> css=[data-shown-state]:has-text('done')")
    assert page.locator("[data-out-name]").first.text_content() != folder

    page.goto(f"{app.address}/item/{folder}")
    page.locator(".thumb").first.click()
    page.locator("[data-edit]").click()
    canvas = page.locator("[data-box-on] img").bounding_box()
    assert canvas
    page.mouse.move(canvas["x"] + canvas["width"] * 0.25, canvas["y"] + canvas["height"] * 0.25)
    page.mouse.down()
    page.mouse.move(canvas["x"] + canvas["width"] * 0.5, canvas["y"] + canvas["height"] * 0.75)
    page.mouse.up()
    left, top, width, height = map(int, page.locator("#f-box").input_value().split(","))
    assert abs(left - 64) <= 1 and abs(top - 64) <= 1 and abs(width - 64) <= 2 and abs(height - 128) <= 2
    keep(page, "edit")

    page.goto(f"{app.address}/item/{folder}")
    page.locator(".acts").get_by_role("link", name="Send out").click()
    out = run(page, app, "", {"to": "dicom"})
    assert len(list((app.workspace / out).rglob("*.dcm"))) == 3
    page.goto(f"{app.address}/item/{out}")
    assert page.locator(".thumb").count() == 3

    for name in ("first", "second"):
        page.goto(f"{app.address}/evaluate?synthetic={folder}")
        page.locator("[data-name]").fill(name)
        run(page, app, "", {"real": "reference:nih-adults"})
    page.goto(f"{app.address}/item/reports/first")
    frame = page.frame_locator("iframe.report")
    assert "Synthetic chest X-rays" in frame.locator("h1").inner_text()
    keep(page, "report")
    page.goto(app.address + "/evaluate")
    for box in page.locator("[name=report]").all():
        box.check()
    page.get_by_role("button", name="Compare").click()
    assert page.locator("tbody tr").count() > 4
    keep(page, "compare")


def burned(side: int = 512) -> np.ndarray:
    import cv2

    files = sorted((SHARED / "nih" / "images").iterdir()) if SHARED.is_dir() else []
    image = resize(made_up_xray(1), side, side)
    if files:
        from synthcxr.images import read_grey, to_square

        image = to_square(read_grey(files[3]), side)
    image = image.copy()
    cv2.putText(image, "JOHN DOE 1950", (40, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2, cv2.LINE_AA)
    return image


def test_upload_clean_untick_and_fetch(app: App, page: "Page", tmp_path: Path) -> None:
    write_png(tmp_path / "chest.png", burned())
    page.goto(app.address + "/clean")
    page.set_input_files("#files", tmp_path / "chest.png")
    page.wait_for_url(UPLOADED)
    folder = run(page, app, "", {})
    page.goto(f"{app.address}/item/{folder}")
    page.locator(".thumb").first.click()
    page.wait_for_selector(".boxes span")
    assert page.locator(".before").is_visible() and "JOHN" in page.locator("[data-found]").inner_text()
    page.locator(".cut input").fill("80")
    assert "20%" in page.locator(".before").evaluate("image => image.style.clipPath")
    keep(page, "clean")
    page.locator("[data-found] input").first.uncheck()
    page.locator("[data-found] button").click()
    page.wait_for_url("**/clean")
    page.wait_for_selector("[data-job] >> nth=0 >> css=[data-shown-state]:has-text('done')")
    again = page.locator("[data-out-name]").first.text_content() or ""
    assert again != folder
    (proof,) = read_jsonl(app.workspace / again / "proof.jsonl")
    assert "JOHN" in str(proof["kept"]) and "JOHN" not in str(proof["marks"]), "what was unticked was taken anyway"
    with page.expect_download() as fetched:
        page.goto(f"{app.address}/item/{folder}")
        page.get_by_role("link", name="Download").click()
    assert fetched.value.suggested_filename.endswith(".zip")


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real X-rays are not at hand")
def test_real_xrays_become_a_dataset(app: App, page: "Page") -> None:
    files = sorted((SHARED / "nih" / "images").iterdir())[:6]
    page.goto(app.address + "/data")
    page.set_input_files("#files", files)
    page.wait_for_url(UPLOADED)
    folder = run(page, app, "", {})
    counts = read_manifest(app.workspace / folder)["counts"]
    assert counts["images"] + counts["rejected"] == len(files) and counts["images"] >= 4
    page.goto(f"{app.address}/item/{folder}")
    assert page.locator(".thumb").count() == counts["images"]
    assert page.locator(".gallery.synthetic").count() == 0


def test_training_and_a_study_with_a_second_browser(app: App, page: "Page", browser: "Browser", tmp_path: Path) -> None:
    prepare(plain_config(write_source(tmp_path, 40, 256), app.workspace / "datasets" / "made-up", resolution=256))
    values = {"datasets": "datasets/made-up", "steps": 3, "batch_size": 2, "sample_steps": 2}
    page.goto(app.address + "/train")
    page.locator("[name=datasets]").select_option("datasets/made-up")
    page.get_by_role("button", name="What will it take?").click()
    page.wait_for_selector("[data-job] [data-doing]:has-text('It takes about')")
    assert "GB are free" in page.locator("[data-doing]").first.inner_text()
    keep(page, "estimate")
    run_folder = run(page, app, "/train", values)
    page.wait_for_selector(".strip img")
    assert read_manifest(app.workspace / run_folder)["counts"]["steps"] == 3
    drawn = run(page, app, f"/generate?model={run_folder}&prompt=Chest X-ray.", {"preset": "fast", "count": 3})
    choice = {"real": "datasets/made-up", "synthetic": drawn, "count": 3, "reader": "R1"}
    page.goto(app.address + "/study")
    page.locator("form[data-verb] details > summary").click()
    page.get_by_label("Match").uncheck()
    study = run(page, app, "", choice)

    page.goto(f"{app.address}/item/{study}")
    page.wait_for_selector("text=R1: 0 of 6")
    page.locator("[data-links]").click()
    page.wait_for_selector(".links a")
    keep(page, "study")
    link = page.locator(".links a").first.get_attribute("href") or ""
    reader = browser.new_context().new_page()
    reader.goto(app.address + link)
    reader.wait_for_selector("#card-button:visible")
    reader.keyboard.press("Enter")
    reader.wait_for_function(
        "() => !document.querySelector('#submit').disabled && !document.querySelector('#card').open"
    )
    for key in ("a", "3", "Enter"):
        reader.keyboard.press(key)
    page.wait_for_selector("text=R1: 1 of 6")
    reader.context.close()
    page.locator("[data-analyze]").click()
    page.wait_for_url("**/jobs")
    page.wait_for_selector("[data-job] >> nth=0 >> css=[data-shown-state]:has-text('failed')")
    assert "questions left: R1 5" in page.locator("[data-doing]").first.inner_text()
    page.goto(f"{app.address}/item/{study}")
    page.get_by_text("Look before all readers are done").click()
    page.get_by_label("Why").fill("The reader moved away.")
    page.locator("[data-analyze]").click()
    page.wait_for_url("**/jobs")
    page.wait_for_selector("[data-job] >> nth=0 >> css=[data-shown-state]:has-text('done')")


def test_a_killed_server_and_a_killed_worker_lose_nothing(app: App, page: "Page") -> None:
    page.goto(app.address + "/generate")
    page.locator("[name=prompt]").fill("Chest X-ray.")
    page.locator("[name=count]").fill("12")
    page.locator("[name=preset]").select_option("preview")
    page.locator("[data-name]").fill("survivor")
    page.locator("form[data-verb] details > summary").click()
    page.locator("[name=batch_size]").fill("2")
    page.locator("form[data-verb] button.main").click()
    page.wait_for_selector("[data-job] progress:visible")
    app.kill()
    workers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and is_worker(path, app)]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    app.start()
    page.reload()
    page.wait_for_selector("[data-job] >> nth=0 >> css=[data-shown-state]:has-text('done')")
    assert verify(app.workspace / "sets" / "survivor") == []
    assert read_manifest(app.workspace / "sets" / "survivor")["counts"]["images"] == 12


def is_worker(process: Path, app: App) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"synthcxr.app.worker" in words and str(app.workspace.resolve()).encode() in words


def test_a_wrong_call_is_a_sentence_by_the_form(app: App, page: "Page") -> None:
    page.goto(app.address + "/generate")
    page.locator("form[data-verb] button.main").click()
    page.wait_for_function("() => document.querySelector('form .error').textContent.length > 10")
    assert "--prompt" in page.locator("form .error").inner_text()
    page.goto(app.address + "/data")
    page.set_input_files("#files", {"name": "x.png", "mimeType": "image/png", "buffer": b"no image at all"})
    page.wait_for_function("() => document.querySelector('.upload .error').textContent.includes('is no PNG')")
    keep(page, "refused")


PLACES = ("/", "/data", "/train", "/generate", "/edit", "/clean", "/evaluate", "/study", "/export", "/jobs")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_read_by_everybody(app: App, browser: "Browser", scheme: Any) -> None:
    """axe-core: no serious findings, in light and dark; and nothing is cut off at 768 pixels."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=scheme, viewport={"width": 768, "height": 1000}, bypass_csp=True)
    page = context.new_page()
    found = []
    made = Workspace(app.workspace).items()  # by the tests before this one: a folder of every sort
    folders = {item.shelf: f"/item/{item.shelf}/{item.name}" for item in made}
    for place in (*PLACES, *folders.values()):
        answer = page.goto(app.address + place)
        assert answer and answer.ok, place
        found += [(place, *fault) for fault in serious(axe.run(page))]
        wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            found.append((place, "wider than the window", [str(wide)]))
        keep(page, f"{scheme}-768{place.replace('/', '-')}")
        if page.locator(".thumb").count():
            page.locator(".thumb").first.click()
            found += [(f"{place}, an image", *fault) for fault in serious(axe.run(page))]
            keep(page, f"{scheme}-768{place.replace('/', '-')}-image")
    context.close()
    assert found == []


def serious(results: Any) -> list[tuple[str, list[str]]]:
    """What axe-core found that keeps people out: its rule, and where."""
    faults = [one for one in results.response["violations"] if one["impact"] in ("serious", "critical")]
    return [(fault["id"], [node["html"] for node in fault["nodes"]][:3]) for fault in faults]


def test_an_uploaded_dicom_is_shown(app: App, page: "Page", tmp_path: Path) -> None:
    dicom = write_dicom(tmp_path / "chest.dcm")
    page.goto(app.address + "/data")
    page.set_input_files("#files", dicom)
    page.wait_for_url(UPLOADED)
    batch = page.locator("[name=source_path]").input_value()
    page.goto(f"{app.address}/item/{batch}")
    page.wait_for_function("() => document.querySelector('.thumb img').naturalWidth > 0")


def write_dicom(path: Path) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    image = resize(made_up_xray(4), 256, 256)
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = DigitalXRayImageStorageForPresentation
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.Modality, made.PhotometricInterpretation, made.SamplesPerPixel = "DX", "MONOCHROME2", 1
    made.Rows, made.Columns = image.shape
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = image.tobytes()
    made.save_as(path, enforce_file_format=True)
    return path
