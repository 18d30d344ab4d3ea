"""A second reader that shares nothing with the first: Tesseract, by its command line, where it is installed.

It reads what the first reader is blind to, so that "nothing can be read" is not one program's word alone. It was made
for pages: on X-rays it takes ribs for words, so only what it is sure of counts, and single letters only inside marks.
"""

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from synthcxr.cleaning.marks import Mark, kind_of
from synthcxr.errors import SynthCXRError
from synthcxr.images import Grey

PROGRAM = "tesseract"
SHORT_SIDE = 1024
"""An image is enlarged to this short side: Tesseract wants capitals of 20 pixels and more."""
STROKE, FAINT = 41, 40
"""Strokes are narrower than so many pixels of that size, and stand out by more than half so many grey levels."""
LETTER_HEIGHT = 40
"""Pixels to which a mark's line is scaled before it is read."""
SURE, SURE_INSIDE = 80.0, 60.0
"""Confidence (0 to 100) from which a word counts: anywhere in an image, and where a mark was found."""
FEWEST_LETTERS = 3
"""A word found anywhere has so many letters or digits; two are as often the edge of a rib."""
SECONDS = 120
TURNS = (0, 90, 270)
"""By how many degrees clockwise a text may lie."""


@cache
def available() -> str | None:
    """Tesseract's version, or None where it is not installed."""
    if shutil.which(PROGRAM) is None:
        return None
    answer = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False, timeout=SECONDS)
    words = (answer.stdout or answer.stderr).split()
    return words[1] if len(words) > 1 else "unknown"


def read_again(image: Grey, turns: Sequence[int] = TURNS) -> list[Mark]:
    """What Tesseract reads anywhere in a grey image (height, width), upright and turned, the surest first.

    Raises SynthCXRError where Tesseract is missing or fails.
    """
    import cv2

    _require()
    scale = max(1.0, SHORT_SIDE / min(image.shape))
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else image
    turned = [(turn, np.ascontiguousarray(np.rot90(page, turn // 90))) for page in _pages(large) for turn in turns]
    found = []
    for (turn, upright), words in zip(turned, _read([upright for _, upright in turned], "11"), strict=True):
        for word in words:
            if word.confidence >= SURE and sum(character.isalnum() for character in word.text) >= FEWEST_LETTERS:
                corners = tuple((x / scale, y / scale) for x, y in _turn_back(word.box, turn, upright.shape))
                found.append(Mark(corners, word.text, round(word.confidence / 100, 4), kind_of(word.text), turn))
    return sorted(found, key=lambda mark: -mark.score)


def _require() -> None:
    if available() is None:
        raise SynthCXRError(f"{PROGRAM} is not installed, so there is no second reader.")


def _pages(image: Grey) -> list[Grey]:
    """Dark letters on a white page, once from bright strokes and once from dark ones; none where nothing stands out.

    Tesseract cuts at one level for a whole block. On the X-ray itself it read 11 of 32 burned words, on these pages 27.
    """
    import cv2

    square = cv2.getStructuringElement(cv2.MORPH_RECT, (STROKE, STROKE))
    details = [cv2.morphologyEx(image, how, square) for how in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)]
    pages = [255 - np.clip(2.0 * detail.astype(np.float32) - FAINT, 0, 255).astype(np.uint8) for detail in details]
    return [page for page in pages if page.min() < 128]


def read_marks(image: Grey, marks: Sequence[Mark]) -> list[str]:
    """What Tesseract reads at the place of each mark, made upright; "" where it reads nothing there.

    Raises SynthCXRError where Tesseract is missing or fails.
    """
    _require()
    lines = [""] * len(marks)
    for layout, is_single in (("10", True), ("7", False)):
        places = [place for place, mark in enumerate(marks) if mark.kind != "marker" and _is_single(mark) is is_single]
        pages = [(place, page) for place in places for page in _mark_pages(image, marks[place])]
        for (place, _), words in zip(pages, _read([page for _, page in pages], layout), strict=True):
            line = " ".join(word.text for word in words if word.confidence >= SURE_INSIDE)
            lines[place] = max(lines[place], line, key=len)
    return lines


def _is_single(mark: Mark) -> bool:
    return sum(character.isalnum() for character in mark.text) <= 1


def _mark_pages(image: Grey, mark: Mark) -> list[Grey]:
    """A mark's place with some room around it, upright and at a size that Tesseract reads, as pages."""
    import cv2

    margin = 0.4 * mark.line_height
    low = np.floor(np.maximum(mark.points.min(0) - margin, 0)).astype(int)
    high = np.ceil(mark.points.max(0) + margin).astype(int)
    crop = np.rot90(image[low[1] : high[1], low[0] : high[0]], mark.rotation // 90)
    if min(crop.shape) < 3:
        return []
    scale = LETTER_HEIGHT / max(mark.line_height, 1.0)
    return _pages(cv2.resize(np.ascontiguousarray(crop), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))


class Word(NamedTuple):
    """A word on a page: what it says, the confidence (0 to 100), and its bounds (left, top, width, height)."""

    text: str
    confidence: float
    box: tuple[int, int, int, int]


def _read(pages: Sequence[Grey], layout: str) -> list[list[Word]]:
    """The words of each page, by one call, for starting takes longer than a line; `layout` is Tesseract's ``--psm``."""
    import cv2

    if not pages:
        return []
    _, packed = cv2.imencodemulti(".tiff", [np.ascontiguousarray(page) for page in pages])
    answer = subprocess.run(
        [PROGRAM, "stdin", "stdout", "--psm", layout, "--dpi", "150", "-l", "eng", "tsv"],
        input=packed.tobytes(),
        capture_output=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
    )
    if answer.returncode:
        raise SynthCXRError(f"{PROGRAM} failed: {answer.stderr.decode(errors='replace').strip()[:200]}")
    words: list[list[Word]] = [[] for _ in pages]
    table = io.StringIO(answer.stdout.decode(errors="replace"))
    for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["level"] == "5" and any(character.isalnum() for character in row["text"] or ""):
            box = (int(row["left"]), int(row["top"]), int(row["width"]), int(row["height"]))
            words[int(row["page_num"]) - 1].append(Word(row["text"].strip(), float(row["conf"]), box))
    return words


def _turn_back(
    box: tuple[int, int, int, int], turn: int, shape: tuple[int, ...]
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]:
    """A box of an image that was turned counter-clockwise by `turn`, as corners in the image as it lies."""
    left, top, width, height = box
    tall, wide = shape[:2]
    right, bottom = left + width, top + height
    if turn == 90:  # a column of the turned image counts from the top, a row from the right
        left, top, right, bottom = tall - bottom, left, tall - top, right
    elif turn == 270:
        left, top, right, bottom = top, wide - right, bottom, wide - left
    return ((left, top), (right, top), (right, bottom), (left, bottom))
