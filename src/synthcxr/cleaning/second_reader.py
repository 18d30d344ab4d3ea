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
    found = []
    for page in _pages(large):
        for turn in turns:
            upright = np.ascontiguousarray(np.rot90(page, turn // 90))
            for text, confidence, box in _words(upright, "11"):
                if confidence >= SURE and sum(character.isalnum() for character in text) >= FEWEST_LETTERS:
                    corners = tuple((x / scale, y / scale) for x, y in _turn_back(box, turn, upright.shape))
                    found.append(Mark(corners, text, round(confidence / 100, 4), kind_of(text), turn))
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
    return [_read_mark(image, mark) if mark.kind != "marker" else "" for mark in marks]


def _read_mark(image: Grey, mark: Mark) -> str:
    import cv2

    margin = 0.4 * mark.line_height
    low = np.floor(np.maximum(mark.points.min(0) - margin, 0)).astype(int)
    high = np.ceil(mark.points.max(0) + margin).astype(int)
    crop = np.rot90(image[low[1] : high[1], low[0] : high[0]], mark.rotation // 90)
    if min(crop.shape) < 3:
        return ""
    scale = LETTER_HEIGHT / max(mark.line_height, 1.0)
    strip = cv2.resize(np.ascontiguousarray(crop), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    single = sum(character.isalnum() for character in mark.text) <= 1
    lines = [
        " ".join(text for text, confidence, _ in _words(page, "10" if single else "7") if confidence >= SURE_INSIDE)
        for page in _pages(strip)
    ]
    return max(lines, key=len, default="")


def _words(image: Grey, layout: str) -> list[tuple[str, float, tuple[int, int, int, int]]]:
    """Words with confidence (0 to 100) and bounds (left, top, width, height); `layout` is Tesseract's ``--psm``."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG", compress_level=1)
    answer = subprocess.run(
        [PROGRAM, "stdin", "stdout", "--psm", layout, "--dpi", "150", "-l", "eng", "tsv"],
        input=stream.getvalue(),
        capture_output=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
    )
    if answer.returncode:
        raise SynthCXRError(f"{PROGRAM} failed: {answer.stderr.decode(errors='replace').strip()[:200]}")
    rows = csv.DictReader(io.StringIO(answer.stdout.decode(errors="replace")), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [
        (
            row["text"].strip(),
            float(row["conf"]),
            (int(row["left"]), int(row["top"]), int(row["width"]), int(row["height"])),
        )
        for row in rows
        if row["level"] == "5" and any(character.isalnum() for character in row["text"] or "")
    ]


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
