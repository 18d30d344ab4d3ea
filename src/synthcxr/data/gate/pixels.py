"""Rules that need no more than an image's own pixels: size, shape, contrast, and pages of text."""

import numpy as np

from synthcxr.data.records import RejectedImageError
from synthcxr.images import Grey

SMALLEST_SIDE = 128
"""Below it the encoder's input, 128 px, would be made up by interpolation."""
LARGEST_ASPECT = 2.5
SMALLEST_SPREAD = 24
"""Grey levels between the 5th and the 95th percentile."""
LARGEST_SATURATION = 0.7
"""Share of pixels in the outermost 3 grey levels at either end."""
TEXT_PAPER, TEXT_STROKES = 0.6, 0.97
"""A page of text: paper covers so much of it, and so much of the rest are thin strokes."""
WORK_SIDE = 512
THUMBNAIL = 96


def check_image(image: Grey, skip: frozenset[str] = frozenset()) -> None:
    """Raise RejectedImageError, with the rule's name, for an image (height, width) at full size that is no X-ray.

    The rules, in this order, but for those in `skip`: ``tiny``, ``aspect``, ``text-only``, ``blank``, ``saturated``.
    """
    height, width = image.shape
    short, long = min(height, width), max(height, width)
    if "tiny" not in skip and short < SMALLEST_SIDE:
        raise RejectedImageError("tiny", f"it has {width} by {height} pixels, and at least {SMALLEST_SIDE} are needed")
    if "aspect" not in skip and long > LARGEST_ASPECT * short:
        raise RejectedImageError(
            "aspect", f"its sides, {width} by {height}, differ by more than {LARGEST_ASPECT} times"
        )
    small = _shrink(image, WORK_SIDE)
    low, high = np.percentile(small, (5, 95))
    # a page with little text is nearly uniform too, and its own rule says more
    if "text-only" not in skip and (page := is_text_only(small)):
        raise RejectedImageError("text-only", page)
    if "blank" not in skip and high - low < SMALLEST_SPREAD:
        raise RejectedImageError("blank", f"nine tenths of it lie within {high - low:.0f} grey levels of 255")
    saturated = float(np.mean((small <= 2) | (small >= 253)))
    if "saturated" not in skip and saturated > LARGEST_SATURATION:
        raise RejectedImageError("saturated", f"{saturated:.0%} of it is pure black or pure white")


def is_text_only(image: Grey) -> str:
    """Why an image is a page with thin strokes and nothing else; empty where it is not.

    What is neither paper (the commonest grey level) nor near it must vanish under an opening wider than strokes are.
    """
    import cv2

    levels = np.bincount(image.ravel(), minlength=256)
    paper = int(np.convolve(levels, np.ones(9), "same").argmax())
    marks = (np.abs(image.astype(np.int16) - paper) > 24).astype(np.uint8)
    marked = int(marks.sum())
    if marked == 0 or marked > (1 - TEXT_PAPER) * marks.size:
        return ""
    width = max(3, min(image.shape) // 24)
    solid = int(cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((width, width), np.uint8)).sum())
    strokes = 1 - solid / marked
    return (
        f"{1 - marked / marks.size:.0%} of it is plain ground, the rest thin strokes" if strokes > TEXT_STROKES else ""
    )


def thumbnail(image: Grey) -> bytes:
    """A JPEG of at most 96 px a side: enough to see what was left out, too small to read burned-in text."""
    import cv2

    found, data = cv2.imencode(".jpg", _shrink(image, THUMBNAIL), [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert found
    return bytes(data)


def _shrink(image: Grey, side: int) -> Grey:
    """The image with its long side at most `side` pixels, each the mean of what it covers."""
    import cv2

    height, width = image.shape
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
