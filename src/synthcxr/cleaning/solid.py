"""Markers that are no text: what holds a lead letter (a ring, a disc, a tab), the disc beside one, and arrows.

Nothing but its surroundings tells a lead disc from an electrode on the patient. So holders and discs count only where a
letter was read in them or right beside them; an arrow counts anywhere, by its shape.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from synthcxr.cleaning.marks import Mark
from synthcxr.images import Grey

LETTERS = 4
"""A lead letter with its technician's initials is read as so many characters at most."""
REACH = 2.5
"""Heights of a letter's line that are looked at on each side of it."""
LEAST_SOLID = 0.88
"""Part of its convex hull that a holder or a disc fills."""
HOLDER = (1.3, 14.0)
"""Area of a holder, in areas of the mark that it holds."""
DISC = (8, 70)
"""Diameters of a disc, in pixels of a short side of 512; arrows are as high."""
ROUND = (0.93, 1.07)
"""Area of a disc as a part of its ellipse's."""
ARROW_BRIGHTNESS, ARROW_CONTRAST = 215, 60
"""An arrow is drawn by a machine: its least brightness, and by how much it stands out (grey levels)."""
LIKE_AN_ARROW = 0.8
"""Intersection over union with an arrow of the same size."""
APART = 0.3
"""A marker of which more is covered by one that is known already is the same."""

Shape = npt.NDArray[np.bool_]
Outline = npt.NDArray[np.int32]


def find_solid(image: Grey, marks: Sequence[Mark]) -> list[Mark]:
    """The solid markers of a grey image (height, width) in which `marks` were read; a polygon is an outline."""
    unit = min(image.shape) / 512
    found: list[Mark] = []
    for mark in marks:
        if sum(character.isalnum() for character in mark.text) <= LETTERS and mark.kind != "position":
            found += _beside(image, mark, unit)
    found += _arrows(image, unit)
    kept: list[Mark] = []
    for marker in sorted(found, key=lambda marker: (-marker.score, marker.polygon)):
        if all(_common(marker, other) <= APART for other in kept):
            kept.append(marker)
    return kept


def _beside(image: Grey, mark: Mark, unit: float) -> Iterator[Mark]:
    """What holds a letter, and discs beside it."""
    import cv2

    reach = REACH * mark.line_height
    low = np.floor(np.maximum(mark.points.min(0) - reach, 0)).astype(int)
    high = np.ceil(np.minimum(mark.points.max(0) + reach, image.shape[::-1])).astype(int)
    window = image[low[1] : high[1], low[0] : high[0]]
    if min(window.shape) < DISC[0]:
        return
    bounds = (low[0] > 0, low[1] > 0, high[0] < image.shape[1], high[1] < image.shape[0])
    middle = mark.points.mean(0) - low
    box = np.asarray(mark.points - low, np.float32)
    for inside in _levels(window):
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            if len(outline) < DISC[0] or _leaves(outline, window.shape, bounds):
                continue
            area = cv2.contourArea(outline)
            solid = area / max(cv2.contourArea(cv2.convexHull(outline)), 1.0)
            if solid < LEAST_SOLID:
                continue
            holds = cv2.pointPolygonTest(outline, (float(middle[0]), float(middle[1])), False) > 0
            share = area / max(cv2.contourArea(box), 1.0)
            if (HOLDER[0] <= share <= HOLDER[1]) if holds else _is_disc(outline, area, window, unit):
                yield _marker(outline, low, solid)


