"""Where text lies in an X-ray and what it says: RapidOCR's detector (PP-OCRv6) and recogniser, from its wheel.

The detector finds lines whose capitals are 8 to 40 pixels high. So an image is read at a short side of 512, at half of
that for what is large, and, if it is larger, in tiles at its own size for what is small. Every line found is read in up
to four orientations (lead markers are turned and tilted). A line counts by the geometric mean of the detector's score
and the recogniser's: ribs look like text to one or the other, seldom to both. L and R alone are found by their shape.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synthcxr.cleaning.letters import Letter, find_letters
from synthcxr.cleaning.marks import Mark, Points, kind_of
from synthcxr.errors import SynthCXRError
from synthcxr.images import Grey

SHORT_SIDE = 512
"""Short side, in pixels, at which every image is read."""
LOWEST_LINE, LARGE_LINE = 5, 14
"""A line counts from so many pixels on, and at half of that size from so many: smaller ones are found at full size."""
ENOUGH = 1.25
"""An image up to so many times larger is not read at its own size as well."""
TILE, OVERLAP = 1024, 160
"""Side of the tiles in which a large image is read, and by how much they overlap, in pixels."""
FLAT = 2.0
"""A tile whose grey levels deviate by less has nothing in it, and is not read."""
FAINTEST_BOX = 0.3
"""Detector's score below which a box is not even read."""
SURE = 0.9
"""Recogniser's confidence from which no further orientation is tried."""
HIGHEST_LINE = 0.22
"""A line of text, with some room around it, is at most this part of the image's short side high."""
MINIMUM_SCORE = 0.5
"""Score of an upright line of two characters or more."""
TURNED, SINGLE, ROUND = 0.1, 0.3, 0.35
"""How much more a line needs that is turned; that is a single character other than L and R; that has only strokes and
rings, as wires and electrodes draw them."""
SURE_LINE = 0.8
"""Score of a line from which no letter is looked for in it."""
SURE_LETTER = 0.85
"""Recogniser's confidence from which a shape like an L or R is one."""


class View(NamedTuple):
    """A part of an image as the detector sees it: its pixels and their factor, the place (x, y) of its corner in the
    image, and the height of the lowest line in it that counts.
    """

    pixels: Grey
    scale: float
    corner: tuple[float, float]
    lowest_line: float

    def place(self, corners: Points) -> Points:
        """Where points (x, y) of the view lie in the image."""
        return np.asarray(corners / self.scale + np.array(self.corner), np.float32)


class Line(NamedTuple):
    """A line in a view: corners (4, 2) in its pixels, what it says, its score, its turn clockwise in degrees."""

    corners: Points
    text: str
    score: float
    rotation: int


