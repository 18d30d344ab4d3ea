"""The letters L and R alone, which a detector of lines overlooks: L in half of all cases, for it looks like no line.

Shapes are the connected pixels that stand out of their surroundings by several levels and at several widths, of either
polarity. A shape is like an L where two bars at a right angle cover the same pixels, and like an R where it has a stem
and one hole, high up; both upright or turned by quarters. Whether it *is* one, the recogniser has to say as well.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from synthcxr.images import Grey

WIDTHS = (9, 17, 33)
"""Sides in pixels of the squares that a stroke is narrower than (a top-hat's structuring element)."""
LEVELS = (18, 30, 45, 65, 95, 140)
"""Grey levels by which a shape stands out."""
SIDES = (8, 68)
"""Longer side of a letter's bounds, in pixels."""
LEAST_LIKE_L = 0.7
"""Part of the pixels of a shape and of its two bars together that both have (intersection over union)."""
LEAST_LIKE_R = 0.9
"""Part of its height that an R's stem has."""
HOLE = 0.03
"""Part of its bounds that an R's hole fills at least."""
RINGS, RING_LEVELS = (16, 80), (60, 100)
"""Diameters in pixels of a ring around a letter, and the grey levels by which it stands out."""
SAME = 0.5
"""Bounds whose intersection over union is larger belong to one letter, seen at two levels."""

Shape = npt.NDArray[np.bool_]


class Letter(NamedTuple):
    """A shape like a letter: its bounds in pixels, its likeness (0 to 1), its quarter turns clockwise, the letter."""

    left: int
    top: int
    right: int
    bottom: int
    likeness: float
    quarter_turns: int
    text: str
    """L, R, or "" where the shape does not say which: whatever stands alone in a ring."""


def find_letters(image: Grey) -> list[Letter]:
    """All shapes like an L or R in a grey image (height, width), one of each for a place, the likest and largest first,
    and what stands alone in a ring.
    """
    kept: list[Letter] = []
    found = [*_like_letters(image), *_in_rings(image)]
    for letter in sorted(found, key=lambda letter: (-letter.likeness, -_area(letter), letter)):
        if all(letter.text != other.text or _common(letter, other) <= SAME for other in kept):
            kept.append(letter)
    return kept


def like_l(shape: Shape) -> float:
    """How like an upright L a shape (height, width) is, cut to its bounds; the bars' widths are its own."""
    height, width = shape.shape
    upright = max(1, round(float(np.median(shape[: max(1, height // 2)].sum(1)))))
    foot = max(1, round(float(np.median(shape[:, width // 2 :].sum(0)))))
    if upright >= 0.55 * width or foot >= 0.5 * height:
        return 0.0
    bars = np.zeros_like(shape)
    bars[:, :upright] = True
    bars[height - foot :] = True
    return float((shape & bars).sum() / (shape | bars).sum())


def like_r(shape: Shape) -> float:
    """How like an upright R a shape (height, width) is, cut to its bounds: the part of its height that its stem has.

    0 where it has not exactly one hole in its upper part, or nothing or all below that.
    """
    import cv2

    height, width = shape.shape
    if width > height:
        return 0.0
    room = np.pad(~shape, 1, constant_values=True).astype(np.uint8)
    _, _, numbers, middles = cv2.connectedComponentsWithStats(room, connectivity=4)
    holes = [number for number in range(1, len(numbers)) if numbers[number, 0] > 0]  # the outside begins at 0
    if len(holes) != 1 or numbers[holes[0], 4] < HOLE * height * width or middles[holes[0]][1] > 0.55 * height + 1:
        return 0.0
    foot = shape[round(0.8 * height) :, round(0.3 * width) :]
    if not 0.15 <= foot.mean() <= 0.85:
        return 0.0
    return float(shape[:, : max(1, round(0.35 * width))].any(1).mean())


def _like_letters(image: Grey) -> Iterator[Letter]:
    import cv2

    for width in WIDTHS:
        square = cv2.getStructuringElement(cv2.MORPH_RECT, (width, width))
        for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
            detail = cv2.morphologyEx(image, operation, square)
            for level in LEVELS:
                _, labels, numbers, _ = cv2.connectedComponentsWithStats((detail >= level).astype(np.uint8))
                for number in _right_size(numbers, width):
                    left, top, wide, high, _ = (int(value) for value in numbers[number])
                    shape = labels[top : top + high, left : left + wide] == number
                    for text, like, least in (("L", like_l, LEAST_LIKE_L), ("R", like_r, LEAST_LIKE_R)):
                        score, turns = max((like(np.rot90(shape, turns)), -turns) for turns in range(4))
                        if score >= least:
                            yield Letter(left, top, left + wide, top + high, score, -turns, text)


def _in_rings(image: Grey) -> Iterator[Letter]:
    """What stands in the middle of a thin, bright, elliptic ring that is dark inside: a marker drawn by a machine."""
    import cv2

    square = cv2.getStructuringElement(cv2.MORPH_RECT, (WIDTHS[0], WIDTHS[0]))
    detail = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, square)
    for level in RING_LEVELS:
        _, labels, numbers, middles = cv2.connectedComponentsWithStats((detail >= level).astype(np.uint8))
        sides = numbers[:, 2:4]
        round_enough = (sides.min(1) >= RINGS[0]) & (sides.max(1) <= RINGS[1]) & (sides.max(1) < 2 * sides.min(1))
        for ring in np.flatnonzero(round_enough):
            left, top, wide, high, _ = (int(value) for value in numbers[ring])
            window = (slice(top, top + high), slice(left, left + wide))
            if not _is_ring(image[window], labels[window] == ring):
                continue
            off = np.abs(middles - (left + wide / 2, top + high / 2)) / (wide, high)
            inner = (off.max(1) < 0.15) & (sides[:, 1] > 0.25 * high) & (sides[:, 1] < 0.75 * high)
            for number in np.flatnonzero(inner & (sides[:, 0] < 0.75 * wide)):
                left, top, wide, high, _ = (int(value) for value in numbers[number])
                yield Letter(left, top, left + wide, top + high, 1.0, 0, "")


def _is_ring(pixels: Grey, shape: Shape) -> bool:
    """Whether a shape's outline is that of an ellipse as large as its bounds, twice as bright as what is inside."""
    import cv2

    high, wide = shape.shape
    (outline, *_), _ = cv2.findContours(shape.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    inside = pixels[high // 4 : -(high // 4), wide // 4 : -(wide // 4)]
    elliptic = 0.9 <= cv2.contourArea(outline) / (np.pi / 4 * wide * high) <= 1.1
    return bool(elliptic and np.median(inside) <= 0.5 * np.median(pixels[shape]))


def _right_size(numbers: npt.NDArray[np.int32], width: int) -> npt.NDArray[np.intp]:
    """Which components have a letter's size for this width of strokes, its proportions, and its share of its bounds."""
    wide, high, area = numbers[:, 2], numbers[:, 3], numbers[:, 4]
    longer, shorter = np.maximum(wide, high), np.minimum(wide, high)
    share = area / (wide * high)
    fits = (longer >= max(SIDES[0], 0.8 * width)) & (longer <= min(SIDES[1], 5.6 * width))
    fits &= (shorter >= 0.4 * longer) & (share >= 0.1) & (share <= 0.7)
    fits[0] = False  # the background
    return np.flatnonzero(fits)


def _common(first: Letter, second: Letter) -> float:
    """Intersection over union of two letters' bounds."""
    wide = max(0, min(first.right, second.right) - max(first.left, second.left))
    high = max(0, min(first.bottom, second.bottom) - max(first.top, second.top))
    return wide * high / (_area(first) + _area(second) - wide * high)


def _area(letter: Letter) -> int:
    return (letter.right - letter.left) * (letter.bottom - letter.top)