def _levels(window: Grey) -> Iterator[Shape]:
    """The bright and the dark parts of a window, at Otsu's threshold and half-way to either side of it."""
    import cv2

    otsu, _ = cv2.threshold(window, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    low, high = np.percentile(window, (2, 98))
    for level in (otsu, (otsu + high) / 2, (otsu + low) / 2):
        yield window > level
        yield window <= level


def _leaves(outline: Outline, shape: tuple[int, ...], bounds: tuple[bool, bool, bool, bool]) -> bool:
    """Whether an outline reaches an edge of its window behind which the image goes on (left, top, right, bottom)."""
    low, high = outline[:, 0].min(0), outline[:, 0].max(0)
    meets = (low[0] <= 0, low[1] <= 0, high[0] >= shape[1] - 1, high[1] >= shape[0] - 1)
    return any(met and goes_on for met, goes_on in zip(meets, bounds, strict=True))


def _is_disc(outline: Outline, area: float, window: Grey, unit: float) -> bool:
    """Whether an outline is an even, bright ellipse of a lead disc's size."""
    import cv2

    _, (wide, high), _ = cv2.fitEllipse(outline)
    if not DISC[0] * unit <= min(wide, high) <= max(wide, high) <= min(DISC[1] * unit, 2 * min(wide, high)):
        return False
    if not ROUND[0] <= area / (np.pi / 4 * wide * high) <= ROUND[1]:
        return False
    filled = cv2.drawContours(np.zeros(window.shape, np.uint8), [outline], -1, 1, cv2.FILLED)
    core = cv2.erode(filled, np.ones((3, 3), np.uint8)).astype(bool)
    ring = cv2.dilate(filled, np.ones((7, 7), np.uint8)).astype(bool) & ~cv2.dilate(
        filled, np.ones((3, 3), np.uint8)
    ).astype(bool)
    if not core.any() or not ring.any():
        return False
    stands_out = float(window[core].mean()) - float(window[ring].mean())
    return stands_out > 25 and float(window[core].std()) < 0.3 * stands_out


def _arrows(image: Grey, unit: float) -> Iterator[Mark]:
    """Bright arrows, up, down, left or right."""
    import cv2

    side = 2 * round(20 * unit) + 1
    detail = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, cv2.getStructuringElement(cv2.MORPH_RECT, (side, side)))
    bright = ((image >= ARROW_BRIGHTNESS) & (detail >= ARROW_CONTRAST)).astype(np.uint8)
    _, labels, numbers, _ = cv2.connectedComponentsWithStats(bright)
    for number in range(1, len(numbers)):
        left, top, wide, high, area = (int(value) for value in numbers[number])
        if not 1.5 * DISC[0] * unit <= max(wide, high) <= DISC[1] * unit or not 0.25 <= area / (wide * high) <= 0.75:
            continue
        shape = labels[top : top + high, left : left + wide] == number
        likeness = max(_like_arrow(np.rot90(shape, turns)) for turns in range(4))
        if likeness >= LIKE_AN_ARROW:
            outlines, _ = cv2.findContours(shape.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            yield _marker(max(outlines, key=len), np.array((left, top)), likeness)


def _like_arrow(shape: Shape) -> float:
    """How like an arrow that points up a shape is, cut to its bounds: the best of arrows of several proportions."""
    height, width = shape.shape
    if not 0.4 * height <= width <= 1.3 * height:
        return 0.0
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    off = np.abs(columns - width / 2)
    best = 0.0
    for head in (0.35, 0.45, 0.55, 0.65):
        for shaft in (0.25, 0.35, 0.45, 0.55):
            arrow = (rows < head * height) & (off <= rows / (head * height) * width / 2)
            arrow |= (rows >= head * height) & (off <= shaft * width / 2)
            best = max(best, float((shape & arrow).sum() / (shape | arrow).sum()))
    return best


def _marker(outline: Outline, corner: npt.NDArray[np.int_], score: float) -> Mark:
    import cv2

    points = cv2.approxPolyDP(outline, 0.7, True)[:, 0] + corner
    return Mark(tuple((float(x), float(y)) for x, y in points), "", round(min(float(score), 1.0), 4), "marker")


def _common(first: Mark, second: Mark) -> float:
    """Common area of two markers' upright bounds, as a part of the smaller."""
    low = np.maximum(first.points.min(0), second.points.min(0))
    high = np.minimum(first.points.max(0), second.points.max(0))
    areas = [float(np.prod(np.ptp(mark.points, axis=0) + 1)) for mark in (first, second)]
    return float(np.prod(np.clip(high - low + 1, 0, None))) / min(areas)