class TextReader:
    """RapidOCR on one thread, with nothing to download and nothing to say."""

    def __init__(self) -> None:
        """Load both models. Raises SynthCXRError where the wheel's models are missing."""
        import rapidocr

        models = Path(rapidocr.__file__).parent / "models"
        paths = {"Det": models / "PP-OCRv6_det_small.onnx", "Rec": models / "PP-OCRv6_rec_small.onnx"}
        if missing := [str(path) for path in paths.values() if not path.is_file()]:
            raise SynthCXRError(f"{missing[0]} is missing. Install rapidocr again: its models come in the wheel.")
        self._engine: Any = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": 0.0,
                "Global.use_preprocess_img": False,  # sizes are chosen here
                "Global.use_vertical_padding": False,
                "Det.limit_side_len": 32,
                "Det.box_thresh": FAINTEST_BOX,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                **{f"{part}.model_path": str(path) for part, path in paths.items()},  # a given path is never fetched
            }
        )

    def read(self, image: Grey, minimum_score: float = MINIMUM_SCORE, *, quick: bool = False) -> list[Mark]:
        """All text in a grey image (height, width) that has the score it needs (`score_needed`), the surest first.

        `quick` reads once, at the short side of 512: many a single L, and very small or very large text, is missed.
        """
        marks: list[Mark] = []
        for view in views(image, quick=quick):
            lines = self._lines(view)
            letters = [] if quick or view.lowest_line > LOWEST_LINE else self._letters(view, lines)
            for corners, text, score, rotation in (*lines, *letters):
                place = view.place(corners)
                tall = min(_sides(place)) > HIGHEST_LINE * min(image.shape)
                if not tall and score >= score_needed(text, rotation, minimum_score):
                    marks.append(Mark(_as_polygon(place, image.shape), text, round(score, 4), kind_of(text), rotation))
        return merge(marks)

    def _lines(self, view: View) -> list[Line]:
        """The lines that the detector finds in a view, with what the recogniser reads in them."""
        lines = []
        for corners, found in self._detect(view.pixels):
            if min(_sides(corners)) >= view.lowest_line:
                text, confidence, rotation = self._read_box(view.pixels, corners)
                lines.append(Line(corners, text, (found * confidence) ** 0.5, rotation))
        return lines

    def _letters(self, view: View, lines: Sequence[Line]) -> list[Line]:
        """Every L and R that stands alone in a view."""
        letters = []
        for letter in find_letters(view.pixels):
            middle = ((letter.left + letter.right) / 2, (letter.top + letter.bottom) / 2)
            if any(_holds(line.corners, middle) and line.score >= SURE_LINE for line in lines):
                continue
            text, confidence = self._read_letter(view.pixels, letter)
            if confidence >= SURE_LETTER and text in ([letter.text] if letter.text else ["L", "R"]):
                score = (letter.likeness * confidence) ** 0.5
                letters.append(Line(_around(letter), text, score, 90 * letter.quarter_turns))
        return letters

    def _read_letter(self, image: Grey, letter: Letter) -> tuple[str, float]:
        """What the recogniser reads in a letter's place, made upright, and its confidence (0 to 1)."""
        margin = max(3, round(0.35 * max(letter.right - letter.left, letter.bottom - letter.top)))
        rows = slice(max(0, letter.top - margin), letter.bottom + margin)
        columns = slice(max(0, letter.left - margin), letter.right + margin)
        return self._recognise(np.rot90(image[rows, columns], letter.quarter_turns))

    def _recognise(self, strip: Grey) -> tuple[str, float]:
        result = self._engine(_as_colour(np.ascontiguousarray(strip)), use_det=False, use_cls=False, use_rec=True)
        return (result.txts[0].strip(), float(result.scores[0])) if result.txts else ("", 0.0)

    def _detect(self, image: Grey) -> list[tuple[Points, float]]:
        result = self._engine(_as_colour(image), use_det=True, use_cls=False, use_rec=False)
        if result.boxes is None:
            return []
        return [
            (np.asarray(box, np.float32), float(score)) for box, score in zip(result.boxes, result.scores, strict=True)
        ]

    def _read_box(self, image: Grey, corners: Points) -> tuple[str, float, int]:
        """The likeliest words of a box, their confidence, and by how many degrees clockwise they are turned.

        ("", 0, 0) where there are no words.
        """
        strip = _flatten(image, corners)
        tall = strip.shape[0] >= 1.5 * strip.shape[1]
        best = ("", 0.0, 0)
        for quarter_turns in (1, 3, 0, 2) if tall else (0, 2, 1, 3):
            text, confidence = self._recognise(np.rot90(strip, quarter_turns))
            if is_words(text) and confidence > best[1]:
                best = (text, confidence, 90 * quarter_turns)
            if best[1] >= SURE:
                break
        return best


@cache
def shared_reader() -> TextReader:
    """This process's one reader: loading takes most of a second."""
    return TextReader()


def is_words(text: str) -> bool:
    """Whether what was read can be text: a Latin letter or digit, or two of any script (one is an arrow or a rib)."""
    letters = [character for character in text if character.isalnum()]
    return len(letters) >= 2 or any(character.isascii() for character in letters)


