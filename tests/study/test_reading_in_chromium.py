"""A whole reading in a real Chromium, by keyboard, through a reload, a crash of the server and a lost connection."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from synthcxr.images import read_grey
from synthcxr.study.folder import IMAGES
from synthcxr.study.protocol import order
from synthcxr.study.serving.database import SERVED, read_answers
from synthcxr.study.serving.links import Tokens, make_links
from synthcxr.study.serving.server import open_reading
from tests.study.readings import Server, make_reading_study, mixed_questions, plain_questions, serving, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")
READY = "() => !document.querySelector('#submit').disabled && !document.querySelector('#card').open"


@pytest.fixture(scope="module")
def playwright() -> Iterator["Playwright"]:
    with pytest.importorskip("playwright.sync_api").sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: "Playwright") -> Iterator["Browser"]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield browser
    browser.close()


def address(server: Server, tokens: Tokens, reader: str = "R1") -> str:
    return f"http://127.0.0.1:{server.port}/r/{tokens.readers[reader]}"


def begin(page: "Page", where: str) -> None:
    page.goto(where)
    past_the_card(page)


def past_the_card(page: "Page") -> None:
    page.wait_for_selector("#card-button:visible")
    page.keyboard.press("Enter")
    page.wait_for_function(READY)


def place(page: "Page") -> str:
    return page.locator("#place").inner_text()


def answer(page: "Page", number: int, *, wait: bool = True) -> None:
    """By keyboard: real or synthetic in turns, confidences in turns, a comment on every fifth."""
    page.keyboard.press("as"[number % 2])
    page.keyboard.press(str(number % 5 + 1))
    if number % 5 == 0:
        page.keyboard.press("c")
        page.keyboard.type(f"1 comment on {number}")
        page.keyboard.press("Escape")
    before = place(page)
    page.keyboard.press("Enter")
    if wait:
        settle(page, before)


def settle(page: "Page", before: str) -> None:
    page.wait_for_function("before => document.querySelector('#place').innerText !== before", arg=before)
    page.wait_for_function("() => !document.querySelector('#submit').disabled || document.querySelector('#card').open")


def test_twenty_images_by_keyboard_with_everything_that_can_go_wrong(tmp_path: Path, browser: "Browser") -> None:
    folder = make_reading_study(tmp_path / "study", plain_questions(20), ["R1"])
    tokens = make_links(folder, ["R1"])
    with serving(folder) as server:
        wait_for(server, tokens)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.set_default_timeout(60_000)
        begin(page, address(server, tokens))
        for number in range(1, 21):
            assert place(page) == f"Question {number} of 20"
            if number == 5:  # a reload with half an answer given
                page.keyboard.press("s")
                page.reload()
                past_the_card(page)
                assert page.locator("input[value=synthetic]").is_checked()
                assert place(page) == "Question 5 of 20"
            if number == 9:  # the server crashes, and comes back after the answer was given
                server.kill()
                answer(page, number, wait=False)
                page.wait_for_function(
                    "() => document.querySelector('#saved').innerText.includes('kept in this browser')"
                )
                server.start()
                settle(page, "Question 9 of 20")
                continue
            if number == 13:  # no connection for a while
                context.set_offline(True)
                answer(page, number, wait=False)
                page.wait_for_function("() => document.querySelector('#saved').innerText.includes('No connection')")
                context.set_offline(False)
                settle(page, "Question 13 of 20")
                continue
            if number == 16:  # the page dies with an answer that the server has not got
                server.kill()
                answer(page, number, wait=False)
                page.wait_for_function(
                    "() => document.querySelector('#saved').innerText.includes('kept in this browser')"
                )
                page.close()
                server.start()
                wait_for(server, tokens)
                page = context.new_page()
                begin(page, address(server, tokens))
                continue
            answer(page, number)
        page.wait_for_selector("text=All done, thank you")
        context.close()
    answers = read_answers(folder / SERVED)
    assert [a.question for a in answers] == [q.id for q in order(open_reading(folder).protocol, "R1")]
    assert [a.position for a in answers] == list(range(1, 21))
    assert [a.answer for a in answers] == ["synthetic" if n % 2 else "real" for n in range(1, 21)]
    assert [a.confidence for a in answers] == [n % 5 + 1 for n in range(1, 21)]
    assert [a.comment for a in answers] == [f"1 comment on {n}" if n % 5 == 0 else "" for n in range(1, 21)]
    assert all(a.seconds is not None and 0 < a.seconds < 60 for a in answers)


@contextmanager
def own_chromium(playwright: "Playwright", profile: Path) -> Iterator[tuple["Page", subprocess.Popen[bytes]]]:
    """A page in a Chromium of its own, with all its processes in one group, and a profile on the disk."""
    port_file = profile / "DevToolsActivePort"
    port_file.unlink(missing_ok=True)
    assert CHROMIUM is not None
    options = [*FLAGS, "--headless=new", "--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    process = subprocess.Popen([CHROMIUM, *options], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if port_file.is_file() and port_file.read_text().count("\n"):
                break
            time.sleep(0.05)
        port = port_file.read_text().splitlines()[0]
        yield playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}").contexts[0].new_page(), process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_server_and_browser_killed_at_once_and_the_answer_that_nobody_had_yet_is_there(
    tmp_path: Path, playwright: "Playwright"
) -> None:
    """The page says that an answer is kept in the browser: from then on `kill -9` does not take it."""
    folder = make_reading_study(tmp_path / "study", plain_questions(20), ["R1"])
    tokens = make_links(folder, ["R1"])
    with serving(folder) as server:
        wait_for(server, tokens)
        with own_chromium(playwright, tmp_path / "profile") as (page, process):
            begin(page, address(server, tokens))
            server.kill()
            answer(page, 1, wait=False)
            page.wait_for_function("() => document.querySelector('#saved').innerText.includes('kept in this browser')")
            os.killpg(process.pid, signal.SIGKILL)
        server.start()
        wait_for(server, tokens)
        with own_chromium(playwright, tmp_path / "profile") as (page, _):
            page.goto(address(server, tokens))
            page.wait_for_selector("text=Your answer to question 1 of 20 is stored now")
    (stored,) = read_answers(folder / SERVED)
    assert (stored.position, stored.answer, stored.confidence) == (1, "synthetic", 2)


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[tuple[Server, Tokens]]:
    folder = make_reading_study(tmp_path / "study", mixed_questions(), ["R1"])
    tokens = make_links(folder, ["R1"])
    with serving(folder) as server:
        wait_for(server, tokens)
        yield server, tokens


def test_every_kind_of_question_by_keyboard(mixed: tuple[Server, Tokens], browser: "Browser") -> None:
    server, _ = mixed
    page = browser.new_page(viewport={"width": 768, "height": 1024})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if str(server.port) not in request.url else None)
    begin(page, address(*mixed))
    questions = order(open_reading(server.folder).protocol, "R1")
    for question in questions:
        assert page.locator("canvas").count() == len(question.images)
        page.keyboard.press("Enter")  # nothing was answered yet: the page says what is missing
        assert page.locator("#message").inner_text().startswith("Please")
        if question.kind == "quality":
            page.keyboard.press("1")
            page.keyboard.press("Backspace")
            page.keyboard.press("3")
            page.keyboard.press("c")
            page.keyboard.type("clavicle")
            page.keyboard.press("Control+Enter")
        else:
            page.keyboard.press("s")
            page.keyboard.press("2")
            page.keyboard.press("Enter")
        if question.training:
            page.wait_for_selector("#feedback:visible")
            assert "synthetic" in page.locator("#feedback").inner_text() or question.kind != "pairwise"
            before = place(page)
            page.keyboard.press("Enter")
        else:
            before = ""
        page.wait_for_function(
            "([before, position]) => document.querySelector('#card').open"
            " || (document.querySelector('#place').innerText !== before && !document.querySelector('#submit').disabled"
            " && Number(document.querySelector('#progress').value) === position)",
            arg=[before, questions.index(question) + 1],
        )
    page.wait_for_selector("text=All done, thank you")
    page.close()
    assert errors == []
    given = {a.kind: a for a in read_answers(server.folder / SERVED)}
    assert (given["quality"].ratings, given["quality"].comment) == ({"anatomy": 3}, "clavicle")
    assert given["pairwise"].answer == "right"


def test_the_canvas_holds_the_true_pixels_until_they_are_windowed(
    mixed: tuple[Server, Tokens], browser: "Browser"
) -> None:
    server, _ = mixed
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    with page.expect_request(lambda request: "/image/2/" in request.url):  # the next one is loaded beforehand
        begin(page, address(*mixed))
    first = order(open_reading(server.folder).protocol, "R1")[0]
    wanted = [read_grey(server.folder / IMAGES / name).astype(int) for name in first.images]

    def seen(pane: int) -> "np.ndarray":
        """The middle of a pane, 32 by 32 screen pixels."""
        levels = (
            page.locator("canvas")
            .nth(pane)
            .evaluate(
                "canvas => Array.from(canvas.getContext('2d').getImageData(Math.round(canvas.width / 2 - 16),"
                "Math.round(canvas.height / 2 - 16), 32, 32).data).filter((_, i) => i % 4 === 0)"
            )
        )
        return np.array(levels).reshape(32, 32)

    page.keyboard.press("t")
    assert page.locator("#zoom").inner_text() == "100 %"
    assert all(np.array_equal(seen(pane), image) for pane, image in enumerate(wanted))
    page.keyboard.press("i")
    assert np.array_equal(seen(0), 255 - wanted[0])
    page.keyboard.press("i")
    for _ in range(16):
        page.keyboard.press("w")
    assert np.array_equal(seen(0), np.floor(255 * np.clip((wanted[0] - 64) / 128, 0, 1) + 0.5))
    page.keyboard.press("r")
    assert page.locator("#window").input_value() == "256"
    assert page.locator("#zoom").inner_text() != "100 %"  # a whole number of screen pixels each
    page.close()


def test_wheel_drags_and_two_fingers(mixed: tuple[Server, Tokens], browser: "Browser") -> None:
    context = browser.new_context(viewport={"width": 768, "height": 1024}, has_touch=True)
    page = context.new_page()
    begin(page, address(*mixed))
    box = page.locator("canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def zoom() -> int:
        return int(page.locator("#zoom").inner_text().removesuffix(" %"))

    def drag(button: str, dx: int, dy: int) -> None:
        page.mouse.move(x, y)
        page.mouse.down(button=button)  # type: ignore[arg-type]
        page.mouse.move(x + dx, y + dy, steps=4)
        page.mouse.up(button=button)  # type: ignore[arg-type]

    def picture() -> bytes:
        return page.locator("canvas").first.screenshot()

    whole = zoom()
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    page.wait_for_function("before => parseInt(document.querySelector('#zoom').innerText) > before", arg=whole)
    before = picture()
    drag("left", 60, 30)
    assert picture() != before
    drag("right", -50, -20)
    assert page.locator("#window").input_value() == "206"
    assert page.locator("#level").input_value() == "148"
    page.locator("#reset").click()
    assert zoom() == whole
    fingers = context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 30), ("touchMove", 40), ("touchEnd", None)):
        points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function(
        "wanted => Math.abs(parseInt(document.querySelector('#zoom').innerText) / wanted - 2) < 0.1", arg=whole
    )
    context.close()


def test_a_pause_stops_the_clock_and_an_older_window_is_told(mixed: tuple[Server, Tokens], browser: "Browser") -> None:
    context = browser.new_context(viewport={"width": 768, "height": 1024}, has_touch=True)
    page = context.new_page()
    begin(page, address(*mixed))
    page.keyboard.press("p")
    page.wait_for_selector("text=Paused")
    assert page.locator("#panes").evaluate("panes => getComputedStyle(panes).visibility") == "hidden"
    stopped = page.locator("#timer").inner_text()
    page.wait_for_timeout(1500)
    assert page.locator("#timer").inner_text() == stopped
    page.keyboard.press("Enter")
    other = context.new_page()
    begin(other, address(*mixed))
    page.bring_to_front()
    page.keyboard.press("s")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Opened elsewhere")
    page.keyboard.press("Enter")  # go on here: the answer that was kept is sent
    page.wait_for_selector("text=Welcome back")
    context.close()
    assert len(read_answers(mixed[0].folder / SERVED, training=True)) == 1


def test_a_person_without_eyes_or_mouse_finds_everything(mixed: tuple[Server, Tokens], browser: "Browser") -> None:
    page = browser.new_page(viewport={"width": 768, "height": 1024})
    begin(page, address(*mixed))
    for role, name in (
        ("img", None),
        ("radio", "Synthetic"),
        ("radio", "Real"),
        ("textbox", "Comment"),
        ("slider", "Window"),
        ("slider", "Level"),
        ("button", "Zoom in"),
        ("button", "Pause"),
        ("progressbar", "Answered so far"),
        ("group", "How sure are you?"),
    ):
        found = page.get_by_role(role, name=name) if name else page.get_by_role(role)  # type: ignore[arg-type]
        if not (name in ("Real", "Synthetic") and page.locator("canvas").count() == 2):
            assert found.count() >= 1, (role, name)
    assert page.locator("#place").get_attribute("aria-live") == "polite"
    reached: set[str] = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.name || ''"))
    assert {
        "pause",
        "help",
        "zoom-in",
        "window",
        "level",
        "invert",
        "reset",
        "answer",
        "confidence",
        "words-0",
        "submit",
    } <= reached
    poor = page.evaluate(CONTRASTS)
    assert poor == []
    page.close()


# WCAG 2.2, 1.4.3: contrast of every text with the ground behind it, at least 4.5.
CONTRASTS = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(0, 0, 0)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility()
      && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((element) => {
      const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
      return [element.tagName, element.textContent.slice(0, 30), (a + 0.05) / (b + 0.05)];
    })
    .filter(([, , contrast]) => contrast < 4.5);
}"""
