"""The part of an X-ray that is drawn anew: the square that the model sees of it, and the way back into the image.

Pure functions on grey images (height, width) and masks of the same shape, true where the image may change.
"""

from dataclasses import dataclass

import numpy as np

from synthcxr.cleaning.paste import changed_outside
from synthcxr.cleaning.segment import Mask
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.images import Grey, resize

CELL = 8
"""The model's pixels of one latent cell: the width over which an edited region fades into what is around it."""


@dataclass(frozen=True)
class Window:
    """A square of an image: its `top` and `left` corner and its `side` in pixels; it may reach over the edges."""

    top: int
    left: int
    side: int


def window_for(shape: tuple[int, int], mask: Mask | None = None) -> Window:
    """The square that the model sees: models know whole chests, so it is as large as the image's short side.

    Without a mask it is the central one. With a mask it moves along the long side to where all of the region is in it,
    as near to the centre as that allows; for a region that is longer it is the square of the long side.
    """
    height, width = shape
    side = min(shape)
    if mask is None:
        return Window((height - side) // 2, (width - side) // 2, side)
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    extents = [(int(span[0]), int(span[-1]) + 1) for span in spans]
    if any(end - start > side for start, end in extents):
        side = max(shape)
        return Window((height - side) // 2, (width - side) // 2, side)
    top, left = (
        min(max((length - side) // 2, end - side), start) for length, (start, end) in zip(shape, extents, strict=True)
    )
    return Window(top, left, side)


def cut(image: Grey, window: Window, side: int) -> Grey:
    """The window as a square of `side` pixels; beyond the edges the image's outermost pixels go on."""
    square = _crop(image, window)
    return square if window.side == side else resize(square, side, side)


def cells(mask: Mask, window: Window, count: int) -> Mask:
    """The mask in the window on a grid of `count` by `count` latent cells: every cell that holds a pixel of it."""
    inside = _crop(mask.astype(np.uint8), window, beyond=False)
    edges = np.arange(count + 1) * window.side / count
    starts = np.floor(edges[:-1]).astype(int)
    ends = np.maximum(np.ceil(edges[1:]).astype(int), starts + 1)
    rows = np.stack([inside[start:end].any(axis=0) for start, end in zip(starts, ends, strict=True)])
    return np.stack([rows[:, start:end].any(axis=1) for start, end in zip(starts, ends, strict=True)], axis=1)


def paste(image: Grey, edited: Grey, window: Window, mask: Mask) -> Grey:
    """The edited square put back, only inside the mask and faded in from its edge; every other pixel is the image's.

    The fade is one latent cell wide, or half of a region that is narrower. Raises SynthCXRError should a pixel outside
    differ.
    """
    height, width = image.shape
    square = edited if window.side == edited.shape[0] else resize(edited, window.side, window.side)
    top, left = max(window.top, 0), max(window.left, 0)
    bottom, right = min(window.top + window.side, height), min(window.left + window.side, width)
    new = image.astype(np.float64)
    new[top:bottom, left:right] = square[
        top - window.top : bottom - window.top, left - window.left : right - window.left
    ]
    share = fade(mask, CELL * window.side / edited.shape[0])
    mixed = np.rint(image + share * (new - image)).astype(np.uint8)
    result: Grey = np.where(mask, mixed, image)
    if outside := changed_outside(image, result, mask):
        raise SynthCXRError(f"{outside} pixels outside the region changed. Please report this; nothing was saved.")
    return result


def fade(mask: Mask, width: float) -> "np.typing.NDArray[np.float64]":
    """The share of the new image at each pixel: 0 outside the mask, growing to 1 over `width` pixels inside.

    What lies at the image's own edge needs no fade towards it.
    """
    import cv2

    distance = cv2.distanceTransform(np.pad(mask, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    if mask.all():
        return np.ones(mask.shape)
    narrow = min(width, max(1.0, float(distance.max()) / 2))
    return np.asarray(np.clip(distance / narrow, 0, 1) * mask, np.float64)


def box_mask(box: str, shape: tuple[int, int]) -> Mask:
    """The mask of a box ``X,Y,WIDTH,HEIGHT``. Raises UsageError where it is not inside the image."""
    left, top, width, height = (int(part) for part in box.split(","))
    if left + width > shape[1] or top + height > shape[0]:
        raise UsageError(f"--box {box} reaches out of the image, which has {shape[1]} by {shape[0]} pixels.")
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def check_mask(image: Grey, shape: tuple[int, int]) -> Mask:
    """A mask from its picture, white where the image may change. Raises UsageError for another size, or no white."""
    if image.shape != shape:
        raise UsageError(
            f"--mask has {image.shape[1]} by {image.shape[0]} pixels, the image {shape[1]} by {shape[0]}; "
            "they must be the same."
        )
    mask = image > 127
    if not mask.any():
        raise UsageError("--mask is black throughout, so nothing may change; make white what is to be drawn anew.")
    return np.asarray(mask)


def _crop(values: Grey, window: Window, *, beyond: bool = True) -> Grey:
    """The window of an array; over the edges it goes on as at the edge, or with zeros where not `beyond`."""
    height, width = values.shape
    over = max(0, -window.top, -window.left, window.top + window.side - height, window.left + window.side - width)
    padded = np.pad(values, over, mode="edge" if beyond else "constant") if over else values
    top, left = window.top + over, window.left + over
    return np.ascontiguousarray(padded[top : top + window.side, left : left + window.side])