def score_needed(text: str, rotation: int, minimum_score: float) -> float:
    """The score that a line needs: more for what X-rays feign. Wires and electrodes are read as 0, 1, 8, 00000."""
    characters = [character for character in text.upper() if character.isalnum()]
    if characters in (["L"], ["R"]):
        return minimum_score
    if set(characters) <= set("0O1I"):
        return min(0.9, minimum_score + ROUND)
    if len(characters) == 1:
        return min(0.9, minimum_score + SINGLE)
    return min(0.9, minimum_score + TURNED) if rotation in (90, 270) else minimum_score


def merge(marks: Sequence[Mark]) -> list[Mark]:
    """One mark a line: a mark that lies in another goes, unless it has more letters or is read more surely.

    What only overlaps stays: a line that is cut by the edge of a tile is whole in neither.
    """
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (-mark.score * len(mark.text), mark.polygon)):
        if all(_overlap(mark, other) <= 0.7 for other in kept):
            kept.append(mark)
    return kept


def views(image: Grey, *, quick: bool = False) -> Iterator[View]:
    """The image at each size at which it is read, in tiles where that is large."""
    scale = SHORT_SIDE / min(image.shape)
    middle = _resize(image, scale)
    yield from _tiles(middle, scale, LOWEST_LINE)
    if quick:
        return
    yield from _tiles(_resize(middle, 0.5), scale / 2, LARGE_LINE)
    if ENOUGH * scale < 1:
        yield from _tiles(image, 1.0, LOWEST_LINE)


def _resize(image: Grey, scale: float) -> Grey:
    import cv2

    if scale == 1:
        return image
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def _tiles(pixels: Grey, scale: float, lowest_line: float) -> Iterator[View]:
    """Overlapping tiles of about equal size; the whole where it is hardly larger than one."""
    for top, bottom in _spans(pixels.shape[0]):
        for left, right in _spans(pixels.shape[1]):
            tile = np.ascontiguousarray(pixels[top:bottom, left:right])
            if tile.std() >= FLAT:
                yield View(tile, scale, (left / scale, top / scale), lowest_line)


def _spans(length: int) -> list[tuple[int, int]]:
    """Starts and ends of overlapping pieces of a length, all of one size."""
    if length <= 1.5 * TILE:
        return [(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    starts = np.linspace(0, length - TILE, count).astype(int)
    return [(int(start), int(start) + TILE) for start in starts]


def _around(letter: Letter) -> Points:
    """A letter's corners, a pixel outside it."""
    left, top, right, bottom = letter.left - 1, letter.top - 1, letter.right + 1, letter.bottom + 1
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


def _holds(corners: Points, place: tuple[float, float]) -> bool:
    """Whether a place (x, y) lies within a line's upright bounds."""
    return bool((corners.min(0) <= place).all() and (corners.max(0) >= place).all())


def _overlap(first: Mark, second: Mark) -> float:
    """Common area of two marks' upright bounds, as a part of the smaller."""
    low, high = first.points.min(0), first.points.max(0)
    other_low, other_high = second.points.min(0), second.points.max(0)
    common = np.prod(np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None))
    smaller = min(np.prod(high - low), np.prod(other_high - other_low))
    return float(common / max(smaller, 1.0))


def _flatten(image: Grey, corners: Points) -> Grey:
    """The inside of a box, made upright."""
    import cv2

    width, height = (max(3, round(side)) for side in _sides(corners))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    warp = cv2.getPerspectiveTransform(corners, target)
    flat = cv2.warpPerspective(image, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(flat, np.uint8)


def _sides(corners: Points) -> tuple[float, float]:
    """Width and height of a box in pixels."""
    return float(np.linalg.norm(corners[1] - corners[0])), float(np.linalg.norm(corners[3] - corners[0]))


def _as_polygon(corners: Points, shape: tuple[int, ...]) -> tuple[tuple[float, float], ...]:
    height, width = shape
    return tuple((round(min(max(float(x), 0), width), 1), round(min(max(float(y), 0), height), 1)) for x, y in corners)


def _as_colour(image: Grey) -> Grey:
    return np.repeat(image[:, :, None], 3, axis=2)
