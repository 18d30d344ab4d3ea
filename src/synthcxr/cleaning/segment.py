"""From a box of text to its strokes: only the pixels of the letters, so that the anatomy between them stays."""

import numpy as np
import numpy.typing as npt

from synthcxr.cleaning.marks import Mark
from synthcxr.images import Grey

Mask = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.float32]

LOWEST_CONTRAST = 20.0
"""Grey levels by which strokes stand out of what is around them; a "2" seen in the grain of a lung has less."""
RIM = 0.2
"""Part of the strokes' contrast from which a pixel beside them is their anti-aliased (or JPEG-blurred) rim."""
OUTLINE_CONTRAST = 12.0
"""Grey levels of the other polarity from which a pixel beside strokes is the outline that consoles draw around them."""
OUTLINE_WIDTH = 1 / 6
"""Widest outline or drop shadow, in heights of a line."""


def strokes(image: Grey, box: Mark) -> Mask:
    """The strokes of the letters in a box, of either polarity, with their rim: a mask of the image's shape.

    Strokes are what a morphological opening (closing, for dark letters) wider than a stroke takes away, cut at Otsu's
    threshold inside the box, and grown into their rim; of a solid marker all inside its outline. Empty where nothing
    stands out by `LOWEST_CONTRAST`.
    """
    import cv2

    mask = np.zeros(image.shape, bool)
    window = _window(box, image.shape)
    crop = image[window]
    inside = _inside(box, window, crop.shape)
    if not inside.any():  # a box of no area on the image's edge
        return mask
    level = np.asarray(crop, np.float32) - _plane(crop, inside)
    if box.kind == "marker":
        mask[window] = _with_outline(inside, crop, _is_dark(level[inside]), box.line_height)
        return mask
    # Wider than a bold stroke (a fifth of the line), narrower than ribs and vessels of the same height.
    width = 2 * round(0.3 * box.line_height) + 3
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    dark = _is_dark(level[inside])
    detail = np.asarray(cv2.morphologyEx(crop, cv2.MORPH_BLACKHAT if dark else cv2.MORPH_TOPHAT, kernel), np.float32)
    core = _core(detail, inside)
    if core.any():
        rim = detail >= RIM * float(detail[core].mean())
        grown = _grow(core, rim, steps=max(1, round(box.line_height / 12)))
        mask[window] = _with_outline(grown, crop, dark, box.line_height)
    return mask


def dilate(mask: Mask, pixels: int) -> Mask:
    """A mask grown by so many pixels on all sides."""
    import cv2

    if pixels == 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), bool)


def outline(box: Mark, shape: tuple[int, ...]) -> Mask:
    """All that lies inside a box or a marker's outline, a little larger than the detector gave it."""
    mask = np.zeros(shape, bool)
    window = _window(box, shape)
    mask[window] = _inside(box, window, mask[window].shape)
    return mask


def _window(box: Mark, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of an image around a box, with room for a background."""
    margin = max(4.0, 0.5 * box.line_height)
    left, top = np.floor(box.points.min(0) - margin).astype(int)
    right, bottom = np.ceil(box.points.max(0) + margin).astype(int) + 1
    return slice(max(0, top), min(shape[0], bottom)), slice(max(0, left), min(shape[1], right))


def _inside(box: Mark, window: tuple[slice, slice], shape: tuple[int, ...]) -> Mask:
    """The box itself within its window, a little larger than the detector gave it."""
    import cv2

    corners = np.rint(box.points - (window[1].start, window[0].start)).astype(np.int32)
    filled = cv2.fillPoly(np.zeros(shape, np.uint8), [corners], 1)
    return dilate(np.asarray(filled, bool), max(1, round(0.1 * box.line_height)))


def _plane(crop: Grey, inside: Mask) -> Levels:
    """The background as a plane through the pixels around the box (least squares)."""
    rows, columns = np.indices(crop.shape)
    terms = np.stack([np.ones(crop.shape), columns, rows], axis=-1)
    ring = ~inside if (~inside).sum() >= 8 else np.ones_like(inside)
    weights = np.linalg.lstsq(terms[ring], crop[ring].astype(np.float64), rcond=None)[0]
    return np.asarray(terms @ weights, np.float32)


def _is_dark(level: Levels) -> bool:
    """Whether letters are darker than their background (level 0): the polarity that reaches further from it."""
    low, high = np.percentile(level, (5, 95))
    return bool(-low > high)


def _core(detail: Levels, inside: Mask) -> Mask:
    """The pixels of a box whose detail is above Otsu's threshold; none where they do not stand out."""
    import cv2

    values = detail[inside].astype(np.uint8)
    threshold, _ = cv2.threshold(values[None], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    core = inside & (detail > threshold)
    rest = inside & ~core
    if not core.any() or not rest.any():
        return np.zeros_like(inside)
    stands_out = detail[core].mean() - detail[rest].mean() >= LOWEST_CONTRAST
    return core if stands_out else np.zeros_like(inside)


def _with_outline(strokes: Mask, crop: Grey, dark: bool, line_height: float) -> Mask:
    """Strokes with what a console draws around them to be seen on any background: a thin line, or a shadow.

    It is thin where the other side's opening or closing takes it away; the dark beyond the edge of a body stays.
    """
    import cv2

    width = max(2, round(OUTLINE_WIDTH * line_height))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 3, 2 * width + 3))
    against = cv2.morphologyEx(crop, cv2.MORPH_TOPHAT if dark else cv2.MORPH_BLACKHAT, kernel)
    return _grow(strokes, np.asarray(against >= OUTLINE_CONTRAST, bool), steps=width)


def _grow(core: Mask, into: Mask, steps: int) -> Mask:
    """Grow by one pixel a step, only into given pixels."""
    grown = core
    for _ in range(steps):
        grown = grown | (dilate(grown, 1) & into)
    return grown
