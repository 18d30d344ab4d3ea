"""Where text lies in an X-ray and what it says: RapidOCR's detector (PP-OCRv6) and recogniser, from its wheel.

Single letters of 8 to 30 pixels (R, L, AP) are what matters here, and the detector was made for pages of text. So
each image is read at several sizes, each box in four orientations (lead markers are turned and tilted), and a box
counts by the geometric mean of the detector's score and the recogniser's: ribs look like text to one or the other,
seldom to both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthcxr.errors import SynthCXRError
from synthcxr.images import Grey
from synthcxr.store import Json

SHORT_SIDES = (512, 768, 1024)
"""Short sides, in pixels, at which an image is read: small letters are found at the larger, big ones at the smaller."""
LARGEST_SIDE = 2048
"""An image larger than all of `SHORT_SIDES` is also read at its own size, up to this short side."""
FAINTEST_BOX = 0.3
"""Detector's score below which a box is not even read."""
SURE = 0.9
"""Recogniser's confidence from which no further orientation is tried."""
LOWEST_LINE, HIGHEST_LINE = 5, 0.18
"""A line of text is at least so many pixels high, and at most this part of the image's short side."""

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextBox:
    """A line of text: its corners (x, y) in pixels, clockwise from the top left, what it says, its score (0 to 1)."""

    polygon: tuple[tuple[float, float], ...]
    text: str
    score: float

    @property
    def points(self) -> Points:
        """The corners, (4, 2)."""
        return np.array(self.polygon, np.float32)

    @property
    def line_height(self) -> float:
        """The shorter side in pixels, which for letters in a row is the height of the line."""
        return float(min(_sides(self.points)))

    def holds(self, point: tuple[float, float]) -> bool:
        """Whether a point (x, y) lies inside, or on the edge."""
        import cv2

        return cv2.pointPolygonTest(self.points, point, False) >= 0

    def as_json(self) -> Json:
        """The box as a row of the proof keeps it."""
        return {"polygon": [list(point) for point in self.polygon], "text": self.text, "score": self.score}


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

    def read(self, image: Grey, minimum_score: float = 0.5) -> list[TextBox]:
        """All text in a grey image (height, width): boxes of at least `minimum_score` (0 to 1), the surest first."""
        boxes = []
        for scale, resized in _sizes(image):
            for corners, found in self._detect(resized):
                if LOWEST_LINE <= min(_sides(corners / scale)) <= HIGHEST_LINE * min(image.shape):
                    text, confidence = self._read_box(resized, corners)
                    if (score := (found * confidence) ** 0.5) >= minimum_score:
                        boxes.append(TextBox(_as_polygon(corners / scale, image.shape), text, round(score, 4)))
        return merge(boxes)

    def _detect(self, image: Grey) -> list[tuple[Points, float]]:
        result = self._engine(_as_colour(image), use_det=True, use_cls=False, use_rec=False)
        if result.boxes is None:
            return []
        return [
            (np.asarray(box, np.float32), float(score)) for box, score in zip(result.boxes, result.scores, strict=True)
        ]

    def _read_box(self, image: Grey, corners: Points) -> tuple[str, float]:
        """The likeliest words of a box in any of four orientations, and their confidence; ("", 0) for no words."""
        strip = _flatten(image, corners)
        tall = strip.shape[0] >= 1.5 * strip.shape[1]
        best = ("", 0.0)
        for quarter_turns in (1, 3, 0, 2) if tall else (0, 2, 1, 3):
            turned = np.ascontiguousarray(np.rot90(strip, quarter_turns))
            result = self._engine(_as_colour(turned), use_det=False, use_cls=False, use_rec=True)
            if result.txts and is_words(result.txts[0]) and result.scores[0] > best[1]:
                best = (result.txts[0].strip(), float(result.scores[0]))
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


def merge(boxes: list[TextBox]) -> list[TextBox]:
    """One box a line: of boxes that cover each other by half, the one with the most letters, surely read, stays."""
    kept: list[TextBox] = []
    for box in sorted(boxes, key=lambda box: (-box.score * len(box.text), box.polygon)):
        if all(_overlap(box, other) <= 0.5 for other in kept):
            kept.append(box)
    return kept


def _overlap(first: TextBox, second: TextBox) -> float:
    """Common area of two boxes' upright bounds, as a part of the smaller."""
    low, high = first.points.min(0), first.points.max(0)
    other_low, other_high = second.points.min(0), second.points.max(0)
    common = np.prod(np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None))
    smaller = min(np.prod(high - low), np.prod(other_high - other_low))
    return float(common / max(smaller, 1.0))


def _sizes(image: Grey) -> Iterator[tuple[float, Grey]]:
    """The image at each size at which it is read, with the factor."""
    import cv2

    own = min(image.shape)
    for side in (*SHORT_SIDES, *([min(own, LARGEST_SIDE)] if own > SHORT_SIDES[-1] else [])):
        scale = side / own
        how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        yield scale, cv2.resize(image, None, fx=scale, fy=scale, interpolation=how)


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
